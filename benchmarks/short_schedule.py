"""Few labels and a laptop: which short schedule shows what the rotated views and L_ss add?

    python benchmarks/short_schedule.py search  --setting fashion-300     # every candidate, validation images
    python benchmarks/short_schedule.py search  --setting cifar10-1000 --folder PATH
    python benchmarks/short_schedule.py confirm --setting fashion-300     # the chosen one, test, fresh seeds
    python benchmarks/short_schedule.py factors                           # batch size, and worse heads
    python benchmarks/short_schedule.py cost                              # seconds of one student, all cores
    python benchmarks/short_schedule.py table                             # the tables, from the recorded rows

A wrn_16_2 teacher, a resnet8 student. One seed draws the labelled images, the first weights and the order,
the same for every method, so differences between methods are taken pair by pair. The four methods of a seed
train in one loop and share the teacher's forward passes; each ends as if it were trained alone. Everything
runs on the CPU in float32, so that one table can hold rows of several machines.

fashion-300, fashion-100: labels of the embedded pack, of which a fifth validates (the teacher saw all 60,000
    training images of Fashion-MNIST, the validation images too).
cifar10-1000: the teacher never saw the 5,000 validation images. PATH has a sub-folder per class.
Seeds below 100 search, seeds from 100 confirm. Every row is the last epoch of one run.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sskd_lib as sskd
from few_labels import METHODS, ROOT, TEACHERS, images
from sskd_lib import Schedule
from sskd_lib.evaluation import interval
from sskd_lib.lab.comparison.statistics import minus

ROWS = Path(__file__).resolve().parent / "results" / "short_schedule.jsonl"
SETTINGS = {
    "fashion-300": ("fashion", 300),
    "fashion-100": ("fashion", 100),
    "cifar10-1000": ("cifar10", 1000),
}
FIELDS = ("epochs", "batch_size", "lr", "momentum")  # what is searched


def cycle(*numbers: float) -> Schedule:
    """Return a one-cycle schedule of FIELDS."""
    return dataclasses.replace(sskd.SHORT, **dict(zip(FIELDS, numbers, strict=True)))


# The first candidate of a setting has the published momentum and rate; the others move one or two numbers.
CANDIDATES = {
    "fashion-300": [
        cycle(20, 16, 0.05, 0.9),
        cycle(20, 16, 0.1, 0.9),
        cycle(20, 16, 0.025, 0.9),
        cycle(20, 8, 0.05, 0.9),
        cycle(20, 8, 0.025, 0.9),
        cycle(20, 32, 0.1, 0.9),
        cycle(28, 16, 0.05, 0.9),
        cycle(28, 32, 0.1, 0.9),
        cycle(20, 16, 0.1, 0.8),
    ],
    "fashion-100": [
        cycle(20, 16, 0.05, 0.9),
        cycle(60, 16, 0.05, 0.9),
        cycle(60, 16, 0.1, 0.9),
        cycle(60, 8, 0.05, 0.9),
        cycle(60, 8, 0.025, 0.9),
        cycle(54, 8, 0.05, 0.9),
    ],
    "cifar10-1000": [
        cycle(8, 16, 0.05, 0.9),
        cycle(8, 16, 0.1, 0.9),
        cycle(8, 32, 0.1, 0.9),
        cycle(10, 32, 0.05, 0.9),
        cycle(20, 16, 0.05, 0.9),
    ],
}


# Chosen on the validation images; docs/results.md says why. For CIFAR-10 the best of those that fit into half
# a minute; SSKD is behind KD there.
CHOSEN = {
    "fashion-300": sskd.SHORT,
    "fashion-100": cycle(54, 8, 0.05, 0.9),
    "cifar10-1000": cycle(8, 16, 0.05, 0.9),
}


# The teacher's projection head: as shipped, trained for a short time, or with random weights.
HEADS = ("trained", "half trained", "untrained")
SHORT_HEAD = dataclasses.replace(sskd.HEAD, epochs=5), 1000  # schedule and images of the second


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The four students of one seed."""

    setting: str
    split: str  # "validation", "test", or "factors": test images, with one thing changed
    schedule: Schedule
    seed: int
    folder: str
    methods: tuple[str, ...] = METHODS
    threads: int = 1
    head: str = "trained"  # the teacher's projection head: one of HEADS

    def key(self) -> tuple:
        """What tells this cell's rows from others."""
        numbers = (getattr(self.schedule, name) for name in FIELDS)
        return self.setting, self.split, self.head, self.seed, *numbers


