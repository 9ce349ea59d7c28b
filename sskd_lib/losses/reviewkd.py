"""ReviewKD: a shallow stage of the teacher is learned from that stage of the student and all deeper ones.

Source: Chen, Liu, Zhao, Jia 2021 (arXiv 2104.09044), section 3, and the authors' code. The weight depends
on the pair of networks: 0.6 (resnet56 → resnet20), 1 (resnet110 → resnet32), 8 (resnet32x4 → ShuffleNetV2),
5 (other students of resnet32x4 and wrn_40_2), times min(1, epoch / 20), epochs counted from 0: a warm-up.
The default is 5; `reproduce` takes the pair's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .method import Batch, Output, Term, check_stages, shapes, stages
from .pairs import precise, same_images, total


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the hierarchical context loss of one stage: squared errors of maps and of averages over them.

    Σ_l w_l mean (pool_l(s) - pool_l(t))² / Σ_l w_l, l = full size, 4 × 4, 2 × 2, 1 × 1, w = 1, ½, ¼, ⅛. A
    pooled size that is not smaller than the map is skipped, and the weights move up.

    student, teacher: float [N, C, H, W], the same shape. Returns a scalar, at least float32. Raises
    ValueError if the shapes differ.
    """
    same_images(student, teacher)
    if student.shape != teacher.shape or student.dim() != 4:
        raise ValueError(
            f"maps of one shape [N, C, H, W] are needed, not {list(student.shape)} and "
            f"{list(teacher.shape)}. `Fusion` makes them."
        )
    with torch.autocast(student.device.type, enabled=False):
        error = precise(student) - precise(teacher.detach())  # pooling is linear: pool the error
        sizes = [size for size in (4, 2, 1) if size < min(error.shape[2:])]
        levels = [error, *(F.adaptive_avg_pool2d(error, size) for size in sizes)]
        weights = [0.5**i for i in range(len(levels))]
        terms = (w * x.square().mean() for w, x in zip(weights, levels, strict=True))
        return total(terms) / sum(weights)


class Fusion(nn.Module):
    """One stage of the review: the student's maps, mixed with what comes from the deeper stages.

    x = BN(conv 1 × 1(maps)) [N, width, H, W]; with a residual r, enlarged to the same size (nearest),
    x ← a_1 x + a_2 r, a = sigmoid(conv 1 × 1([x, r])), one number per pixel. Then x, resized to the teacher's
    height and width, is the residual of the next stage, and BN(conv 3 × 3(x)) is compared with the teacher.

    student, teacher: [C, H, W] of one image.
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
        """Return the maps to compare, float [N, C_T, H_T, W_T], and the residual [N, width, H_T, W_T]."""
        x = self.enter(maps)
        if self.attention is not None:
            # conv([x, r]) = conv_x(x) + conv_r(r), and 1 x 1 before it is enlarged: [x, r] is never formed
            of_x, of_r = self.attention.weight.split(x.shape[1], 1)
            score = F.conv2d(x, of_x, self.attention.bias)
            score = score + F.interpolate(F.conv2d(residual, of_r), x.shape[2:], mode="nearest")
            a_x, a_r = score.sigmoid().split(1, 1)
            x = a_x * x + a_r * F.interpolate(residual, x.shape[2:], mode="nearest")
        if x.shape[2:] != self.size:
            x = F.interpolate(x, self.size, mode="nearest")
        return self.leave(x), x


class ReviewKD(Term):
    """The review from deep to shallow: the sum of `hcl_loss` over the stages and the penultimate features.

    As in the published code, the student's maps are those after the ReLU and the teacher's those before it
    (for wide ResNets the residual sums, and the BatchNorms of them). The features are a last stage of 1 × 1.
    The width inside is min(512, the student's feature width), as published: 64 for the CIFAR ResNets, 256 for
    resnet8x4. With a single image the last stage has one value per channel, which BatchNorm cannot normalise:
    the term is 0 then. A departure: the published code takes square maps alone.
    """

    name, inputs, teacher_inputs = "reviewkd", "post_relu", "pre_relu"
    warm_up = 1 / 12  # 20 of 240 epochs

    def __init__(self, weight: float = 5) -> None:
        super().__init__(weight)

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make one fusion per stage, from shallow to deep. Raises ValueError for a network without stages."""
        check_stages(student_output, teacher_output)
        student, teacher = (
            shapes(maps) for maps in zip(*_levels(student_output, teacher_output), strict=True)
        )
        width, last = min(512, student[-1][0]), len(student) - 1
        pairs = enumerate(zip(student, teacher, strict=True))
        self.stages = nn.ModuleList(Fusion(s, t, width, deepest=i == last) for i, (s, t) in pairs)

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the fused maps of all stages, the deepest first."""
        if len(batch.labels) == 1:
            return 0.0 * student_output.logits.sum()
        losses, residual = [], None
        levels = _levels(student_output, teacher_output)
        for stage, (s, t) in reversed(list(zip(self.stages, levels, strict=True))):
            fused, residual = stage(precise(s), residual)
            losses.append(hcl_loss(fused, t))
        return total(losses)


def _levels(student_output: Output, teacher_output: Output) -> list[tuple[Tensor, Tensor]]:
    """Pair the maps of the stages, from shallow to deep, and the features as maps of one pixel."""
    features_s, features_t = (output.features[..., None, None] for output in (student_output, teacher_output))
    return [*stages(student_output, teacher_output), (features_s, features_t)]
