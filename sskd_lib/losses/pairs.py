"""Helpers of the losses: make a student's and a teacher's tensors comparable, or raise an error."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..recipes import COLDEST, check_number

HOT = 20.0  # softened classes differ so little above it that float32 would round the differences away


def same_images(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError unless student and teacher have the same, positive number of rows."""
    if len(student) != len(teacher) or not len(student):
        raise ValueError(
            f"the student has {len(student)} row(s) and the teacher {len(teacher)}: both need one for each "
            "image, and at least one. Show both networks the same batch."
        )


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two stacks of maps to the height and width of the smaller.

    student: float [N, C_S, H_S, W_S]; teacher: float [N, C_T, H_T, W_T]. Raises ValueError unless both are
    maps of the same N images.
    """
    if student.dim() != 4 or teacher.dim() != 4:
        raise ValueError(
            f"maps are [N, C, H, W], but the student's are {list(student.shape)} and the teacher's "
            f"{list(teacher.shape)}. Take them before the network's global pooling."
        )
    same_images(student, teacher)
    height, width = (min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True))
    size = (height, width)
    student, teacher = (
        x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (student, teacher)
    )
    return student, teacher


def matched_rows(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten to one row per image, at least float32, the teacher's without gradient.

    student, teacher: float [N, …]. Returns [N, D_S], [N, D_T]. Raises ValueError if N differs or is 0.
    """
    same_images(student, teacher)
    return precise(student).flatten(1), precise(teacher.detach()).flatten(1)


def matched_logits(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return two sets of logits [N, K], at least float32, the teacher's without gradient.

    Raises ValueError if a shape is not [N, K], the two differ, N is 0 or the temperature is out of its range
    (`recipes.check_number`).
    """
    if student.shape != teacher.shape or student.dim() != 2 or not len(student):
        raise ValueError(
            f"the student's logits are {list(student.shape)}, the teacher's {list(teacher.shape)}: both "
            "need one row per image, at least one, and one column per class. Were they trained on the same "
            "classes?"
        )
    if not COLDEST <= temperature <= HOT:
        check_number("a temperature", temperature)
    return precise(student, temperature), precise(teacher.detach(), temperature)


def precise(x: Tensor, temperature: float = 1.0) -> Tensor:
    """Convert to float32 at least; to float64 what is divided by a temperature above 20.

    Raises ValueError for such a temperature on Apple's GPU, which has no float64.
    """
    if x.dtype == torch.float64:
        return x
    if temperature <= HOT:
        return x.float()
    if x.device.type == "mps":
        raise ValueError(
            f"a temperature of {temperature:g} needs float64, which Apple's GPU does not have. Choose one of "
            f"at most {HOT:g}, or the device cpu."
        )
    return x.double()


def unit(x: Tensor) -> Tensor:
    """Divide the last axis by its length: x / ‖x‖₂. A vector of length 0 stays 0 and gets no gradient."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.masked_fill(length == 0, torch.inf)


def total(losses: Iterable[Tensor]) -> Tensor:
    """Add scalars in their order."""
    return reduce(torch.add, losses)
