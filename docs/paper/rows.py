"""The numbers of docs/paper.md: each is named here by its record and its rows, and computed from them.

No measured number is typed. `Measured` says which rows are compared; `Printed` says which published figures
are shown.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sskd_lib.evaluation import interval
from sskd_lib.reproduce.paper import published
from sskd_lib.reproduce.plan import TABLES

ROOT = Path(__file__).resolve().parents[2]
Row = dict[str, Any]  # the columns of a record, "seed", and "accuracy" after the last epoch in percent

FEW = "benchmarks/results/few_labels.jsonl"
SHORT = "benchmarks/results/short_schedule.jsonl"
ZOO = "benchmarks/results/zoo/runs.csv"
ZOO_60 = "benchmarks/results/zoo_60/runs.csv"
GRID = "data/recordings/fashion-mnist-grid.npz"
MIX = "data/recordings/fashion-mnist-mix.npz"

SIMILAR, CROSS = "resnet20→resnet8", "vgg8→resnet8"  # the pairs of ZOO; ZOO_60 has the first
IMAGES = {
    "fashion": "Fashion-MNIST, 300 labels",
    "cifar10": "CIFAR-10, 1,000 labels",
    "fashion-300": "Fashion-MNIST, 300 labels",
    "fashion-100": "Fashion-MNIST, 100 labels",
    "cifar10-1000": "CIFAR-10, 1,000 labels",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The accuracy of some recorded runs minus that of others, seed by seed.

    record: a file with one run per row; where: the columns of the runs; minus: the columns in which the runs
    that are subtracted differ. compared, setting: both in words.
    """

    record: str
    where: Mapping[str, Any]
    minus: Mapping[str, Any]
    compared: str
    setting: str

    def differences(self) -> list[float]:
        """Return one difference per seed that both have, in points. Raises ValueError where there is none."""
        left, right = (
            by_seed(self.record, columns) for columns in (self.where, {**self.where, **self.minus})
        )
        common = sorted(left.keys() & right.keys())
        if not common:
            raise ValueError(
                f"{self.record} has no seed with both {self.where} and {self.minus}. "
                "Name rows that are there."
            )
        return [left[seed] - right[seed] for seed in common]

    def cells(self) -> tuple[str, str, str]:
        """Return the number of seeds, mean ± half of the 95 % interval, and `place`."""
        values = self.differences()
        mean, half = interval(values)
        return str(len(values)), f"{mean:+.2f} ± {half:.2f}", self.place

    @property
    def place(self) -> str:
        """Where the interval is: "contains zero", "above zero" or "below zero"."""
        mean, half = interval(self.differences())
        return "contains zero" if abs(mean) <= half else "above zero" if mean > 0 else "below zero"


@dataclass(frozen=True, kw_only=True)
class Printed:
    """The published accuracy of some methods in one of the paper's tables, as means over its pairs."""

    table: str
    methods: tuple[str, ...]

    def words(self) -> str:
        """Return "SSKD 75.04, KD 73.09 (means over 5 pairs)"."""
        pairs = TABLES[self.table].pairs
        means = [
            statistics.fmean(published(self.table, pair, method)[0].value for pair in pairs)
            for method in self.methods
        ]
        shown = ", ".join(f"{shown_name(m)} {mean:.2f}" for m, mean in zip(self.methods, means, strict=True))
        return f"{shown} " + (f"(means over {len(pairs)} pairs)" if len(pairs) > 1 else f"({pairs[0].name})")


def shown_name(method: str) -> str:
    """Return a method's name in print: "KD+rotations", "SSKD", `sskd-jigsaw`."""
    names = {"kd+rotations": "KD+rotations", "ce": "labels alone", "sskd": "SSKD", "kd": "KD", "crd": "CRD"}
    return names.get(method, f"`{method}`")


# ---- reading the records -------------------------------------------------------------------------


@cache
def rows(record: str) -> tuple[Row, ...]:
    """Return the runs of a record (.jsonl, .csv or .npz with a card beside it)."""
    path = ROOT / record
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            settings, accuracy = arrays["settings"].tolist(), arrays["accuracy"][:, -1].tolist()
        names = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["settings"]
        return tuple(
            dict(zip(names, row, strict=True), accuracy=last)
            for row, last in zip(settings, accuracy, strict=True)
        )
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        runs = csv.DictReader(text.splitlines())
        return tuple(
            {**r, "epochs": int(r["epochs"]), "seed": int(r["seed"]), "accuracy": float(r["last"])}
            for r in runs
        )
    return tuple(_typed(json.loads(line)) for line in text.splitlines())


def _typed(run: Row) -> Row:
    """Return a line of FEW or SHORT as a row; FEW has its columns in a list, "key"."""
    if "key" not in run:
        return run
    names = ("setting", "split", "epochs", "method", "seed")
    return dict(zip(names, run["key"], strict=True), accuracy=run["last"])


