"""The plan of a table of the paper: its cells, the teachers they need, and the folder of each run.

A cell is (teacher → student, condition, seed). Its methods are trained together and share each forward pass
of the teacher. Everything is below one folder:

    teachers/TEACHER/head/teacher.safetensors    after train_teacher and train_head, seed 0, for all students
    teachers/TEACHER/head-TASK/…                 the same with a head for another pretext task
    runs/PAIR/CONDITION/METHOD/SEED/             as `distill` writes it; a finished run is not trained again
    runs/PAIR/CONDITION/METHOD/SEED/diverged.txt why this run was given up; delete the folder to try again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.images import ImageSet
from ..files import did_you_mean
from ..losses import create_method
from .paper import IMAGENET_PAIR, PAIRS, Pair, find_pair

DIVERGED = "diverged.txt"
FINISHED = ("summary.json", "student.safetensors")  # the files that `distill` writes last
FIRST_TASK = "contrastive"  # the task of the head that every teacher gets first

PAPERS_ROWS = ("ce", "kd", "fitnet", "at", "sp", "vid", "rkd", "pkt", "ab", "ft", "crd", "sskd")
OF_PRETEXTS = ("ce", "kd", "sskd-exemplar", "sskd-jigsaw", "sskd-rotation", "sskd")
IN_IMAGENET = ("ce", "kd", "at", "cc", "sp", "rkd", "crd", "sskd")
ABLATED = tuple(pair for pair in PAIRS if pair.name == "vgg13→vgg8")
FEW = tuple(pair for pair in PAIRS if pair.name == "resnet56→resnet20")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or figure of the paper: its pairs, methods and conditions (fraction of the labels, noise)."""

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
    """A pair, a condition and a seed, with the methods whose students are trained together."""

    pair: Pair
    condition: str
    seed: int
    methods: tuple[str, ...]

    def folder(self, out: Path, method: str) -> Path:
        """Return the output folder of one method's run."""
        names = (file_name(self.pair.name), file_name(self.condition), method, str(self.seed))
        return out.joinpath("runs", *names)

    def finished(self, out: Path) -> tuple[str, ...]:
        """Return the methods whose runs have written their summary and their weights."""
        return self._with(out, *FINISHED)

    def diverged(self, out: Path) -> tuple[str, ...]:
        """Return the methods that were given up because their numbers became NaN or infinite."""
        return self._with(out, DIVERGED)

    def missing(self, out: Path) -> tuple[str, ...]:
        """Return the methods that still need training, from the start or from a saved state."""
        done = (*self.diverged(out), *self.finished(out))
        return tuple(method for method in self.methods if method not in done)

    def _with(self, out: Path, *files: str) -> tuple[str, ...]:
        return tuple(m for m in self.methods if all((self.folder(out, m) / file).exists() for file in files))

    def images(self, train: ImageSet) -> ImageSet:
        """Return the training images under this condition, drawn from `seed`."""
        if self.condition.endswith("labels"):
            return train.take(int(self.condition.split()[0]), seed=self.seed)
        if self.condition.startswith("noise"):
            return train.with_label_noise(_percent(self.condition) / 100, seed=self.seed)
        if self.condition in ("all", "100%"):
            return train
        return train.take(int(len(train) * _percent(self.condition) / 100), seed=self.seed)


def _percent(condition: str) -> float:
    return float(condition.removeprefix("noise ").removesuffix("%"))


def file_name(text: str) -> str:
    """Return a pair or a condition as part of a file name: without slashes and spaces."""
    return text.replace("/", "%2F").replace(" ", "_")


