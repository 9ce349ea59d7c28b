"""Train a student with a step and a loss that a learner wrote: the short schedule in one plain loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ...data.images import ImageSet
from ...data.views import four_views
from ...models.network import Network
from ...recipes import SHORT
from ...training.train import create_network


def train_with(
    step: Callable[..., float], loss: Callable[..., Any], teacher: Network, images: ImageSet, seed: int = 0
) -> Network:
    """Train a resnet8 on the CPU by the short schedule, one call of `step` per batch; return it.

    step: (student, teacher, optimizer, images uint8 [B, C, H, W], labels int64 [B], views, loss) → the loss,
    a number. loss: (student's Output, teacher's Output, labels) → a scalar. A batch that is not full is left
    out, as BatchNorm would see few images in it.
    """
    student = create_network("resnet8", like=images, projection=True, seed=seed)
    teacher = teacher.to("cpu")
    draw = torch.Generator().manual_seed(seed)
    views = partial(four_views, generator=draw, window=images.window)
    optimizer = torch.optim.SGD(
        student.parameters(), lr=SHORT.lr, momentum=SHORT.momentum, weight_decay=SHORT.weight_decay
    )
    losses = []
    for epoch in range(SHORT.epochs):
        for group in optimizer.param_groups:
            group["lr"] = SHORT.lr_at(epoch)
        order = torch.randperm(len(images), generator=draw).split(SHORT.batch_size)
        full = [rows for rows in order if len(rows) == SHORT.batch_size]
        values = [
            step(student, teacher, optimizer, images.images[rows], images.labels[rows], views, loss)
            for rows in full
        ]
        losses.append(sum(map(float, values)) / len(values))
    print(f"loss of the first epoch {losses[0]:.2f}, of the last {losses[-1]:.2f}")
    return student.eval()
