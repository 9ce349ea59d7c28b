"""The rows of step.py: what each of them does in one step.

published          the published procedure, written out plainly in published.py: PIL, float32, contiguous. Its
                   views are made in this one process; the published code spreads them over four workers
published, ready   the same on views made beforehand, as if the workers were never waited for
…, memory kept     the same again with freed memory kept in the process (`keep_freed_memory`), which the
                   published code does not do: what the allocator alone is worth
kit, exact         the kit's step in plain float32: choose_runtime(exact=True)
kit, float32       the kit's fast format without bfloat16: channels_last, freed memory kept; captured on a GPU
kit                the kit's step in the format that choose_runtime() takes on this machine
kit, table         the same with a teacher table instead of the teacher
networks, …        the floor of the kit's rows: teacher forward, student forward, backward and update on views
                   made beforehand, under a loss that costs nothing (mean logit + mean projection); captured
                   where the kit's row is
student alone      the floor of the table's row: the same without a teacher
three students     three students of the pair on one pass of its teacher
resnet8, …         wrn_40_2 → resnet8, one student and three: where the teacher is nearly all of a step

The kit's rows run the step of `distill` itself, on batches of its own loader. `phased_step` is that step once
more, cut into phases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import sskd_lib as sskd
from published import published_step, published_transform, published_views
from sskd_lib import ImageSet, Network, Output, Runtime, Schedule
from sskd_lib.data.batch import Batch
from sskd_lib.data.views import Draws, cut
from sskd_lib.runtime.cuda_graph import GraphedStep
from sskd_lib.training.loop import begin_epoch, make_step
from sskd_lib.training.prepare import Training, create_methods, prepare
from sskd_lib.training.state import TrainOptions, sgd
from sskd_lib.training.step import share_passes
from sskd_lib.training.teacher_cache import cache_teacher
from timing import Row

LR = 1e-4  # a tiny rate, so that hundreds of steps on noise stay finite
BATCHES = {"cpu": 8, "cuda": 64}  # an epoch of the kit's rows; a new one begins where it ends
SMALL = ("wrn_40_2", "resnet8")


def random_images(count: int, classes: int) -> ImageSet:
    """Make noise in the shape of CIFAR."""
    generator = torch.Generator().manual_seed(0)
    return ImageSet(
        images=torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
        labels=torch.randint(0, classes, (count,), generator=generator),
        classes=tuple(f"class {k}" for k in range(classes)),
        name="random",
    )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The setting of all rows of a pair. kit: the chosen runtime; folder: of the teacher table."""

    pair: tuple[str, str]
    batch: int
    data: ImageSet
    kit: Runtime
    folder: Path

    @property
    def exact(self) -> Runtime:
        """Plain float32."""
        return Runtime(device=self.kit.device)

    @property
    def float32(self) -> Runtime:
        """The kit's fast format without bfloat16."""
        cuda = self.kit.device.type == "cuda"
        return replace(
            self.kit, dtype=torch.float32, channels_last=True, cuda_graph=cuda, keep_memory=not cuda, why=""
        )

    def teacher(self, pair: tuple[str, str] | None = None) -> Network:
        """Make the teacher of a pair; None: of this one."""
        network = sskd.create_network((pair or self.pair)[0], self.data, projection=True, seed=1)
        network.head_trained = True  # its answers do not matter for the time
        return network

    def students(self, count: int = 1, pair: tuple[str, str] | None = None) -> list[Network]:
        """Make `count` students of a pair, with different weights."""
        name = (pair or self.pair)[1]
        return [sskd.create_network(name, self.data, projection=True, seed=s) for s in range(count)]


@dataclass(frozen=True, kw_only=True)
class KitStep:
    """The step of `distill`, and the batches of its epochs; a call takes the next batch."""

    training: Training
    step: Callable[[Batch], list[Tensor]]
    batches: Iterator[Batch]

    def __call__(self) -> list[Tensor]:
        """Take one step. Returns the terms and hits of each student."""
        return self.step(next(self.batches))


def real_step(
    students: list[Network],
    teacher: Network | None,
    data: ImageSet,
    batch: int,
    runtime: Runtime,
    table: str | Path | None = None,
) -> KitStep:
    """Return the step of `distill(students, teacher, data, table=table)`, method sskd."""
    options = TrainOptions(schedule=Schedule(batch_size=batch, lr=LR), seed=0, runtime=runtime)
    methods = create_methods("sskd", None, len(students))
    training = prepare(students, teacher, data, None, methods=methods, options=options, table=table)
    begin_epoch(training.states, 0, options.schedule.epochs, LR)
    passes = share_passes(training.states)
    return KitStep(
        training=training,
        step=make_step(passes, training.loader, training.teacher, options),
        batches=itertools.chain.from_iterable(map(training.loader.epoch, itertools.count())),
    )


