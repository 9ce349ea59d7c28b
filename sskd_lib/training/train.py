"""Train a teacher, its projection head, and students. Three functions, one loop (loop.py).

uint8 images → views → networks → terms → one SGD step; nothing else stands between.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..data.images import ImageSet
from ..evaluation import pretext_accuracy
from ..losses import Method, pretext_loss
from ..losses.pretext import rows_judged
from ..models.build import build_network
from ..models.heads import give_head
from ..models.network import Network, check_fits
from ..recipes import HEAD, STUDENT, Recipe, Schedule
from ..runtime.device import Runtime, choose_runtime
from ..runtime.distributed import world
from .jobs import prepare
from .loader import Batch, Feed
from .loop import Job, Lesson, Watch, fit
from .records import Run, make_card
from .resume import hash_images, make_plan
from .table import TeacherTable


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
    task: str = "contrastive",
) -> Run:
    """Teach the projection head of a frozen teacher the contrastive task (`losses.contrastive_loss`).

    The backbone stays in eval mode and gets no gradient. Accuracies in the history are those of the
    contrastive task, where chance is 100 / batch_size percent; the loss says less, for its floor is high.
    task: one of heads.TASKS; for another than the contrastive one the teacher gets a fresh head, drawn from
    `seed`, in place of the one it has, unless that is for this task and of this shape already.
    out, and errors: as in `train_teacher`. Source: Xu et al. 2020, section 3.2 (stage 1).
    """
    for data in (train, test):
        check_fits(teacher, data, "teacher")
    runtime, here = runtime or choose_runtime(), world()
    runtime.place(teacher)
    give_head(teacher, task, train, seed)
    plan = make_plan("head", teacher, None, hash_images(train, test), schedule, seed, here.size)
    runtime.place(teacher).eval()
    head = here.wrap(teacher.head)

    def learn(views: Tensor, taught: None, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        with torch.no_grad():
            output = runtime.run(teacher, views, maps=task == "joint", head=False)
        head.train()  # the head alone: a joint one has BatchNorm
        with runtime.autocast(task == "joint"):  # convolutions; the small heads stay in float32
            said = head(output.features if output.maps is None else output.maps).float()
        loss, hits = pretext_loss(task, said, batch.labels, batch.index, batch.order)
        return {task: loss, "total": loss}, hits

    def measure() -> dict[str, float]:
        size = min(schedule.batch_size, len(test))
        return {"test_accuracy": pretext_accuracy(teacher, test, size, runtime)}

    job = Job(
        network=teacher,
        trained=teacher.head,
        learn=learn,
        views=4,
        shuffled=task == "jigsaw",
        taught=False,
        measure=measure if test is not None and task != "exemplar" else None,
        plan=plan,
        card=make_card("head", train, test, runtime, teacher=teacher.spec["model"]),
        out=Path(out) if out else None,
        file_name="teacher.safetensors",
        judged=rows_judged(task),
    )
    feed = Feed(
        train=train,
        batch_size=schedule.batch_size,
        seed=seed,
        device=runtime.device,
        world=here,
        views=4,
        shuffled=task == "jigsaw",
    )
    lesson = Lesson(
        feed=feed,
        teacher=None,
        schedule=schedule,
        seed=seed,
        runtime=runtime,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    return fit(lesson, [job])[0]


def distill(
    students: Network | Sequence[Network],
    teacher: Network | None,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    method: str | Method | Sequence[str | Method] = "sskd",
    recipe: Recipe | None | Sequence[Recipe | None] = None,
    schedule: Schedule = STUDENT,
    seed: int = 0,
    out: str | Path | None | Sequence[str | Path] = None,
    table: TeacherTable | str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
    kind: str = "student",
    watch: Watch | None = None,
) -> Run | list[Run]:
    """Train a student, or several at once, under a method's terms, with a frozen teacher in eval mode.

    SSKD: all four views pass the student in ONE forward, so its BatchNorm sees upright and rotated images
    together. The student ends as after the last epoch; test accuracy is measured on the way, never to choose.

    students: one network, which gives a Run, or a list, which gives a list of Runs. Students in a list see
    the same views in the same order (those of `seed`) and share each forward pass of the teacher; each ends
    exactly as if trained alone. `method`, `recipe` and `out` are then one for all (`out` with a sub-folder a
    student: 1, 2, …) or one each. Methods with one view and with four share a pass only among themselves.
    method: a name in METHODS, several joined with "+", or what create_method made; recipe: weights,
    temperatures, ratios (default: preset "official-code"). What a method trains beside the student (adapters,
    embeddings, memories) is saved and resumed with it, and is not part of the result.
    table: a teacher table (cache_teacher) in place of the teacher's forward passes; `teacher` may then be
    None.
    seed: the order of the images and their views. out, and errors: as in `train_teacher`.
    watch: called as watch(0, networks) before the first epoch and as watch(n, networks) after the n-th, with
    the students that have done n epochs, in their order and in eval mode. It may look, but not change them.
    Called before the epoch is saved, and for the epochs trained now: a training that goes on where it was
    cut off leaves out those saved before. An error in it ends the training. Among several processes the
    leading one calls it.
    """
    one = isinstance(students, Network)
    lesson, jobs = prepare(
        [students] if one else list(students),
        teacher,
        train,
        test,
        method=method,
        recipe=recipe,
        schedule=schedule,
        seed=seed,
        out=[out] if one else out,
        table=table,
        runtime=runtime,
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
        kind=kind,
    )
    runs = fit(lesson, jobs, watch)
    return runs[0] if one else runs
