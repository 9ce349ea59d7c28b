"""Logit standardisation: compare the shape of a row of logits, not its mean and scale.

Source: Sun, Ren, Li, Wang, Cao 2024 (arXiv 2403.01427), section 4 and Algorithm 1. Published on CIFAR-100:
base temperature 2, weight 9 on the soft targets and 0.1 on cross-entropy. With DKD: temperature 2, weight 9
(so 9 α and 9 β, with α = 1), cross-entropy 1. There the default β = 8 is that of the authors' command for
resnet32x4 → resnet8x4; their files have 6 for wide ResNets and vgg13, 2 for resnet56 → resnet20.
"""

from __future__ import annotations

from torch import Tensor

from .dist import centred
from .dkd import DKD
from .kd import kd_loss
from .method import Batch, Output, Term
from .pairs import matched_logits, precise


def standardised(logits: Tensor) -> Tensor:
    """Give every row mean 0 and standard deviation 1: (z - mean(z)) / σ(z).

    σ divides by K - 1, as the published code does; its 10⁻⁷ in the denominator is left out, so that scale and
    shift cancel exactly. A row that varies no more than its rounding becomes 0, without gradient.

    logits: float [N, K]. Returns float [N, K], at least float32. Raises ValueError for fewer than three
    classes: with two, every row becomes (0.71, -0.71) or (-0.71, 0.71), and nothing is left to learn.
    """
    if logits.dim() != 2 or logits.shape[1] < 3:
        raise ValueError(
            f"standardising needs logits [N, K] of at least three classes, not {list(logits.shape)}: of two, "
            "only the sign would be left, without a gradient. Use kd, or dkd."
        )
    rest = centred(precise(logits))
    variance = rest.square().sum(1, keepdim=True) / (logits.shape[1] - 1)
    return rest * variance.masked_fill(variance == 0, 1).rsqrt()


def standardised_kd_loss(student: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """Return the soft-target loss of standardised logits: τ² · KL(teacher ‖ student), mean over rows.

    student, teacher: float logits [N, K]. Returns a scalar, at least float32. Scale (above 0) and shift
    of a row do not change it. DKD on top is `dkd_loss(standardised(student), standardised(teacher), labels)`.
    Raises ValueError if the shapes differ or τ ≤ 0.
    """
    student, teacher = matched_logits(student, teacher, temperature)
    return kd_loss(standardised(student), standardised(teacher), temperature)


class StandardisedKD(Term):
    """`standardised_kd_loss` of the logits, in the place of L_kd."""

    name, replaces_kd, ce_weight = "kd-ls", True, 0.1

    def __init__(self, weight: float = 9, temperature: float = 2.0) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for fewer than three classes."""
        standardised(student_output.logits)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the logits."""
        return standardised_kd_loss(student_output.logits, teacher_output.logits, self.temperature)


class StandardisedDKD(DKD):
    """`dkd_loss` of standardised logits, in the place of L_kd."""

    name = "dkd-ls"

    def __init__(
        self, weight: float = 9, alpha: float = 1.0, beta: float = 8.0, temperature: float = 2.0
    ) -> None:
        super().__init__(weight, alpha, beta, temperature)

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for fewer than three classes."""
        standardised(student_output.logits)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the logits."""
        student, teacher = (
            o._replace(logits=standardised(o.logits)) for o in (student_output, teacher_output)
        )
        return super().forward(student, teacher, batch)
