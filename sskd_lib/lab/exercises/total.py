"""Exercise on the weighted sum of the terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .cases import generator_of
from .demands import gradient_needed
from .exercise import Exercise, Mistake

NAMES = ("ce", "kd", "tf", "ss")


def _weighted(seed: int) -> dict[str, Any]:
    generator = generator_of(seed)
    terms = {name: 0.2 + 2 * torch.rand((), dtype=torch.float64, generator=generator) for name in NAMES}
    weights = {name: float(torch.randint(1, 100, (), generator=generator)) / 10 for name in reversed(NAMES)}
    return {"terms": terms, "weights": weights}


def _total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()


SSKD_TOTAL = Exercise(
    name="sskd_total",
    task="The weighted sum of the terms: sskd_total(terms, weights). Both are dicts with the same names, but "
    "not always in the same order.",
    returns="one number",
    cases=_weighted,
    right=_total,
    mistakes=(
        Mistake(
            name="weights left out",
            message="You add the terms, but each has the weight 1. The weights are never used.",
            answer=lambda terms, weights: sum(terms.values()),
        ),
        Mistake(
            name="paired by order",
            message="You pair terms and weights by their order. The two dicts have different orders: the "
            "NAME says what belongs together.",
            answer=lambda terms, weights: sum(
                w * t for w, t in zip(weights.values(), terms.values(), strict=True)
            ),
        ),
        Mistake(
            name="divided by the sum of the weights",
            message="You divide by the sum of the weights. That is a weighted mean; the loss is a sum.",
            answer=lambda terms, weights: _total(terms, weights) / sum(weights.values()),
        ),
        Mistake(
            name="divided by the number of terms",
            message="You divide by the number of terms. The loss is a sum, not a mean.",
            answer=lambda terms, weights: _total(terms, weights) / len(terms),
        ),
        Mistake(
            name="all weights times all terms",
            message="You add up all weights, and multiply by all terms. Each term has its own weight.",
            answer=lambda terms, weights: sum(weights.values()) * sum(terms.values()),
        ),
        Mistake(
            name="weight applied twice",
            message="Each weight is in your sum twice. One factor is enough.",
            answer=lambda terms, weights: sum(weights[name] ** 2 * t for name, t in terms.items()),
        ),
        Mistake(
            name="only ce and kd",
            message="You have only the terms ce and kd: this is KD. The terms of the rotated rows are "
            "missing.",
            answer=lambda terms, weights: sum(weights[name] * terms[name] for name in ("ce", "kd")),
        ),
        Mistake(
            name="ss left out",
            message="The term ss is missing. Without it this is KD with rotated images, the control of SSKD.",
            answer=lambda terms, weights: sum(weights[name] * terms[name] for name in ("ce", "kd", "tf")),
        ),
        Mistake(
            name="divided by the weights",
            message="You divide each term by its weight. A larger weight must make a term count more.",
            answer=lambda terms, weights: sum(t / weights[name] for name, t in terms.items()),
        ),
    ),
    demands=(gradient_needed("terms", "the terms"),),
    hints=(
        "One number goes in for each name, and one number comes out for all of them together.",
        "Go through the names, not through positions: dicts know their values by name.",
        "Start a sum at 0. Which two numbers does a name give you, and how do they belong together?",
    ),
)

EXERCISES = (SSKD_TOTAL,)
