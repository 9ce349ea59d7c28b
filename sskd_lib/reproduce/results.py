"""The results of `reproduce`: read from its runs, written as CSV and Markdown with the published figures."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..evaluation import interval
from ..files import write_atomically
from ..losses import METHODS
from .paper import FOOTNOTES, Figure, find_pair, published
from .plan import DIVERGED, file_name

COLUMNS = (
    "pair", "condition", "method", "seeds", "last", "last ±", "minus kd", "minus kd ±", "best", "published",
    "source", "notes",
)  # fmt: skip
RUN_COLUMNS = ("pair", "condition", "method", "seed", "last", "best", "epochs", "images", "data")

Record = dict[str, Any]  # one run: RUN_COLUMNS
Row = dict[str, Any]  # the runs of one method on one pair under one condition: COLUMNS


def read_results(out: Path) -> list[Record]:
    """Return one record for each finished run below `out`, with RUN_COLUMNS.

    last, best: accuracies in percent. In the order of METHODS, joined methods last; conditions by their
    number.
    """
    records = []
    for path, place in _runs(out, "summary.json"):
        summary = json.loads(path.read_text(encoding="utf-8"))
        records.append(
            place
            | {
                "last": summary["last"]["test_accuracy"],
                "best": summary["best"]["test_accuracy"],
                "epochs": summary["epochs"],
                "images": summary["card"]["train"]["images"],
                "data": summary["card"]["train"]["name"],
            }
        )
    order = {method: number for number, method in enumerate(METHODS)}
    return sorted(
        records,
        key=lambda r: (
            r["pair"],
            len(r["condition"]),
            r["condition"],
            order.get(r["method"], len(order)),
            r["method"],
        ),
    )


def read_diverged(out: Path) -> list[str]:
    """Return one line for each run below `out` that was given up: pair, condition, method, seed, reason."""
    return [
        "{pair}, {condition}: {method}, seed {seed}: ".format_map(place) + path.read_text("utf-8").strip()
        for path, place in _runs(out, DIVERGED)
    ]


def _runs(out: Path, file: str) -> Iterator[tuple[Path, Record]]:
    """This file of each run that has it, with pair, condition, method and seed of the run."""
    for path in sorted((out / "runs").glob(f"*/*/*/*/{file}")):
        pair, condition, method, seed = path.parent.relative_to(out / "runs").parts
        pair, condition = pair.replace("%2F", "/"), condition.replace("_", " ")
        yield path, {"pair": pair, "condition": condition, "method": method, "seed": int(seed)}


def result_rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each method, pair and condition: mean and interval of the last epoch, and more.

    minus kd: the mean difference between runs with the same seed. published: the paper's figure if there is
    one, else the first that was found; "" if it has other images or another condition (see `printed`).
    """
    groups: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in records:
        key = (record["pair"], record["condition"], record["method"])
        groups.setdefault(key, {})[record["seed"]] = record
    rows = []
    for (pair, condition, method), runs in groups.items():
        mean, half = interval([run["last"] for run in runs.values()])
        kd = groups.get((pair, condition, "kd"), {})
        gaps = [run["last"] - kd[seed]["last"] for seed, run in runs.items() if seed in kd]
        gap = interval(gaps) if gaps and method != "kd" else (math.nan, math.nan)
        best = statistics.fmean(run["best"] for run in runs.values())
        figures = printed(pair, condition, method, {run["data"] for run in runs.values()})
        figure = (
            (figures[0].value, figures[0].source, ";".join(figures[0].notes)) if figures else ("", "", "")
        )
        values = (pair, condition, method, len(runs), mean, half, *gap, best, *figure)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def printed(pair: str, condition: str, method: str, data: set[str]) -> list[Figure]:
    """Return the published figures that runs under this condition can be compared with.

    data: names of the runs' training images. With all labels: from the table of the pair's kind, else from
    the one of the pretext tasks. With a fraction of the labels: from the few-shot table. Else none.
    CIFAR-100 is recognised by its name, ImageNet, which is read from a folder, by the pair.
    """
    kind = find_pair(pair).kind
    if kind != "imagenet" and data != {"cifar100"}:
        return []
    if condition == "all":
        return published(kind, pair, method) or published("pretext", pair, method)
    return published("few-shot", pair, f"{method}@{condition}") if condition[0].isdigit() else []


def as_csv(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> str:
    """Return the rows as CSV, with two decimals; a number that does not exist (nan) is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _rounded(value) for name, value in row.items()})
    return text.getvalue()


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else round(value, 2)


def as_markdown(rows: Sequence[Row], command: str, diverged: Sequence[str] = ()) -> str:
    """Return a table for each pair and condition, with footnotes about the published figures.

    command: how the runs were made. diverged: a line for each run that was given up; no mean includes it.
    """
    lines = [f"Measured with `{command}`. Accuracy on the test images in per cent, mean ± 95 % interval."]
    lines += ["The result is the LAST epoch; the best one on the test images is shown for comparison only."]
    keys = list(FOOTNOTES)
    for place in dict.fromkeys((row["pair"], row["condition"]) for row in rows):
        lines += ["", f"**{place[0]}, {place[1]}**", ""]
        lines += [
            "| method | seeds | last epoch | minus KD (paired) | best epoch | printed |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows:
            if (row["pair"], row["condition"]) != place:
                continue
            marks = "".join(f"[{keys.index(note) + 1}]" for note in row["notes"].split(";") if note)
            gap = "" if math.isnan(row["minus kd"]) else f"{row['minus kd']:+.2f}{_half(row['minus kd ±'])}"
            cells = (
                row["method"], row["seeds"], f"{row['last']:.2f}{_half(row['last ±'])}", gap,
                f"{row['best']:.2f}", f"{row['published']} {marks}".strip(),
            )  # fmt: skip
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    used = dict.fromkeys(note for row in rows for note in row["notes"].split(";") if note)
    lines += ["", *(f"[{keys.index(note) + 1}] {FOOTNOTES[note]}" for note in used)]
    sources = dict.fromkeys(row["source"] for row in rows if row["source"])
    lines += ["", f"Printed figures: {'; '.join(sources) or 'none for these pairs'}."]
    if diverged:
        lines += ["", "**Diverged, and in no mean above:**", "", *(f"- {line}" for line in diverged)]
    return "\n".join(lines) + "\n"


def _half(value: float) -> str:
    return "" if math.isnan(value) else f" ± {value:.2f}"


def write_results(
    records: Sequence[Record],
    out: Path,
    command: str,
    diverged: Sequence[str] = (),
    figure: Callable[[Sequence[Record], str], bytes] | None = None,
) -> list[Path]:
    """Write runs.csv (one line for each run), results.csv, results.md (means), and figures; return the paths.

    command, diverged: see `as_markdown`. figure: makes a PNG of one pair's records under one condition, with
    a title; None writes no figures.
    """
    rows = result_rows(records)
    paths = [out / "runs.csv", out / "results.csv", out / "results.md"]
    write_atomically(paths[0], as_csv(records, RUN_COLUMNS).encode())
    write_atomically(paths[1], as_csv(rows).encode())
    write_atomically(paths[2], as_markdown(rows, command, diverged).encode())
    if figure is None:
        return paths
    for place in dict.fromkeys((row["pair"], row["condition"]) for row in rows):
        runs = [record for record in records if (record["pair"], record["condition"]) == place]
        paths.append(out / f"results_{file_name('_'.join(place))}.png")
        write_atomically(paths[-1], figure(runs, ", ".join(place)))
    return paths
