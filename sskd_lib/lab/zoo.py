"""The recorded reduced reproduction of the zoo, and what a few seeds and many comparisons let one say."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.load import DATA_FOLDER
from ..losses import METHODS
from ..reproduce.results import RUN_COLUMNS

FOLDER = DATA_FOLDER.parent / "benchmarks" / "results" / "zoo"
LONGER = FOLDER.with_name("zoo_60")  # some of the methods, for 60 epochs
NUMBERS = {"seed": int, "last": float, "best": float, "epochs": int, "images": int}
BACK = "`git checkout -- benchmarks/results/zoo` brings the recorded one back"


def zoo_runs(folder: str | Path = FOLDER) -> list[dict[str, Any]]:
    """Read runs.csv of `reproduce`: a dict a run, with the columns of results.RUN_COLUMNS.

    folder: where it lies, the recorded one or the --out of a run of one's own. In the order of the file's
    pairs, then of METHODS, then of seeds.
    Raises FileNotFoundError without the file; ValueError for one that lacks columns or runs, holds what is
    no number, or one run twice.
    """
    file = Path(folder) / "runs.csv"
    if not file.is_file():
        raise FileNotFoundError(f"there are no runs in {file}; {BACK}, `reproduce --out` writes others.")
    with file.open(encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text)
        if missing := [name for name in RUN_COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{file} has no column {', '.join(missing)}; {BACK}.")
        runs = [_typed(row, file, line) for line, row in enumerate(reader, start=2)]
    if not runs:
        raise ValueError(f"{file} holds no runs; {BACK}.")
    seen = set()
    for run in runs:
        key = tuple(run[name] for name in ("pair", "condition", "method", "seed"))
        if key in seen:
            raise ValueError(f"{file} holds this run twice: {', '.join(map(str, key))}. Leave one out.")
        seen.add(key)
    pairs = list(dict.fromkeys(run["pair"] for run in runs))
    return sorted(runs, key=lambda r: (pairs.index(r["pair"]), *_place(r["method"]), r["seed"]))


def _typed(row: Mapping[str, str], file: Path, line: int) -> dict[str, Any]:
    found: dict[str, Any] = dict(row)
    for name, kind in NUMBERS.items():
        try:
            found[name] = kind(row[name])
        except (TypeError, ValueError):
            raise ValueError(
                f"{file}, line {line}: {name} is {row[name]!r}, which is no number; {BACK}."
            ) from None
    return found


def _place(method: str) -> tuple[int, str]:
    return (METHODS.index(method) if method in METHODS else len(METHODS)), method


def zoo_command(folder: str | Path = FOLDER) -> str:
    """The command that made the runs, as results.md quotes it; "" where it names none."""
    file = Path(folder) / "results.md"
    first = file.read_text(encoding="utf-8").partition("\n")[0] if file.is_file() else ""
    parts = first.split("`")
    return parts[1] if len(parts) > 2 else ""


def by_method(runs: Sequence[Mapping[str, Any]], pair: str) -> dict[str, dict[int, float]]:
    """Accuracy after the last epoch of one pair's runs: method → seed → per cent.

    Raises ValueError, with the pairs there are, if none is of this pair, and if the pair was trained under
    several conditions: choose among the runs first.
    """
    mine = [run for run in runs if run["pair"] == pair]
    conditions = list(dict.fromkeys(run["condition"] for run in mine))
    if len(conditions) != 1:
        pairs = ", ".join(dict.fromkeys(run["pair"] for run in runs))
        known = (
            f"there are: {pairs}" if not mine else f"several conditions: {', '.join(conditions)}; take one"
        )
        raise ValueError(f"no single set of runs of {pair!r}; {known}.")
    found: dict[str, dict[int, float]] = {}
    for run in mine:
        found.setdefault(run["method"], {})[run["seed"]] = run["last"]
    return found


def paired(values: Mapping[str, Mapping[int, float]], against: str = "kd") -> dict[str, list[float]]:
    """Differences to one method, seed by seed: method → one number for each seed that both have.

    A method that shares no seed with it is left out, and so is the method itself. Raises ValueError if
    `against` was not run.
    """
    if against not in values:
        raise ValueError(f"there are no runs of {against!r} to compare with; there are: {', '.join(values)}.")
    base = values[against]
    found = {
        name: [runs[seed] - base[seed] for seed in sorted(runs) if seed in base]
        for name, runs in values.items()
        if name != against
    }
    return {name: differences for name, differences in found.items() if differences}


def p_value(differences: Sequence[float]) -> float:
    """Two-sided p of Student's t test that the mean difference is 0; nan for a single difference.

    Below 0.05 exactly where the 95 % interval of `interval` leaves 0 out.
    """
    from scipy import stats

    if len(differences) < 2:
        return math.nan
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) * len(differences) ** 0.5 / spread, len(differences) - 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct the p of m comparisons (Holm): the k-th smallest times m - k + 1, at least the one before.

    At most 1. Keeping those at 0.05 or below leaves, with 95 % probability, no false one among them, however
    the comparisons depend on each other. nan is no comparison and stays nan.
    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = sorted((name for name, p in p_values.items() if not math.isnan(p)), key=p_values.__getitem__)
    corrected = {name: math.nan for name in p_values}
    highest = 0.0
    for place, name in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * p_values[name]))
        corrected[name] = highest
    return corrected
