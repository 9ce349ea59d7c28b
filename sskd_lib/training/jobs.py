"""What a student's training needs, checked and put together: the lesson all students share, and a job for
each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.images import ImageSet
from ..evaluation import evaluate
from ..files import tensors_hash
from ..losses import FurtherTerms, Method, PairOutputs, create_method
from ..models.network import Network, Output, check_fits
from ..models.simkd import reuse_classifier
from ..recipes import STUDENT, Schedule
from ..runtime.device import Runtime, choose_runtime
from ..runtime.distributed import world
from .loader import Batch, Feed
from .loop import Job, Learn, Lesson
from .records import make_card
from .resume import hash_images, make_plan
from .table import TeacherTable, open_table


def prepare(
    students: Sequence[Network],
    teacher: Network | None,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    method: Any = "sskd",
    recipe: Any = None,
    schedule: Schedule = STUDENT,
    seed: int = 0,
    out: Any = None,
    table: TeacherTable | str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
    kind: str = "student",
) -> tuple[Lesson, list[Job]]:
    """Check and place everything a call of `distill` needs; its arguments, with the students in a list."""
    count = len(students)
    if count == 0 or len({id(student) for student in students}) < count:
        raise ValueError(
            "students is one network or a list of different ones; make each with create_network."
        )
    folders = _folders(out, count)
    made = [
        name if isinstance(name, Method) else create_method(name, numbers)
        for name, numbers in zip(
            _one_each(method, count, "method"), _one_each(recipe, count, "recipe"), strict=True
        )
    ]
    table = open_table(table) if isinstance(table, (str, Path)) else table
    taught = any(m.needs_teacher for m in made)
    teacher, table = (teacher, table) if taught else (None, None)
    for student, m in zip(students, made, strict=True):
        _check_networks(m, student, teacher, table, train)
        check_fits(student, test, "student")
    if table is not None:
        table.check(teacher, train)
    facts = _teacher_facts(teacher, table)
    images = hash_images(train, test)
    runtime = runtime or choose_runtime()
    feed = Feed(
        train=train,
        batch_size=schedule.batch_size,
        seed=seed,
        device=runtime.device,
        world=world(),
        views=max(m.views for m in made),
        shuffled=any(m.shuffled for m in made),
        table=table,
    )
    lesson = Lesson(
        feed=feed,
        teacher=runtime.place(teacher).eval() if teacher is not None and table is None else None,
        schedule=schedule,
        seed=seed,
        runtime=runtime,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    jobs = [
        _student_job(m, student, facts if m.needs_teacher else {}, images, lesson, test, folder, kind)
        for m, student, folder in zip(made, students, folders, strict=True)
    ]
    return lesson, jobs


def _one_each(value: Any, count: int, what: str) -> list:
    """A list of `count` values: the given one again and again, or the given list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"there are {count} students and {len(value)} entries in {what}: give one each, or one for all."
        )
    return list(value)


def _folders(out: Any, count: int) -> list[Path | None]:
    """The output folder of each student; a single one is divided into 1, 2, …"""
    if isinstance(out, (str, Path)):
        return [Path(out) / str(number) for number in range(1, count + 1)]
    folders = [Path(folder) if folder else None for folder in _one_each(out, count, "out")]
    named = [folder.resolve() for folder in folders if folder]
    if len(set(named)) < len(named):
        raise ValueError("two students have the same output folder; give each its own.")
    return folders


def _teacher_facts(teacher: Network | None, table: TeacherTable | None) -> dict[str, Any]:
    """What plan and card say of the teacher: its weights' hash, its name, and the table in its place."""
    if table is not None:
        return {
            "weights": table.card["teacher_weights"],
            "model": table.card["teacher"]["model"],
            "table": table.identity(),
        }
    if teacher is not None:
        return {"weights": tensors_hash(teacher.state_dict()), "model": teacher.spec["model"]}
    return {}


