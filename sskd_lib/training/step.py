"""One training step, from the batch to the optimizer. Read `train_step` from top to bottom.

Every training of the kit is this step: a teacher's (cross-entropy alone), a head's (a pretext task on a
frozen backbone), and a student's under any method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.batch import Batch
from ..data.views import Draws, cut
from ..losses.method import Needs
from ..models.network import Network, Output
from ..runtime.device import Runtime
from .state import TrainState


class Pass(NamedTuple):
    """Students that share their views and one forward pass of the teacher, of which `needs` speaks."""

    needs: Needs
    needs_teacher: bool
    states: list[TrainState]


def train_step(
    passes: Sequence[Pass],
    batch: Batch,
    *,
    size: tuple[int, int],
    teacher: Network | None,
    runtime: Runtime,
) -> list[Tensor]:
    """Take one step with each student: views → teacher → student → terms → gradients → update.

    All four views pass the student in ONE forward, so its BatchNorm sees upright and rotated images together.
    Nothing here waits for the device, and no shape depends on a value: the step can be one CUDA graph.

    size: height and width of a view; teacher: frozen, in eval mode; None where the batch has its cached
    answers. Returns for each student, in the order of the passes, float [terms + 1]: its terms, and how many
    rows it gets right.
    """
    results = []
    for needs, needs_teacher, states in passes:
        permutation = batch.permutation if needs.jigsaw else None
        views = cut(batch.pixels, Draws(batch.flip, batch.corner), size, needs.views, permutation)
        if runtime.channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        teacher_output = None
        if needs_teacher and batch.teacher_logits is not None:
            teacher_output = cached_output(batch, needs.views)
        elif needs_teacher:
            with torch.no_grad(), torch.autocast(**runtime.autocast):
                teacher_output = teacher(views, maps=needs.teacher_maps)
        for state in states:
            with torch.autocast(**runtime.autocast):
                output = state.model(views, maps=state.method.needs.maps)
            terms = state.loss(output, teacher_output, batch)
            correct = state.count_correct(output, batch)
            state.optimizer.zero_grad()
            terms["total"].backward()
            state.optimizer.step()
            state.term_names = list(terms)
            results.append(torch.stack([*(term.detach() for term in terms.values()), correct]))
    return results


def count_correct(output: Output, batch: Batch) -> Tensor:
    """Count the upright rows whose largest logit is that of their label. Returns an int64 scalar."""
    return (output.logits[: len(batch.labels)].argmax(1) == batch.labels).sum()


def cached_output(batch: Batch, views: int) -> Output:
    """Return the teacher's cached answers on the first `views` views of each image."""
    rows = views * len(batch.labels)
    projection = batch.teacher_projection
    return Output(batch.teacher_logits[:rows], None if projection is None else projection[:rows])


def share_passes(states: Sequence[TrainState]) -> list[Pass]:
    """Group students that can share views and a teacher's pass.

    A student that needs no maps of the teacher joins those that need its maps behind the ReLUs. A pass with
    the teacher's maps before the ReLUs is for itself. Which maps the students themselves give plays no part.
    """
    needed = [state.method.needs._replace(maps=None) for state in states]
    groups: dict[tuple[Needs, bool], list[TrainState]] = {}
    for state, needs in zip(states, needed, strict=True):
        with_maps = needs._replace(teacher_maps="post_relu")
        joins = needs.teacher_maps is None and with_maps in needed
        key = (with_maps if joins else needs, state.method.needs_teacher)
        groups.setdefault(key, []).append(state)
    return [Pass(needs, needs_teacher, group) for (needs, needs_teacher), group in groups.items()]
