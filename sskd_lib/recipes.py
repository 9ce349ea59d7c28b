"""The numbers of a run: weights, temperatures and selection ratios of the loss, and the schedule.

Sources: Xu et al. 2020 (arXiv 2006.07114), its two versions and the published code, which disagree on
the weights of the last two terms. Each version is one entry of PRESETS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


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
            if name.endswith("temperature") and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}: logits are divided by it.")
            if name.endswith("keep_wrong") and not 0 <= value <= 1:
                raise ValueError(f"{name} is a share of the wrong rows, between 0 and 1, not {value}.")
            if name in ("ce", "kd", "tf", "ss") and not value >= 0:
                raise ValueError(f"the weight {name} must be 0 or above, not {value}.")
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
        raise ValueError(f"there is no preset {preset!r}; the presets are: {', '.join(PRESETS)}.")
    changes = changes or {}
    names = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := [name for name in changes if name not in names]:
        raise ValueError(f"a recipe has no number {', '.join(unknown)}; it has: {', '.join(names)}.")
    return dataclasses.replace(PRESETS[preset], **changes)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The schedule of one training by SGD with momentum: epochs, batch size, and learning rate.

    shape "steps": the rate is lr, and is multiplied by `decay` at each milestone. Milestones are fractions of
    the epochs, so that a shorter run keeps the shape of the published one (240: cuts after 150, 180, 210).
    shape "one-cycle": the rate rises in a line to lr during the first `warmup` of the epochs, then falls in a
    line to 0; an epoch takes the rate of its middle (a linear form of Smith and Topin 2017,
    arXiv 1708.07120).
    Raises ValueError for epochs or batch_size below 1, an unknown shape, or a warmup outside 0 to 1.
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
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, not {self.epochs} and {self.batch_size}."
            )
        if self.shape not in ("steps", "one-cycle"):
            raise ValueError(f"there is no shape {self.shape!r}; the shapes are 'steps' and 'one-cycle'.")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup is a fraction of the epochs, from 0 to 1, not {self.warmup}.")

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
