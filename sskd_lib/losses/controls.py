"""Controls for L_ss: SSKD whose teacher's projections have lost something, to see whether it matters.

Each of them trains exactly as SSKD does. Only the teacher's matrix A_t is another one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..models.network import Output
from ..recipes import Recipe
from .method import Terms
from .sskd import SSKD


class Control(SSKD):
    """SSKD with other projections of the teacher: change(teacher_output, images) → projection [4B, D]."""

    def __init__(self, name: str, recipe: Recipe, change: Callable[[Output, int], Tensor]) -> None:
        super().__init__(recipe)
        self.name, self.change = name, change

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Terms:
        """Return the terms of `sskd_terms` with the changed projections."""
        changed = self.change(teacher_output, len(batch.labels))
        return super().forward(student_output, teacher_output._replace(projection=changed), batch)


def rows_permuted(recipe: Recipe) -> Control:
    """Make SSKD with the rows of A_t permuted among images: every row belongs to another image.

    The row of a rotated view is that of the next image of the batch in the same rotation. Batches are in
    random order, so that is any other image.
    """
    return Control("rows permuted", recipe, shift_rotated)


def relations_permuted(recipe: Recipe) -> Control:
    """Make SSKD with rows AND columns of A_t permuted in the same way.

    A_ij becomes the cosine of images i + 1 and j + 1. Each rotated view stays nearest to its own image as
    often as before. But how near the other images are is taken from pairs of other images: what is left is
    the task itself, without the teacher's relations.
    """
    return Control("relations permuted", recipe, shift_all)


def other_head(name: str, recipe: Recipe, head: nn.Module) -> Control:
    """Make SSKD with another frozen head on the teacher's features: z = head(f).

    head: on the device of the training; nothing of it is trained.
    """
    head.requires_grad_(False).eval()
    frozen = [head]  # in a list: its parameters are not those of the method

    @torch.no_grad()
    def project(teacher_output: Output, images: int) -> Tensor:
        with torch.autocast(teacher_output.features.device.type, enabled=False):
            return frozen[0](teacher_output.features.float())

    return Control(name, recipe, project)


def shift_rotated(teacher_output: Output, images: int) -> Tensor:
    """Give every rotated view the projection of the next image, in the same rotation: [4B, D]."""
    z = teacher_output.projection.unflatten(0, (4, images))
    return torch.cat([z[:1], z[1:].roll(-1, dims=1)]).flatten(0, 1)


def shift_all(teacher_output: Output, images: int) -> Tensor:
    """Give every view the projection of the next image, in the same rotation: [4B, D]."""
    return teacher_output.projection.unflatten(0, (4, images)).roll(-1, dims=1).flatten(0, 1)