def key_of(row: dict) -> tuple:
    """Return the key of the cell that a row belongs to."""
    numbers = (row[name] for name in FIELDS)
    return row["setting"], row["split"], row.get("head", "trained"), row["seed"], *numbers


def train(cell: Cell) -> list[dict]:
    """Train the students of a cell and return one row per method."""
    torch.set_num_threads(cell.threads)
    name, labels = SETTINGS[cell.setting]
    pool, validation, test = images(name, cell.folder)
    measured = validation if cell.split == "validation" else test
    teacher = sskd.load_checkpoint(
        ROOT / "data" / "weights" / TEACHERS[name] / "teacher_wrn_16_2.safetensors"
    )
    runtime = dataclasses.replace(sskd.choose_runtime("cpu"), dtype=torch.float32)
    if cell.head != "trained":  # random weights, from the run's seed
        fresh = sskd.create_network("wrn_16_2", like=pool, projection=True, seed=cell.seed)
        teacher.head.load_state_dict(fresh.head.state_dict())
    if cell.head == "half trained":
        schedule, count = SHORT_HEAD
        options = {"schedule": schedule, "seed": cell.seed, "runtime": runtime, "progress": False}
        teacher = sskd.train_head(teacher, pool.take(count, seed=cell.seed), **options).network
    students = [
        sskd.create_network(
            "resnet8", like=pool, projection=sskd.create_method(method).needs_projection, seed=cell.seed
        )
        for method in cell.methods
    ]
    started = time.perf_counter()
    runs = sskd.distill(
        students,
        teacher,
        pool.take(labels, seed=cell.seed),
        measured,
        method=list(cell.methods),
        schedule=cell.schedule,
        seed=cell.seed,
        runtime=runtime,
        progress=False,
        evaluate_every=cell.schedule.epochs,
    )
    seconds = time.perf_counter() - started
    common = {"setting": cell.setting, "split": cell.split}
    common |= {name: getattr(cell.schedule, name) for name in FIELDS} | {"head": cell.head, "seed": cell.seed}
    return [
        common
        | {
            "method": method,
            "accuracy": round(run.summary["last"]["test_accuracy"], 3),
            "students": len(students),
            "threads": cell.threads,
            "seconds": round(seconds, 1),
            "torch": torch.__version__,
        }
        for method, run in zip(cell.methods, runs, strict=True)
    ]


def read(path: Path = ROWS) -> list[dict]:
    """Return all recorded rows."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def train_all(cells: list[Cell], processes: int, path: Path) -> None:
    """Train the cells that are not recorded, and append their rows as each ends."""
    done = {key_of(row) for row in read(path)}
    todo = [cell for cell in cells if cell.key() not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, open(path, "a") as file:
        for rows in pool.map(train, todo):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            accuracies = " ".join(f"{row['method']} {row['accuracy']:.2f}" for row in rows)
            print(*key_of(rows[0]), accuracies, f"{rows[0]['seconds']:.0f} s", flush=True)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of search and confirm."""

    setting: str  # fashion-300, fashion-100 or cifar10-1000
    seeds: tuple[int, ...] = (0, 1)  # below 100 to search, from 100 on to confirm
    candidates: tuple[int, ...] = ()  # numbers of candidates, from 0; default: all
    folder: str = ""  # for cifar10-1000
    processes: int = 2  # cells trained at the same time, each on one core
    rows: Path = ROWS


FRESH = Options(setting="fashion-300", seeds=tuple(range(100, 111)))


