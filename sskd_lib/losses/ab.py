"""Activation boundaries: the student's neurons should be on and off where the teacher's are.

Source: Heo, Lee, Yun, Choi 2019 (arXiv 1811.03233). Like the paper, the comparisons train the
student's stages with this loss alone first (30 epochs), and then without it: the weight 1 in their script
multiplies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .fitnet import Regressor
from .method import Batch, Output, Term, check_stages, shapes, stages
from .pairs import precise, total


def ab_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], margin: float = 1.0) -> Tensor:
    """Sum `boundary_loss` over stages, each with twice the weight of the one before, the last with 3 / 1000.

    student, teacher: the stages' float maps BEFORE their ReLU, of pairwise equal shape, the student's after
    `connector`. Returns a scalar. Raises ValueError if the numbers of stages or their shapes differ.
    """
    if len(student) != len(teacher) or not len(student):
        raise ValueError(
            f"the student has {len(student)} stage(s), the teacher {len(teacher)}: take the same ones."
        )
    last = len(student) - 1
    pairs = enumerate(zip(student, teacher, strict=True))
    return total(0.003 * 2.0 ** (i - last) * boundary_loss(s, t, margin) for i, (s, t) in pairs)


def boundary_loss(student: Tensor, teacher: Tensor, margin: float = 1.0) -> Tensor:
    """Return the squared distance to the right side of every boundary, summed over neurons, mean over images.

    Σ [t > 0] max(0, μ - s)² + [t ≤ 0] max(0, s + μ)²: of the teacher only the sign counts, and a neuron
    beyond the margin μ on its side is left alone. The form is that of the published code.

    student, teacher: float [N, C, H, W] before the ReLU. Returns a scalar, at least float32. Raises
    ValueError if the shapes differ.
    """
    if student.shape != teacher.shape or not len(student):
        raise ValueError(
            f"activations of one shape are needed, not {list(student.shape)} and {list(teacher.shape)}. Send "
            "the student's through connector(student_shape, teacher_shape) first."
        )
    student = precise(student)
    missing = F.relu(margin - student.where(teacher.detach() > 0, -student))
    return missing.square().sum() / len(missing)


def connector(student: Sequence[int], teacher: Sequence[int]) -> nn.Module:
    """Make the layer from the student's maps to the teacher's shape.

    Identity where the two shapes are equal, else a `Regressor` without ReLU.

    student, teacher: [C, H, W] of one image. Raises ValueError as `Regressor` does.
    """
    return nn.Identity() if list(student) == list(teacher) else Regressor(student, teacher, relu=False)


class AB(Term):
    """`ab_loss` of the maps before the ReLUs, in a first stage alone."""

    name, inputs = "ab", "pre_relu"
    first_stage, only_first_stage = 1 / 8, True  # 30 of 240 epochs

    def __init__(self, weight: float = 1, margin: float = 1.0) -> None:
        super().__init__(weight)
        self.margin = margin

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make one connector per stage. Raises ValueError without stages, or if no `Regressor` fits."""
        check_stages(student_output, teacher_output)
        pairs = zip(shapes(student_output.maps[1:]), shapes(teacher_output.maps[1:]), strict=False)
        self.connectors = nn.ModuleList(connector(s, t) for s, t in pairs)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the connected maps of all stages."""
        pairs = zip(self.connectors, stages(student_output, teacher_output), strict=True)
        connected = [(connect(s), t) for connect, (s, t) in pairs]
        return ab_loss([s for s, _ in connected], [t for _, t in connected], self.margin)
