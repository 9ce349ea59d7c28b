"""Attention transfer: the student imitates where in an image the teacher's activations are large.

Source: Zagoruyko, Komodakis 2017 (arXiv 1612.03928), section 3.1. The comparisons that followed gave it the
weight 1000 and summed it over the stages.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .method import Batch, Output, Term, check_stages, stages
from .pairs import precise, same_size, total, unit


def at_loss(student: Tensor, teacher: Tensor, p: float = 2.0) -> Tensor:
    """Compare the normalised attention maps of one stage: mean (Q_S / ‖Q_S‖₂ - Q_T / ‖Q_T‖₂)².

    Q = vec(Σ_c |A_c|^p) sums a map A over its channels, at each pixel. The mean runs over images and pixels,
    as in the authors' code; the paper's Eq. 2 has β/2 times the norm itself.

    student, teacher: float [N, C, H, W]; C may differ, and of two sizes the larger is pooled to the smaller.
    Returns a scalar, at least float32. A map that is 0 everywhere has no attention: it stays 0 and gets no
    gradient. Raises ValueError if the two do not show the same images.
    """
    student, teacher = same_size(precise(student), precise(teacher.detach()))
    return F.mse_loss(_attention(student, p), _attention(teacher, p))


def _attention(maps: Tensor, p: float) -> Tensor:
    return unit(maps.abs().pow(p).mean(1).flatten(1))


class AT(Term):
    """`at_loss`, summed over the stages."""

    name, inputs = "at", "post_relu"

    def __init__(self, weight: float = 1000, p: float = 2.0) -> None:
        super().__init__(weight)
        self.p = p

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for a network without stages."""
        check_stages(student_output, teacher_output)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the maps of all stages."""
        return total(at_loss(s, t, self.p) for s, t in stages(student_output, teacher_output))
