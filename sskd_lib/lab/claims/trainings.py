"""Train the students of one cell and one seed, and measure them: one row per student."""

from __future__ import annotations

import copy
import datetime
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...data.images import ImageSet
from ...data.load import DATA_FOLDER, load_images
from ...evaluation import agreement, calibration_error, linear_cka, predict
from ...losses import Method, create_method
from ...losses.controls import other_head, relations_permuted, rows_permuted
from ...models.checkpoint import load_checkpoint, save_checkpoint
from ...models.network import Network, Output
from ...recipes import HEAD, Recipe
from ...runtime.device import Runtime
from ...training.head import train_head
from ...training.train import create_network, distill
from .plan import Arm, Cell, read_plan

VALIDATION = {"fashion": 0.2, "cifar10": 0.125}  # share of the training images that is set aside
TEACHERS = {"fashion": "fashion-mnist", "cifar10": "cifar10", "grocery": "grocery", "hundred": "hundred"}
EMBEDDED = {"fashion": "fashion-mnist-lab", "grocery": "grocery"}
SAVE_SECONDS = 1.0  # least time between two saves of a training that may be stopped
HALF_TRAINED = replace(HEAD, epochs=5)  # schedule of the half trained head, on the labelled images


class TimeUp(Exception):
    """The time of a part is over; the same call goes on later."""


@dataclass(frozen=True)
class Sources:
    """Where images come from that the kit does not ship: names that `load_images` takes, by cell images.

    teachers: files in the place of the shipped teachers, by cell images.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    teachers: Mapping[str, str] = field(default_factory=dict)

    def name(self, images: str) -> str:
        """Return the name for load_images. Raises ValueError if a person has to give it and did not."""
        name = self.names.get(images) or EMBEDDED.get(images)
        if not name:
            raise ValueError(
                f"the cells of {images!r} need images that the kit does not ship. Name them: "
                f"--{images} folder:PATH (for 'hundred' also cifar100; see benchmarks/README.md)."
            )
        return name

    def teacher(self, images: str) -> Path:
        """Return the file of the teacher."""
        default = DATA_FOLDER / "weights" / TEACHERS[images] / "teacher_wrn_16_2.safetensors"
        return Path(self.teachers.get(images) or default)


@lru_cache(maxsize=4)
def read_images(name: str, validation: float) -> tuple[ImageSet, ImageSet | None, ImageSet]:
    """Return (pool, validation, test): labelled images are drawn from the pool."""
    train, test = load_images(name), load_images(name, "test")
    pool, held_out = train.split(validation, seed=0) if validation else (train, None)
    return pool, held_out, test


def images_of(cell: Cell, sources: Sources, seed: int) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Return (pool, labelled, measured on) of a cell and a seed."""
    pool, validation, test = read_images(sources.name(cell.images), VALIDATION.get(cell.images, 0.0))
    labelled = pool if cell.labels == len(pool) else pool.take(cell.labels, seed=seed)
    if cell.noise:
        labelled = labelled.with_label_noise(cell.noise, seed=seed)
    return pool, labelled, validation if cell.split == "validation" else test


