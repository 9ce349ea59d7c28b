"""Results of `reproduce` as one table, CSV and Markdown: what was measured here beside what was printed."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .checkpoints import write_atomically
from .published import FOOTNOTES, published

COLUMNS = (
    "pair", "condition", "method", "seeds", "last", "last ±", "minus kd", "minus kd ±", "best", "published",
    "source", "notes",
)  # fmt: skip


PRINTED_FOR = {"cifar100"}  # ImageNet comes as shards, whose name is the reader's own


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval (Student's t); the half width of one value is nan."""
    from scipy.stats import t

    if len(values) < 2:
        return values[0], math.nan
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(half)


def result_rows(records: Sequence[dict[str, Any]], table: str) -> list[dict[str, Any]]:
    """One row a method, pair and condition: mean and interval of the last epoch, and the printed figure.

    minus kd: the mean difference of runs with the same seed. The printed figure is the paper's own, where it
    has one for this very pair; it is left out where the runs were not on the images it was measured on.
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
        name = f"{method}@{condition}" if table == "few-shot" else method
        here = {run["data"] for run in runs.values()}
        comparable = (
            table != "noisy"
            and not condition.endswith("labels")
            and (here <= PRINTED_FOR or table == "imagenet")
        )
        printed = published(table, pair.replace("torchvision_", "torchvision/"), name) if comparable else []
        best = statistics.fmean(run["best"] for run in runs.values())
        values = (pair, condition, method, len(runs), mean, half, *gap, best)
        first = (printed[0].value, printed[0].source, ";".join(printed[0].notes)) if printed else ("", "", "")
        rows.append(dict(zip(COLUMNS, (*values, *first), strict=True)))
    return rows


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV; a number that does not exist is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _rounded(value) for name, value in row.items()})
    return text.getvalue()


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else round(value, 2)


def as_markdown(rows: Sequence[dict[str, Any]], command: str) -> str:
    """One table a pair and condition, with the traps of the printed figures as footnotes."""
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
    return "\n".join(lines) + "\n"


def _half(value: float) -> str:
    return "" if math.isnan(value) else f" ± {value:.2f}"


def write_results(records: Sequence[dict[str, Any]], table: str, out: Path, command: str) -> list[Path]:
    """Write results.csv and results.md to `out`, and a figure a pair and condition."""
    rows = result_rows(records, table)
    paths = [out / "results.csv", out / "results.md"]
    write_atomically(paths[0], as_csv(rows).encode())
    write_atomically(paths[1], as_markdown(rows, command).encode())
    for place in dict.fromkeys((row["pair"], row["condition"]) for row in rows):
        here = [record for record in records if (record["pair"], record["condition"]) == place]
        paths.append(out / ("results_" + "_".join(place).replace(" ", "_") + ".png"))
        write_atomically(paths[-1], picture(here, ", ".join(place)))
    return paths


def picture(records: Sequence[dict[str, Any]], title: str) -> bytes:
    """The accuracy of each run after its last epoch, by method, as a PNG."""
    from .lab.curves import bars_with_intervals  # matplotlib only where a figure is asked for

    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(record["method"], []).append(record["last"])
    png = io.BytesIO()
    bars_with_intervals(values, "accuracy, last epoch (%)", title).savefig(png, format="png", dpi=150)
    return png.getvalue()
