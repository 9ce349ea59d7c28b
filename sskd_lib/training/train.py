"""Train a teacher and students: prepare.py checks and sets up, loop.py repeats the step of step.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.images import ImageSet
from ..losses import Method, create_method
from ..models.build import build_network
from ..models.network import Network
from ..recipes import STUDENT, Recipe, Schedule
from ..runtime.arguments import checked
from ..runtime.device import Runtime, choose_runtime
from .checks import check_batches, check_head, check_separate
from .loop import Watch
from .prepare import create_methods, prepare
from .state import Run, TrainOptions
from .teacher_cache import TeacherTable


@checked
def create_network(model_name: str, like: ImageSet, projection: bool = False, seed: int = 0) -> Network:
    """Make a fresh network for a set of images: its channels, its classes by name, its mean and deviation.

    seed: draws the initial weights; torch's global generator is left as it was.
    """
    spec = {
        "model": model_name,
        "num_classes": like.num_classes,
        "in_channels": like.in_channels,
        "projection": projection,
    }
    mean, std = like.channel_statistics()
    network = build_network(spec, mean, std, seed)
    network.classes = like.classes
    return network


@checked
def train_teacher(  # noqa: PLR0913 - a public signature, all of it by keyword
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
    """Train a network on labels alone, one upright view per image: L = cross-entropy.

    The same function trains a teacher and, for comparison, a student without one.
    out: folder for metrics.jsonl, summary.json, teacher.safetensors and the state to resume from; None
    writes nothing. The same call goes on with a run that was killed, and returns one that is finished.
    save_seconds: least time between two writes of that state.
    Raises ValueError if network and images do not fit, TrainingError if a loss is not finite, CheckpointError
    if `out` holds another run, OSError if it cannot be written.
    """
    options = TrainOptions(
        schedule=schedule,
        seed=seed,
        runtime=runtime or choose_runtime(),
        progress=progress,
        evaluate_every=evaluate_every,
        save_seconds=save_seconds,
    )
    training = prepare(
        [network],
        None,
        train,
        test,
        methods=[create_method("ce")],
        options=options,
        out=[out],
        kind="teacher",
    )
    network.classes = train.classes
    return training.fit()[0]


@checked
def distill(  # noqa: PLR0913 - a public signature, all of it by keyword
    students: Network | Sequence[Network],
    teacher: Network | None,
    train: ImageSet,
    test: ImageSet | None = None,
    *,
    method: str | Method | Sequence[str | Method] = "sskd",
    recipe: Recipe | Sequence[Recipe | None] | None = None,
    schedule: Schedule = STUDENT,
    seed: int = 0,
    out: str | Path | Sequence[str | Path] | None = None,
    table: TeacherTable | str | Path | None = None,
    runtime: Runtime | None = None,
    progress: bool = True,
    evaluate_every: int = 1,
    save_seconds: float = 10.0,
    watch: Watch | None = None,
) -> Run | list[Run]:
    """Train a student, or several at once, under a method's terms, with a frozen teacher in eval mode.

    SSKD: all four views pass the student in ONE forward, so its BatchNorm sees upright and rotated images
    together. The student ends as after the last epoch; test accuracy is measured on the way, never to choose.

    students: one network, which gives a Run, or a list, which gives a list of Runs. Students in a list see
    the same views in the same order (those of `seed`) and share each forward pass of the teacher; each ends
    exactly as if trained alone. `method`, `recipe` and `out` are then one for all (`out` with sub-folders
    1, 2, …) or one each. Methods with one view and with four share a pass only among themselves.
    method: a name in METHODS, several joined with "+", or what create_method made; recipe: weights,
    temperatures, ratios (default: preset "official-code"). What a method trains beside the student (adapters,
    embeddings, memories) is saved and resumed with it, and is not part of the result.
    table: a teacher table (cache_teacher) in place of the teacher's forward passes; `teacher` may then be
    None.
    seed: the order of the images and their views. out, and errors: as in `train_teacher`.
    watch: called as watch(0, networks) before the first epoch and as watch(n, networks) after the n-th, with
    the students that have done n epochs, in their order and in eval mode. It may read, but not change them.
    Called before the epoch is saved, and for the epochs trained now: a training that goes on where it was
    cut off leaves out those saved before. An error in it ends the training. Among several processes the
    main one calls it.
    """
    networks = [students] if isinstance(students, Network) else list(students)
    one = isinstance(students, Network)
    methods = create_methods(method, recipe, len(networks))
    check_separate(networks, teacher)
    for each in methods:
        check_batches(each, train, schedule.batch_size)
        if teacher is not None and table is None:
            check_head(each, teacher)
    training = prepare(
        networks,
        teacher,
        train,
        test,
        methods=methods,
        options=TrainOptions(
            schedule=schedule,
            seed=seed,
            runtime=runtime or choose_runtime(),
            progress=progress,
            evaluate_every=evaluate_every,
            save_seconds=save_seconds,
        ),
        out=[out] if one else out,
        table=table,
    )
    for network in networks:
        network.classes = train.classes
    runs = training.fit(watch)
    return runs[0] if one else runs
