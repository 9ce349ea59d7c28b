"""Knowledge distillation: the student imitates the teacher's softened outputs.

Source: Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.batch import Batch
from ..models.network import Output
from ..recipes import COLDEST, Recipe, check_number
from .method import Method, Needs, Terms
from .pairs import HOT, precise


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Turn logits into probabilities at a temperature: p_k = exp(z_k / τ) / Σ_j exp(z_j / τ).

    logits: float [N, K]. Returns float [N, K], rows sum to 1. Raises ValueError unless τ > 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be above 0, not {temperature}: logits are divided by it.")
    return F.softmax(logits / temperature, dim=-1)


def kl_rows(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the divergence of each row at a temperature: τ² · KL(p_teacher ‖ p_student), without a mean.

    The factor τ² keeps the gradient's size about the same at any temperature (Hinton et al., section 2).

    student_logits, teacher_logits: float [N, K]. Returns [N], at least float32. The gradient flows to both;
    callers pass the teacher's logits without one. Above τ = 20 the rows are computed in float64: they are
    differences of order 1 / τ², times τ². Raises ValueError unless τ is from 0.001 to 100,000.
    """
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    if not COLDEST <= temperature <= HOT:
        check_number("a temperature", temperature)
        student_logits, teacher_logits = (precise(x, temperature) for x in (student_logits, teacher_logits))
    exact = torch.promote_types(student_logits.dtype, dtype)
    log_p = F.log_softmax(student_logits.to(exact) / temperature, dim=-1)
    log_q = F.log_softmax(teacher_logits.to(exact) / temperature, dim=-1)
    rows = temperature**2 * F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)
    return rows.to(dtype)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the soft-target loss: τ² · KL(p_teacher ‖ p_student), mean over rows.

    student_logits, teacher_logits: float [N, K]. Returns a scalar.
    Raises ValueError if the shapes differ or the temperature is out of its range.

    >>> import torch
    >>> float(kd_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=4.0))
    0.0
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"the student's logits are {list(student_logits.shape)}, the teacher's "
            f"{list(teacher_logits.shape)}: both need one row per image and one column per class. Were they "
            "trained on the same classes?"
        )
    return kl_rows(student_logits, teacher_logits, temperature).mean()


class CE(Method):
    """Labels alone: L = cross-entropy on one upright view, weight 1 whatever the recipe."""

    needs_teacher = False

    def __init__(self, recipe: Recipe) -> None:
        super().__init__("ce", recipe, Needs())

    def forward(self, student_output: Output, teacher_output: Output | None, batch: Batch) -> Terms:
        """Return the terms of a batch."""
        ce = F.cross_entropy(student_output.logits, batch.labels)
        return {"ce": ce, "total": ce}


class KD(Method):
    """Labels and soft targets on one upright view: L = λ_ce ce + λ_kd kd.

    With λ_kd = 0, where another term takes its place, the soft targets are not computed.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__("kd", recipe, Needs())

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Terms:
        """Return the terms of a batch."""
        recipe, ce = self.recipe, F.cross_entropy(student_output.logits, batch.labels)
        if not recipe.kd:
            return {"ce": ce, "total": recipe.ce * ce}
        kd = kd_loss(student_output.logits, teacher_output.logits, recipe.kd_temperature)
        return {"ce": ce, "kd": kd, "total": recipe.ce * ce + recipe.kd * kd}
