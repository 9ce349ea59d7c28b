"""Correlation congruence: how the images of a batch relate, in an embedding of each network.

Source: Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang 2019 (arXiv 1904.01802), section 3. The paper and the code
its authors gave to the comparisons are two different losses: `congruence_loss` and `cc_loss`. The published
rows of the comparisons used the second, with weight 0.02 and embeddings of 128.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .pairs import matched_rows, precise, same_images, unit


def cc_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The loss of the authors' code: mean over i of Σ_d |δ_id| |δ_{i+1,d}|, δ = e_S - e_T.

    It multiplies the errors of images that follow each other in the batch. The gradient flows to both
    embeddings, since both are trained; pass a detached one to hold it.

    student, teacher: float embeddings [N, D]. Returns a scalar, at least float32; 0 for a single image, which
    nothing follows. Raises ValueError if the shapes differ.
    """
    same_images(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(
            f"embeddings of one shape [N, D] are needed, not {list(student.shape)} and "
            f"{list(teacher.shape)}. CC(student_width, teacher_width) makes them."
        )
    error = (precise(student) - precise(teacher)).abs()
    return (error[:-1] * error[1:]).sum() / max(len(error) - 1, 1)


def congruence_loss(student: Tensor, teacher: Tensor, *, gamma: float = 0.4, order: int = 2) -> Tensor:
    """The loss of the paper: 1/N² ‖K_S - K_T‖²_F, with the Gaussian kernel expanded to order P.

    K_ij = e^(-2γ) Σ_{p=0..P} (2γ)^p / p! ⟨f_i, f_j⟩^p, f of length 1.

    student, teacher: float [N, D]; D may differ. Returns a scalar, at least float32. Not changed by
    rotating a network's feature space or by the length of a feature. Raises ValueError if the two do not
    show the same images.
    """
    student, teacher = matched_rows(student, teacher)
    with torch.autocast(student.device.type, enabled=False):
        kernels = []
        for features in (unit(student), unit(teacher)):
            product = features @ features.T
            terms = ((2 * gamma) ** p / math.factorial(p) * product**p for p in range(order + 1))
            kernels.append(math.exp(-2 * gamma) * sum(terms))
    return (kernels[0] - kernels[1]).square().mean()


class CC(nn.Module):
    """A linear embedding of each network's features, both trained, and `cc_loss` between them.

    Called with float features [N, D_S] and [N, D_T]; no gradient reaches the teacher's. Both embeddings can
    lower the loss by shrinking: weight decay and the other terms are all that holds them.
    """

    def __init__(self, student_width: int, teacher_width: int, width: int = 128) -> None:
        super().__init__()
        self.student = nn.Linear(student_width, width)
        self.teacher = nn.Linear(teacher_width, width)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return cc_loss(self.student(student.flatten(1)), self.teacher(teacher.detach().flatten(1)))
