"""The cells of the paper's tables as runs: a plan, its trainings, and one table of results beside print.

A cell is (teacher → student, condition, seed); the methods of a cell are trained together and share each
forward pass of the teacher. Everything lies below one folder:

    teachers/TEACHER/head/teacher.safetensors    after train_teacher and train_head, seed 0, for all students
    teachers/TEACHER/head-TASK/…                 the same with a head for another pretext task
    runs/PAIR/CONDITION/METHOD/SEED/             as `distill` leaves it; what is done is not trained again
    runs/PAIR/CONDITION/METHOD/SEED/diverged.txt why this run was given up; without the folder it begins anew
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.images import ImageSet
from ..files import write_atomically
from ..losses import METHODS, create_method
from ..models.checkpoint import load_checkpoint
from ..models.heads import give_head
from ..recipes import HEAD, Schedule
from ..training.estimate import estimate
from ..training.records import Diverged
from ..training.train import create_network, distill, train_head, train_teacher
from .paper import IMAGENET_PAIR, PAIRS, Pair, find_pair, numbers_for, schedule_for
from .results import file_name

DIVERGED = "diverged.txt"
PAPERS_ROWS = ("ce", "kd", "fitnet", "at", "sp", "vid", "rkd", "pkt", "ab", "ft", "crd", "sskd")
OF_PRETEXTS = ("ce", "kd", "sskd-exemplar", "sskd-jigsaw", "sskd-rotation", "sskd")
IN_IMAGENET = ("ce", "kd", "at", "cc", "sp", "rkd", "crd", "sskd")
ABLATED = tuple(pair for pair in PAIRS if pair.name == "vgg13→vgg8")
FEW = tuple(pair for pair in PAIRS if pair.name == "resnet56→resnet20")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or figure of the paper: its pairs, its methods, its conditions (share of the labels, noise)."""

    pairs: tuple[Pair, ...]
    methods: tuple[str, ...]
    conditions: tuple[str, ...] = ("all",)