def kit_row(
    setting: Setting,
    runtime: Runtime,
    count: int = 1,
    pair: tuple[str, str] | None = None,
    table: bool = False,
) -> Row:
    """Time a step of `count` students, with the loader's work for it."""
    teacher, path = setting.teacher(pair), None
    if table:
        path = setting.folder / "table"
        cache_teacher(teacher, setting.data, path, draws=1, runtime=runtime, progress=False)
        teacher = None
    students = setting.students(count, pair)
    return Row(take=real_step(students, teacher, setting.data, setting.batch, runtime, path), runtime=runtime)


def phased_step(kit: KitStep, split: bool = False) -> Callable[[], Iterator[str]]:
    """Return the step of one SSKD student as a generator that yields the name of each phase as it ends.

    split: cut the backward pass in two where the losses end and the network begins, to time each.
    """
    state, loader, teacher = kit.training.states[0], kit.training.loader, kit.training.teacher
    runtime = kit.training.options.runtime

    def step() -> Iterator[str]:
        batch = next(kit.batches)
        yield "loader"
        views = cut(batch.pixels, Draws(batch.flip, batch.corner), loader.size, state.method.needs.views)
        if runtime.channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        yield "views"
        with torch.no_grad(), torch.autocast(**runtime.autocast):
            teacher_output = teacher(views)
        yield "teacher"
        with torch.autocast(**runtime.autocast):
            output = state.model(views)
        yield "student forward"
        leaves = Output(*(part.detach().requires_grad_() for part in output[:3])) if split else output
        terms = state.loss(leaves, teacher_output, batch)
        yield "losses"
        correct = state.count_correct(output, batch)
        state.optimizer.zero_grad()
        terms["total"].backward()
        if split:
            yield "losses backward"
            torch.autograd.backward(output[:2], (leaves.logits.grad, leaves.projection.grad))
        yield "backward"
        state.optimizer.step()
        yield "update"
        torch.stack([*(term.detach() for term in terms.values()), correct])
        yield "record"

    return step


class Views(NamedTuple):
    """The input of a step of the bare networks: float [4B, C, H, W]."""

    views: Tensor


def networks_row(setting: Setting, runtime: Runtime, teacher: bool = True) -> Row:
    """Time the floor: networks and update alone, on views made beforehand."""
    frozen = runtime.place(setting.teacher()).eval() if teacher else None
    student = runtime.place(setting.students()[0]).train()
    optimizer = sgd([student], Schedule(lr=LR), runtime)
    images = setting.data.images[: setting.batch]
    given = Views(sskd.four_views(images, torch.Generator().manual_seed(0)).to(runtime.device))

    def step(given: Views) -> list[Tensor]:
        if frozen is not None:
            with torch.no_grad():
                runtime.run(frozen, given.views)
        output = runtime.run(student, given.views)
        optimizer.zero_grad()
        loss = output.logits.mean() + output.projection.mean()
        loss.backward()
        optimizer.step()
        return [loss.detach()]

    return Row(take=partial(GraphedStep(step) if runtime.cuda_graph else step, given), runtime=runtime)


def published_row(setting: Setting, runtime: Runtime, ready: bool) -> Row:
    """Time the published procedure; ready: on views made beforehand."""
    student, teacher = (
        network.to(runtime.device) for network in (setting.students()[0].train(), setting.teacher().eval())
    )
    images, labels = setting.data.images[: setting.batch], setting.data.labels[: setting.batch]
    pixels, random = images.permute(0, 2, 3, 1).contiguous().numpy(), np.random.default_rng(0)
    transform = published_transform(*setting.data.channel_statistics(), images.shape[-1])
    optimizer = torch.optim.SGD(student.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
    made = published_views(pixels, transform, random) if ready else None

    def make_views() -> Tensor:
        return made if ready else published_views(pixels, transform, random)

    def take() -> None:
        for _ in published_step(student, teacher, optimizer, make_views, labels, sskd.Recipe()):
            pass

    return Row(take=take, runtime=runtime)


def builders(s: Setting) -> dict[str, Callable[[], Row]]:
    """Return the function that makes each row, by the row's name."""
    kept = replace(s.exact, keep_memory=True)
    return {
        "published": partial(published_row, s, s.exact, ready=False),
        "published, ready": partial(published_row, s, s.exact, ready=True),
        "published, ready, memory kept": partial(published_row, s, kept, ready=True),
        "kit, exact": partial(kit_row, s, s.exact),
        "kit, float32": partial(kit_row, s, s.float32),
        "kit": partial(kit_row, s, s.kit),
        "kit, table": partial(kit_row, s, s.kit, table=True),
        "networks, exact": partial(networks_row, s, s.exact),
        "networks, float32": partial(networks_row, s, s.float32),
        "networks, kit": partial(networks_row, s, s.kit),
        "student alone": partial(networks_row, s, s.kit, teacher=False),
        "three students": partial(kit_row, s, s.kit, 3),
        "resnet8, one student": partial(kit_row, s, s.kit, 1, SMALL),
        "resnet8, three students": partial(kit_row, s, s.kit, 3, SMALL),
    }


# For the pairs after the first, which cost minutes.
SHORT = ("published", "kit, exact", "kit, float32", "kit", "kit, table", "networks, kit", "student alone")
