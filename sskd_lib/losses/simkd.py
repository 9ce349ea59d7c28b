"""SimKD: the student learns the teacher's last maps and then borrows the teacher's classifier.

Source: Chen, Mei, Zhang, Wang, Feng, Chen 2022 (arXiv 2203.14001), section 3, Eq. 4, and the authors' code.
Usual weight: 1, with neither cross-entropy nor soft targets. The projector that makes the student's maps as
wide as the teacher's stays in the student: `models.reused`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .pairs import precise, same_size


def simkd_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared error of the last maps, those whose mean over their pixels the classifier sees.

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
            "Join the student with the teacher's classifier first (reuse.reuse_classifier), or call distill, "
            "which does it."
        )
    return F.mse_loss(student, teacher)