TABLES: dict[str, Table] = {
    "similar": Table(pairs=tuple(p for p in PAIRS if p.kind == "similar"), methods=PAPERS_ROWS),
    "cross": Table(pairs=tuple(p for p in PAIRS if p.kind == "cross"), methods=PAPERS_ROWS),
    "imagenet": Table(pairs=(IMAGENET_PAIR,), methods=IN_IMAGENET),
    "pretext": Table(pairs=ABLATED, methods=OF_PRETEXTS),
    # The paper's pair of its Fig. 4 was not found; this is the one of HSAKD's re-run.
    "few-shot": Table(
        pairs=FEW, methods=("ce", "kd", "crd", "sskd"), conditions=("25%", "50%", "75%", "100%")
    ),
    # Neither pair nor steps of the paper are known; only that they go up to 50 % of wrong labels.
    "noisy": Table(
        pairs=FEW,
        methods=("ce", "kd", "crd", "sskd"),
        conditions=("noise 0%", "noise 10%", "noise 30%", "noise 50%"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Students that are trained together: one a method."""

    pair: Pair
    condition: str
    seed: int
    methods: tuple[str, ...]

    def folder(self, out: Path, method: str) -> Path:
        """Where the run of one method lies."""
        names = (file_name(self.pair.name), file_name(self.condition), method, str(self.seed))
        return out.joinpath("runs", *names)

    def missing(self, out: Path) -> tuple[str, ...]:
        """The methods that are still to be trained, to the end or at all."""
        done = (*self.diverged(out), *self._with(out, "summary.json"))
        return tuple(m for m in self.methods if m not in done)

    def diverged(self, out: Path) -> tuple[str, ...]:
        """The methods whose numbers became NaN or infinite, and that were given up."""
        return self._with(out, DIVERGED)

    def _with(self, out: Path, file: str) -> tuple[str, ...]:
        return tuple(m for m in self.methods if (self.folder(out, m) / file).exists())

    def images(self, train: ImageSet) -> ImageSet:
        """The training images under this condition, drawn from `seed`."""
        if self.condition.endswith("labels"):
            return train.take(int(self.condition.split()[0]), seed=self.seed)
        if self.condition.startswith("noise"):
            return train.with_label_noise(_percent(self.condition) / 100, seed=self.seed)
        if self.condition in ("all", "100%"):
            return train
        return train.take(int(len(train) * _percent(self.condition) / 100), seed=self.seed)


def _percent(condition: str) -> float:
    return float(condition.removeprefix("noise ").removesuffix("%"))


def plan_cells(
    table: str,
    pairs: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: int = 3,
    labels: int | None = None,
    shard: str = "1/1",
) -> list[Cell]:
    """The cells of a table, or of some of its columns and rows, or of one n-th of them.

    pairs, methods: others than the table's. labels: so many labelled images for the students. shard: "i/n",
    the i-th (from 1) of n parts.
    Raises ValueError for an unknown table, pair, method or part.
    """
    if table not in TABLES:
        raise ValueError(f"there is no table {table!r}. The tables are: {', '.join(TABLES)}.")
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"a shard is i/n, the i-th of n parts, for example 1/4, not {shard!r}.")
    if seeds < 1:
        raise ValueError(f"seeds is how many trainings a cell gets, at least 1, not {seeds}.")
    here = TABLES[table]
    if labels is not None and len(here.conditions) > 1:
        raise ValueError(f"the table {table} has labels of its own: {', '.join(here.conditions)}.")
    conditions = here.conditions if labels is None else (f"{labels} labels",)
    chosen = tuple(methods) or here.methods
    for method in chosen:
        create_method(method)
    cells = [
        Cell(pair=pair, condition=condition, seed=seed, methods=chosen)
        for pair in ([find_pair(name) for name in pairs] or here.pairs)
        for condition in conditions
        for seed in range(seeds)
    ]
    return cells[int(part) - 1 :: int(parts)]


def describe_plan(cells: Sequence[Cell], out: Path) -> str:
    """The plan in lines: what is left of each cell, and the teachers that are still to be trained."""
    lines = []
    for cell in cells:
        left, lost = cell.missing(out), cell.diverged(out)
        done = len(cell.methods) - len(left) - len(lost)
        lines.append(
            f"{cell.pair.name}, {cell.condition}, seed {cell.seed}: {done} done, "
            f"{', '.join(left) + ' to train' if left else 'nothing to train'}"
            f"{', diverged: ' + ', '.join(lost) if lost else ''}"
        )
    lacking = [
        name if task == "contrastive" else f"{name} with a head for the task {task}"
        for name, task in teachers_of([cell for cell in cells if cell.missing(out)])
        if not teacher_file(out, name, task).exists()
    ]
    return "\n".join([*lines, f"teachers to train: {', '.join(lacking) or 'none'}"])


def teachers_of(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """(teacher, task of its head) that these cells look at, each once; every teacher has the usual head."""
    found = [(cell.pair.teacher, task) for cell in cells for task in ("contrastive", *by_task(cell.methods))]
    return list(dict.fromkeys(found))


def by_task(methods: Sequence[str]) -> dict[str, list[str]]:
    """The methods by the task of the head that they want of their teacher: contrastive if they want none."""
    found: dict[str, list[str]] = {}
    for method in methods:
        found.setdefault(create_method(method).task or "contrastive", []).append(method)
    return found


def teacher_file(out: Path, name: str, task: str = "contrastive") -> Path:
    """Where a teacher with its trained head lies."""
    head = "head" if task == "contrastive" else f"head-{task}"
    return out / "teachers" / file_name(name) / head / "teacher.safetensors"


def make_teacher(
    name: str,
    train: ImageSet,
    test: ImageSet,
    out: Path,
    epochs: int | None,
    task: str = "contrastive",
    **options: Any,
) -> None:
    """Train a teacher and its head on all images, unless they are there; seed 0.

    task: of the head; another than the contrastive one is trained on the teacher that has that one.
    """
    path = teacher_file(out, name, task)
    if path.exists():
        return
    schedule = schedule_for(name, epochs)
    head = dataclasses.replace(HEAD, epochs=max(1, schedule.epochs // 4))
    if task == "contrastive":
        network = create_network(name, train, projection=True, seed=0)
        train_teacher(network, train, test, schedule=schedule, out=path.parents[1] / "labels", **options)
    else:
        network = load_checkpoint(teacher_file(out, name))
    train_head(network, train, test, schedule=head, out=path.parent, task=task, **options)


def students_of(cell: Cell, train: ImageSet, methods: Sequence[str]) -> tuple[list, list[str], ImageSet]:
    """(fresh students, their methods, their images): those that look at as many views stand together."""
    ordered = sorted(methods, key=lambda m: create_method(m).views)
    images = cell.images(train)
    students = [
        create_network(cell.pair.student, train, projection=create_method(m).needs_projection, seed=cell.seed)
        for m in ordered
    ]
    return students, ordered, images


def train_cell(
    cell: Cell, train: ImageSet, test: ImageSet, out: Path, schedule: Schedule, **options: Any
) -> None:
    """Train what a cell lacks: finished methods are left as they are, others go on.

    Methods that want another head of their teacher are trained by themselves. A method that diverges is given
    up, with a note in its folder, and the others of its cell go on from what they saved last.
    Raises CheckpointError if a folder holds a run with other settings.
    """
    for task, methods in by_task(cell.methods).items():
        while going := [method for method in methods if method not in cell.diverged(out)]:
            try:
                train_together(cell, going, task, train, test, out, schedule, **options)
                break
            except Diverged as error:
                write_atomically(error.out / DIVERGED, f"{error}\n".encode())
                print(f"given up: {error.out}: {error}")


def train_together(
    cell: Cell,
    methods: Sequence[str],
    task: str,
    train: ImageSet,
    test: ImageSet,
    out: Path,
    schedule: Schedule,
    **options: Any,
) -> None:
    """Train methods of one cell that look at the same teacher, the one whose head knows `task`."""
    students, ordered, images = students_of(cell, train, methods)
    distill(
        students,
        load_checkpoint(teacher_file(out, cell.pair.teacher, task)),
        images,
        test,
        method=[create_method(name, **numbers_for(cell.pair, name)) for name in ordered],
        schedule=schedule,
        seed=cell.seed,
        out=[cell.folder(out, method) for method in ordered],
        **options,
    )


def cost(
    cells: Sequence[Cell],
    train: ImageSet,
    out: Path,
    epochs: int | None,
    say: Callable = print,
    **options: Any,
) -> None:
    """Time a few steps of one cell a pair and say what all of them would take; trains and writes nothing."""
    hours = teacher_forwards = student_forwards = 0.0
    for pair in dict.fromkeys(cell.pair for cell in cells):
        left = [cell for cell in cells if cell.pair == pair and cell.missing(out)]
        if not left:
            continue
        schedule = schedule_for(pair.student, epochs)
        for task, methods in by_task(left[0].missing(out)).items():
            students, ordered, images = students_of(left[0], train, methods)
            taught = create_network(pair.teacher, train, projection=True)
            give_head(taught, task, train, seed=0)
            found = estimate(
                students, taught, images, method=ordered, schedule=schedule, progress=False, **options
            )
            views = sum(create_method(m).views for m in ordered)
            hours += found.hours * len(left)
            teacher_forwards += found.forwards * len(left)
            student_forwards += views * len(images) * schedule.epochs * len(left)
            say(f"{pair.name}: {found} for each of {len(left)} cell(s)")
    forwards = f"{teacher_forwards / 1e6:.3g} million in the teachers, {student_forwards / 1e6:.3g} million"
    say(
        f"students, in all: {hours:.3g} h on this machine (tests and teachers not counted); forwards: "
        f"{forwards} in the students, whose steps cost about three forwards each"
    )


def read_diverged(out: Path) -> list[str]:
    """One line a run below `out` that was given up: pair, condition, method, seed, and why."""
    return [
        "{pair}, {condition}: {method}, seed {seed}: ".format_map(place) + path.read_text().strip()
        for path, place in _runs(out, DIVERGED)
    ]


def _runs(out: Path, file: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """This file of each run that has it, and which run it is."""
    for path in sorted((out / "runs").glob(f"*/*/*/*/{file}")):
        pair, condition, method, seed = path.parent.relative_to(out / "runs").parts
        pair, condition = pair.replace("%2F", "/"), condition.replace("_", " ")
        yield path, {"pair": pair, "condition": condition, "method": method, "seed": int(seed)}


def read_results(out: Path) -> list[dict[str, Any]]:
    """One record a finished run below `out`: pair, condition, method, seed, last and best accuracy.

    In the order of METHODS, joined ones last; conditions by their number.
    """
    records = []
    for path, place in _runs(out, "summary.json"):
        summary = json.loads(path.read_text())
        records.append(
            place
            | {
                "last": summary["last"]["test_accuracy"],
                "best": summary["best"]["test_accuracy"],
                "epochs": summary["epochs"],
                "images": summary["card"]["train"]["images"],
                "data": summary["card"]["train"]["name"],
            }
        )
    order = {method: number for number, method in enumerate(METHODS)}
    return sorted(
        records,
        key=lambda r: (
            r["pair"],
            len(r["condition"]),
            r["condition"],
            order.get(r["method"], len(order)),
            r["method"],
        ),
    )
