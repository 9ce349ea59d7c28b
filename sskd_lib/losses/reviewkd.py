"""ReviewKD: a shallow stage of the teacher is learned from that stage of the student and all deeper ones.

Source: Chen, Liu, Zhao, Jia 2021 (arXiv 2104.09044), section 3, and the authors' code. Usual weight: by the
pair of networks, 0.6 (resnet56 → resnet20), 1 (resnet110 → resnet32), 8 (resnet32x4 → ShuffleNetV2), 5 (other
students of resnet32x4 and wrn_40_2), times min(1, epoch / 20), epochs counted from 0: a warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pairs import precise, same_images

Shapes = Sequence[Sequence[int]]


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of one stage: mean squared errors of the maps and of averages over them.

    Σ_l w_l mean (pool_l(s) - pool_l(t))² / Σ_l w_l, l = full size, 4 × 4, 2 × 2, 1 × 1, w = 1, ½, ¼, ⅛. A
    pooled size that is not smaller than the map is skipped, and the weights move up.

    student, teacher: float [N, C, H, W], the same shape. Returns a scalar, at least float32. Raises
    ValueError if the shapes differ.
    """
    same_images(student, teacher)
    if student.shape != teacher.shape or student.dim() != 4:
        raise ValueError(
            f"maps of one shape [N, C, H, W] are needed, not {list(student.shape)} and "
            f"{list(teacher.shape)}. ReviewKD(student_shapes, teacher_shapes) makes them."
        )
    with torch.autocast(student.device.type, enabled=False):
        error = precise(student) - precise(teacher.detach())  # pooling is linear: pool the error
        sizes = [size for size in (4, 2, 1) if size < min(error.shape[2:])]
        levels = [error, *(F.adaptive_avg_pool2d(error, size) for size in sizes)]
        weights = [0.5**i for i in range(len(levels))]
        terms = (w * x.square().mean() for w, x in zip(weights, levels, strict=True))
        return sum(terms) / sum(weights)


class Fusion(nn.Module):
    """One stage of the review: the student's maps, mixed with what comes from the deeper stages.

    x = BN(conv 1 × 1(maps)) [N, width, H, W]; with a residual r, enlarged to the same size (nearest),
    x ← a_1 x + a_2 r, a = sigmoid(conv 1 × 1([x, r])), one number a place. Then x, resized to the teacher's
    height and width, is the residual of the next stage, and BN(conv 3 × 3(x)) is compared with the teacher.

    student, teacher: [C, H, W] of one image. Returns both, float [N, C_T, H_T, W_T] and [N, width, H_T, W_T].
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int], width: int, *, deepest: bool) -> None:
        super().__init__()
        self.size = tuple(teacher[1:])
        enter = nn.Conv2d(student[0], width, 1, bias=False)
        leave = nn.Conv2d(width, teacher[0], 3, padding=1, bias=False)
        for conv in (enter, leave):
            nn.init.kaiming_uniform_(conv.weight, a=1)
        self.enter = nn.Sequential(enter, nn.BatchNorm2d(width))
        self.leave = nn.Sequential(leave, nn.BatchNorm2d(teacher[0]))
        self.attention = None if deepest else nn.Conv2d(2 * width, 2, 1)

    def forward(self, maps: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.enter(maps)
        if self.attention is not None:
            # conv([x, r]) = conv_x(x) + conv_r(r), and 1 x 1 before it is enlarged: [x, r] is never formed
            of_x, of_r = self.attention.weight.split(x.shape[1], 1)
            asked = F.conv2d(x, of_x, self.attention.bias)
            asked = asked + F.interpolate(F.conv2d(residual, of_r), x.shape[2:], mode="nearest")
            own, other = asked.sigmoid().split(1, 1)
            x = own * x + other * F.interpolate(residual, x.shape[2:], mode="nearest")
        if x.shape[2:] != self.size:
            x = F.interpolate(x, self.size, mode="nearest")
        return self.leave(x), x


class ReviewKD(nn.Module):
    """The review from deep to shallow, trained with the student, and the sum of `hcl_loss` over the stages.

    student_shapes, teacher_shapes: [C, H, W] of one image a stage, from shallow to deep, as many of each. The
    published code takes the stages of a network and, as a last one of 1 × 1, the pooled features; the
    teacher's stages before their ReLU. width: channels of what is handed on; by default min(512, C_S of the
    deepest stage), as in the published code: 64 for the CIFAR ResNets, 256 for resnet8x4.

    Called with the two sequences of float maps [N, C, H, W], from shallow to deep, it returns a scalar, at
    least float32. No gradient reaches the teacher's maps. BatchNorm refuses a single image in training mode
    where a stage is 1 × 1. No departure from the published code is known but this: height and width need not
    be equal (a pooled size must be smaller than both).
    """

    def __init__(self, student_shapes: Shapes, teacher_shapes: Shapes, *, width: int | None = None) -> None:
        super().__init__()
        if len(student_shapes) != len(teacher_shapes) or not len(student_shapes):
            raise ValueError(
                f"the student has {len(student_shapes)} stage(s), the teacher {len(teacher_shapes)}: name "
                "as many of each, and at least one."
            )
        self.shapes = [tuple(x) for x in student_shapes], [tuple(x) for x in teacher_shapes]
        for shape in (*self.shapes[0], *self.shapes[1]):
            if len(shape) != 3 or min(shape) < 1:
                raise ValueError(
                    f"a stage has a shape [C, H, W], not {list(shape)}. Write pooled features as [C, 1, 1]."
                )
        if width is None:
            width = min(512, student_shapes[-1][0])
        last = len(student_shapes) - 1
        pairs = enumerate(zip(*self.shapes, strict=True))
        self.stages = nn.ModuleList(Fusion(s, t, width, deepest=i == last) for i, (s, t) in pairs)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        for name, found, shapes in zip(("student", "teacher"), (student, teacher), self.shapes, strict=True):
            if [tuple(x.shape[1:]) for x in found] != shapes:
                raise ValueError(
                    f"the {name}'s maps are {[list(x.shape) for x in found]}, but ReviewKD was made for "
                    f"[N, C, H, W] with {[list(x) for x in shapes]}, shallow first. Make it for these stages."
                )
        loss, residual = 0.0, None
        for stage, s, t in reversed(list(zip(self.stages, student, teacher, strict=True))):
            same_images(s, t)
            guess, residual = stage(precise(s), residual)
            loss = loss + hcl_loss(guess, t)
        return loss
