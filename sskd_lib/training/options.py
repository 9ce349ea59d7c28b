"""Options of the commands that train: images by name, the machine, and the pace of tests and saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..data.images import ImageSet
from ..data.load import load_images
from ..losses import Method
from ..models.checkpoint import load_checkpoint
from ..models.network import Network
from ..recipes import SCHEDULES, Schedule
from ..runtime.device import Runtime, choose_runtime, find_device
from ..runtime.distributed import current, local_device


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """The images by name, and the machine."""

    # fashion-mnist-lab, grocery, fashion-mnist, cifar10, cifar100, folder:PATH or shards:PATH
    data: str = "fashion-mnist-lab"
    root: Path | None = None  # folder of the original archives; default: SSKD_DATA, else a download
    device: str = "auto"  # auto, cpu, cuda, mps
    exact: bool = False  # plain float32, the slow reference

    def runtime(self) -> Runtime:
        """Choose the format for this machine: that of the main process, on this process's device."""
        device = local_device(self.device)
        chosen = choose_runtime(device, exact=self.exact) if current().is_main else None
        return dataclasses.replace(current().broadcast_object(chosen), device=find_device(device))


@dataclass(frozen=True, kw_only=True)
class RunOptions(MachineOptions):
    """Images, machine and pace: options of every command that trains."""

    evaluate_every: int = 1  # epochs between tests
    save_seconds: float = 10.0  # least time between two saves of the state that a killed run resumes from

    def keywords(self) -> dict[str, Any]:
        """Return these options as keywords of a training function."""
        pace = {"evaluate_every": self.evaluate_every, "save_seconds": self.save_seconds}
        return {"runtime": self.runtime(), **pace}


@dataclass(frozen=True, kw_only=True)
class SubsetOptions(MachineOptions):
    """The images by name, a part of them, and the machine."""

    labels: int | None = None  # use only this many training images, the same number of each class
    held_out: float = 0.0  # fraction of the training images set aside and tested on INSTEAD of the test set
    seed: int = 0  # initial weights, subset, order and augmentation

    def images(self) -> tuple[ImageSet, ImageSet]:
        """Load (train, test). Raises ValueError if an option leaves a class without an image."""
        train = load_images(self.data, "train", self.root)
        if self.held_out:
            train, test = train.split(self.held_out, seed=0)
            for part, name in ((train, "training"), (test, "test")):
                check_every_class(part, f"--held-out {self.held_out}", name)
        else:
            test = load_images(self.data, "test", self.root)
        if self.labels is not None:
            train = train.take(self.labels, seed=self.seed)
            check_every_class(train, f"--labels {self.labels}", "training")
        return train, test


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(SubsetOptions, RunOptions):
    """Options of one training."""

    label_noise: float = 0.0  # fraction of the training labels that is replaced by a wrong one

    def images(self) -> tuple[ImageSet, ImageSet]:
        """Load (train, test), with the label noise. Raises ValueError as `SubsetOptions.images` does."""
        train, test = super().images()
        noisy = train.with_label_noise(self.label_noise, seed=self.seed) if self.label_noise else train
        return noisy, test

    def keywords(self) -> dict[str, Any]:
        """Return these options as keywords of a training function."""
        return super().keywords() | {"seed": self.seed}


def check_every_class(images: ImageSet, option: str, what: str) -> None:
    """Raise ValueError if an option leaves a class without an image."""
    if without := images.without_images():
        some = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
        raise ValueError(
            f"{option} gives {len(images)} {what} images, and {len(without)} of the {images.num_classes} "
            f"classes have none ({some}). Choose it so that there is at least one for each class."
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """A schedule by name, and numbers of it to change."""

    # student (240 epochs), head (60; the default of `head`), imagenet (90), short (20: few labels, a laptop)
    schedule: Literal["student", "head", "imagenet", "short"] | None = None
    epochs: int | None = None  # passes over the training images, in place of the schedule's
    batch_size: int | None = None  # images in one step (student: 64, short: 16)
    lr: float | None = None  # highest learning rate (student and short: 0.05)
    momentum: float | None = None  # momentum of SGD (0.9)
    weight_decay: float | None = None  # weight decay of SGD, on all weights (0.0005)
    milestones: tuple[float, ...] | None = None  # fractions of the epochs after which lr is cut
    decay: float | None = None  # factor of lr at each milestone (0.1)
    # steps: lr is cut at the milestones; one-cycle: it rises in a line and falls to 0
    shape: Literal["steps", "one-cycle"] | None = None
    warmup: float | None = None  # one-cycle: fraction of the epochs in which lr rises (0.2)

    def chosen(self, usual: Schedule) -> Schedule:
        """Return the schedule of this name, `usual` without one, with the numbers that were given."""
        base = SCHEDULES[self.schedule] if self.schedule else usual
        fields = (field.name for field in dataclasses.fields(Schedule))
        given = {name: getattr(self, name) for name in fields}
        return dataclasses.replace(base, **{name: v for name, v in given.items() if v is not None})


@dataclass(frozen=True, kw_only=True)
class DistillOptions(TrainingOptions):
    """Options of a distillation."""

    # folder of the result, with sub-folders 1, 2, … for several students; an interrupted run resumes there
    out: Path
    teacher: Path | None = None  # checkpoint of a teacher with a trained head (not for ce, nor with a table)
    table: Path | None = None  # folder of a teacher table made by the command table, in place of the teacher
    student: tuple[str, ...] = ("resnet8",)  # names of the backbones; one for all students or one each
    # ce, kd, kd+rotations, sskd, fitnet, at, dkd, … (an unknown name lists all), also joined, as in sskd+dkd;
    # one for all students or one each. sskd-exemplar, sskd-jigsaw, sskd-rotation and hsakd need a teacher
    # from `head --task`.
    method: tuple[str, ...] = ("sskd",)
    first_weights: tuple[int, ...] = ()  # seeds of the students' first weights, one each; default: --seed
    preset: str = "official-code"  # weights of the terms: official-code, arxiv or eccv-supp
    # numbers of the preset to change, for example --override ss 5 ss_keep_wrong 0.5
    override: dict[str, float] = dataclasses.field(default_factory=dict)
    dry_run: bool = False  # time a few steps, print the cost of the whole training, and write nothing

    def students(self) -> list[tuple[str, str, int]]:
        """Return (backbone, method, seed of the first weights) of each student."""
        seeds = self.first_weights or (self.seed,)
        columns = {"--student": self.student, "--method": self.method, "--first-weights": seeds}
        count = max(map(len, columns.values()))
        for name, values in columns.items():
            if len(values) not in (1, count):
                raise ValueError(
                    f"{name} has {len(values)} entries for {count} student{'s' * (count > 1)}: give one "
                    "each, or one for all."
                )
        return list(zip(*(values * (count // len(values)) for values in columns.values()), strict=True))

    def load_teacher(self, methods: Sequence[Method]) -> Network | None:
        """Load the teacher, None without one.

        Raises ValueError if a method compares projections and the head of the checkpoint is not trained.
        """
        if self.teacher is None:
            return None
        teacher = load_checkpoint(self.teacher)
        untrained = teacher.head is not None and not teacher.head_trained
        if untrained and any(method.needs_projection for method in methods):
            raise ValueError(
                f"the projection head in {self.teacher} is not trained yet. Run `python -m sskd_lib head "
                f"--teacher {self.teacher} --out FOLDER` first, and give its teacher.safetensors to distill."
            )
        return teacher