def plan_cells(
    table: str,
    pairs: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: int = 3,
    labels: int | None = None,
    shard: str = "1/1",
) -> list[Cell]:
    """Return the cells of a table, or those of some of its pairs and methods, or one n-th of them.

    pairs, methods: in place of the table's. seeds: runs of each cell, with seeds 0, 1, … labels: number of
    labelled images of the students, in place of the table's conditions. shard: "i/n", the i-th (from 1) of n
    parts.
    Raises ValueError for an unknown table, pair, method or part.
    """
    if table not in TABLES:
        hint = did_you_mean(table, TABLES)
        raise ValueError(f"there is no table {table!r}.{hint} The tables are: {', '.join(TABLES)}.")
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"a shard is i/n, the i-th of n parts, for example 1/4, not {shard!r}.")
    if seeds < 1:
        raise ValueError(f"seeds is the number of runs of each cell, at least 1, not {seeds}.")
    conditions = TABLES[table].conditions
    if labels is not None and len(conditions) > 1:
        raise ValueError(
            f"the table {table} sets the labels by its conditions: {', '.join(conditions)}. Leave labels out "
            "(command: --labels)."
        )
    chosen = tuple(methods) or TABLES[table].methods
    for method in chosen:
        create_method(method)  # raises for an unknown name
    cells = [
        Cell(pair=pair, condition=condition, seed=seed, methods=chosen)
        for pair in ([find_pair(name) for name in pairs] or TABLES[table].pairs)
        for condition in (conditions if labels is None else (f"{labels} labels",))
        for seed in range(seeds)
    ]
    return cells[int(part) - 1 :: int(parts)]


def describe_plan(cells: Sequence[Cell], out: Path) -> str:
    """Return the plan in lines: what is left of each cell, and the teachers that still need training."""
    lines = []
    for cell in cells:
        left, diverged = cell.missing(out), cell.diverged(out)
        done = len(cell.methods) - len(left) - len(diverged)
        lines.append(
            f"{cell.pair.name}, {cell.condition}, seed {cell.seed}: {done} done, "
            f"{', '.join(left) + ' to train' if left else 'nothing to train'}"
            f"{', diverged: ' + ', '.join(diverged) if diverged else ''}"
        )
    lacking = [
        name if task == FIRST_TASK else f"{name} with a head for the task {task}"
        for name, task in teachers_of([cell for cell in cells if cell.missing(out)])
        if not teacher_file(out, name, task).exists()
    ]
    return "\n".join([*lines, f"teachers to train: {', '.join(lacking) or 'none'}"])


def teachers_of(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Return each (teacher, task of its head) that these cells need, once; FIRST_TASK comes first."""
    needed = [(cell.pair.teacher, task) for cell in cells for task in (FIRST_TASK, *by_task(cell.methods))]
    return list(dict.fromkeys(needed))


def by_task(methods: Sequence[str]) -> dict[str, list[str]]:
    """Group methods by the task of the teacher's head that they need; FIRST_TASK if they need none."""
    groups: dict[str, list[str]] = {}
    for method in methods:
        groups.setdefault(create_method(method).task or FIRST_TASK, []).append(method)
    return groups


def teacher_file(out: Path, name: str, task: str = FIRST_TASK) -> Path:
    """Return the path of a teacher's checkpoint with a head trained on `task`."""
    head = "head" if task == FIRST_TASK else f"head-{task}"
    return out / "teachers" / file_name(name) / head / "teacher.safetensors"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of a table to train, and for how long: the options of the command reproduce."""

    table: str  # similar, cross, imagenet, pretext, few-shot or noisy
    pairs: tuple[str, ...] = ()  # TEACHER:STUDENT, in place of the table's pairs
    methods: tuple[str, ...] = ()  # in place of the table's methods; names as in distill
    # runs of each cell: first weights, order, subset, noise. The teacher is the same for all.
    seeds: int = 3
    # i/n, the i-th of n parts of the cells, for several machines with one folder; train the teachers first,
    # on one machine (n = 1 does both)
    shard: str = "1/1"
    labels: int | None = None  # labelled images of the students, as many of each class; the teacher has all
    epochs: int | None = None  # epochs of the students; default: the published ones, milestones scaled
    teacher_epochs: int | None = None  # epochs of the teachers; default: the published number

    def cells(self) -> list[Cell]:
        """Return the cells. Raises ValueError as `plan_cells` does."""
        return plan_cells(self.table, self.pairs, self.methods, self.seeds, self.labels, self.shard)

    def require_teachers(self, out: Path) -> None:
        """Raise ValueError if this is a part of the plan and a teacher of it is not in `out` yet."""
        for name, task in teachers_of(self.cells()) if self.shard != "1/1" else ():
            path = teacher_file(out, name, task)
            if not path.exists():
                raise ValueError(
                    f"the teacher {name} with a head for the task {task} is not in {out} yet, and "
                    f"{self.shard} is one of several machines. Put a checkpoint at {path}, or run the "
                    "command once without --shard, which begins with the teachers."
                )
