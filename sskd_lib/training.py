"""Train a teacher, its projection head, and students. Three functions, one loop (loop.py).

uint8 images → views → networks → terms → one SGD step; nothing else stands between.
"""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .data import ImageSet
from .evaluation import contrastive_accuracy, evaluate
from .loop import Job, Run, fit, tensors_hash
from .losses import contrastive_loss, create_method
from .models import create_model
from .network import Network
from .recipes import HEAD, STUDENT, Recipe, Schedule
from .runtime import Runtime, choose_runtime
from .views import four_views, one_view


def create_network(model_name: str, like: ImageSet, projection: bool = False, seed: int = 0) -> Network:
    """Make a fresh network for a set of images: its channels, its classes, its mean and deviation.

    seed: draws the initial weights; torch's global generator is left as it was.
    """
    spec = {
        "model": model_name,
        "num_classes": like.num_classes,
        "in_channels": like.in_channels,
        "projection": projection,
    }
    mean, std = like.channel_statistics()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = create_model(model_name, num_classes=like.num_classes, in_channels=like.in_channels)
        network = Network(backbone, mean=mean, std=std, projection=projection)
    network.spec = spec
    return network


def train_teacher(
    network: Network,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    schedule: Schedule = STUDENT,
    seed: int = 0,
    out: str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
) -> Run:
    """Train a network on labels alone, one upright view an image: L = cross-entropy.

    The same function trains a teacher and, for comparison, a student without one.
    out: folder for metrics.jsonl, summary.json, teacher.safetensors and the state to resume from; None
    writes nothing. Raises TrainingError if the loss is not finite, CheckpointError if `out` holds another run.
    """
    return distill(
        network,
        None,
        train,
        test,
        method="ce",
        schedule=schedule,
        seed=seed,
        out=out,
        runtime=runtime,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
        kind="teacher",
    )


def train_head(
    teacher: Network,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    schedule: Schedule = HEAD,
    seed: int = 0,
    out: str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
) -> Run:
    """Teach the projection head of a frozen teacher the contrastive task (`losses.contrastive_loss`).

    The backbone stays in eval mode and gets no gradient. Accuracies in the history are those of the
    contrastive task: chance is 100 / batch_size percent. Look at them rather than at the loss, whose floor is high.
    Source: Xu et al. 2020, section 3.2 (stage 1).
    """
    check_fits(teacher, train, "teacher")
    if teacher.head is None:
        raise ValueError("this teacher has no projection head; make it with projection=True.")
    runtime = runtime or choose_runtime()
    runtime.place(teacher).eval()
    train = train.to(runtime.device)

    def step(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor, int]:
        with torch.no_grad():
            features = runtime.run(teacher, four_views(x, generator)).features
        loss, hits = contrastive_loss(teacher.head(features), len(x))
        return {"contrastive": loss, "total": loss}, hits, 3 * len(x)

    def measure() -> dict[str, float]:
        size = min(schedule.batch_size, len(test))
        return {"test_accuracy": contrastive_accuracy(teacher, test, size, runtime)}

    job = Job(
        network=teacher,
        trained=teacher.head,
        step=step,
        train=train,
        measure=measure if test is not None else None,
        schedule=schedule,
        seed=seed,
        plan=_plan("head", teacher, None, train, schedule, seed),
        card=_card("head", train, test, teacher=teacher),
        runtime=runtime,
        out=Path(out) if out else None,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    return fit(job, "teacher.safetensors")


def distill(
    student: Network,
    teacher: Network | None,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    method: str = "sskd",
    recipe: Recipe | None = None,
    schedule: Schedule = STUDENT,
    seed: int = 0,
    out: str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
    kind: str = "student",
) -> Run:
    """Train a student under a method's terms, with a frozen teacher in eval mode.

    SSKD: all four views pass the student in ONE forward, so its BatchNorm sees upright and rotated images
    together. The student ends as after the last epoch; test accuracy is measured as it goes, and never chooses.

    method: a name in METHODS; recipe: weights, temperatures, ratios (default: preset "official-code").
    out, and errors: as in `train_teacher`; ValueError if networks and images do not fit each other.
    """
    made = create_method(method, recipe)
    check_fits(student, train, "student")
    if made.needs_teacher:
        if teacher is None:
            raise ValueError(f"the method {method!r} needs a teacher; load one with load_checkpoint.")
        check_fits(teacher, train, "teacher")
        if made.needs_projection and teacher.head is None:
            raise ValueError("L_ss needs the teacher's projection head; train it with train_head first.")
    if made.needs_projection and student.head is None:
        raise ValueError("L_ss needs a projection head on the student; make it with projection=True.")
    runtime = runtime or choose_runtime()
    plan = _plan(kind, student, teacher if made.needs_teacher else None, train, schedule, seed)
    plan |= {"method": method, "recipe": dataclasses.asdict(made.recipe)}
    runtime.place(student).train()
    if made.needs_teacher:
        runtime.place(teacher).eval()
    train = train.to(runtime.device)
    views_of = four_views if made.views == 4 else one_view

    def step(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor, int]:
        views = views_of(x, generator)
        taught = None
        if made.needs_teacher:
            with torch.no_grad():
                taught = runtime.run(teacher, views)
        output = runtime.run(student, views)
        hits = (output.logits[: len(y)].argmax(1) == y).sum()
        return made(output, taught, y), hits, len(y)

    def measure() -> dict[str, float]:
        figures = evaluate(student, test, runtime)
        return {"test_accuracy": figures["accuracy"], "test_loss": figures["loss"]}

    job = Job(
        network=student,
        trained=student,
        step=step,
        train=train,
        measure=measure if test is not None else None,
        schedule=schedule,
        seed=seed,
        plan=plan,
        card=_card(kind, train, test, teacher=teacher, method=method if kind == "student" else None),
        runtime=runtime,
        out=Path(out) if out else None,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    return fit(job, f"{kind}.safetensors")


def check_fits(network: Network, data: ImageSet, who: str) -> None:
    """Raise ValueError unless a network takes these images and tells these classes apart."""
    channels, classes = network.spec.get("in_channels"), network.spec.get("num_classes")
    if (channels, classes) != (data.in_channels, data.num_classes):
        raise ValueError(
            f"the {who} ({network.spec.get('model')}) takes {channels} channel(s) and tells {classes} classes "
            f"apart, but {data.name} has {data.in_channels} and {data.num_classes}. Train or load one made for "
            "these images: create_network(name, like=images)."
        )


def _plan(
    kind: str, network: Network, teacher: Network | None, train: ImageSet, schedule: Schedule, seed: int
) -> dict[str, Any]:
    """What makes a run this run and no other. Hashes are taken before the first step."""
    weights = network.state_dict().values()
    return {
        "kind": kind,
        "network": network.spec,
        "initial_weights": tensors_hash(weights),
        "teacher_weights": tensors_hash(teacher.state_dict().values()) if teacher is not None else None,
        "data": train.fingerprint(),
        "schedule": dataclasses.asdict(schedule),
        "seed": seed,
    }


def _card(
    kind: str, train: ImageSet, test: ImageSet | None, *, teacher: Network | None, method: str | None = None
) -> dict[str, Any]:
    """What a reader of the weights wants to know, beyond the plan."""
    card: dict[str, Any] = {
        "kind": kind,
        "train": {"name": train.name, "images": len(train)},
        "test": {"name": test.name, "images": len(test)} if test is not None else None,
        "teacher": teacher.spec.get("model") if teacher is not None else None,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    return card | ({"method": method} if method else {})
