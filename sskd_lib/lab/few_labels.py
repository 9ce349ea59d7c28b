"""Recorded runs of benchmarks/few_labels.py: evidence from several seeds, beside a notebook's one."""

from __future__ import annotations

import json
from typing import Any

from ..data.load import DATA_FOLDER
from ..losses import METHODS

IMAGES = {"fashion": "Fashion-MNIST, 300 labels", "cifar10": "CIFAR-10, 1,000 labels"}  # of a setting
RESULTS = DATA_FOLDER.parent / "benchmarks" / "results" / "few_labels.jsonl"

History = list[dict[str, Any]]


def recorded(setting: str, epochs: int, split: str = "test") -> dict[str, list[History]]:
    """Read the recorded runs of one setting and length: method → its histories, one per seed.

    Methods come in the order ce, kd, kd+rotations, sskd, histories in the order of the seeds that all of
    them have: the same position means the same labelled images, so differences may be taken in pairs. A
    history is what `Run.history` is, for the epochs that were measured: dicts of epoch, test_accuracy,
    train_accuracy and the unweighted terms (ce, kd, tf, ss) the method has; the last is the last epoch.

    setting: "fashion" (300 labels) or "cifar10" (1,000 labels); split: "test" or "validation".
    Raises FileNotFoundError without the file, ValueError, with what is recorded, for other settings.
    """
    if not RESULTS.is_file():
        raise FileNotFoundError(
            f"there are no recorded runs in {RESULTS}; `git checkout -- benchmarks/results` brings them back."
        )
    records = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    histories = {
        (record["key"][3], record["key"][4]): _history(record["curve"])
        for record in records
        if record["key"][:3] == [setting, split, epochs]
    }
    if not histories:
        places = sorted({tuple(record["key"][:3]) for record in records})
        known = "; ".join(f"{name}, {length} epochs, {part}" for name, part, length in places)
        raise ValueError(
            f"no runs of {setting!r}, {epochs} epochs, {split!r} are recorded; there are: {known}."
        )
    methods = [method for method in METHODS if any(name == method for name, _ in histories)]
    seeds_of = ({seed for name, seed in histories if name == method} for method in methods)
    seeds = sorted(set.intersection(*seeds_of))
    return {method: [histories[method, seed] for seed in seeds] for method in methods}


def _history(curve: dict[str, list[float]]) -> History:
    """Turn columns into rows, without the terms that a method lacks."""
    columns = {name: values for name, values in curve.items() if values}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
