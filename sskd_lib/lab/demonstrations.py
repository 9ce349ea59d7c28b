"""Short trainings for the notebooks: a class never seen, and a live comparison beside recorded seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from ..data.load import DATA_FOLDER
from ..evaluation import interval, predict
from ..recipes import SHORT, Recipe
from ..training.state import Run
from ..training.train import create_network, distill
from .comparison.statistics import minus
from .curves import difference_figure
from .startup import Lab

RESULTS = DATA_FOLDER.parent / "benchmarks" / "results"
ROWS, MISSING_ROWS = RESULTS / "short_schedule.jsonl", RESULTS / "missing_class.jsonl"
SETTINGS = {"fashion-mnist-lab": "fashion-300", "fashion-mnist": "fashion-300"}  # images → recorded setting

STUDENTS = ("labels only", "soft targets only")  # of `train_without_class`


def train_without_class(kit: Lab, missing: int, labels: int = 300, seed: int = 0) -> dict[str, Tensor]:
    """Train two students on images without one class, by the short schedule. Return their test logits [M, K].

    "labels only" learns from the labels that are left, "soft targets only" from the teacher, with no label.
    missing: number of the class; labels: images to draw, ten per class at least, before the class goes.
    """
    classes = kit.train.classes
    drawn = kit.train.take(max(labels, 10 * len(classes)), seed=seed)
    kept = drawn.labels != missing
    few = replace(drawn, images=drawn.images[kept], labels=drawn.labels[kept], name="one class less")
    students = [create_network("resnet8", like=few, seed=seed) for _ in range(2)]
    recipes = [Recipe(), Recipe(ce=0, kd=1)]
    options = {"schedule": SHORT, "seed": seed, "runtime": kit.runtime, "progress": False}
    runs = distill(students, kit.teacher(), few, method=["ce", "kd"], recipe=recipes, **options)
    return {
        name: predict(run.network, kit.test, kit.runtime).logits
        for name, run in zip(STUDENTS, runs, strict=True)
    }


def short_runs(setting: str = "fashion-300") -> dict[str, dict[int, float]]:
    """Read the recorded test runs of the short schedule: method → seed → accuracy of the last epoch (%).

    setting: images and labels, such as "fashion-300".
    Raises FileNotFoundError without the file, ValueError for a setting that was not recorded.
    """
    rows = _read(ROWS)
    runs: dict[str, dict[int, float]] = {}
    for row in rows:
        if (row["setting"], row["split"]) == (setting, "test"):
            runs.setdefault(row["method"], {})[row["seed"]] = row["accuracy"]
    if not runs:
        known = sorted({row["setting"] for row in rows if row["split"] == "test"})
        raise ValueError(f"no runs of {setting!r} are recorded; there are: {', '.join(known)}.")
    return runs


def missing_class_means() -> dict[str, dict[str, float]]:
    """Return the recorded runs of benchmarks/missing_class.py: hidden class → student → named right, in %."""
    rows = _read(MISSING_ROWS)
    classes: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        classes.setdefault(row["missing"], []).append(row)
    return {
        name: {student: sum(row[student] for row in of_class) / len(of_class) for student in STUDENTS}
        for name, of_class in classes.items()
    }


def missing_class_table() -> str:
    """Return the numbers of `missing_class_means` as a table, with their mean."""
    rows, means = _read(MISSING_ROWS), missing_class_means()
    lines = [f"{'hidden class':14}" + "".join(f"{name:>20}" for name in STUDENTS)]
    for name, values in means.items():
        lines.append(f"{name:14}" + "".join(f"{values[student]:18.1f} %" for student in STUDENTS))
    whole = [sum(row[student] for row in rows) / len(rows) for student in STUDENTS]
    lines.append(f"{'mean':14}" + "".join(f"{mean:18.1f} %" for mean in whole))
    seeds = len({row["seed"] for row in rows})
    return "\n".join([*lines, f"(seeds: {seeds}; blind choice: {100 / len(means):.0f} %)"])


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `git checkout -- benchmarks/results` brings it back.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_outcome(kit: Lab, live: Mapping[str, Run], a: str = "sskd", b: str = "kd") -> str:
    """Return in words how a live comparison of one seed came out, and what the recorded seeds show."""
    last = {method: run.summary["last"]["test_accuracy"] for method, run in live.items()}
    here = last[a] - last[b]
    words = [f"Here, with one seed: {a} {last[a]:.1f} %, {b} {last[b]:.1f} %, difference {here:+.1f} points."]
    setting = SETTINGS.get(kit.dataset)
    if setting is None:
        return " ".join([*words, f"No runs of the short schedule are recorded for {kit.dataset}."])
    runs = short_runs(setting)
    recorded = minus(runs[a], runs[b])
    mean, half = interval(recorded)
    above = sum(gap > 0 for gap in recorded)
    words.append(
        f"Recorded, {len(recorded)} other seeds: {mean:+.1f} ± {half:.1f} (95 %), from {min(recorded):+.1f} "
        f"to {max(recorded):+.1f}; {a} was ahead in {above} of {len(recorded)}."
    )
    if min(recorded) <= here <= max(recorded):
        words.append("Your difference is among the recorded ones.")
    else:
        words.append("Your difference is outside the recorded ones: one seed can do that.")
    return " ".join(words)


def gap_figure(setting: str = "fashion-300", title: str = "") -> Figure:
    """Draw the recorded differences of the short schedule, one dot per seed, with mean and 95 % interval."""
    runs = short_runs(setting)
    pairs = {"SSKD − KD": ("sskd", "kd"), "(KD + rotations) − KD": ("kd+rotations", "kd")}
    pairs["SSKD − (KD + rotations)"] = ("sskd", "kd+rotations")
    return difference_figure({name: minus(runs[a], runs[b]) for name, (a, b) in pairs.items()}, title)
