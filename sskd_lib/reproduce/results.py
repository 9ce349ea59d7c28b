"""Results of `reproduce` as one table, CSV and Markdown: what was measured here beside what was printed."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluation import interval
from ..files import write_atomically
from .paper import FOOTNOTES, Figure, find_pair, published

COLUMNS = (
    "pair", "condition", "method", "seeds", "last", "last ±", "minus kd", "minus kd ±", "best", "published",
    "source", "notes",
)  # fmt: skip
RUN_COLUMNS = ("pair", "condition", "method", "seed", "last", "best", "epochs", "images", "data")


def result_rows(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a method, pair and condition: mean and interval of the last epoch, and the printed figure.

    minus kd: the mean difference of runs with the same seed. published: the paper's own figure where it has
    one, else the first that was found; "" where the runs were not made as it was (`printed`).
    """
    groups: dict[tuple[str, str, str], dict[int, dict]] = {}
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
        found = printed(pair, condition, method, {run["data"] for run in runs.values()})
        beside = (found[0].value, found[0].source, ";".join(found[0].notes)) if found else ("", "", "")
        values = (pair, condition, method, len(runs), mean, half, *gap, best, *beside)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def printed(pair: str, condition: str, method: str, data: set[str]) -> list[Figure]:
    """The printed figures that runs of this kind may stand beside; data: names of their training images.

    All labels: the tables of the pair's kind, and that of the pretexts; a share of them: the few-shot table;
    anything else: none.
    CIFAR-100 is known by its name, ImageNet, which comes as shards, by the pair.
    """
    kind = find_pair(pair).kind
    if kind != "imagenet" and data != {"cifar100"}:
        return []
    if condition == "all":
        return published(kind, pair, method) or published("pretext", pair, method)
    return published("few-shot", pair, f"{method}@{condition}") if condition[0].isdigit() else []


def as_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """The rows as CSV; a number that does not exist is left empty."""
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


def as_markdown(rows: Sequence[dict[str, Any]], command: str, diverged: Sequence[str] = ()) -> str:
    """One table a pair and condition, with the traps of the printed figures as footnotes.

    diverged: a line for each run that was given up, and so is in none of the means.
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


def file_name(text: str) -> str:
    """A pair or a condition as part of a file's name: torchvision/resnet34 has a stroke."""
    return text.replace("/", "%2F").replace(" ", "_")


def write_results(
    records: Sequence[dict[str, Any]], out: Path, command: str, diverged: Sequence[str] = ()
) -> list[Path]:
    """Write runs.csv (one line a run), results.csv and results.md (their means), and a figure a pair.

    diverged: see `as_markdown`.
    """
    rows = result_rows(records)
    paths = [out / "runs.csv", out / "results.csv", out / "results.md"]
    write_atomically(paths[0], as_csv(records, RUN_COLUMNS).encode())
    write_atomically(paths[1], as_csv(rows).encode())
    write_atomically(paths[2], as_markdown(rows, command, diverged).encode())
    for place in dict.fromkeys((row["pair"], row["condition"]) for row in rows):
        here = [record for record in records if (record["pair"], record["condition"]) == place]
        paths.append(out / f"results_{file_name('_'.join(place))}.png")
        write_atomically(paths[-1], picture(here, ", ".join(place)))
    return paths


def picture(records: Sequence[dict[str, Any]], title: str) -> bytes:
    """The accuracy of each run after its last epoch, by method, as a PNG."""
    from ..lab.curves import bars_with_intervals  # matplotlib only where a figure is asked for

    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(record["method"], []).append(record["last"])
    png = io.BytesIO()
    bars_with_intervals(values, "accuracy, last epoch (%)", title).savefig(png, format="png", dpi=150)
    return png.getvalue()
