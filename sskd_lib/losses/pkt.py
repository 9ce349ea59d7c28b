"""Probabilistic knowledge transfer: who is whose neighbour, as a distribution.

Source: Passalis, Tefas 2018 (arXiv 1803.10837), section 3. Usual weight: 30000, on the penultimate features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .pairs import matched_rows, unit

EPS = 1e-7


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the neighbours of every image: mean over i, j of p_ij log(p_ij / q_ij).

    p_ij = k_ij / Σ_j k_ij with k_ij = (cos(f_i, f_j) + 1) / 2 is the teacher's, q the student's. As in the
    authors' code an image is its own neighbour too, the mean is over all N² pairs (a KL divergence divided
    by N), and 10⁻⁷ is added inside the logarithm; the paper leaves i = j out and takes the sum.

    student, teacher: float [N, D]; D may differ. Returns a scalar, at least float32. Not changed by the
    length of any feature vector; with a single image it is 0. Raises ValueError if the two do not show the
    same images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        q, p = _neighbours(student), _neighbours(teacher)
    return (p * ((p + EPS).log() - (q + EPS).log())).mean()


def _neighbours(features: Tensor) -> Tensor:
    features = unit(features)
    kernel = (features @ features.T + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)
