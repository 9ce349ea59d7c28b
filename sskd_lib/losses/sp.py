"""Similarity-preserving distillation: images that are similar for the teacher should be for the student.

Source: Tung, Mori 2019 (arXiv 1907.09682), section 3. Usual weight: 3000, on the maps of the last stage.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import matched_rows, unit


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the similarity matrices of a batch: ‖G_T - G_S‖²_F / N².

    G is Q Qᵀ with rows of length 1, and Q [N, D] the activations of each image in one row.

    student, teacher: float [N, …], maps or features; everything after N may differ. Returns a scalar, at
    least float32. The scale of a network's activations does not change it. With a single image G = 1, so the
    loss is 0. Raises ValueError if the two do not show the same images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        return (unit(student @ student.T) - unit(teacher @ teacher.T)).square().mean()


class SP(Term):
    """`sp_loss` of the maps of the last stage."""

    name, inputs = "sp", "post_relu"

    def __init__(self, weight: float = 3000) -> None:
        super().__init__(weight)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the maps of the last stage."""
        return sp_loss(student_output.maps[-1], teacher_output.maps[-1])
