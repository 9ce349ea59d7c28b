"""Flow of solution procedure: how a network's channels change from one stage to the next.

Source: Yim, Joo, Bae, Kim 2017 (CVPR), section 3. The comparisons use it as the paper does, to initialise the
student before the training proper (30 epochs, weight 1), and not after: the weight 50 in their script
multiplies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import precise, same_images, same_size, total


def fsp_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Compare the FSP matrices of neighbouring stages: Σ_stages mean (G_S - G_T)² (Eq. 2 with equal weights).

    student, teacher: two or more stages of float maps [N, C, H, W]; C must be the same in both, H and W need
    not. Returns a scalar, at least float32. Raises ValueError if the stages or the channels do not fit.
    """
    channels = [[maps.shape[1] for maps in stages] for stages in (student, teacher)]
    if channels[0] != channels[1] or len(student) < 2:
        raise ValueError(
            "FSP compares networks with the same channels in two or more stages, but the student has "
            f"{channels[0]} and the teacher {channels[1]}. Choose a pair of the same width."
        )
    same_images(student[0], teacher[0])
    stages = zip(student, student[1:], teacher, teacher[1:], strict=False)
    return total(
        (fsp_matrix(a, b) - fsp_matrix(c.detach(), d.detach())).square().mean() for a, b, c, d in stages
    )


def fsp_matrix(lower: Tensor, upper: Tensor) -> Tensor:
    """Return the inner products of the channels of two stages: G_ij = Σ_hw A_ihw B_jhw / (H W) (Eq. 1).

    lower: float [N, C, H, W]; upper: float [N, C', H', W']; the larger is average-pooled to the smaller
    (the paper pools the maximum, the comparisons the average). Returns float [N, C, C'], at least float32.
    """
    lower, upper = same_size(precise(lower), precise(upper))
    with torch.autocast(lower.device.type, enabled=False):
        return lower.flatten(2) @ upper.flatten(2).mT / lower[0, 0].numel()


class FSP(Term):
    """`fsp_loss` of stem and stages, in a first stage alone."""

    name, inputs = "fsp", "post_relu"
    first_stage, only_first_stage = 1 / 8, True  # 30 of 240 epochs

    def __init__(self, weight: float = 1) -> None:
        super().__init__(weight)

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for networks of different widths."""
        fsp_loss(student_output.maps, teacher_output.maps)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the matrices of neighbouring stages."""
        return fsp_loss(student_output.maps, teacher_output.maps)
