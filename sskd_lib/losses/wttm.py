"""Transformed teacher matching: temperature on the teacher's side only, and a weight for every image.

Source: Zheng, Yang 2024 (arXiv 2402.11148). Weights and exponents were tuned for each pair; the README of the
published code has two for VGG-13 → 8: WTTM (beside CRD) γ = 0.2 with weight 4, TTM γ = 0.1 with weight 45.
The second diverges if images are weighted, as U reaches K^(1 - γ).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import matched_logits


def wttm_loss(student: Tensor, teacher: Tensor, gamma: float = 0.2, *, weighted: bool = True) -> Tensor:
    """Match the teacher's power-transformed predictions: mean of U · KL(p^γ / Σ_k p_k^γ ‖ q), U = Σ_k p_k^γ.

    p = softmax(z_T) and q = softmax(z_S), the student at temperature 1. The transformed p is softmax(γ
    z_T), the teacher at temperature 1 / γ; U weights the images about which the teacher is unsure.
    weighted=False leaves U out: TTM. The loss is 0 where z_S = γ z_T (plus a constant in a row), not where
    z_S = z_T.

    student, teacher: float logits [N, K]. Returns a scalar, at least float32. Raises ValueError if the shapes
    differ or γ ≤ 0.
    """
    if not gamma > 0:
        raise ValueError(f"the exponent γ must be above 0 (1 / γ is the teacher's temperature), not {gamma}.")
    student, teacher = matched_logits(student, teacher)
    log_q, log_p = student.log_softmax(1), (gamma * teacher).log_softmax(1)
    rows = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    if weighted:
        rows = rows * (gamma * teacher.log_softmax(1)).exp().sum(1)
    return rows.mean()


class WTTM(Term):
    """`wttm_loss` of the logits, in the place of L_kd; TTM with weighted=False."""

    name, replaces_kd = "wttm", True

    def __init__(self, weight: float = 4, gamma: float = 0.2, weighted: bool = True) -> None:
        super().__init__(weight)
        self.gamma, self.weighted = gamma, weighted

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the logits."""
        return wttm_loss(student_output.logits, teacher_output.logits, self.gamma, weighted=self.weighted)
