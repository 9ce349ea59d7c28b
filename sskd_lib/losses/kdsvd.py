"""KD-SVD: the leading singular vector of each stage, and how it turns from stage to stage.

Source: Lee, Kim, Song 2018 (arXiv 1807.06819), in the form of the comparisons, with k = 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import precise, same_images, total, unit

GAP = 1e-5  # eigenvalues of a matrix of trace 1 that are closer count as equal


def kdsvd_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], k: int = 1) -> Tensor:
    """Compare the RBF distances of neighbouring stages' singular vectors, summed, mean over images.

    v are the first k right singular vectors of the [H W, C] matrix of an image's maps, times the teacher's
    singular values normalised to length 1. The student's come from its first k + 3, each teacher's vector
    taking the one that is closest to it, with its sign. Loss: Σ (exp(-(v_i - v'_j)² / 8)_S - exp(-(v_i -
    v'_j)² / 8)_T)² over neighbouring stages v, v', channels i, j and the k vectors.

    A singular vector's sign is arbitrary; the teacher's is chosen so that its largest entry is positive (the
    published code leaves it to the solver). The decomposition waits for the device.

    student, teacher: two or more stages of float maps [N, C, H, W]; C must be the same in both, H and W
    need not. Returns a scalar, at least float32. The scale of a network's maps does not change it (k = 1).
    Raises ValueError if stages, channels or k do not fit.
    """
    channels = [[maps.shape[1] for maps in stages] for stages in (student, teacher)]
    if channels[0] != channels[1] or len(student) < 2 or not 1 <= k <= min(channels[0]):
        raise ValueError(
            "KD-SVD compares two or more stages with the same channels, at least k of them, but the student "
            f"has {channels[0]}, the teacher {channels[1]} and k is {k}. Choose a pair of the same width."
        )
    losses, before = [], None
    for maps_s, maps_t in zip(student, teacher, strict=True):
        same_images(maps_s, maps_t)
        with torch.autocast(maps_s.device.type, enabled=False):
            now = _vectors(precise(maps_s), precise(maps_t.detach()), k)
        if before is not None:
            rbf_s, rbf_t = (_rbf(a, b) for a, b in zip(before, now, strict=True))
            losses.append((rbf_s - rbf_t).square().sum() / len(rbf_s))
        before = now
    return total(losses)


def _vectors(student: Tensor, teacher: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Weighted singular vectors of one stage: two of [N, C, k], the student's aligned with the teacher's."""
    v_t, s_t = singular_vectors(teacher, k)
    largest = v_t.gather(1, v_t.abs().argmax(1, keepdim=True))
    v_t = v_t * largest.sign()
    rank = min(student.flatten(2).shape[1:])
    v_s, _ = singular_vectors(student, min(k + 3, rank))
    cosine = v_s.detach().mT @ v_t  # [N, k + 3, k]
    nearest = cosine.abs().argmax(1, keepdim=True)
    v_s = v_s.gather(2, nearest.expand(-1, v_s.shape[1], -1)) * cosine.gather(1, nearest).sign()
    weight = unit(s_t)[:, None]
    return v_s * weight, v_t * weight


def singular_vectors(maps: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the first k right singular vectors [N, C, k] and values [N, k] of X [H W, C] of each image.

    They are the eigenvectors of Xᵀ X. Where there are fewer pixels than channels, X Xᵀ is the smaller matrix:
    then its eigenvectors u are taken, and v = Xᵀ u / ‖Xᵀ u‖.
    """
    x = maps.flatten(2)
    x = x / x.detach().square().sum((1, 2), keepdim=True).sqrt().clamp(min=torch.finfo(x.dtype).tiny)
    if k <= x.shape[2] < x.shape[1]:
        left, values = leading_eigenvectors(x.mT @ x, k)
        return unit((x @ left).mT).mT, values
    return leading_eigenvectors(x @ x.mT, k)


def leading_eigenvectors(gram: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the first k eigenvectors v [N, n, k] of A [N, n, n], of trace 1, and their eigenvalues' roots.

    The exact derivative, dv_j = Σ_i v_i ⟨v_i, dA v_j⟩ / (λ_j - λ_i), has a pole where two eigenvalues λ are
    equal; here g / (g² + GAP²) stands for 1 / g, so that the gradient stays finite and vectors that cannot be
    told apart do not move. It flows to the vectors, not to the roots.
    """
    values, basis = (part.flip(-1) for part in torch.linalg.eigh(gram.detach()))
    first = basis[..., :k]
    gap = values[:, None, :k] - values[:, :, None]  # [N, C, k], λ_j - λ_i
    change = basis.mT @ (gram - gram.detach()) @ first  # 0, but for its gradient
    turn = gap / (gap.square() + GAP**2) * change
    return first + basis @ turn, values[:, :k].clamp(min=0).sqrt()


def _rbf(a: Tensor, b: Tensor) -> Tensor:
    """exp(-(a_i - b_j)² / 8) for the channels of two stages: [N, C, k], [N, C', k] → [N, C, C', k]."""
    return (-(a[:, :, None] - b[:, None]).square() / 8).exp()


class KDSVD(Term):
    """`kdsvd_loss` of the stages."""

    name, inputs = "kdsvd", "post_relu"

    def __init__(self, weight: float = 1, k: int = 1) -> None:
        super().__init__(weight)
        self.k = k

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for networks of different widths."""
        kdsvd_loss(student_output.maps[1:], teacher_output.maps[1:], self.k)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the singular vectors of neighbouring stages."""
        return kdsvd_loss(student_output.maps[1:], teacher_output.maps[1:], self.k)