def by_seed(record: str, columns: Mapping[str, Any]) -> dict[int, float]:
    """Return the accuracy by seed of the runs with these columns. Raises ValueError for two of one seed."""
    chosen = [row for row in rows(record) if all(row.get(name) == value for name, value in columns.items())]
    accuracy = {int(row["seed"]): row["accuracy"] for row in chosen}
    if len(accuracy) != len(chosen):
        raise ValueError(f"{record} has several runs per seed with {dict(columns)}. Name more columns.")
    return accuracy


# ---- the comparisons -----------------------------------------------------------------------------


def few(setting: str, epochs: int, method: str, other: str, other_epochs: int | None = None) -> Measured:
    """Compare two methods under the published schedule, cut to some epochs. other_epochs: of the second."""
    lengths = f"{epochs} epochs" if other_epochs is None else f"{epochs} against {other_epochs} epochs"
    return Measured(
        record=FEW,
        where={"setting": setting, "split": "test", "epochs": epochs, "method": method},
        minus={"method": other, "epochs": other_epochs or epochs},
        compared=f"{shown_name(method)} − {shown_name(other)}",
        setting=f"{IMAGES[setting]}, {lengths}",
    )


def short(setting: str, method: str, other: str) -> Measured:
    """Compare two methods under the short schedule."""
    chosen = {"fashion-300": (20, 16), "fashion-100": (54, 8), "cifar10-1000": (8, 16)}
    epochs, batch = chosen[setting]
    columns = {"setting": setting, "split": "test", "epochs": epochs, "batch_size": batch, "head": "trained"}
    return Measured(
        record=SHORT,
        where={**columns, "method": method},
        minus={"method": other},
        compared=f"{shown_name(method)} − {shown_name(other)}",
        setting=f"{IMAGES[setting]}, short schedule, {epochs} epochs",
    )


def head(state: str) -> Measured:
    """Compare SSKD under the shipped head of the teacher with SSKD under a head that is less trained."""
    columns = {"setting": "fashion-300", "epochs": 20, "batch_size": 16, "method": "sskd"}
    return Measured(
        record=SHORT,
        where={**columns, "split": "test", "head": "trained"},
        minus={"split": "factors", "head": state},
        compared=f"SSKD, shipped head − SSKD, {state} head",
        setting=f"{IMAGES['fashion-300']}, short schedule, 20 epochs",
    )


def zoo(pair: str, method: str, other: str, epochs: int = 24) -> Measured:
    """Compare two methods on a pair of networks, 1,000 labels of CIFAR-10."""
    return Measured(
        record=ZOO_60 if epochs == 60 else ZOO,
        where={"pair": pair, "epochs": epochs, "method": method},
        minus={"method": other},
        compared=f"{shown_name(method)} − {shown_name(other)}",
        setting=f"{pair.replace('→', ' → ')}, CIFAR-10, 1,000 labels, {epochs} epochs",
    )


def kept(name: str, share: float, other: float, labels: int) -> Measured:
    """Compare two shares of wrong rows kept, in L_T ("tf_keep") or in L_ss ("ss_keep")."""
    usual = {"temperature": 4.0, "tf_keep": 1.0, "ss_keep": 0.75, "labels": float(labels)}
    term = {"tf_keep": "L_T", "ss_keep": "L_ss"}[name]
    return Measured(
        record=GRID,
        where={**usual, name: share},
        minus={name: other},
        compared=f"{term} keeps {share:.0%} − keeps {other:.0%}".replace("%", " %"),
        setting=f"Fashion-MNIST, {labels} labels, short schedule",
    )


def weights(compared: str, where: Mapping[str, float], minus: Mapping[str, float]) -> Measured:
    """Compare two mixes of the four weights; the weights that are not named are those of official-code."""
    usual = {"ce": 0.1, "kd": 0.9, "tf": 2.7, "ss": 10.0}
    return Measured(
        record=MIX,
        where={**usual, **where},
        minus=minus,
        compared=compared,
        setting="Fashion-MNIST, 300 labels, short schedule",
    )


def everywhere(method: str, other: str) -> tuple[Measured, ...]:
    """Compare two methods wherever both have recorded runs with a trained head, at equal epochs."""
    return (
        *(few("cifar10", epochs, method, other) for epochs in (30, 60, 240)),
        *(few("fashion", epochs, method, other) for epochs in (60, 240, 480)),
        *(short(setting, method, other) for setting in ("fashion-100", "fashion-300", "cifar10-1000")),
        *(zoo(pair, method, other) for pair in (SIMILAR, CROSS)),
        zoo(SIMILAR, method, other, epochs=60),
    )
