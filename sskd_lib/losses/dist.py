"""DIST: match the correlations of the predictions instead of the predictions.

Source: Huang, You, Wang, Qian, Xu 2022 (arXiv 2205.10536), section 3. The defaults are those of the authors'
runs on CIFAR-100 (dist_cifar.yaml, which the README of DIST_KD names): β = γ = 1, τ = 4, weight 2 beside
cross-entropy with weight 1. On ImageNet they take τ = 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import matched_logits


def dist_loss(
    student: Tensor, teacher: Tensor, *, beta: float = 1.0, gamma: float = 1.0, temperature: float = 4.0
) -> Tensor:
    """Compare the relations between classes and between images: τ² (β L_inter + γ L_intra).

    L_inter is the mean over rows, and L_intra the mean over columns, of 1 - ρ(Y_S, Y_T), where Y =
    softmax(z / τ) and ρ is Pearson's correlation; the factor τ² is that of the published code.

    student, teacher: float logits [N, K]. Returns a scalar, at least float32. Adding a constant to a row of
    logits changes nothing; an affine change of the predictions Y does not either, one of the logits does,
    because of the softmax. In a batch of one no column varies and L_intra is 1, without gradient.
    Raises ValueError if shapes differ, for fewer than two classes, or for a τ out of its range.
    """
    student, teacher = matched_logits(student, teacher, temperature)
    if student.shape[1] < 2:
        raise ValueError("DIST compares classes with each other, so it needs at least two; there is one.")
    y_s, y_t = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    inter, intra = pearson_distance(y_s, y_t).mean(), pearson_distance(y_s.T, y_t.T).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def pearson_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of each pair of rows: 1 - ρ(a, b), from 0 to 2.

    ρ = ⟨ã, b̃⟩ / (‖ã‖ ‖b̃‖ + 10⁻⁸) with ã = a - mean(a).

    a, b: float [N, K]. Returns float [N]. A row that varies no more than its rounding has no direction: its
    distance is 1 and it gets no gradient (the published formula would give one of the order of 10⁸).
    """
    a, b = centred(a), centred(b)
    lengths = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return 1 - (a * b).sum(-1) / (lengths + 1e-8)


def centred(x: Tensor) -> Tensor:
    """Subtract each row's mean; a row that varies no more than its rounding becomes 0, without gradient."""
    rest = x - x.mean(-1, keepdim=True)
    noise = 4 * torch.finfo(x.dtype).eps * x.detach().abs().amax(-1, keepdim=True)
    return rest.masked_fill(rest.detach().abs().amax(-1, keepdim=True) <= noise, 0)


class DIST(Term):
    """`dist_loss` of the logits, in the place of L_kd."""

    name, replaces_kd = "dist", True

    def __init__(
        self, weight: float = 2, beta: float = 1.0, gamma: float = 1.0, temperature: float = 4.0
    ) -> None:
        super().__init__(weight)
        self.beta, self.gamma, self.temperature = beta, gamma, temperature

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the logits."""
        numbers = {"beta": self.beta, "gamma": self.gamma, "temperature": self.temperature}
        return dist_loss(student_output.logits, teacher_output.logits, **numbers)
