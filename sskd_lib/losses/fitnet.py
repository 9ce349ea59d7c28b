"""FitNet: a stage of the student, through a regressor, predicts a stage of the teacher.

Source: Romero, Ballas, Kahou, Chassang, Gatta, Bengio 2015 (arXiv 1412.6550), section 2.2. Usual weight in
the comparisons: 100, on the second stage, in one training together with the other terms (the paper trains
the hint first).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .method import Batch, Output, Term, shapes
from .pairs import precise, same_images


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared error of the student's regressed maps: mean (r(A_S) - A_T)².

    The paper's Eq. 3 is half the sum; the mean is what the comparisons weight by 100.

    student, teacher: float, the same shape, the student's after `Regressor`. Returns a scalar, at least
    float32. Raises ValueError if the shapes differ.
    """
    same_images(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(
            f"a hint of shape {list(teacher.shape)} cannot be compared with {list(student.shape)}. Send the "
            "student's maps through Regressor(student_shape, teacher_shape) first."
        )
    return F.mse_loss(precise(student), precise(teacher.detach()))


class Regressor(nn.Module):
    """One convolution with BatchNorm (and ReLU) from the student's maps to the teacher's shape.

    float [N, C_S, H_S, W_S] → [N, C_T, H_T, W_T]. Of twice the size: 3 × 3 with stride 2; of half the size:
    transposed 4 × 4 with stride 2; as large or larger: a window of H_S - H_T + 1 by W_S - W_T + 1, as in the
    comparisons. student, teacher: [C, H, W] of one image. Raises ValueError where none of the three fits.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], *, relu: bool = True) -> None:
        super().__init__()
        (c_s, *size_s), (c_t, *size_t) = student, teacher
        if len(size_s) != 2 or len(size_t) != 2:
            raise ValueError(
                f"a regressor needs two shapes [C, H, W], not {list(student)} and {list(teacher)}."
            )
        if size_s == [2 * n for n in size_t]:
            conv: nn.Module = nn.Conv2d(c_s, c_t, 3, stride=2, padding=1)
        elif [2 * n for n in size_s] == size_t:
            conv = nn.ConvTranspose2d(c_s, c_t, 4, stride=2, padding=1)
        elif all(s >= t for s, t in zip(size_s, size_t, strict=True)):
            conv = nn.Conv2d(c_s, c_t, (size_s[0] - size_t[0] + 1, size_s[1] - size_t[1] + 1))
        else:
            raise ValueError(
                f"no regressor maps the student's {list(student)} to the teacher's {list(teacher)}: "
                "the student's maps must be half as large, as large or larger. Choose another stage of one."
            )
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(c_t), *([nn.ReLU(inplace=True)] if relu else []))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the teacher's shape."""
        return self.layers(maps)


class FitNet(Term):
    """`hint_loss` of one stage; the regressor is trained with the student."""

    name, inputs = "fitnet", "post_relu"

    def __init__(self, weight: float = 100, stage: int = 2) -> None:
        super().__init__(weight)
        self.stage = stage

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make the regressor. Raises ValueError for a stage that one of the networks lacks."""
        count = min(len(student_output.maps), len(teacher_output.maps))
        if not 0 <= self.stage < count:
            raise ValueError(
                f"there is no stage {self.stage}: both networks have stages 0 (the stem) to {count - 1}."
            )
        self.regressor = Regressor(*(shapes(o.maps)[self.stage] for o in (student_output, teacher_output)))

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the maps of the stage."""
        return hint_loss(self.regressor(student_output.maps[self.stage]), teacher_output.maps[self.stage])
