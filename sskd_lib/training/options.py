"""Options of the commands that train: images by name, the machine, and the pace of tests and saves."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.images import ImageSet
from ..data.load import load_images
from ..runtime.device import Runtime, choose_runtime, find_device
from ..runtime.distributed import current, local_device


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Images, machine and pace: options of every command that trains."""

    # fashion-mnist-lab, fashion-mnist, cifar10, cifar100, folder:PATH or shards:PATH
    data: str = "fashion-mnist-lab"
    root: Path | None = None  # folder of the original archives; default: SSKD_DATA, else a download
    device: str = "auto"  # auto, cpu, cuda, mps
    exact: bool = False  # plain float32, the slow reference
    evaluate_every: int = 1  # epochs between tests
    save_seconds: float = 10.0  # least time between two saves of the state that a killed run resumes from

    def runtime(self) -> Runtime:
        """Choose the format for this machine: that of the main process, on this process's device."""
        device = local_device(self.device)
        chosen = choose_runtime(device, exact=self.exact) if current().is_main else None
        return dataclasses.replace(current().broadcast_object(chosen), device=find_device(device))

    def keywords(self) -> dict[str, Any]:
        """Return these options as keywords of a training function."""
        pace = {"evaluate_every": self.evaluate_every, "save_seconds": self.save_seconds}
        return {"runtime": self.runtime(), **pace}


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(RunOptions):
    """Options of one training."""

    labels: int | None = None  # use only this many training images, the same number of each class
    label_noise: float = 0.0  # fraction of the training labels that is replaced by a wrong one
    held_out: float = 0.0  # fraction of the training images set aside and tested on INSTEAD of the test set
    seed: int = 0  # initial weights, subset, order and augmentation

    def images(self) -> tuple[ImageSet, ImageSet]:
        """Load (train, test)."""
        train = load_images(self.data, "train", self.root)
        if self.held_out:
            train, test = train.split(self.held_out, seed=0)
        else:
            test = load_images(self.data, "test", self.root)
        if self.labels is not None:
            train = train.take(self.labels, seed=self.seed)
        if self.label_noise:
            train = train.with_label_noise(self.label_noise, seed=self.seed)
        return train, test

    def keywords(self) -> dict[str, Any]:
        """Return these options as keywords of a training function."""
        return super().keywords() | {"seed": self.seed}
