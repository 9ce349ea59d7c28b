"""Neuron selectivity transfer: the channels of both networks, as samples, should have one distribution.

Source: Huang, Wang 2017 (arXiv 1707.01219), section 4. Usual weight in the comparisons: 50, summed
over the stages.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .method import Batch, Output, Term, check_stages, stages
from .pairs import precise, same_size, total, unit


def nst_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared maximum mean discrepancy between the channels of one stage, mean over images.

    mean_cc' k(t_c, t_c') + mean_cc' k(s_c, s_c') - 2 mean_cc' k(s_c, t_c'), where every channel's map is a
    vector of length 1 and k(x, y) = ⟨x, y⟩², the paper's polynomial kernel with d = 2 and c = 0.

    student, teacher: float [N, C, H, W]; C may differ, and of two sizes the larger is pooled to the
    smaller. Returns a scalar, at least float32. Scale, sign and order of the channels do not change it; on
    maps of one pixel it is 0. A channel that is 0 everywhere stays 0 and gets no gradient.
    Raises ValueError if the two do not show the same images.
    """
    student, teacher = same_size(precise(student), precise(teacher.detach()))
    with torch.autocast(student.device.type, enabled=False):
        s, t = unit(student.flatten(2)), unit(teacher.flatten(2))
        return _kernel(t, t).mean() + _kernel(s, s).mean() - 2 * _kernel(s, t).mean()


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """⟨x, y⟩² of all channels, one matrix product per image: [N, C_a, HW], [N, C_b, HW] → [N, C_a, C_b]."""
    return (a @ b.mT).square()


class NST(Term):
    """`nst_loss`, summed over the stages."""

    name, inputs = "nst", "post_relu"

    def __init__(self, weight: float = 50) -> None:
        super().__init__(weight)

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for a network without stages."""
        check_stages(student_output, teacher_output)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the maps of all stages."""
        return total(nst_loss(s, t) for s, t in stages(student_output, teacher_output))
