"""The numbers of a run: weights, temperatures and selection ratios of the loss, and the schedule.

Sources: Xu et al. 2020 (arXiv 2006.07114), its two versions and the published code, which disagree on
the weights of the last two terms. Each version is one entry of PRESETS.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Literal

COLDEST, HOTTEST = 0.001, 100_000  # temperatures; above, float64 too would round softened classes to one


def check_number(name: str, value: Any, of: str = "") -> None:
    """Raise ValueError unless a number of a recipe, or of a term (`of`), can be what its name says.

    A temperature is from 0.001 to 100,000, a "…_keep_wrong" from 0 to 1, every other number finite, a weight
    not negative.
    """
    label = f"{name} of {of!r}" if of else name
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{label} is a number, not {value!r}.")
    number = float(value)
    if name.endswith("temperature") and not number > 0:
        raise ValueError(f"{label} must be above 0, not {value}: logits are divided by it.")
    if name.endswith("temperature") and not COLDEST <= number <= HOTTEST:
        raise ValueError(f"{label} must be from {COLDEST} to {HOTTEST:,}, not {value:g}.")
    if name.endswith("keep_wrong") and not 0 <= number <= 1:
        percent = f" {value:g} % is {value / 100:g}." if 1 < number <= 100 else ""
        raise ValueError(f"{label} is a share of the wrong rows, between 0 and 1, not {value}.{percent}")
    if name in ("ce", "kd", "tf", "ss", "weight") and not 0 <= number < math.inf:
        raise ValueError(f"the {label if of else f'weight {name}'} must be 0 or above, not {value}.")
    if not math.isfinite(number):
        raise ValueError(f"{label} is a finite number, not {value}.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Weights λ, temperatures τ and selection ratios of the four terms.

    L = ce · L_ce + kd · L_kd + tf · L_T + ss · L_ss

    A ratio (`…_keep_wrong`, from 0 to 1) is the share that is kept of the rows on which the teacher is WRONG;
    all rows on which it is right are kept. Defaults: the published code after July 2020.
    Raises ValueError for a number out of its range, and if all four weights are 0.
    """

    ce: float = 0.1
    kd: float = 0.9
    tf: float = 2.7
    ss: float = 10.0
    kd_temperature: float = 4.0
    tf_temperature: float = 4.0
    ss_temperature: float = 0.5
    tf_keep_wrong: float = 1.0
    ss_keep_wrong: float = 0.75

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            check_number(name, value)
        if self.ce == self.kd == self.tf == self.ss == 0:
            raise ValueError(
                "all four weights are 0, so there is nothing to learn. Give at least one a value."
            )


PRESETS: dict[str, Recipe] = {
    "official-code": Recipe(),
    # arXiv v2, appendix 6.4: the two self-supervised weights the other way round; k = 75 % for both.
    "arxiv": Recipe(tf=10.0, ss=2.7, tf_keep_wrong=0.75),
    # ECCV supplement: only its weights are known here; temperatures and ratios are those of the code.
    "eccv-supp": Recipe(tf=5.0, ss=3.0),
}


def make_recipe(preset: str = "official-code", changes: Mapping[str, float] | None = None) -> Recipe:
    """Return a preset with some of its numbers changed. Raises ValueError for an unknown preset or number.

    >>> make_recipe("arxiv", {"ss": 5.0}).ss
    5.0
    """
    if preset not in PRESETS:
        raise ValueError(
            f"there is no preset {preset!r}; the presets are: {', '.join(PRESETS)}.{_hint(preset, PRESETS)}"
        )
    changes = changes or {}
    names = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := [name for name in changes if name not in names]:
        raise ValueError(
            f"a recipe has no number {', '.join(unknown)}; it has: {', '.join(names)}."
            f"{_hint(unknown[0], names)}"
        )
    return dataclasses.replace(PRESETS[preset], **changes)


