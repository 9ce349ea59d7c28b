"""Decoupled distillation: the true class and the ranking of the wrong ones have separate weights.

Source: Zhao, Cui, Song, Qiu, Liang 2022 (arXiv 2203.08679), section 3. Published
settings on CIFAR-100: τ = 4, α = 1, cross-entropy 1, a linear warm-up of the term over 20 epochs, and
another β for some pairs: 8 by default, 6 for the wide ResNets and vgg13's students, 2 for resnet56 → resnet20
and resnet110 → resnet32 (`reproduce` takes the pair's own).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import matched_logits


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.0,
    beta: float | Tensor = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Return the decoupled soft-target loss: mean of α TCKD + β NCKD (Eq. 7), times τ².

    The factor τ² is that of the published code. With α = 1 and β = 1 - p_T(label) of each row this is
    `kd_loss` (Eq. 6).

    student, teacher: float logits [N, K]; labels: int64 [N]; beta: one weight, or float [N], one per row.
    Returns a scalar, at least float32. Raises ValueError as `dkd_rows` does.
    """
    target, others = dkd_rows(student, teacher, labels, temperature)
    return (alpha * target + beta * others).mean()


def dkd_rows(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the two parts of each row's divergence: TCKD [N] and NCKD [N], times τ².

    TCKD = KL of (p_label, 1 - p_label), NCKD = KL of the softmax over the K - 1 other classes, teacher to
    student. Computed from logarithms throughout, so that neither overflows for a sure teacher; with two
    classes NCKD is 0, because one class is left.

    student, teacher: float [N, K]; labels: int64 [N]. Raises ValueError if shapes differ, K < 2 or τ ≤ 0.
    """
    student, teacher = matched_logits(student, teacher, temperature)
    if labels.shape != student.shape[:1] or student.shape[1] < 2:
        raise ValueError(
            f"DKD needs one label per row and at least two classes, not labels {list(labels.shape)} and "
            f"logits {list(student.shape)}."
        )
    column = torch.arange(student.shape[1] - 1, device=labels.device).expand(len(labels), -1)
    column = column + (column >= labels[:, None])  # of the K - 1 others; no mask, so nothing waits for it

    pairs = zip(*(_parts(z / temperature, labels, column) for z in (student, teacher)), strict=True)
    target, others = (F.kl_div(s, t, reduction="none", log_target=True).sum(1) for s, t in pairs)
    return temperature**2 * target, temperature**2 * others


def _parts(logits: Tensor, labels: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N, 2] of the label against the rest, and [N, K - 1] within the rest (`column`)."""
    others = logits.gather(1, column)
    binary = torch.cat([logits.gather(1, labels[:, None]), others.logsumexp(1, keepdim=True)], 1)
    return binary.log_softmax(1), others.log_softmax(1)


class DKD(Term):
    """`dkd_loss` of the logits, in the place of L_kd."""

    name, replaces_kd, warm_up = "dkd", True, 1 / 12  # 20 of 240 epochs

    def __init__(
        self, weight: float = 1, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0
    ) -> None:
        super().__init__(weight)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the logits."""
        numbers = {"alpha": self.alpha, "beta": self.beta, "temperature": self.temperature}
        return dkd_loss(student_output.logits, teacher_output.logits, batch.labels, **numbers)
