"""Correlation congruence: how the images of a batch relate, in an embedding of each network.

Source: Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang 2019 (arXiv 1904.01802), section 3. The paper has
another loss, `congruence_loss`, than the code that its authors gave to the comparisons, `cc_loss`. The rows
of the comparisons used the second, with weight 0.02 and embeddings of 128.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .method import Batch, Output, Term
from .pairs import matched_rows, precise, same_images, total, unit


def cc_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the loss of the authors' code: mean over i of Σ_d |δ_id| |δ_{i+1,d}|, δ = e_S - e_T.

    It multiplies the errors of images that follow each other in the batch. The gradient flows to both
    embeddings, since both are trained; detach one to keep it as it is.

    student, teacher: float embeddings [N, D]. Returns a scalar, at least float32; 0 for a single image, which
    nothing follows. Raises ValueError if the shapes differ.
    """
    same_images(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(
            f"embeddings of one shape [N, D] are needed, not {list(student.shape)} and "
            f"{list(teacher.shape)}. CC.setup makes layers for them."
        )
    error = (precise(student) - precise(teacher)).abs()
    return (error[:-1] * error[1:]).sum() / max(len(error) - 1, 1)


def congruence_loss(student: Tensor, teacher: Tensor, *, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Return the loss of the paper: 1/N² ‖K_S - K_T‖²_F, with the Gaussian kernel expanded to order P.

    K_ij = e^(-2γ) Σ_{p=0..P} (2γ)^p / p! ⟨f_i, f_j⟩^p, f of length 1.

    student, teacher: float [N, D]; D may differ. Returns a scalar, at least float32. Rotation of a
    network's feature space and the length of a feature do not change it. Raises ValueError if the two do not
    show the same images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        kernels = []
        for features in (unit(student), unit(teacher)):
            product = features @ features.T
            terms = ((2 * gamma) ** p / math.factorial(p) * product**p for p in range(order + 1))
            kernels.append(math.exp(-2 * gamma) * total(terms))
    return (kernels[0] - kernels[1]).square().mean()


class CC(Term):
    """`cc_loss` of the penultimate features, in a linear embedding of each network's; both are trained.

    Both embeddings can lower the loss by shrinking: only weight decay and the other terms are against it.
    """

    name, inputs = "cc", "features"

    def __init__(self, weight: float = 0.02, width: int = 128) -> None:
        super().__init__(weight)
        self.width = width

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make the two embeddings."""
        self.student = nn.Linear(student_output.features.shape[1], self.width)
        self.teacher = nn.Linear(teacher_output.features.shape[1], self.width)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the embedded features; no gradient reaches the teacher's."""
        return cc_loss(self.student(student_output.features), self.teacher(teacher_output.features.detach()))
