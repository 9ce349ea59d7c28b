"""SimKD: the student learns the teacher's last maps and uses the teacher's classifier.

Source: Chen, Mei, Zhang, Wang, Feng, Chen 2022 (arXiv 2203.14001), section 3, Eq. 4, and the authors' code.
Usual weight: 1, with neither cross-entropy nor soft targets. The projector that makes the student's maps as
wide as the teacher's stays in the student (`models.simkd`).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .method import Batch, Output, Term
from .pairs import precise, same_size


def simkd_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Return the mean squared error of the last maps, whose mean over pixels enters the classifier.

    mean over n, d, i, j of (s[n, d, i, j] - t[n, d, i, j])², the larger of the two average-pooled to the
    height and width of the smaller.

    student_map: float [N, D, H_S, W_S], projected to the teacher's width; teacher_map: float [N, D, H_T,
    W_T], which gets no gradient. Returns a scalar, at least float32. Raises ValueError if these are no maps
    of the same images or have different widths.
    """
    student, teacher = same_size(precise(student_map), precise(teacher_map.detach()))
    if student.shape != teacher.shape:
        raise ValueError(
            f"the student's last maps have {student.shape[1]} channels, the teacher's {teacher.shape[1]}. "
            "Join the student with the teacher's classifier first (models.simkd), or call distill, "
            "which does it."
        )
    return F.mse_loss(student, teacher)


class SimKD(Term):
    """`simkd_loss` of the last maps, without cross-entropy: the student takes over the classifier."""

    name, inputs, ce_weight, joins_classifier = "simkd", "post_relu", 0.0, True

    def __init__(self, weight: float = 1) -> None:
        super().__init__(weight)

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Raise ValueError for last maps of different widths."""
        simkd_loss(student_output.last, teacher_output.last)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the last maps."""
        return simkd_loss(student_output.last, teacher_output.last)
