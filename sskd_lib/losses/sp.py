"""Similarity-preserving distillation: images that look alike to the teacher should to the student.

Source: Tung, Mori 2019 (arXiv 1907.09682), section 3. Usual weight: 3000, on the maps of the last stage.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .pairs import matched_rows, unit


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the two tables of similarities in a batch: ‖G_T - G_S‖²_F / N².

    G is Q Qᵀ with rows of length 1, and Q [N, D] the activations of each image in one row.

    student, teacher: float [N, …], maps or features; everything after N may differ. Returns a scalar, at
    least float32. Not changed by scaling all of a network's activations. With a single image G = 1 whatever
    it shows, so the loss is 0. Raises ValueError if the two do not show the same images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        return (unit(student @ student.T) - unit(teacher @ teacher.T)).square().mean()
