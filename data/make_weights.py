"""Train the weights that the kit ships, with the kit's own functions.

    python data/make_weights.py fashion-mnist teacher      # wrn_16_2 and its head, all 60,000 images
    python data/make_weights.py fashion-mnist students     # one resnet8 a method, all 60,000 images
    python data/make_weights.py cifar10 teacher --folder PATH/TO/CIFAR10/AS/IMAGES
    python data/make_weights.py cifar10 students --folder …   # 1,000 labels, as in benchmarks/few_labels.py

Runs live in runs/weights and resume where they were cut off. What is shipped goes to data/weights/<set>/ in
half precision, with a card that holds the recipe and the accuracy measured on the rounded weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import tyro

import sskd_lib as sskd

DATA = Path(__file__).resolve().parent
TEACHER = {  # batch 128 at twice the rate: as good as 64 at 0.05 here, and half the steps
    "fashion-mnist": sskd.Schedule(epochs=40, batch_size=128, lr=0.1),
    "cifar10": sskd.Schedule(epochs=100, batch_size=128, lr=0.1),
}
HEAD = {
    "fashion-mnist": sskd.Schedule(epochs=20, milestones=(0.5, 0.75)),
    "cifar10": sskd.Schedule(epochs=40, milestones=(0.5, 0.75)),
}
STUDENT = {"fashion-mnist": sskd.Schedule(epochs=20), "cifar10": sskd.Schedule(epochs=240)}


def images(name: str, folder: str) -> tuple[sskd.ImageSet, sskd.ImageSet]:
    """(images to train on, images to test on). For the folder the same shares as benchmarks/few_labels.py."""
    if name == "fashion-mnist":
        return sskd.load_images(name), sskd.load_images(name, "test")
    pool, _validation = sskd.load_images(f"folder:{folder}").split(0.125, seed=0)
    return pool, sskd.load_images(f"folder:{folder}", "test")


def ship(network: sskd.Network, card: dict, test: sskd.ImageSet, path: Path) -> None:
    """Write the half-precision copy, read it back, measure THAT, and write its figures into the card."""
    sskd.save_checkpoint(path, network, card, dtype=torch.float16)
    rounded = sskd.load_checkpoint(path)
    shipped = {"test": test.name, "images": len(test), **sskd.evaluate(rounded, test)}
    if rounded.head is not None:
        shipped["contrastive_accuracy"] = sskd.contrastive_accuracy(rounded, test)
    sskd.save_checkpoint(path, rounded, {**card, "shipped": shipped}, dtype=torch.float16)
    print(path.name, shipped, flush=True)


def main(
    name: tyro.conf.Positional[Literal["fashion-mnist", "cifar10"]],
    part: tyro.conf.Positional[Literal["teacher", "students"]],
    /,
    folder: str = "",
    device: str = "auto",
    methods: tuple[str, ...] = tuple(sskd.losses.BASES),
    progress: bool = True,
) -> None:
    """Train one part of the shipped weights."""
    train, test = images(name, folder)
    runs, shelf = DATA.parent / "runs" / "weights" / name, DATA / "weights" / name
    options = {"runtime": sskd.choose_runtime(device), "progress": progress}
    if part == "teacher":
        network = sskd.create_network("wrn_16_2", train, projection=True, seed=0)
        schedule = TEACHER[name]
        run = sskd.train_teacher(network, train, test, schedule=schedule, out=runs / "teacher", **options)
        cards = {"teacher": run.summary["card"]}
        run = sskd.train_head(network, train, test, schedule=HEAD[name], out=runs / "head", **options)
        cards["head"] = run.summary["card"]
        ship(network, {"kind": "teacher", "stages": cards}, test, shelf / "teacher_wrn_16_2.safetensors")
        return
    teacher = sskd.load_checkpoint(shelf / "teacher_wrn_16_2.safetensors")
    train = train if name == "fashion-mnist" else train.take(1000, seed=0)
    for method in methods:
        projection = sskd.create_method(method).needs_projection
        student = sskd.create_network("resnet8", train, projection=projection, seed=0)
        run = sskd.distill(
            student,
            teacher,
            train,
            test,
            method=method,
            schedule=STUDENT[name],
            out=runs / method,
            evaluate_every=max(1, STUDENT[name].epochs // 24),
            **options,
        )
        ship(student, run.summary["card"], test, shelf / f"student_resnet8_{method}.safetensors")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
