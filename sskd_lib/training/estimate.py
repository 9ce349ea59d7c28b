"""The cost of a training before it starts: steps, hours, memory, disk."""

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
from ..recipes import STUDENT
from ..runtime.device import choose_runtime
from .loop import begin_epoch, make_step
from .prepare import create_methods, prepare
from .reports import memory_in_words
from .state import TRAINED_FROM, TrainOptions
from .step import share_passes
from .teacher_cache import TeacherTable


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


def estimate(
    students: list[Network],
    teacher: Network | None,
    train: ImageSet,
    *,
    method: Any = "sskd",
    recipe: Any = None,
    table: TeacherTable | str | Path | None = None,
    **options: Any,
) -> Estimate:
    """Time a few steps of a training on copies of its students; nothing is written or changed.

    Takes what `distill` takes. Steps are timed for about five seconds after a warm-up of four; where a step
    takes seconds, at least one after the first.
    """
    options = {"schedule": STUDENT, "seed": 0, **options}
    options["runtime"] = options.get("runtime") or choose_runtime()
    methods = create_methods(copy.deepcopy(method), recipe, len(students))
    copies = copy.deepcopy(students)
    for student in copies:  # weights play no part here
        vars(student).pop(TRAINED_FROM, None)
    training = prepare(
        copies,
        teacher,
        train,
        None,
        methods=methods,
        options=TrainOptions(**options),
        table=table,
    )
    states, loader, schedule = training.states, training.loader, training.options.schedule
    device, seconds = training.options.runtime.device, []
    training.options.runtime.prepare()
    passes = share_passes(states)
    begin_epoch(states, 0, schedule.epochs, schedule.lr)
    step = make_step(passes, loader, training.teacher, training.options)
    batches = itertools.chain.from_iterable(loader.epoch(number) for number in itertools.count())
    with memory_in_words(states, loader):
        for number, batch in enumerate(batches):
            started = time.perf_counter()
            step(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
            if (number >= 5 and sum(seconds[4:]) > 5) or (number >= 1 and sum(seconds) > 20) or number >= 200:
                break
    live = [group.needs.views for group in passes if group.needs_teacher and training.teacher is not None]
    return Estimate(
        students=len(states),
        epochs=schedule.epochs,
        steps=len(loader),
        forwards=sum(live) * len(train) * schedule.epochs,
        seconds=statistics.median(seconds[4:] or seconds[1:]),
        memory=peak_memory(device),
        disk=3 * sum(tensor.nbytes for state in states for tensor in state.tensors()),
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