def search(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Train every candidate of a setting and measure it on the validation images."""
    schedules = CANDIDATES[options.setting]
    chosen = [schedules[number] for number in options.candidates] or schedules
    cells = [
        Cell(setting=options.setting, split="validation", schedule=s, seed=seed, folder=options.folder)
        for seed in options.seeds
        for s in chosen
    ]
    train_all(cells, options.processes, options.rows)


def confirm(options: Annotated[Options, tyro.conf.arg(name="")] = FRESH) -> None:
    """Train the chosen schedule with fresh seeds and measure it on the test images."""
    schedule = CHOSEN[options.setting]
    common = {"setting": options.setting, "split": "test", "schedule": schedule, "folder": options.folder}
    cells = [Cell(seed=seed, **common) for seed in options.seeds]
    train_all(cells, options.processes, options.rows)


BATCHES = (8, 32, 64)  # beside the 16 of SHORT


def factors(seeds: tuple[int, ...] = tuple(range(100, 105)), processes: int = 2, rows: Path = ROWS) -> None:
    """Train with other batch sizes (other numbers of negatives), and with the teacher's head less trained."""
    common = {"setting": "fashion-300", "split": "factors", "folder": ""}
    schedules = [dataclasses.replace(sskd.SHORT, batch_size=size) for size in BATCHES]
    cells = [
        Cell(seed=seed, schedule=s, methods=("kd", "kd+rotations", "sskd"), **common)
        for seed in seeds
        for s in schedules
    ]
    cells += [
        Cell(seed=seed, schedule=sskd.SHORT, methods=("sskd",), head=head, **common)
        for seed in seeds
        for head in HEADS[1:]
    ]
    train_all(cells, processes, rows)


def cost(
    setting: str = "fashion-300",
    folder: str = "",
    batch_size: int | None = None,
    methods: tuple[str, ...] = METHODS,
    seed: int = 100,
) -> None:
    """Print the seconds of one student per method, trained alone on all cores.

    Args:
        setting: images and labels; its chosen schedule is timed.
        folder: for cifar10-1000.
        batch_size: in place of the schedule's.
        methods: one student for each.
        seed: of images, first weights and order.
    """
    schedule = CHOSEN[setting]
    schedule = dataclasses.replace(schedule, batch_size=batch_size or schedule.batch_size)
    common = {"setting": setting, "split": "test", "schedule": schedule, "folder": folder}
    for method in methods:
        cell = Cell(seed=seed, methods=(method,), threads=torch.get_num_threads(), **common)
        (row,) = train(cell)
        print(f"{setting}, {method}: {row['seconds']:.1f} s, {row['threads']} threads", flush=True)


def by_seed(rows: list[dict], **wanted: object) -> dict[str, dict[int, float]]:
    """Return the accuracies of the rows with these values: method → seed → percent."""
    found: dict[str, dict[int, float]] = {method: {} for method in METHODS}
    for row in rows:
        if all(row[name] == value for name, value in wanted.items()):
            found[row["method"]][row["seed"]] = row["accuracy"]
    return found


def gap(accuracies: dict[str, dict[int, float]], a: str, b: str) -> str:
    """Return method a minus b, seed by seed, with its 95 % interval."""
    pairs = minus(accuracies[a], accuracies[b])
    if len(pairs) < 2:
        return "".join(f"{pair:+.2f}" for pair in pairs)
    return "{:+.2f} ± {:.2f}".format(*interval(pairs))


HEADER = ("epochs, batch, rate, momentum", "seeds", "CE", "KD", "KD+rotations", "SSKD")
HEADER += ("SSKD − KD", "SSKD − KD+rotations")


def table(rows: Path = ROWS) -> None:
    """Print a Markdown table per setting and images, one line per schedule, the chosen one in bold."""
    recorded = read(rows)
    places = dict.fromkeys((row["setting"], row["split"], row.get("head", "trained")) for row in recorded)
    for setting, split, head in places:
        images = "validation images" if split == "validation" else "test images"
        print(f"\n**{setting}, {images}{f', head {head}' * (head != 'trained')}** ({split})\n")
        print(f"| {' | '.join(HEADER)} |")
        print("|---" * len(HEADER) + "|")
        here = [row for row in recorded if key_of(row)[:3] == (setting, split, head)]
        for numbers in dict.fromkeys(tuple(row[name] for name in FIELDS) for row in here):
            found = by_seed(here, **dict(zip(FIELDS, numbers, strict=True)))
            cells = ["{:g}, {:g}, {:g}, {:g}".format(*numbers), str(len(found["sskd"]))]
            if numbers == tuple(getattr(CHOSEN[setting], name) for name in FIELDS):
                cells[0] = f"**{cells[0]}**"
            cells += [f"{sum(v.values()) / len(v):.1f}" if v else "" for v in found.values()]
            cells += [gap(found, "sskd", other) for other in ("kd", "kd+rotations")]
            print("| " + " | ".join(cells) + " |")
            if head != "trained":
                values = dict(zip(FIELDS, numbers, strict=True))
                shipped = by_seed(recorded, setting=setting, split="test", **values)["sskd"]
                difference = gap({"it": found["sskd"], "shipped": shipped}, "it", "shipped")
                print(f"\nSSKD minus SSKD with the shipped head: {difference}")


if __name__ == "__main__":
    commands = {"search": search, "confirm": confirm, "factors": factors, "cost": cost, "table": table}
    try:
        tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)
    except ValueError as error:
        sys.exit(f"{error}")
