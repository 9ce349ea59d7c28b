"""Knowledge distillation: the student imitates the teacher's softened outputs.

Source: Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .pairs import precise


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Turn logits into probabilities at a temperature: p_k = exp(z_k / τ) / Σ_j exp(z_j / τ).

    logits: float [N, K]. Returns float [N, K], rows sum to 1. Raises ValueError unless τ > 0.
    """
    return F.softmax(logits / _checked(temperature), dim=-1)


def kl_rows(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Divergence of each row at a temperature: τ² · KL(p_teacher ‖ p_student), without a mean.

    The factor τ² keeps the gradient's size about the same at any temperature (Hinton et al., section 2).

    student_logits, teacher_logits: float [N, K]. Returns [N], at least float32. The gradient flows to both;
    callers hold the teacher's logits without one.
    """
    log_p = F.log_softmax(precise(student_logits) / _checked(temperature), dim=-1)
    log_q = F.log_softmax(precise(teacher_logits) / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """The soft-target loss: τ² · KL(p_teacher ‖ p_student), mean over rows.

    student_logits, teacher_logits: float [N, K]. Returns a scalar.
    Raises ValueError if the shapes differ or the temperature is not positive.

    >>> import torch
    >>> float(kd_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature=4.0))
    0.0
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"the student's logits are {list(student_logits.shape)}, the teacher's "
            f"{list(teacher_logits.shape)}: both need one row an image and one column a class. Were they "
            "trained on the same classes?"
        )
    return kl_rows(student_logits, teacher_logits, temperature).mean()


def _checked(temperature: float) -> float:
    if not temperature > 0:
        raise ValueError(f"a temperature must be above 0, not {temperature}: logits are divided by it.")
    return temperature
