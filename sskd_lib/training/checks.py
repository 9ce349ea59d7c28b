"""Checks at the door of a training: networks, images, heads and folders that fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.images import ImageSet
from ..evaluation import check_classes
from ..losses.method import Method
from ..models.build import explain_numbers
from ..models.network import Network
from ..runtime.distributed import Distributed


def check_fits(network: Network, data: ImageSet | None, who: str) -> None:
    """Raise ValueError unless a network takes these images (None: nothing to check) and has their classes.

    Classes are compared by name where the network knows their names. Its weights must be finite.
    """
    if data is None:
        return
    if not network.spec:
        raise ValueError(
            f"the {who} has no spec, so a checkpoint could not say what it is. Make it with create_network."
        )
    check_classes(network, data, who)
    channels, classes = network.spec["in_channels"], network.spec["num_classes"]
    if (channels, classes) != (data.in_channels, data.num_classes):
        raise ValueError(
            f"the {who} ({network.spec['model']}) takes {channels} channel(s) and tells {classes} classes "
            f"apart, but {data.name} has {data.in_channels} and {data.num_classes}. Train or load one made "
            "for these images: create_network(name, like=images) (commands: teacher --data, distill --data)."
        )
    network.backbone.check_side(data.window or data.images.shape[-1])
    if problem := explain_numbers(network.state_dict()):
        raise ValueError(f"the {who} is broken: {problem}. Load it again, or train it again with a lower lr.")


def check_separate(students: Sequence[Network], teacher: Network | None) -> None:
    """Raise ValueError if two networks of a distillation are the same, or have a weight in common."""
    owners: dict[int, str] = {} if teacher is None else {id(p): "the teacher" for p in teacher.parameters()}
    for number, student in enumerate(students, 1):
        for parameter in student.parameters():
            if other := owners.get(id(parameter)):
                raise ValueError(
                    f"student {number} and {other} must be different networks, but they have weights in "
                    "common: a network cannot learn from itself while it changes. Make each with "
                    "create_network; copy.deepcopy(network) copies one."
                )
        owners |= {id(parameter): f"student {number}" for parameter in student.parameters()}


def check_batches(method: Method, data: ImageSet | None, batch_size: int) -> None:
    """Raise ValueError if a method compares the images of a batch and every batch has just one."""
    if data is not None and min(batch_size, len(data)) < method.fewest_images:
        raise ValueError(
            f"{method.name!r} compares the images of a batch with each other, and a batch has one here "
            f"(batch_size={batch_size}, {data.name} of {len(data)}): every answer would be right. Take at "
            f"least {method.fewest_images} images in a batch (command: --batch-size); the paper has 64."
        )


def check_head(method: Method, teacher: Network) -> None:
    """Raise ValueError if a method imitates a teacher's head and this head has never been trained."""
    if teacher.head is not None and method.task == teacher.task and not teacher.head_trained:
        raise ValueError(
            f"{method.name!r} imitates the head of the teacher, and this head has not been trained. Train it "
            "first: train_head(teacher, images) (command: head --teacher FILE --out FOLDER). To use an "
            "untrained head on purpose, set teacher.head_trained = True."
        )


def check_student(method: Method, student: Network, train: ImageSet) -> None:
    """Raise ValueError unless a student fits these images and has the head that a method needs."""
    check_fits(student, train, "student")
    if train.num_classes < 2:
        raise ValueError(
            f"{train.name} has one class, {train.classes[0]!r}, so there is nothing to distinguish. Use "
            "images of at least two classes."
        )
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
        return [Path(out).expanduser() / str(number) for number in range(1, count + 1)]
    folders = [Path(folder).expanduser() if folder else None for folder in one_each(out, count, "out")]
    named = [folder.resolve() for folder in folders if folder]
    if len(set(named)) < len(named):
        raise ValueError("two students have the same output folder; give each its own.")
    return folders
