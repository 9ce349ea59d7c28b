"""Small data sets, networks and trainings, and how two of them are compared."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F

from sskd_lib.data.images import ImageSet
from sskd_lib.models.network import Network
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill, train_head, train_teacher
from sskd_lib.training.loader import ViewLoader
from sskd_lib.training.state import Run

SETTINGS = {
    "schedule": Schedule(epochs=3, batch_size=8, lr=0.02),
    "runtime": Runtime(),
    "progress": False,
    "save_seconds": 0,
}


def pictures(count: int = 40, channels: int = 1, classes: int = 4, seed: int = 0) -> ImageSet:
    """Images 16 x 16 of noise around a grey that tells the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    noise = torch.randint(0, 120, (count, channels, 16, 16), generator=generator)
    images = (noise + 30 * labels[:, None, None, None]).to(torch.uint8)
    return ImageSet(
        images=images, labels=labels, classes=tuple(f"class {k}" for k in range(classes)), name="pictures"
    )


def networks(data: ImageSet, seed: int = 0) -> tuple[Network, Network]:
    """(student, teacher), both with a head, of different weights; the teacher's counts as trained."""
    student = create_network("resnet8", data, projection=True, seed=seed)
    teacher = create_network("resnet8", data, projection=True, seed=100)
    teacher.head_trained = True
    return student, teacher


def train(kind: str, data: ImageSet, test: ImageSet | None = None, *, seed: int = 0, **changes) -> Run:
    """One training by its public function, with fresh networks. kind: "teacher", "head" or a method."""
    student, teacher = networks(data, seed)
    settings = SETTINGS | {"seed": seed} | changes
    if kind == "teacher":
        return train_teacher(student, data, test, **settings)
    if kind == "head":
        return train_head(teacher, data, test, **settings)
    return distill(student, teacher, data, test, method=kind, **settings)


def views_by_hand(images: torch.Tensor, flip: torch.Tensor, corner: torch.Tensor, turns: int) -> torch.Tensor:
    """What `draw` chose, one image at a time: mirror, a window of the image on black, quarter turns."""
    views = []
    for turn in range(turns):
        for image, mirrored, (top, left) in zip(images, flip, corner[:, turn].tolist(), strict=True):
            size = image.shape[-1]
            padded = F.pad(image.flip(-1) if mirrored else image, (4, 4, 4, 4))
            views.append(torch.rot90(padded[:, top : top + size, left : left + size], turn, dims=(1, 2)))
    return torch.stack(views).float() / 255


def state(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def metrics(out: Path) -> list[dict]:
    """The records of metrics.jsonl; NaN and Infinity, which are no JSON, are refused."""

    def refuse(name: str):
        raise ValueError(f"{name} in metrics.jsonl")

    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


class Stop:
    """Makes the training images run out at the `batch`-th batch of all, by raising an exception."""

    def __init__(self, monkeypatch, batch: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        epoch, count = ViewLoader.epoch, [0]

        def interrupted(loader, number):
            for batch_ in epoch(loader, number):
                count[0] += 1
                if count[0] == batch:
                    raise error
                yield batch_

        monkeypatch.setattr(ViewLoader, "epoch", interrupted)