def _hint(name: object, names: Any) -> str:
    """Return a sentence with the nearest of some names, or ""."""
    near = get_close_matches(str(name), names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


# what fits each of a schedule's numbers, and what it is, in words
_RULES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": (lambda v: 0 < v < math.inf, "the learning rate lr is a number above 0"),
    "momentum": (lambda v: 0 <= v < 1, "momentum is a number from 0 to below 1"),
    "weight_decay": (lambda v: 0 <= v < math.inf, "weight_decay is a number, 0 or above"),
    "decay": (lambda v: 0 < v <= 1, "decay is the factor of lr at each milestone, above 0 and at most 1"),
    "warmup": (lambda v: 0 <= v <= 1, "warmup is a fraction of the epochs, from 0 to 1"),
}


def _as_milestones(given: Any, epochs: int) -> tuple[float, ...]:
    """Return milestones as a tuple. Raises ValueError unless they are ascending fractions of the epochs."""
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    if numbers and isinstance(given, (tuple, list)):
        bounds = (0, *map(float, values), 1)
        if all(low < high for low, high in pairwise(bounds)):
            return values
    hint = f" A single one is ({given},)." if given in values and numbers else ""
    if numbers and all(0 < value < epochs for value in values) and max(values) > 1:
        numbers_in_epochs = ", ".join(f"{value:g}" for value in values)
        fractions = ", ".join(f"{value / epochs:.4g}" for value in values)
        hint = f" Of {epochs} epochs, {numbers_in_epochs} are the fractions {fractions}."
    raise ValueError(
        "milestones are fractions of the epochs, each between 0 and 1 and above the one before, not "
        f"{given!r}.{hint}"
    )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The schedule of one training by SGD with momentum: epochs, batch size, and learning rate.

    shape "steps": the rate is lr, and is multiplied by `decay` at each milestone. Milestones are fractions of
    the epochs, so that a shorter run keeps the shape of the published one (240: cuts after 150, 180, 210).
    shape "one-cycle": the rate rises in a line to lr during the first `warmup` of the epochs, then falls in a
    line to 0; an epoch takes the rate of its middle (a linear form of Smith and Topin 2017,
    arXiv 1708.07120).
    Raises ValueError for a number out of its range, and for an unknown shape.
    """

    epochs: int = 240  # passes over the training images
    batch_size: int = 64  # images in one step
    lr: float = 0.05  # highest learning rate
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)  # steps: fractions of the epochs, see decay
    decay: float = 0.1  # steps: factor of the learning rate at each milestone
    shape: Literal["steps", "one-cycle"] = "steps"
    warmup: float = 0.2  # one-cycle: fraction of the epochs in which the rate rises

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ValueError(
                    f"epochs and batch_size must be at least 1, and whole numbers; {name} is {value!r}."
                )
        for name, (fits, meaning) in _RULES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not fits(float(value)):
                raise ValueError(f"{meaning}, not {value!r}.")
        if self.shape not in ("steps", "one-cycle"):
            raise ValueError(f"there is no shape {self.shape!r}; the shapes are 'steps' and 'one-cycle'.")
        object.__setattr__(self, "milestones", _as_milestones(self.milestones, self.epochs))

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate in `epoch` (counted from 0)."""
        if self.shape == "one-cycle":
            middle = (epoch + 0.5) / self.epochs
            if middle < self.warmup:
                return self.lr * middle / self.warmup
            return self.lr * (1 - middle) / (1 - self.warmup)
        # The first epoch is never cut; 1e-9: 0.58 of 50 epochs is 29, though the product falls just short.
        cuts = sum(epoch >= max(1, int(part * self.epochs + 1e-9)) for part in self.milestones)
        return self.lr * self.decay**cuts


STUDENT = Schedule()  # also the teacher's
HEAD = Schedule(epochs=60, milestones=(0.5, 0.75))
# ImageNet, ResNet-34 → ResNet-18: PyTorch's example of ImageNet training, which the authors say they used;
# the terms' weights there and the head's schedule were never published.
IMAGENET = Schedule(epochs=90, batch_size=256, lr=0.1, weight_decay=1e-4, milestones=(1 / 3, 2 / 3))
# The kit's own, for a live demonstration with few labels on a laptop: benchmarks/short_schedule.py chose it.
SHORT = Schedule(epochs=20, batch_size=16, lr=0.05, shape="one-cycle")
SCHEDULES = {"student": STUDENT, "head": HEAD, "imagenet": IMAGENET, "short": SHORT}
