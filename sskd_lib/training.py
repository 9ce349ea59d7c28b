"""Train a teacher, its projection head, and students. Three functions, one loop (loop.py).

uint8 images → views → networks → terms → one SGD step; nothing else stands between.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from .checkpoints import build_network
from .data import ImageSet
from .evaluation import contrastive_accuracy, evaluate
from .loop import Job, Run, Step, fit, make_card
from .losses import Method, contrastive_loss, create_method
from .network import Network
from .recipes import HEAD, STUDENT, Recipe, Schedule
from .resume import make_plan
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
    return build_network(spec, mean, std, seed)


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
    writes nothing. The same call goes on with a run that was killed, and returns one that is finished.
    save_seconds: least time between two writes of that state.
    Raises ValueError if network and images do not fit, TrainingError if a loss is not finite, CheckpointError
    if `out` holds another run, OSError if it cannot be written.
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
    contrastive task, where chance is 100 / batch_size percent; the loss says less, for its floor is high.
    out, and errors: as in `train_teacher`. Source: Xu et al. 2020, section 3.2 (stage 1).
    """
    for data in (train, test):
        check_fits(teacher, data, "teacher")
    if teacher.head is None:
        raise ValueError("this teacher has no projection head; make it with projection=True.")
    runtime = runtime or choose_runtime()
    plan = make_plan("head", teacher, None, train, test, schedule, seed)
    runtime.place(teacher).eval()

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
        train=train.to(runtime.device),
        measure=measure if test is not None else None,
        schedule=schedule,
        seed=seed,
        plan=plan,
        card=make_card("head", train, test, runtime, teacher=teacher),
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
    together. The student ends as after the last epoch; test accuracy is measured on the way, never to choose.

    method: a name in METHODS; recipe: weights, temperatures, ratios (default: preset "official-code").
    out, and errors: as in `train_teacher`.
    """
    made = create_method(method, recipe)
    teacher = teacher if made.needs_teacher else None
    _check_networks(made, student, teacher, train)
    check_fits(student, test, "student")
    runtime = runtime or choose_runtime()
    plan = make_plan(kind, student, teacher, train, test, schedule, seed)
    plan |= {"method": method, "recipe": dataclasses.asdict(made.recipe)}
    runtime.place(student).train()
    if teacher is not None:
        runtime.place(teacher).eval()

    def measure() -> dict[str, float]:
        figures = evaluate(student, test, runtime)
        return {"test_accuracy": figures["accuracy"], "test_loss": figures["loss"]}

    job = Job(
        network=student,
        trained=student,
        step=_student_step(made, student, teacher, runtime),
        train=train.to(runtime.device),
        measure=measure if test is not None else None,
        schedule=schedule,
        seed=seed,
        plan=plan,
        card=make_card(
            kind, train, test, runtime, teacher=teacher, method=method if kind == "student" else None
        ),
        runtime=runtime,
        out=Path(out) if out else None,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    return fit(job, f"{kind}.safetensors")


def _student_step(made: Method, student: Network, teacher: Network | None, runtime: Runtime) -> Step:
    """One step of a method: the same views through both networks, one forward each."""
    views_of = four_views if made.views == 4 else one_view

    def step(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor, int]:
        views = views_of(x, generator)
        taught = None
        if teacher is not None:
            with torch.no_grad():
                taught = runtime.run(teacher, views)
        output = runtime.run(student, views)
        hits = (output.logits[: len(y)].argmax(1) == y).sum()
        return made(output, taught, y), hits, len(y)

    return step


def _check_networks(made: Method, student: Network, teacher: Network | None, train: ImageSet) -> None:
    """Raise ValueError unless a method has the networks and heads it needs, made for these images."""
    check_fits(student, train, "student")
    if made.needs_projection and student.head is None:
        raise ValueError(
            "L_ss needs a projection head on the student; make it with create_network(..., projection=True)."
        )
    if not made.needs_teacher:
        return
    if teacher is None:
        raise ValueError(
            f"the method {made.name!r} needs a teacher; load one with load_checkpoint (command: --teacher)."
        )
    check_fits(teacher, train, "teacher")
    if made.needs_projection and teacher.head is None:
        raise ValueError(
            "L_ss needs the teacher's projection head: make the teacher with projection=True, train it, then "
            "train its head with train_head."
        )


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
