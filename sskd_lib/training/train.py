"""Train a teacher and students: check what is given, set each student up, and run the one loop (loop.py)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.images import ImageSet
from ..evaluation import evaluate
from ..files import tensors_hash
from ..losses import Method, create_method
from ..models.build import build_network
from ..models.network import Network
from ..models.simkd import join
from ..recipes import STUDENT, Recipe, Schedule
from ..runtime.device import Runtime, choose_runtime
from ..runtime.distributed import current
from .checks import check_fits, check_method, check_processes, one_each, output_folders
from .loader import ViewLoader
from .loop import Watch, fit
from .resume import hash_images, make_plan
from .state import Run, TrainOptions, TrainState, make_card, sgd
from .step import count_correct
from .teacher_cache import TeacherTable, open_table


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
        [network], None, train, test, methods=[create_method("ce")], options=options, out=[out], kind="teacher"
    )
    return training.fit()[0]


def distill(  # noqa: PLR0913 - a public signature, all of it by keyword
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
    watch: Watch | None = None,
) -> Run | list[Run]:
    """Train a student, or several at once, under a method's terms, with a frozen teacher in eval mode.

    SSKD: all four views pass the student in ONE forward, so its BatchNorm sees upright and rotated images
    together. The student ends as after the last epoch; test accuracy is measured on the way, never to choose.

    students: one network, which gives a Run, or a list, which gives a list of Runs. Students in a list see
    the same views in the same order (those of `seed`) and share each forward pass of the teacher; each ends
    exactly as if trained alone. `method`, `recipe` and `out` are then one for all (`out` with a sub-folder per
    student: 1, 2, …) or one each. Methods with one view and with four share a pass only among themselves.
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
    one = isinstance(students, Network)
    networks = [students] if one else list(students)
    training = prepare(
        networks,
        teacher,
        train,
        test,
        methods=create_methods(method, recipe, len(networks)),
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
    runs = training.fit(watch)
    return runs[0] if one else runs


def create_methods(method: Any, recipe: Any, count: int) -> list[Method]:
    """Make the method of each of so many students, from one name, Method or recipe for all or one each."""
    pairs = zip(one_each(method, count, "method"), one_each(recipe, count, "recipe"), strict=True)
    return [name if isinstance(name, Method) else create_method(name, numbers) for name, numbers in pairs]


@dataclass(kw_only=True)
class Training:
    """A call of `distill`, checked and set up: what the students share, and the state of each.

    teacher_facts, image_facts: what plans and cards hold of the teacher and of the images.
    """

    train: ImageSet
    test: ImageSet | None
    loader: ViewLoader
    teacher: Network | None
    options: TrainOptions
    kind: str
    teacher_facts: dict[str, Any]
    image_facts: dict[str, Any]
    states: list[TrainState] = field(default_factory=list)

    def fit(self, watch: Watch | None = None) -> list[Run]:
        """Train all students to the end."""
        return fit(self.states, self.loader, self.teacher, self.options, watch)


def prepare(
    students: Sequence[Network],
    teacher: Network | None,
    train: ImageSet,
    test: ImageSet | None,
    *,
    methods: Sequence[Method],
    options: TrainOptions,
    out: Any = None,
    table: TeacherTable | str | Path | None = None,
    kind: str = "student",
) -> Training:
    """Check and place everything that a training of some students needs. Errors: see `distill`."""
    if not students or len({id(student) for student in students}) < len(students):
        raise ValueError(
            "students is one network or a list of different ones; make each with create_network."
        )
    folders, runtime = output_folders(out, len(students)), options.runtime
    table = open_table(table) if isinstance(table, (str, Path)) else table
    if not any(method.needs_teacher for method in methods):
        teacher = table = None
    for student, method in zip(students, methods, strict=True):
        check_method(method, student, teacher, table, train)
        check_fits(student, test, "student")
    if table is not None:
        table.check(teacher, train)
    training = Training(
        train=train,
        test=test,
        loader=ViewLoader(
            train=train,
            batch_size=options.schedule.batch_size,
            seed=options.seed,
            device=runtime.device,
            processes=current(),
            views=max(method.needs.views for method in methods),
            jigsaw=any(method.needs.jigsaw for method in methods),
            table=table,
        ),
        teacher=runtime.place(teacher).eval() if teacher is not None and table is None else None,
        options=options,
        kind=kind,
        teacher_facts=facts_of_teacher(teacher, table),
        image_facts=hash_images(train, test),
    )
    for student, method, folder in zip(students, methods, folders, strict=True):
        training.states.append(make_state(training, student, method, folder))
    return training


def facts_of_teacher(teacher: Network | None, table: TeacherTable | None) -> dict[str, Any]:
    """Return what plan and card hold of the teacher: its weights' hash, its name, the table in its place."""
    if table is not None:
        model = table.card["teacher"]["model"]
        return {"weights": table.card["teacher_weights"], "model": model, "table": table.identity()}
    if teacher is not None:
        return {"weights": tensors_hash(teacher.state_dict()), "model": teacher.spec["model"]}
    return {}


def make_state(training: Training, student: Network, method: Method, out: Path | None) -> TrainState:
    """Set one student up: its method's layers, its place in memory, its plan, its optimizer."""
    options, loader, kind = training.options, training.loader, training.kind
    runtime, processes = options.runtime, loader.processes
    setup_method(training, student, method)
    facts = training.teacher_facts if method.needs_teacher else {}
    weights, images = facts.get("weights"), training.image_facts
    plan = make_plan(kind, student, weights, images, options, processes.world_size)
    recipe = method.recipe and dataclasses.asdict(method.recipe)
    plan |= {"method": method.name, "recipe": recipe, "table": facts.get("table")}
    plan |= {"terms": method.plan()} if method.terms else {}
    card = make_card(
        kind,
        training.train,
        training.test,
        runtime,
        teacher=facts.get("model"),
        method=method.name if kind == "student" else None,
    )
    runtime.place(student).train()
    trained_in_stages = any(term.first_stage for term in method.terms)  # the classifier, or a term, pauses
    unused_head = student.head is not None and not method.needs_projection
    has_layers = any(True for _ in method.parameters())
    state = TrainState(
        network=student,
        model=processes.ddp(student, unused_head or trained_in_stages),
        method=method,
        loss=processes.ddp(method, trained_in_stages) if has_layers else method,
        optimizer=sgd([student, method], options.schedule, runtime),
        count_correct=count_correct,
        measure=None,
        plan=json.loads(json.dumps(plan)),  # as it will be read: lists for tuples
        card=card,
        out=out,
        file_name=f"{kind}.safetensors",
    )
    if training.test is not None:
        state.measure = lambda: test_figures(student, training.test, runtime)
    return state


def test_figures(student: Network, test: ImageSet, runtime: Runtime) -> dict[str, float]:
    """Return accuracy and loss on the test images, under the names of the history."""
    figures = evaluate(student, test, runtime)
    return {"test_accuracy": figures["accuracy"], "test_loss": figures["loss"]}


def setup_method(training: Training, student: Network, method: Method) -> None:
    """Make what a method trains beside the student, for this pair of networks."""
    options, loader = training.options, training.loader
    runtime, teacher = options.runtime, training.teacher
    check_processes(method, loader.processes)
    if any(term.joins_classifier for term in method.terms):
        join(runtime.place(student), teacher, loader.size, options.seed)
    if not method.terms:
        return
    pixels = torch.zeros(2, training.train.in_channels, *loader.size, device=runtime.device)
    outputs = []
    for network in (student, teacher or student):  # a table has nothing but logits
        with torch.no_grad():
            outputs.append(runtime.run(runtime.place(network).eval(), pixels, maps=method.needs.maps))
    method.setup(*outputs, training.train.labels.cpu(), options.seed)
    method.layer_format = runtime.autocast
    runtime.place(method)
