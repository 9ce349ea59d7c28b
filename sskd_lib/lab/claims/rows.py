"""The record of the claims: one row per training, and what the sweep found best."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .plan import FOLDER, Comparison, read_plan

RUNS = FOLDER / "runs.jsonl"
PROBES = FOLDER / "probes.jsonl"
Row = Mapping[str, Any]
Values = Mapping[tuple[str, str], Mapping[int, float]]  # (cell, arm) → seed → outcome


# outcome: the key of the rows it is made from, and the factor that makes larger better
TURNED = {"closeness": ("kl", -100.0), "calibration": ("calibration_error", -1.0)}


def read_rows(*paths: Path) -> list[dict[str, Any]]:
    """Return all rows of some records; default: of the runs and the probes that the kit has."""
    lines = (
        line
        for path in paths or (RUNS, PROBES)
        if path.exists()
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    return [json.loads(line) for line in lines]


def outcome_of(row: Row, outcome: str) -> float | None:
    """Return an outcome of a row, larger is better; None where it was not measured."""
    key, factor = TURNED.get(outcome, (outcome, 1.0))
    return factor * row[key] if key in row else None


def values_of(rows: Iterable[Row], outcome: str) -> dict[tuple[str, str], dict[int, float]]:
    """Return an outcome as (cell, arm) → seed → value."""
    values: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        value = outcome_of(row, outcome)
        if value is not None:
            values.setdefault((row["cell"], row["arm"]), {})[row["seed"]] = value
    return values


def differences(values: Values, comparison: Comparison) -> dict[int, float]:
    """Return a comparison's number for each seed that all its cells and arms have."""
    parts = [(weight, values.get(place, {})) for place, weight in comparison.weights.items()]
    seeds = set.intersection(*(set(part) for _, part in parts))
    return {seed: sum(weight * part[seed] for weight, part in parts) for seed in sorted(seeds)}


def best_of_sweep(rows: Iterable[Row]) -> dict[str, float]:
    """Return the numbers with the highest mean of SSKD minus KD+rotations on validation images.

    Raises ValueError if the sweep has not been trained.
    """
    values = values_of(rows, "accuracy")

    def gain(cell: str, arm: str) -> float:
        control, arms = values.get((cell, "kd+rotations"), {}), values.get((cell, arm), {})
        if len(control) < len(read_plan().cells[cell].seeds) or control.keys() != arms.keys():
            raise ValueError(f"the cell {cell} of the sweep is not trained yet; run it first: --cells {cell}")
        return statistics.fmean(arms[seed] - control[seed] for seed in control)

    best = {}
    for number, entry in read_plan().sweep.items():
        if "arms" in entry:
            gains = {value: gain(entry["cell"], arm) for value, arm in entry["arms"].items()}
        else:
            gains = {value: gain(cell, entry["arm"]) for value, cell in entry["cells"].items()}
        best[number] = max(gains, key=gains.__getitem__)
    return best
