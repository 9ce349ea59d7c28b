"""Variational information distillation: predict the teacher's maps from the student's.

Source: Ahn, Hu, Damianou, Lawrence, Dai 2019 (arXiv 1904.05835), section 2. Usual weight: 1, summed over the
stages.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .method import Batch, Output, Term, check_stages, stages
from .pairs import precise, same_images, same_size, total

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
            f"teacher's maps {list(teacher.shape)}. Make StageDistribution(student_channels, "
            "teacher_channels)."
        )
    variance = precise(variance)[:, None, None]
    error = (precise(mean) - precise(teacher.detach())).square()
    return 0.5 * (error / variance + variance.log()).mean()


class StageDistribution(nn.Module):
    """The distribution q(t | s) of the teacher's maps of one stage, given the student's.

    μ is three 1 × 1 convolutions with ReLU between them, without bias, from C_S to C_T channels; σ_c² =
    log(1 + exp(α_c)) + 10⁻⁵ starts at `variance`.
    """

    def __init__(self, student_channels: int, teacher_channels: int, *, variance: float = 5.0) -> None:
        super().__init__()
        widths = (student_channels, teacher_channels, teacher_channels, teacher_channels)
        first, second, third = (nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths))
        self.mean = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        self.alpha = nn.Parameter(torch.full((teacher_channels,), math.log(math.expm1(variance - EPS))))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return `vid_loss` of float maps [N, C_S, H, W] and [N, C_T, H, W], the larger ones pooled."""
        student, teacher = same_size(student, teacher)
        return vid_loss(self.mean(student), F.softplus(self.alpha) + EPS, teacher)


class VID(Term):
    """`vid_loss`, summed over the stages, each with a distribution that is trained with the student."""

    name, inputs = "vid", "post_relu"

    def __init__(self, weight: float = 1, variance: float = 5.0) -> None:
        super().__init__(weight)
        if not variance > EPS:
            raise ValueError(f"the first variance must be above {EPS}, not {variance}.")
        self.variance = variance

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make one distribution per stage. Raises ValueError for a network without stages."""
        check_stages(student_output, teacher_output)
        widths = [(s.shape[1], t.shape[1]) for s, t in stages(student_output, teacher_output)]
        self.distributions = nn.ModuleList(
            StageDistribution(*pair, variance=self.variance) for pair in widths
        )

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Sum the negative log-likelihoods of all stages."""
        pairs = zip(self.distributions, stages(student_output, teacher_output), strict=True)
        return total(distribution(s, t) for distribution, (s, t) in pairs)