def _student_job(
    made: Method,
    student: Network,
    teacher: dict[str, Any],
    images: dict[str, Any],
    lesson: Lesson,
    test: ImageSet | None,
    out: Path | None,
    kind: str,
) -> Job:
    """All that one student needs beside the lesson. teacher, images: what the plan says of them."""
    runtime, feed = lesson.runtime, lesson.feed
    if made.reuses_classifier:  # before the plan: a student that was joined in an earlier call is the same
        reuse_classifier(runtime.place(student), lesson.teacher, feed.size, lesson.seed)
    own = _further_terms(made, student, lesson)
    plan = make_plan(
        kind, student, teacher.get("weights"), images, lesson.schedule, lesson.seed, feed.world.size
    )
    recipe = made.recipe and dataclasses.asdict(made.recipe)
    plan |= {"method": made.name, "recipe": recipe, "table": teacher.get("table")}
    plan |= {"terms": made.plan()} if made.extra else {}
    runtime.place(student).train()
    unused_head = student.head is not None and not made.needs_projection
    name = made.name if kind == "student" else None

    def measure() -> dict[str, float]:
        figures = evaluate(student, test, runtime)
        return {"test_accuracy": figures["accuracy"], "test_loss": figures["loss"]}

    return Job(
        network=student,
        trained=student if own is None else nn.ModuleList([student, own]),
        learn=_student_learn(made, student, own, unused_head, lesson),
        views=made.views,
        taught=made.needs_teacher,
        shuffled=made.shuffled,
        asked=made.asked,
        own=own,
        measure=measure if test is not None else None,
        plan=plan,
        card=make_card(kind, feed.train, test, runtime, teacher=teacher.get("model"), method=name),
        out=out,
        file_name=f"{kind}.safetensors",
    )


def _further_terms(made: Method, student: Network, lesson: Lesson) -> FurtherTerms | None:
    """The further terms of a method, made for these networks and placed beside them; None if it has none."""
    if not made.extra:
        return None
    runtime, feed = lesson.runtime, lesson.feed
    if feed.world.size > 1 and (alone := [term.name for term in made.extra if term.alone]):
        raise ValueError(
            f"{' and '.join(alone)} keeps a memory of all images, so it is trained by one process only. Call "
            "the command without torchrun."
        )
    pixels = torch.zeros(2, feed.train.in_channels, *feed.size, device=runtime.device)
    said = []
    for network in (student, lesson.teacher or student):  # a table says nothing but logits
        runtime.place(network).eval()
        with torch.no_grad():
            said.append(runtime.run(network, pixels, **made.asked))
    own = made.fit_to(
        PairOutputs(student=said[0], teacher=said[1], labels=feed.train.labels.cpu()), lesson.seed
    )
    own.autocast = runtime.autocast
    return runtime.place(own)


def _student_learn(
    made: Method, student: Network, own: FurtherTerms | None, unused_head: bool, lesson: Lesson
) -> Learn:
    """What a student does with views: one forward pass, then the method's terms."""
    world, runtime = lesson.feed.world, lesson.runtime
    first = any(term.first for term in made.extra)  # a stage in which the classifier is not trained
    student = world.wrap(student, unused_head or first)
    if own is not None and any(True for _ in own.parameters()):
        own = world.wrap(own, first)

    def learn(views: Tensor, taught: Output | None, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        output, labels = runtime.run(student, views, **made.asked), batch.labels
        hits = (output.logits[: len(labels)].argmax(1) == labels).sum()
        return made(output, taught, labels, own, batch.index), hits

    return learn


def _check_networks(
    made: Method, student: Network, teacher: Network | None, table: TeacherTable | None, train: ImageSet
) -> None:
    """Raise ValueError unless a method has the networks and heads it needs, made for these images."""
    check_fits(student, train, "student")
    if made.needs_projection and student.head is None:
        raise ValueError(
            "L_ss needs a projection head on the student; make it with create_network(..., projection=True)."
        )
    if not made.needs_teacher:
        return
    if table is not None:
        if made.pretext:
            raise ValueError(
                f"the method {made.name!r} imitates a head for the task {made.pretext!r}, and a table holds "
                "projections of the contrastive task only. Give the teacher itself, without the table."
            )
        if made.looks_at:
            raise ValueError(
                f"the method {made.name!r} compares {' and '.join(sorted(made.looks_at))}, and a table holds "
                "logits and projections only. Give the teacher itself, without the table."
            )
        if made.needs_projection and table.projection is None:
            raise ValueError(
                "L_ss needs the teacher's projections, and the table has no projections: its teacher had "
                "no head. Make the table anew with a teacher whose head was trained by train_head."
            )
        return
    if teacher is None:
        raise ValueError(
            f"the method {made.name!r} needs a teacher; load one with load_checkpoint (command: --teacher), "
            "or give a table of its outputs (cache_teacher)."
        )
    check_fits(teacher, train, "teacher")
    if made.needs_projection and teacher.head is None:
        raise ValueError(
            "L_ss needs the teacher's projection head: make the teacher with projection=True, train it, then "
            "train its head with train_head."
        )
    if made.task and (teacher.head is None or teacher.task != made.task):
        has = f"one for the task {teacher.task!r}" if teacher.head is not None else "none"
        raise ValueError(
            f"the method {made.name!r} imitates a head for the task {made.task!r}, and this teacher has "
            f"{has}. Train one: train_head(teacher, …, task={made.task!r}), or python -m sskd_lib head "
            f"--task {made.task}."
        )
