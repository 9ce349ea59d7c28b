"""Eight mistakes that are easy to make in a distillation, each put into a training of the kit from outside.

The library stays as it is. A mistake takes the place of one function of the library for a while, makes the
teacher or the student a network of another class, or changes the black frame or the schedule of a training.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

import sskd_lib as sskd
from sskd_lib.data.views import PADDING

# the modules, whose functions of the same names stand in front of them in `sskd_lib.losses`
KD, SSKD = (importlib.import_module(f"sskd_lib.losses.{name}") for name in ("kd", "sskd"))
kl_rows, error_rank = KD.kl_rows, SSKD.error_rank


def without_square(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher ‖ student) of each row without the factor τ². Arguments: see `kl_rows`."""
    return kl_rows(student, teacher, temperature) / temperature**2


def turned_round(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return τ² · KL(student ‖ teacher) of each row. Arguments: see `kl_rows`."""
    return kl_rows(teacher, student, temperature)


def worst_rows(scores: Tensor, targets: Tensor, keep_wrong: float) -> Tensor:
    """Return a mask of as many rows as `transfer_mask` keeps, but of those with the largest error ranks."""
    rank = error_rank(scores, targets)
    kept = (rank == 0).sum() + (keep_wrong * (rank > 0).sum().double()).floor().long()
    return (-rank).argsort(stable=True).argsort() < kept


class TeacherInTrainMode(sskd.Network):
    """A network that stays in train mode: BatchNorm takes mean and variance of the batch."""

    def train(self, mode: bool = True) -> TeacherInTrainMode:
        """Set train mode, whatever is asked for."""
        return super().train(True)


class TwoForwards(sskd.Network):
    """A network that takes upright and turned views in two passes when it trains."""

    def forward(self, pixels: Tensor, **needs: object) -> sskd.Output:
        """Return the outputs of four views. In train mode, BatchNorm sees one part after the other."""
        if not self.training or len(pixels) % 4:
            return super().forward(pixels, **needs)
        images = len(pixels) // 4
        parts = [
            super(TwoForwards, self).forward(part, **needs) for part in (pixels[:images], pixels[images:])
        ]
        fields = (None if a is None else torch.cat([a, b]) for a, b in zip(*parts, strict=True))
        return sskd.Output(*fields)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One mistake, as what takes the place of the kit's own: functions, classes of networks, padding, rate.

    shifted: the teacher's answers to the views at 90°, 180°, 270° come in the order 180°, 270°, 90°.
    grey_border: the frame around the images has their mean, which is 0 once they are normalised.
    """

    kl_rows: Callable[..., Tensor] | None = None
    transfer_mask: Callable[..., Tensor] | None = None
    teacher: type[sskd.Network] | None = None
    student: type[sskd.Network] | None = None
    shifted: bool = False
    grey_border: bool = False
    rate: float = 1.0  # factor of the learning rate

    def schedule(self, usual: sskd.Schedule) -> sskd.Schedule:
        """Return the schedule of a training with this mistake."""
        return dataclasses.replace(usual, lr=usual.lr * self.rate)

    def frame(self, images: Tensor, mean: float) -> Tensor:
        """Pad images, uint8 [M, C, H, W], as a training with this mistake does. mean: theirs, from 0 to 1."""
        return F.pad(images, (PADDING,) * 4, value=round(255 * mean) if self.grey_border else 0)

    def answers(self, teacher_output: sskd.Output) -> sskd.Output:
        """Return the teacher's outputs of four views as a loss with this mistake gets them."""
        if not self.shifted:
            return teacher_output
        images = len(teacher_output.logits) // 4
        return teacher_output.each(lambda rows: torch.cat([rows[:images], rows[images:].roll(-images, 0)]))

    @property
    def group(self) -> tuple:
        """What the trainings of a loop have in common: teacher, padding, rate."""
        return self.teacher, self.grey_border, self.rate

    def networks(self, student: sskd.Network, teacher: sskd.Network) -> None:
        """Make student and teacher networks of this mistake's classes."""
        for network, kind in ((student, self.student), (teacher, self.teacher)):
            if kind is not None:
                network.__class__ = kind
        teacher.eval()

    @contextmanager
    def functions(self) -> Iterator[None]:
        """Let this mistake's functions take the place of the library's inside a `with` block."""
        with ExitStack() as stack:
            if self.kl_rows:
                for module in (KD, SSKD):
                    stack.enter_context(patch.object(module, "kl_rows", self.kl_rows))
            if self.transfer_mask:
                stack.enter_context(patch.object(SSKD, "transfer_mask", self.transfer_mask))
            yield


FAULTS: dict[str, Fault] = {
    "healthy": Fault(),
    "no tau squared": Fault(kl_rows=without_square),
    "KL turned round": Fault(kl_rows=turned_round),
    "worst rows kept": Fault(transfer_mask=worst_rows),
    "teacher in train mode": Fault(teacher=TeacherInTrainMode),
    "padding after normalising": Fault(grey_border=True),
    "views shifted by one": Fault(shifted=True),
    "two student forwards": Fault(student=TwoForwards),
    "learning rate x10": Fault(rate=10.0),
}
