"""Train the weights that the kit ships, with the kit's own functions.

    python data/make_weights.py fashion-mnist teacher      # wrn_16_2 and its head, all 60,000 images
    python data/make_weights.py fashion-mnist students     # one resnet8 a method, all 60,000 images
    python data/make_weights.py cifar10 teacher --folder PATH/TO/CIFAR10/AS/IMAGES
    python data/make_weights.py cifar10 students --folder …   # 1,000 labels, as in benchmarks/few_labels.py
    python data/make_weights.py grocery teacher       # all 2,936 images, one-cycle schedule
    python data/make_weights.py grocery students      # 810 labels, ten of each class; the short schedule
    python data/make_weights.py hundred teacher --folder PATH    # 100 classes, for benchmarks/claims.py
    python data/make_weights.py cifar10 cards         # write the classes into older cards; weights stay

`--model wrn_40_2` trains and uses another teacher; sskd_lib/lab/shipped.py says which one the notebooks load.
Runs live in runs/weights and resume where they were cut off. What is shipped goes to data/weights/<set>/ in
half precision, with a card that holds the recipe and the accuracy measured on the rounded weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import tyro

import sskd_lib as sskd
from sskd_lib.files import read_tensors, write_tensors

DATA = Path(__file__).resolve().parent
TEACHER = {  # batch 128 at twice the rate: as good as 64 at 0.05 here, and half the steps
    "fashion-mnist": sskd.Schedule(epochs=40, batch_size=128, lr=0.1),
    "cifar10": sskd.Schedule(epochs=100, batch_size=128, lr=0.1),
    "grocery": sskd.Schedule(shape="one-cycle", lr=0.1, batch_size=64, epochs=40),
    "hundred": sskd.Schedule(shape="one-cycle", lr=0.1, batch_size=128, epochs=60),
}
HEAD = {
    "fashion-mnist": sskd.Schedule(epochs=20, milestones=(0.5, 0.75)),
    "cifar10": sskd.Schedule(epochs=40, milestones=(0.5, 0.75)),
    "grocery": sskd.Schedule(epochs=15, milestones=(0.5, 0.75)),
    "hundred": sskd.Schedule(epochs=20, milestones=(0.5, 0.75)),
}
START = {
    "grocery": "cifar10"
}  # the teacher begins with the weights of that set's teacher, but for its classes
STUDENT = {
    "fashion-mnist": sskd.Schedule(epochs=20),
    "cifar10": sskd.Schedule(epochs=240),
    "grocery": sskd.SHORT,
}
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LABELS = {"cifar10": 1000, "grocery": 810}  # of the students; fashion-mnist: all


def images(name: str, folder: str) -> tuple[sskd.ImageSet, sskd.ImageSet]:
    """(images to train on, images to test on). For the folder the same shares as benchmarks/few_labels.py."""
    if name == "hundred":
        return sskd.load_images(f"folder:{folder}"), sskd.load_images(f"folder:{folder}", "test")
    if name != "cifar10":
        return sskd.load_images(name), sskd.load_images(name, "test")
    pool, _validation = sskd.load_images(f"folder:{folder}").split(0.125, seed=0)
    return pool, sskd.load_images(f"folder:{folder}", "test")


def start_from(network: sskd.Network, name: str, model: str) -> None:
    """Give a network the weights of another set's shipped teacher wherever the shapes are equal."""
    other = sskd.load_checkpoint(
        DATA / "weights" / name / f"teacher_{model}.safetensors"
    ).backbone.state_dict()
    own = network.backbone.state_dict()
    own |= {key: value for key, value in other.items() if own[key].shape == value.shape}
    network.backbone.load_state_dict(own)


def ship(network: sskd.Network, card: dict, test: sskd.ImageSet, path: Path) -> None:
    """Write the half-precision copy, read it back, measure THAT, and write its figures into the card."""
    sskd.save_checkpoint(path, network, card, dtype=torch.float16)
    rounded = sskd.load_checkpoint(path)
    shipped = {"test": test.name, "images": len(test), **sskd.evaluate(rounded, test)}
    if rounded.head is not None:
        shipped["contrastive_accuracy"] = sskd.contrastive_accuracy(rounded, test)
    sskd.save_checkpoint(path, rounded, {**card, "shipped": shipped}, dtype=torch.float16)
    print(path.name, shipped, flush=True)


def name_classes(name: str) -> None:
    """Write the names of the classes, and that heads are trained, into cards that lack them.

    The tensors stay as they are, bit for bit.
    """
    pack = {"fashion-mnist": "fashion-mnist-lab"}.get(name, name)
    classes = CIFAR10 if name == "cifar10" else sskd.load_images(pack).classes
    for path in sorted((DATA / "weights" / name).glob("*.safetensors")):
        tensors, card = read_tensors(path)
        facts = {"classes": classes, "head_trained": card["network"]["projection"] is True}
        write_tensors(path, tensors, card | facts)


def main(
    name: tyro.conf.Positional[Literal["fashion-mnist", "cifar10", "grocery", "hundred"]],
    part: tyro.conf.Positional[Literal["teacher", "students", "cards"]],
    /,
    folder: str = "",
    device: str = "auto",
    methods: tuple[str, ...] = tuple(sskd.losses.BASES),
    model: str = "wrn_16_2",  # the teacher's
    progress: bool = True,
) -> None:
    """Train one part of the shipped weights, or complete their cards."""
    if part == "cards":
        name_classes(name)
        return
    train, test = images(name, folder)
    runs, shelf = DATA.parent / "runs" / "weights" / name / model, DATA / "weights" / name
    teacher_file = shelf / f"teacher_{model}.safetensors"
    options = {"runtime": sskd.choose_runtime(device), "progress": progress}
    if part == "teacher":
        network = sskd.create_network(model, train, projection=True, seed=0)
        if name in START:
            start_from(network, START[name], model)
        schedule = TEACHER[name]
        run = sskd.train_teacher(network, train, test, schedule=schedule, out=runs / "teacher", **options)
        cards = {"teacher": run.summary["card"]}
        run = sskd.train_head(network, train, test, schedule=HEAD[name], out=runs / "head", **options)
        cards["head"] = run.summary["card"]
        ship(network, {"kind": "teacher", "stages": cards}, test, teacher_file)
        return
    teacher = sskd.load_checkpoint(teacher_file)
    train = train.take(LABELS[name], seed=0) if name in LABELS else train
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
