"""Relational distillation: distances between pairs of images and angles between triplets.

Source: Park, Kim, Lu, Cho 2019 (arXiv 1904.05068), section 3. Usual weights: 25 for distances, 50 for
angles, on the penultimate features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import matched_rows


def rkd_loss(student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """Compare all pairs and all triplets of a batch: λ_D L_D + λ_A L_A, both with Huber's loss.

    L_D compares ψ_ij = ‖f_i - f_j‖ / μ, μ the mean distance of two images; L_A compares the cosine
    of the angle at j between i and k. The means run over all N² and N³ combinations, repeated images included
    (they add 0), as in the code of the comparisons; the paper sums over distinct ones.

    student, teacher: float [N, D]; D may differ. Returns a scalar, at least float32. Rotation, shift
    and scale of a network's feature space do not change it; with a single image it is 0. Two images at the
    same point have distance 0 and no angle, and pass no gradient. No tensor is larger than [N, N, N].
    Raises ValueError if the two do not show the same images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        far_s, far_t = distances(student), distances(teacher)
        pairs = F.smooth_l1_loss(far_s, far_t)
        triplets = F.smooth_l1_loss(angles(student), angles(teacher)) if angle else 0.0
    return distance * pairs + angle * triplets


def distances(features: Tensor) -> Tensor:
    """Return distances in units of their mean over pairs that differ: float [N, D] → float [N, N]."""
    far = _euclidean(features)
    mean = far.sum() / (far > 0).sum().clamp(min=1)
    return far / mean.masked_fill(mean == 0, 1)


def angles(features: Tensor) -> Tensor:
    """Return the cosine of the angle at j between i and k: float [N, D] → float [N, N, N], entry [j, i, k].

    cos = ⟨f_i - f_j, f_k - f_j⟩ / (‖f_i - f_j‖ ‖f_k - f_j‖), the product expanded into entries of the Gram
    matrix of the centred features, so that no [N, N, D] is formed. Closer than rounding can tell (10 √ε of
    the mean distance for the Gram matrix) there is no direction and the cosine is 0.
    """
    features = features - features.mean(0)
    far = _euclidean(features)
    mean = far.detach().mean()
    near = far <= 10 * torch.finfo(far.dtype).eps ** 0.5 * mean
    inverse = 1 / far.masked_fill(near, torch.inf)
    gram = features @ features.T
    square = gram.diagonal()[:, None, None]
    product = gram[None] - gram[:, :, None] - gram[:, None, :] + square
    return product * inverse[:, :, None] * inverse[:, None, :]


def _euclidean(features: Tensor) -> Tensor:
    """Exact differences, not the Gram matrix: the root of a rounding error would be a large distance."""
    return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")


class RKD(Term):
    """`rkd_loss` of the penultimate features."""

    name, inputs = "rkd", "features"

    def __init__(self, weight: float = 1, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__(weight)
        self.distance, self.angle = distance, angle

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the features."""
        return rkd_loss(
            student_output.features, teacher_output.features, distance=self.distance, angle=self.angle
        )