def train_cell(  # noqa: PLR0913 - what a person may choose, all of it by keyword
    cell: Cell,
    seed: int,
    arms: Sequence[str],
    *,
    sources: Sources,
    runtime: Runtime,
    best: Mapping[str, float] | None = None,
    weights: Path | None = None,
    work: Path | None = None,
    end: float = math.inf,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Train the students of some arms of a cell with one seed; return a row for each.

    Arms with the same number of epochs are trained in one loop and share the teacher's passes.
    best: numbers of the sweep, for the arms that take them from there. weights: folder for the students, in
    half precision, or None. work: folder from which a training that was stopped goes on, or None; what is in
    it is removed at the end. end: time (of time.time()) after which TimeUp is raised at the end of an epoch.
    """

    def stop_in_time(epochs: int, networks: Sequence[Network]) -> None:
        if epochs and time.time() > end:
            raise TimeUp(f"{cell.name}, seed {seed}: the time is up after {epochs} epochs")

    _, labelled, measured = images_of(cell, sources, seed)
    teacher = runtime.place(load_checkpoint(sources.teacher(cell.images)))
    answers = predict(teacher, measured, runtime)
    rows, folder = [], work and work / f"{cell.name}-{seed}"
    for times, group in by_length(arms).items():
        schedule = replace(cell.schedule, epochs=times * cell.schedule.epochs)
        if cell.batch:
            schedule = replace(schedule, batch_size=int(best["batch_size"]))
        methods = [make_method(arm, teacher, labelled, seed, runtime, best) for arm in group]
        students = [
            create_network(cell.student, like=labelled, projection=m.needs_projection, seed=seed)
            for m in methods
        ]
        runs = distill(
            students,
            teacher,
            labelled,
            method=methods,
            schedule=schedule,
            seed=seed,
            runtime=runtime,
            progress=progress,
            out=[folder / arm.name for arm in group] if folder else None,
            watch=stop_in_time,
            save_seconds=SAVE_SECONDS,
        )
        seconds = sum(record["seconds"] for record in runs[0].history)
        common = describe(cell, seed, sources, labelled, measured, runtime)
        common |= {"schedule": asdict(schedule) | {"milestones": list(schedule.milestones)}}
        common |= {"students": len(group), "seconds": round(seconds, 1)}
        for arm, method, run in zip(group, methods, runs, strict=True):
            figures = compare(predict(run.network, measured, runtime), answers, measured)
            row = {
                "arm": arm.name,
                "method": arm.method,
                "recipe": _recipe(method.recipe),
                "teacher": "wrn_16_2",
            }
            rows.append(common | row | figures)
            if weights is not None:
                path = weights / cell.name / f"{arm.name}-{seed}.safetensors"
                path.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoint(path, run.network, run.summary["card"], dtype=torch.float16)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def by_length(names: Sequence[str]) -> dict[int, list[Arm]]:
    """Return the arms that can share a loop: factor of the epochs → arms."""
    groups: dict[int, list[Arm]] = {}
    for arm in (read_plan().arms[name] for name in names):
        groups.setdefault(arm.times, []).append(arm)
    return dict(sorted(groups.items()))


def _recipe(recipe: Recipe | None) -> dict[str, float]:
    return {} if recipe is None else asdict(recipe)


def make_method(
    arm: Arm,
    teacher: Network,
    labelled: ImageSet,
    seed: int,
    runtime: Runtime,
    best: Mapping[str, float] | None = None,
) -> Method:
    """Make the method of an arm; a control's head is drawn, and trained, from the seed."""
    recipe = arm.full_recipe(best or {})
    if arm.control == "rows permuted":
        return rows_permuted(recipe)
    if arm.control == "relations permuted":
        return relations_permuted(recipe)
    if arm.control in ("untrained head", "half trained head"):
        return other_head(arm.control, recipe, fresh_head(arm.control, teacher, labelled, seed, runtime))
    return create_method(arm.method, recipe)


def fresh_head(control: str, teacher: Network, labelled: ImageSet, seed: int, runtime: Runtime) -> nn.Module:
    """Return a head of the teacher's shape with weights from the seed, trained for five epochs or not."""
    fresh = create_network(teacher.spec["model"], like=labelled, projection=True, seed=seed)
    if control == "untrained head":
        return runtime.place(fresh.head)
    learner = copy.deepcopy(teacher)
    learner.head.load_state_dict(fresh.head.state_dict())
    options = {"schedule": HALF_TRAINED, "seed": seed, "runtime": runtime, "progress": False}
    return train_head(learner, labelled, **options).network.head


def compare(student: Output, teacher: Output, data: ImageSet) -> dict[str, float]:
    """Return a student's figures on images: accuracy, calibration, and its likeness to the teacher.

    accuracy, calibration_error, agreement in percent; loss in nats; kl: mean KL(teacher ‖ student) at τ = 1,
    in nats; cka: linear CKA of the features, in percent.
    """
    labels = data.labels.cpu()
    log_s, log_t = F.log_softmax(student.logits, 1), F.log_softmax(teacher.logits, 1)
    figures = {
        "accuracy": 100 * (student.logits.argmax(1) == labels).double().mean().item(),
        "loss": F.nll_loss(log_s, labels).item(),
        "calibration_error": calibration_error(student.logits, labels),
        "agreement": agreement(student.logits, teacher.logits),
        "kl": F.kl_div(log_s, log_t, reduction="batchmean", log_target=True).item(),
        "cka": 100 * linear_cka(student.features, teacher.features),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def describe(
    cell: Cell, seed: int, sources: Sources, labelled: ImageSet, measured: ImageSet, runtime: Runtime
) -> dict[str, Any]:
    """Return what all rows of a cell and a seed have in common."""
    machine = runtime.describe()
    return {
        "cell": cell.name,
        "seed": seed,
        "images": sources.name(cell.images).rpartition("/")[2],
        "labels": len(labelled),
        "noise": cell.noise,
        "student": cell.student,
        "split": cell.split,
        "measured": len(measured),
        "device": machine["device_name"],
        "dtype": machine["dtype"],
        "threads": machine["threads"],
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
