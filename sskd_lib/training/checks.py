"""Checks at the door of a training: networks, images, heads and folders that fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.images import ImageSet
from ..losses.method import Method
from ..models.network import Network
from ..runtime.distributed import Distributed


def check_fits(network: Network, data: ImageSet | None, who: str) -> None:
    """Raise ValueError unless a network takes these images (None: nothing to check) and has their classes."""
    if data is None:
        return
    if not network.spec:
        raise ValueError(
            f"the {who} has no spec, so a checkpoint could not say what it is. Make it with create_network."
        )
    channels, classes = network.spec["in_channels"], network.spec["num_classes"]
    if (channels, classes) != (data.in_channels, data.num_classes):
        raise ValueError(
            f"the {who} ({network.spec['model']}) takes {channels} channel(s) and tells {classes} classes "
            f"apart, but {data.name} has {data.in_channels} and {data.num_classes}. Train or load one made "
            "for these images: create_network(name, like=images)."
        )


def check_student(method: Method, student: Network, train: ImageSet) -> None:
    """Raise ValueError unless a student fits these images and has the head that a method needs."""
    check_fits(student, train, "student")
    if method.needs_projection and student.head is None:
        raise ValueError(
            "L_ss needs a projection head on the student; make it with create_network(..., projection=True)."
        )


def check_teacher(method: Method, teacher: Network | None, train: ImageSet) -> None:
    """Raise ValueError unless a method has the teacher it needs, with its head, for these images."""
    if not method.needs_teacher:
        return
    if teacher is None:
        raise ValueError(
            f"the method {method.name!r} needs a teacher; load one with load_checkpoint (command: --teacher)"
            ", or give a table of its outputs (cache_teacher)."
        )
    check_fits(teacher, train, "teacher")
    if method.needs_projection and teacher.head is None:
        raise ValueError(
            "L_ss needs the teacher's projection head: make the teacher with projection=True, train it, then "
            "train its head with train_head."
        )
    if method.task and (teacher.head is None or teacher.task != method.task):
        has = f"one for the task {teacher.task!r}" if teacher.head is not None else "none"
        raise ValueError(
            f"the method {method.name!r} imitates a head for the task {method.task!r}, and this teacher has "
            f"{has}. Train one: train_head(teacher, …, task={method.task!r}), or python -m sskd_lib head "
            f"--task {method.task}."
        )


def check_processes(method: Method, processes: Distributed) -> None:
    """Raise ValueError if a term that works in one process only would be trained by several."""
    single = [term.name for term in method.terms if term.single_process]
    if processes.world_size > 1 and single:
        raise ValueError(
            f"{' and '.join(single)} keeps a memory of all images, so it is trained by one process only. "
            "Call the command without torchrun."
        )


def one_each(value: Any, count: int, what: str) -> list:
    """Return a list of `count` values: the given one again and again, or the given list.

    Raises ValueError for a list of another length.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"there are {count} students and {len(value)} entries in {what}: give one each, or one for all."
        )
    return list(value)


def output_folders(out: Any, count: int) -> list[Path | None]:
    """Return the output folder of each student; a single one gets sub-folders 1, 2, 3.

    Raises ValueError for two students with the same folder.
    """
    if isinstance(out, (str, Path)):
        return [Path(out) / str(number) for number in range(1, count + 1)]
    folders = [Path(folder) if folder else None for folder in one_each(out, count, "out")]
    named = [folder.resolve() for folder in folders if folder]
    if len(set(named)) < len(named):
        raise ValueError("two students have the same output folder; give each its own.")
    return folders
