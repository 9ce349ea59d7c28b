"""Probabilistic knowledge transfer: the neighbours of each image, as a distribution.

Source: Passalis, Tefas 2018 (arXiv 1803.10837), section 3. Usual weight: 30000, on the penultimate features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import matched_rows, unit

EPS = 1e-7


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the neighbours of every image: mean over i, j of p_ij log(p_ij / q_ij).

    p_ij = k_ij / Σ_j k_ij with k_ij = (cos(f_i, f_j) + 1) / 2 is the teacher's, q the student's. As in the
    authors' code an image is also a neighbour of itself, the mean is over all N² pairs (a KL divergence
    divided by N), and 10⁻⁷ is added inside the logarithm; the paper leaves i = j out and takes the sum.

    student, teacher: float [N, D]; D may differ. Returns a scalar, at least float32. The length of a feature
    vector does not change it; with a single image it is 0. Raises ValueError if the two do not show the same
    images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        q, p = _neighbours(student), _neighbours(teacher)
    return (p * ((p + EPS).log() - (q + EPS).log())).mean()


def _neighbours(features: Tensor) -> Tensor:
    features = unit(features)
    kernel = (features @ features.T + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)


class PKT(Term):
    """`pkt_loss` of the penultimate features."""

    name, inputs = "pkt", "features"

    def __init__(self, weight: float = 30000) -> None:
        super().__init__(weight)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the features."""
        return pkt_loss(student_output.features, teacher_output.features)
