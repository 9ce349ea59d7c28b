"""Variational information distillation: the student's maps should leave little to guess about the teacher's.

Source: Ahn, Hu, Damianou, Lawrence, Dai 2019 (arXiv 1904.05835), section 2. Usual weight: 1, summed over the
stages.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pairs import precise, same_images, same_size

EPS = 1e-5


def vid_loss(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher's maps: mean of ½ [(t - μ)² / σ_c² + log σ_c²], plus a constant.

    Lowering it raises a lower bound of the mutual information of student and teacher. Unlike a distance it
    may be negative, and it is not 0 where μ = t.

    mean, teacher: float [N, C, H, W]; variance: float [C], above 0. Returns a scalar, at least float32.
    Raises ValueError if the shapes do not fit.
    """
    same_images(mean, teacher)
    if mean.shape != teacher.shape or variance.shape != teacher.shape[1:2]:
        raise ValueError(
            f"the predicted mean {list(mean.shape)} and variance {list(variance.shape)} do not fit the "
            f"teacher's maps {list(teacher.shape)}. Make VID(student_channels, teacher_channels)."
        )
    variance = precise(variance)[:, None, None]
    error = (precise(mean) - precise(teacher.detach())).square()
    return 0.5 * (error / variance + variance.log()).mean()


class VID(nn.Module):
    """The variational distribution q(t | s) of one stage, trained with the student.

    μ is three 1 × 1 convolutions with ReLU between them, without bias, from C_S to C_T channels; σ_c² =
    log(1 + exp(α_c)) + 10⁻⁵ starts at `variance`. Called with float maps [N, C_S, H, W] and [N, C_T, H, W],
    of two sizes the larger pooled to the smaller, it returns `vid_loss`.
    """

    def __init__(self, student_channels: int, teacher_channels: int, *, variance: float = 5.0) -> None:
        super().__init__()
        if not variance > EPS:
            raise ValueError(f"the first variance must be above {EPS}, not {variance}.")
        widths = (student_channels, teacher_channels, teacher_channels, teacher_channels)
        first, second, third = (
            nn.Conv2d(a, b, 1, bias=False) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.mean = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        self.alpha = nn.Parameter(torch.full((teacher_channels,), math.log(math.expm1(variance - EPS))))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = same_size(student, teacher)
        return vid_loss(self.mean(student), F.softplus(self.alpha) + EPS, teacher)
