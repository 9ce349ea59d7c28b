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

The kit's rows run the step of `distill` itself, on batches of its own feed. `phased_step` is that step once
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
from published import published_step, published_transform, published_views
from timing import Row
from torch import Tensor

import sskd_lib as sskd
from sskd_lib import ImageSet, Network, Output, Runtime, Schedule
from sskd_lib.runtime.cuda_graph import GraphedStep
from sskd_lib.training.jobs import prepare
from sskd_lib.training.loader import Batch
from sskd_lib.training.loop import Job, Lesson, Step, sgd
from sskd_lib.training.table import cache_teacher

LR = 1e-4  # a tiny rate, so that hundreds of steps on noise stay finite
BATCHES = {"cpu": 8, "cuda": 64}  # an epoch of the kit's rows; a new one begins where it ends
SMALL = ("wrn_40_2", "resnet8")


def random_images(count: int, classes: int) -> ImageSet:
    """Noise in the shape of CIFAR."""
    generator = torch.Generator().manual_seed(0)
    return ImageSet(
        images=torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
        labels=torch.randint(0, classes, (count,), generator=generator),
        classes=tuple(f"class {k}" for k in range(classes)),
        name="random",
    )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all rows of a pair share. kit: the chosen runtime; folder: where the teacher table is made."""

    pair: tuple[str, str]
    batch: int
    data: ImageSet
    kit: Runtime
    folder: Path

    @property
    def exact(self) -> Runtime:
        return Runtime(device=self.kit.device)

    @property
    def float32(self) -> Runtime:
        cuda = self.kit.device.type == "cuda"
        return replace(
            self.kit, dtype=torch.float32, channels_last=True, cuda_graph=cuda, keep_memory=not cuda, why=""
        )

    def teacher(self, pair: tuple[str, str] | None = None) -> Network:
        return sskd.create_network((pair or self.pair)[0], self.data, projection=True, seed=1)

    def students(self, count: int = 1, pair: tuple[str, str] | None = None) -> list[Network]:
        name = (pair or self.pair)[1]
        return [sskd.create_network(name, self.data, projection=True, seed=s) for s in range(count)]


def real_step(
    students: list[Network],
    teacher: Network | None,
    data: ImageSet,
    batch: int,
    runtime: Runtime,
    table: str | Path | None = None,
) -> tuple[Step, Iterator[Batch]]:
    """The step of `distill(students, teacher, data, table=table)`, and the batches of its epochs."""
    schedule = Schedule(batch_size=batch, lr=LR)
    lesson, jobs = prepare(students, teacher, data, schedule=schedule, table=table, runtime=runtime)
    for job in jobs:
        job.optimizer = sgd(job.trained, schedule, runtime)
    step = Step(lesson, jobs)
    step.set_learning_rate(LR)
    return step, itertools.chain.from_iterable(lesson.feed.epoch(number) for number in itertools.count())


def kit_row(
    setting: Setting,
    runtime: Runtime,
    count: int = 1,
    pair: tuple[str, str] | None = None,
    table: bool = False,
) -> Row:
    """A step of `count` students, with the feed's work for it."""
    teacher, path = setting.teacher(pair), None
    if table:
        path = setting.folder / "table"
        cache_teacher(teacher, setting.data, path, draws=1, runtime=runtime, progress=False)
        teacher = None
    step, batches = real_step(
        setting.students(count, pair), teacher, setting.data, setting.batch, runtime, path
    )
    return Row(take=lambda: step.call(next(batches)), runtime=runtime)


def phased_step(
    lesson: Lesson, job: Job, batches: Iterator[Batch], split: bool = False
) -> Callable[[], Iterator[str]]:
    """The step of one SSKD student as a generator that yields the name of each phase as it ends.

    split: cut the backward pass in two where the losses end and the network begins, to time each.
    """
    student, optimizer, runtime = job.network, job.optimizer, lesson.runtime
    method = sskd.create_method("sskd")

    def step() -> Iterator[str]:
        batch = next(batches)
        yield "feed"
        views = batch.views(lesson.feed.size, job.views)
        yield "views"
        with torch.no_grad():
            taught = runtime.run(lesson.teacher, views)
        yield "teacher"
        output = runtime.run(student, views)
        yield "student forward"
        hits = (output.logits[: len(batch.labels)].argmax(1) == batch.labels).sum()
        judged = Output(*(part.detach().requires_grad_() for part in output[:3])) if split else output
        terms = method(judged, taught, batch.labels)
        yield "losses"
        optimizer.zero_grad()
        terms["total"].backward()
        if split:
            yield "losses backward"
            torch.autograd.backward(output[:2], (judged.logits.grad, judged.projection.grad))
        yield "backward"
        optimizer.step()
        yield "update"
        torch.stack([*(term.detach() for term in terms.values()), hits])
        yield "record"

    return step


class Views(NamedTuple):
    """What a step of the bare networks gets: float [4B, C, H, W]."""

    views: Tensor


def networks_row(setting: Setting, runtime: Runtime, teacher: bool = True) -> Row:
    """The floor: networks and update alone, on views made beforehand."""
    taught_by = runtime.place(setting.teacher()).eval() if teacher else None
    student = runtime.place(setting.students()[0]).train()
    optimizer = sgd(student, Schedule(lr=LR), runtime)
    images = setting.data.images[: setting.batch]
    given = Views(sskd.four_views(images, torch.Generator().manual_seed(0)).to(runtime.device))

    def step(given: Views) -> list[Tensor]:
        if taught_by is not None:
            with torch.no_grad():
                runtime.run(taught_by, given.views)
        output = runtime.run(student, given.views)
        optimizer.zero_grad()
        loss = output.logits.mean() + output.projection.mean()
        loss.backward()
        optimizer.step()
        return [loss.detach()]

    return Row(take=partial(GraphedStep(step) if runtime.cuda_graph else step, given), runtime=runtime)


def published_row(setting: Setting, runtime: Runtime, ready: bool) -> Row:
    """The published procedure; `ready`: on views made beforehand."""
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
    """What makes each row, by its name. A row is made when it is asked for."""
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
