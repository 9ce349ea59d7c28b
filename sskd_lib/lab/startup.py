"""Start a notebook: print machine and images, and give access to both and to the shipped networks."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch

from ..data.images import ImageSet
from ..data.load import load_images
from ..files import did_you_mean
from ..models.checkpoint import load_checkpoint
from ..models.network import Network
from ..runtime.device import Runtime, choose_runtime
from .diagnosis import device_line
from .display import static_reason
from .shipped import (
    STUDENTS,
    dataset_name,
    missing_weights,
    student_file,
    teacher_file,
    weights_folder,
    weights_line,
    weights_remedy,
)
from .style import theme

TRAIN, TEST = 10_000, 2_500  # images at most, so that a notebook stays quick with any data set


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A notebook's images and device, and the shipped networks for these images."""

    dataset: str
    train: ImageSet
    test: ImageSet
    runtime: Runtime
    static: bool

    def teacher(self) -> Network:
        """Load the shipped teacher with its trained head, in eval mode, on the runtime's device."""
        return self._load(teacher_file(self.dataset))

    def student(self, method: str) -> Network:
        """Load the shipped resnet8 student of a method. Raises ValueError for an unknown one."""
        if method not in STUDENTS:
            hint = did_you_mean(method, STUDENTS)
            raise ValueError(
                f"no student was trained by {method!r}.{hint} The methods are: {', '.join(STUDENTS)}."
            )
        return self._load(student_file(method))

    def _load(self, file: str) -> Network:
        path = weights_folder(self.dataset) / file
        if not path.is_file():
            raise FileNotFoundError(f"there are no weights {path}. {weights_remedy(self.dataset)}")
        return self.runtime.place(load_checkpoint(path))


def start() -> Lab:
    """Set the theme, load the images, print a summary of machine and images, and return a `Lab`.

    The images are those of SSKD_DATASET (fashion-mnist-lab, grocery, fashion-mnist, cifar10, cifar100,
    folder:PATH), at most 10,000 to train and 2,500 to test on: see `balanced_sample`.
    Raises what `load_images` raises.
    """
    theme()
    dataset = dataset_name()
    sets = (load_images(dataset), TRAIN), (load_images(dataset, "test"), TEST)
    train, test = (balanced_sample(images, most) for images, most in sets)
    reason, runtime = static_reason(), choose_runtime()
    runtime.prepare()
    lab = Lab(dataset=dataset, train=train, test=test, runtime=runtime, static=reason is not None)
    for name, text in _summary(lab, reason):
        print(f"{name:<9} {text}")
    return lab


def balanced_sample(images: ImageSet, most: int, seed: int = 0) -> ImageSet:
    """Return at most `most` images, the same number of each class.

    Where a class has too few images for that, the same fraction of each class.
    """
    if len(images) <= most:
        return images
    fewest = int(torch.bincount(images.labels, minlength=images.num_classes).min())
    if fewest * images.num_classes >= most:
        return images.take(most, seed=seed)
    return images.split(1 - most / len(images), seed=seed)[0]


def _summary(lab: Lab, reason: str | None) -> list[tuple[str, str]]:
    channels, side = lab.train.images.shape[1:3]
    colour = "grey" if channels == 1 else "colour"
    above = f" in {len(set(lab.train.coarse))} groups" if lab.train.coarse else ""
    remedy = f". {weights_remedy(lab.dataset)}" if missing_weights(lab.dataset) else ""
    return [
        ("Python", f"{sys.version.split()[0]}, torch {torch.__version__}"),
        ("Device", device_line(lab.runtime)),
        (
            "Images",
            f"{lab.dataset}: {len(lab.train):,} to train and {len(lab.test):,} to test on, "
            f"{len(lab.train.classes)} classes{above}, {side} x {side} pixels, {colour}",
        ),
        ("Pictures", "live, with sliders" if reason is None else f"static, because {reason}"),
        ("Weights", weights_line(lab.dataset) + remedy),
    ]
