"""Check and set up what a call of `distill` needs, before its first step."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.images import ImageSet
from ..evaluation import evaluate
from ..files import tensors_hash
from ..losses import Method, create_method
from ..models.network import Network
from ..models.simkd import join
from ..runtime.device import Runtime
from ..runtime.distributed import current
from .checks import check_fits, check_processes, check_student, check_teacher, one_each, output_folders
from .folders import check_start
from .loader import ViewLoader
from .loop import Watch, fit
from .resume import hash_images, make_plan
from .state import Run, TrainOptions, TrainState, make_card, memory_for, sgd
from .step import count_correct
from .teacher_cache import TeacherTable, open_table

SMALLER = "Choose smaller networks, train fewer students together, or use the CPU (command: --device cpu)."


def create_methods(method: Any, recipe: Any, count: int) -> list[Method]:
    """Make the method of each of so many students, from one name, Method or recipe for all or one each.

    A Method is copied, since each student trains layers of its own.
    """
    pairs = zip(one_each(method, count, "method"), one_each(recipe, count, "recipe"), strict=True)
    return [deepcopy(name) if isinstance(name, Method) else create_method(name, r) for name, r in pairs]


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


def prepare(  # noqa: PLR0913 - the parts of a call of `distill`
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
    for student, method, folder in zip(students, methods, folders, strict=True):
        check_student(method, student, train)
        check_fits(student, test, "student")
        if table is None:
            check_teacher(method, teacher, train)
        else:
            check_table(method, table)
        check_start(kind, student, folder, f"{kind}.safetensors")
    if table is not None:
        table.check(teacher, train)
    with memory_for("the weights of the teacher", SMALLER):
        placed = runtime.place(teacher).eval() if teacher is not None and table is None else None
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
        teacher=placed,
        options=options,
        kind=kind,
        teacher_facts=facts_of_teacher(teacher, table),
        image_facts=hash_images(train, test),
    )
    with memory_for("the weights and the method's layers of the students", SMALLER):
        for student, method, folder in zip(students, methods, folders, strict=True):
            state = make_state(training, student, method, folder)
            if len(students) > 1:
                number = len(training.states) + 1
                state.label = f"student {number} of {len(students)} ({student.spec['model']}, {method.name})"
            training.states.append(state)
    return training


def check_table(method: Method, table: TeacherTable) -> None:
    """Raise ValueError unless a teacher table holds what a method compares."""
    if method.task and not method.needs_projection:
        raise ValueError(
            f"the method {method.name!r} imitates a head for the task {method.task!r}, and a table holds "
            "projections of the contrastive task only. Give the teacher itself, without the table."
        )
    kinds = {"maps" if term.inputs.endswith("_relu") else term.inputs for term in method.terms}
    if compared := sorted(kinds - {"logits"}):
        raise ValueError(
            f"the method {method.name!r} compares {' and '.join(compared)}, and a table holds logits and "
            "projections only. Give the teacher itself, without the table."
        )
    if method.needs_projection and table.projection is None:
        raise ValueError(
            "L_ss needs the teacher's projections, and the table has no projections: its teacher had "
            "no head. Make the table again with a teacher whose head was trained by train_head."
        )
    if method.needs_projection and not table.card.get("head_trained", True):
        raise ValueError(
            "L_ss needs the projections of a trained head, and that of this table's teacher was untrained. "
            "Train it with train_head (command: head), and make the table again."
        )


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
    with torch.no_grad():
        student_output, teacher_output = (
            runtime.run(runtime.place(network).eval(), pixels, maps=maps)
            for network, maps in (
                (student, method.needs.maps),
                (teacher or student, method.needs.teacher_maps),  # a table has nothing but logits
            )
        )
    method.setup(student_output, teacher_output, training.train.labels.cpu(), options.seed)
    method.layer_format = runtime.autocast
    runtime.place(method)
