"""Train the cells of a table: their teachers, then their students, or only estimate what that would cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..data.images import ImageSet
from ..files import CheckpointError, differences, write_atomically
from ..losses import create_method, create_task
from ..models.checkpoint import load_checkpoint
from ..models.network import Network
from ..recipes import HEAD, Schedule
from ..training.estimate import estimate
from ..training.head import give_head, train_head
from ..training.state import Diverged
from ..training.train import create_network, distill, train_teacher
from .paper import numbers_for, schedule_for
from .plan import DIVERGED, FINISHED, FIRST_TASK, Cell, Plan, by_task, teacher_file, teachers_of


def train_cells(plan: Plan, train: ImageSet, test: ImageSet, out: Path, **options: Any) -> Iterator[Cell]:
    """Train the missing teachers and the missing runs of a plan; yield each cell when it is done.

    options: keywords of `distill` beside the schedule and the seed.
    Raises ValueError if the plan is a part of several and a teacher is missing.
    """
    plan.require_teachers(out)
    for name, task in teachers_of(plan.cells()):
        make_teacher(name, train, test, out, plan.teacher_epochs, task, **options)
    for cell in plan.cells():
        train_cell(cell, train, test, out, schedule_for(cell.pair.student, plan.epochs), **options)
        yield cell


def make_teacher(
    name: str,
    train: ImageSet,
    test: ImageSet,
    out: Path,
    epochs: int | None,
    task: str = FIRST_TASK,
    **options: Any,
) -> None:
    """Train a teacher and its head on all images with seed 0, unless their checkpoint exists.

    task: pretext task of the head. The head of another task than FIRST_TASK is trained on the teacher that
    has a head for FIRST_TASK. epochs: of the teacher, None for the published number; the head gets a quarter.
    options: passed on to train_teacher and train_head.
    """
    path = teacher_file(out, name, task)
    if path.exists():
        return
    schedule = schedule_for(name, epochs)
    if task == FIRST_TASK:
        network = _trained_on_labels(name, train, test, schedule, path.parents[1] / "labels", **options)
    else:
        network = load_checkpoint(teacher_file(out, name))
    schedule = dataclasses.replace(HEAD, epochs=max(1, schedule.epochs // 4))
    train_head(network, train, test, schedule=schedule, out=path.parent, task=task, **options)


def _trained_on_labels(
    name: str, train: ImageSet, test: ImageSet, schedule: Schedule, folder: Path, **options: Any
) -> Network:
    """The teacher without a trained head: from a finished run in `folder`, else trained."""
    if all((folder / file).exists() for file in ("summary.json", "teacher.safetensors")):
        check_finished(folder, train, test, schedule)
        return load_checkpoint(folder / "teacher.safetensors")
    network = create_network(name, train, projection=True, seed=0)
    train_teacher(network, train, test, schedule=schedule, out=folder, **options)
    return network


def check_finished(folder: Path, train: ImageSet, test: ImageSet | None, schedule: Schedule) -> None:
    """Raise CheckpointError unless the finished run in `folder` had these images and this schedule."""
    plan = json.loads((folder / FINISHED[0]).read_text(encoding="utf-8"))["card"]["plan"]
    wanted = {
        "data": train.fingerprint(),
        "test": test.fingerprint() if test is not None else None,
        "schedule": dataclasses.asdict(schedule),
    }
    wanted = json.loads(json.dumps(wanted))  # as a plan is read: lists for tuples
    if differs := differences({name: plan[name] for name in wanted}, wanted):
        raise CheckpointError(
            f"{folder} contains a finished run with other settings; what differs: {', '.join(differs)}. "
            "Choose another output folder, repeat the old settings, or delete the folder."
        )


def create_students(cell: Cell, train: ImageSet, methods: Sequence[str]) -> tuple[list[Network], list[str]]:
    """Return (fresh students, their methods), those with the fewest views first.

    train: all training images, whatever the condition: mean and deviation of the pixels are theirs.
    """
    ordered = sorted(methods, key=lambda m: create_method(m).needs.views)
    students = [
        create_network(cell.pair.student, train, projection=create_method(m).needs_projection, seed=cell.seed)
        for m in ordered
    ]
    return students, ordered


def train_cell(
    cell: Cell, train: ImageSet, test: ImageSet, out: Path, schedule: Schedule, **options: Any
) -> None:
    """Train the missing runs of a cell: finished ones are left as they are, interrupted ones go on.

    Methods that need another head of their teacher are trained by themselves. A method that diverges is given
    up, with a note in its folder; the other methods of its cell continue from their last saved state.
    Raises CheckpointError if a folder contains a run with other settings.
    """
    images = cell.images(train)
    for method in cell.finished(out):
        check_finished(cell.folder(out, method), images, test, schedule)
    for task, methods in by_task(cell.methods).items():
        while left := [method for method in methods if method in cell.missing(out)]:
            try:
                train_together(cell, left, task, train, test, out, schedule, **options)
                break
            except Diverged as error:
                if error.out is None:
                    raise
                write_atomically(error.out / DIVERGED, f"{error}\n".encode())
                print(f"given up: {error.out}: {error}")


def train_together(
    cell: Cell,
    methods: Sequence[str],
    task: str,
    train: ImageSet,
    test: ImageSet,
    out: Path,
    schedule: Schedule,
    **options: Any,
) -> None:
    """Train methods of one cell that share a teacher, the one with a head trained on `task`."""
    students, ordered = create_students(cell, train, methods)
    distill(
        students,
        load_checkpoint(teacher_file(out, cell.pair.teacher, task)),
        cell.images(train),
        test,
        method=[create_method(name, **numbers_for(cell.pair, name)) for name in ordered],
        schedule=schedule,
        seed=cell.seed,
        out=[cell.folder(out, method) for method in ordered],
        **options,
    )


def cost(
    cells: Sequence[Cell],
    train: ImageSet,
    out: Path,
    epochs: int | None,
    report: Callable[[str], object] = print,
    **options: Any,
) -> None:
    """Time a few steps of one cell of each pair and report the cost of all cells; write nothing.

    epochs: of the students, None for the published number. report: called with each line of the answer.
    """
    hours = teacher_forwards = student_forwards = 0.0
    for pair in dict.fromkeys(cell.pair for cell in cells):
        left = [cell for cell in cells if cell.pair == pair and cell.missing(out)]
        if not left:
            continue
        schedule, images = schedule_for(pair.student, epochs), left[0].images(train)
        for task, methods in by_task(left[0].missing(out)).items():
            students, ordered = create_students(left[0], train, methods)
            teacher = create_network(pair.teacher, train, projection=True)
            give_head(teacher, create_task(task), train, seed=0)
            settings = {"method": ordered, "schedule": schedule, "progress": False, **options}
            estimated = estimate(students, teacher, images, **settings)
            views = sum(create_method(m).needs.views for m in ordered)
            hours += estimated.hours * len(left)
            teacher_forwards += estimated.forwards * len(left)
            student_forwards += views * len(images) * schedule.epochs * len(left)
            report(f"{pair.name}: {estimated} for each of {len(left)} cell(s)")
    forwards = f"{teacher_forwards / 1e6:.3g} million in the teachers, {student_forwards / 1e6:.3g} million"
    report(
        f"students, in all: {hours:.3g} h on this machine (tests and teachers not counted); forwards: "
        f"{forwards} in the students, whose steps cost about three forwards each"
    )
