"""What a training would take, before it starts: steps, hours, memory, disk."""

from __future__ import annotations

import copy
import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.images import ImageSet
from ..models.network import Network
from .jobs import prepare
from .loop import Step, sgd


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cost of a training: counts, and what a few steps of it measured."""

    students: int
    epochs: int
    steps: int  # an epoch
    forwards: int  # images through the teacher over the whole training; 0 with a table
    seconds: float  # a step
    memory: int  # bytes at the peak: of the GPU if there is one, else of this process
    disk: int  # bytes of the weights and of the state that a killed run resumes from

    @property
    def hours(self) -> float:
        """Time of all steps, without the tests between epochs."""
        return self.seconds * self.steps * self.epochs / 3600

    def __str__(self) -> str:
        return (
            f"{self.students} student(s), {self.epochs} epochs of {self.steps} steps, {self.seconds:.3g} s a "
            f"step (measured): {self.hours:.2g} h, tests not counted; {self.forwards / 1e6:.3g} million "
            f"teacher forwards; memory {self.memory / 1e9:.2g} GB; disk {self.disk / 1e6:.3g} MB"
        )


def estimate(students: list[Network], teacher: Network | None, train: ImageSet, **options: Any) -> Estimate:
    """Time a few steps of a training on copies of its students; nothing is written or changed.

    Takes what `distill` takes. Steps are timed for about five seconds after a warm-up of four; where a step
    takes seconds, at least one after the first.
    """
    lesson, jobs = prepare(copy.deepcopy(students), teacher, train, **options | {"out": None})
    lesson.runtime.prepare()
    for job in jobs:
        job.optimizer = sgd(job.trained, lesson.schedule, lesson.runtime)
    step = Step(lesson, jobs)
    step.set_learning_rate(lesson.schedule.lr)
    device, seconds = lesson.runtime.device, []
    batches = itertools.chain.from_iterable(lesson.feed.epoch(number) for number in itertools.count())
    for number, batch in enumerate(batches):
        started = time.perf_counter()
        step.call(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
        if (number >= 5 and sum(seconds[4:]) > 5) or (number >= 1 and sum(seconds) > 20) or number >= 200:
            break
    steady = seconds[4:] or seconds[1:]
    tensors = [tensor for job in jobs for tensor in job.state().values()]
    looked = step.asked if lesson.teacher is not None else ()
    return Estimate(
        students=len(jobs),
        epochs=lesson.schedule.epochs,
        steps=len(lesson.feed),
        forwards=sum(look[0] for look in looked) * len(train) * lesson.schedule.epochs,
        seconds=statistics.median(steady),
        memory=peak_memory(device),
        disk=3 * sum(tensor.nbytes for tensor in tensors),
    )


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak so far: of the GPU's tensors, or of this process; 0 where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
