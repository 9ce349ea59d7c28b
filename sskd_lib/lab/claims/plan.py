"""The plan of the claims (data/claims/plan.yaml): arms, cells, claims and their comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ...data.load import DATA_FOLDER
from ...recipes import Recipe, Schedule, make_recipe

FOLDER = DATA_FOLDER / "claims"
PEAK = 0.05  # highest learning rate of every schedule of the plan
FROM_SWEEP = "best of the sweep"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train a student: a method, changes of its recipe, a control, a factor of the epochs."""

    name: str
    method: str
    recipe: Mapping[str, float] | str = field(default_factory=dict)
    control: str | None = None
    times: int = 1

    def full_recipe(self, best: Mapping[str, float]) -> Recipe:
        """Return all numbers. best: of the sweep, for an arm that takes them from there."""
        if self.recipe == FROM_SWEEP:
            return make_recipe(changes={name: best[name] for name in ("ss_temperature", "ss")})
        return make_recipe(changes=self.recipe)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Trainings that differ by arm and seed only; the arms of a seed share images, weights, order and views.

    images: fashion, cifar10, grocery or hundred; labels: how many are drawn; noise: share of wrong labels.
    split: what is measured on, "test" or "validation". probe: whether features are probed on other images.
    large: whether it needs a GPU, and is no part of the set for two cores.
    """

    name: str
    images: str
    labels: int
    schedule: Schedule
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    student: str = "resnet8"
    noise: float = 0.0
    split: str = "test"
    batch: str = ""
    probe: bool = False
    large: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number per seed: the sum of weight · outcome over some (cell, arm), and what it is called.

    outcome: a key of the rows, or "closeness" (minus 100 KL) or "calibration" (minus the calibration error).
    """

    name: str
    place: str
    outcome: str
    weights: Mapping[tuple[str, str], float]

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells it needs, in order."""
        return tuple(dict.fromkeys(cell for cell, _ in self.weights))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, what is true if it is wrong, and the comparisons that decide (primary) and that look further.

    spread: standard deviation of the differences that was expected before the runs, in the outcome's unit.
    """

    id: str
    claim: str
    null: str
    spread: float
    primary: tuple[Comparison, ...]
    other: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All of data/claims/plan.yaml."""

    arms: Mapping[str, Arm]
    cells: Mapping[str, Cell]
    claims: Mapping[str, Claim]
    sweep: Mapping[str, Any]


@lru_cache
def read_plan(path: Path = FOLDER / "plan.yaml") -> Plan:
    """Read the plan. Raises ValueError where a name in it is not defined."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    arms = {name: Arm(name=name, **values) for name, values in raw["arms"].items()}
    cells = {name: _cell(name, values, raw["schedules"]) for name, values in raw["cells"].items()}
    claims = {values["id"]: _claim(values) for values in raw["claims"]}
    plan = Plan(arms=arms, cells=cells, claims=claims, sweep=raw["sweep"])
    _check(plan)
    return plan


def _cell(name: str, values: Mapping[str, Any], schedules: Mapping[str, Any]) -> Cell:
    first, last = values["seeds"]
    schedule = Schedule(lr=PEAK, shape="one-cycle", **schedules[values["schedule"]])
    changed = {"schedule": schedule, "seeds": tuple(range(first, last + 1)), "arms": tuple(values["arms"])}
    return Cell(name=name, **{**values, **changed})


def _claim(values: Mapping[str, Any]) -> Claim:
    outcome = values.get("outcome", "accuracy")
    parts = {
        part: tuple(made for entry in values[part] for made in _comparisons(entry, outcome))
        for part in ("primary", "other")
    }
    given = {key: values[key] for key in ("id", "claim", "spread")}
    return Claim(null=values["null hypothesis"], **given, **parts)


def _comparisons(entry: Mapping[str, Any], outcome: str) -> list[Comparison]:
    """Return the comparisons of an entry: one per cell, or one over all of them if it has weights."""
    cells = entry["cells"] if "cells" in entry else [entry["cell"]]
    plus, minus = entry["plus"], entry["minus"]
    outcome, name = entry.get("outcome", outcome), f"{plus} − {minus}"
    if "slope" in entry or "weights" in entry:
        weights = _slope(entry["slope"]) if "slope" in entry else entry["weights"]
        both = {
            (cell, arm): sign * weight
            for cell, weight in zip(cells, weights, strict=True)
            for arm, sign in ((plus, 1), (minus, -1))
        }
        kind = "slope" if "slope" in entry else entry["called"]
        return [Comparison(name=name, place=f"{kind}, {_common(cells)}", outcome=outcome, weights=both)]
    return [
        Comparison(
            name=name,
            place=cell,
            outcome=outcome,
            weights={(cell, plus): 1, (entry.get("minus_cell", cell), minus): -1},
        )
        for cell in cells
    ]


def _slope(x: Sequence[float]) -> list[float]:
    """Return the weights whose sum with y is the least-squares slope of y over x."""
    mean = sum(x) / len(x)
    total = sum((value - mean) ** 2 for value in x)
    return [(value - mean) / total for value in x]


def _common(cells: Sequence[str]) -> str:
    """Return the parts of the names that all cells begin with."""
    parts = [name.split("-") for name in cells]
    same = [words[0] for words in zip(*parts, strict=False) if len(set(words)) == 1]
    return "-".join(same)


def _check(plan: Plan) -> None:
    for cell in plan.cells.values():
        if unknown := [arm for arm in cell.arms if arm not in plan.arms]:
            raise ValueError(f"the cell {cell.name} has arms that are not defined: {', '.join(unknown)}")
    for claim in plan.claims.values():
        for comparison in (*claim.primary, *claim.other):
            for cell, arm in comparison.weights:
                if cell not in plan.cells or arm not in plan.cells[cell].arms:
                    raise ValueError(
                        f"the claim {claim.id} compares {arm!r} in {cell}, which has no such arm"
                    )
