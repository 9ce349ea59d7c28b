"""Recorded runs of the comparison of all methods, a reduced reproduction of the published ones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.load import DATA_FOLDER
from ...losses import METHODS, create_method
from ...reproduce.results import RUN_COLUMNS

FOLDER = DATA_FOLDER.parent / "benchmarks" / "results" / "zoo"
LONGER = FOLDER.with_name("zoo_60")  # some of the methods, for 60 epochs
NUMBERS = {"seed": int, "last": float, "best": float, "epochs": int, "images": int}
# What terms had in the recorded runs, where the published numbers, which the library has today, are others.
RECORDED_WITH: dict[str, dict[str, Any]] = {
    "dist": {"temperature": 1.0},
    "reviewkd": {"teacher_maps": "post_relu"},
}
REMEDY = "`git checkout -- benchmarks/results/zoo` brings the recorded one back"


def zoo_runs(folder: str | Path = FOLDER) -> list[dict[str, Any]]:
    """Read runs.csv of `reproduce`: one dict per run, with the columns of results.RUN_COLUMNS.

    folder: the recorded one, or the --out of another run. The order is that of the file's pairs, then of
    METHODS, then of seeds.
    Raises FileNotFoundError without the file; ValueError for one without a column, without runs, with text
    in place of a number, or with one run twice.
    """
    file = Path(folder) / "runs.csv"
    if not file.is_file():
        raise FileNotFoundError(f"there are no runs in {file}; {REMEDY}, `reproduce --out` writes others.")
    with file.open(encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text)
        if missing := [name for name in RUN_COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{file} has no column {', '.join(missing)}; {REMEDY}.")
        runs = [_typed(row, file, line) for line, row in enumerate(reader, start=2)]
    if not runs:
        raise ValueError(f"{file} has no runs; {REMEDY}.")
    seen = set()
    for run in runs:
        key = tuple(run[name] for name in ("pair", "condition", "method", "seed"))
        if key in seen:
            raise ValueError(f"{file} has this run twice: {', '.join(map(str, key))}. Leave one out.")
        seen.add(key)
    pairs = list(dict.fromkeys(run["pair"] for run in runs))
    return sorted(runs, key=lambda r: (pairs.index(r["pair"]), *_place(r["method"]), r["seed"]))


def _typed(row: Mapping[str, str], file: Path, line: int) -> dict[str, Any]:
    run: dict[str, Any] = dict(row)
    for name, kind in NUMBERS.items():
        try:
            run[name] = kind(row[name])
        except (TypeError, ValueError):
            raise ValueError(
                f"{file}, line {line}: {name} is {row[name]!r}, which is no number; {REMEDY}."
            ) from None
    return run


def _place(method: str) -> tuple[int, str]:
    return (METHODS.index(method) if method in METHODS else len(METHODS)), method


def zoo_command(folder: str | Path = FOLDER) -> str:
    """Return the command that made the runs, as results.md quotes it; "" where it names none."""
    file = Path(folder) / "results.md"
    first = file.read_text(encoding="utf-8").partition("\n")[0] if file.is_file() else ""
    parts = first.split("`")
    return parts[1] if len(parts) > 2 else ""


def by_method(runs: Sequence[Mapping[str, Any]], pair: str) -> dict[str, dict[int, float]]:
    """Return the accuracy after the last epoch of one pair's runs: method → seed → per cent.

    Raises ValueError, with the pairs there are, if none is of this pair, and if the pair was trained under
    several conditions: choose among the runs first.
    """
    chosen = [run for run in runs if run["pair"] == pair]
    conditions = list(dict.fromkeys(run["condition"] for run in chosen))
    if len(conditions) != 1:
        pairs = ", ".join(dict.fromkeys(run["pair"] for run in runs))
        several = f"several conditions: {', '.join(conditions)}; take one"
        known = several if chosen else f"there are: {pairs}"
        raise ValueError(f"no single set of runs of {pair!r}; {known}.")
    accuracies: dict[str, dict[int, float]] = {}
    for run in chosen:
        accuracies.setdefault(run["method"], {})[run["seed"]] = run["last"]
    return accuracies


def changed_since(runs: Sequence[Mapping[str, Any]], folder: str | Path = FOLDER) -> dict[str, str]:
    """Return the methods whose recorded runs had other numbers than the library has today: method → which.

    runs: of `zoo_runs`; folder: where they are. Empty for the runs of another folder than the recorded ones.
    """
    if Path(folder).resolve() not in {place.resolve() for place in (FOLDER, LONGER)}:
        return {}
    changed = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        terms = {term.name: term for term in create_method(method).terms}
        differences = [
            f"{number.replace('_', ' ')} {_words(then)} (published, and today: {_words(today)})"
            for name, numbers in RECORDED_WITH.items()
            for number, then in numbers.items()
            if name in terms and (today := getattr(terms[name], number)) != then
        ]
        if differences:
            changed[method] = ", ".join(differences)
    return changed


def _words(value: Any) -> str:
    return {"post_relu": "after the ReLU", "pre_relu": "before the ReLU"}.get(value) or f"{value:g}"
