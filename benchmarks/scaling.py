"""The growth of a student step: with images, batch, classes, students that share a teacher, and processes.

    python benchmarks/scaling.py --out benchmarks/results/scaling_cpu.json   # under four minutes on two cores

Small networks (wrn_16_2 → resnet8) in the kit's format; all rows are timed in turn, medians and ranges of the
rounds. What is asked of each table:

images     the loader's work for a step, over a whole epoch, must not grow with the images; nor may a step
batch      seconds a step, and an image of it
classes    only the last layers and the losses know of them
students   trained together on one pass of the teacher, over the time of one
processes  images a second of one process with all threads and of two with half of them each, 64 images a step
           and process (gloo; only on a CPU, for one GPU has no place for two)
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import tyro

import sskd_lib as sskd
from rows import KitStep, random_images, real_step
from sskd_lib import ImageSet, Network, Runtime
from sskd_lib.runtime.distributed import Distributed, processes
from sskd_lib.runtime.hardware import usable_cores
from timing import (
    Row,
    over,
    runtime_from_text,
    runtime_to_text,
    start_record,
    summarise_table,
    time_in_turn,
    wait,
    warn_if_wide,
    write_record,
)

Table = dict[str, list[float]]  # row → one figure a round
BATCH, CLASSES, CYCLE = 64, 100, 16  # CYCLE: steps an epoch where the number of images is not asked about


def networks(pair: tuple[str, str], data: ImageSet, students: int = 1) -> tuple[list[Network], Network]:
    """Return (students, teacher) of a pair, for these images."""
    made = [sskd.create_network(pair[1], data, projection=True, seed=s) for s in range(students)]
    teacher = sskd.create_network(pair[0], data, projection=True, seed=100)
    teacher.head_trained = True  # its answers do not matter for the time
    return made, teacher


def new_step(
    pair: tuple[str, str], runtime: Runtime, images: int, batch: int, classes: int, students: int = 1
) -> tuple[KitStep, Row]:
    """Return the step of `distill` for that many random images, and its row."""
    data = random_images(images, classes)
    step = real_step(*networks(pair, data, students), data, batch, runtime)
    return step, Row(take=step, runtime=runtime)


def time_loader(step: KitStep, epoch: int) -> float:
    """Time the loader's work for one step in seconds, mean over a whole epoch: order, draws, every batch."""
    loader = step.training.loader
    wait(loader.device)
    start = time.perf_counter()
    steps = sum(1 for _ in loader.epoch(epoch))
    wait(loader.device)
    return (time.perf_counter() - start) / steps


def time_processes(
    pair: tuple[str, str], runtime: Runtime, count: int, threads: int, batch: int, steps: int = 5
) -> float:
    """Return images per second of `count` new processes that train together, with so many threads each."""
    runtime = replace(runtime, threads=threads)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += [__file__, "worker", "--pair", *pair, "--runtime", runtime_to_text(runtime)]
    command += ["--batch", str(batch), "--steps", str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{count} processes could not be timed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def worker(pair: tuple[str, str], runtime: str, batch: int = BATCH, steps: int = 5) -> None:
    """Be one of the processes of `time_processes`; the main one prints images per second of all of them."""
    format_ = runtime_from_text(runtime)
    format_.prepare()
    with processes("cpu") as group:
        seconds = time_together(group, pair, format_, batch, steps)
        if group.is_main:
            print(group.world_size * batch * steps / seconds)


def time_together(
    group: Distributed, pair: tuple[str, str], runtime: Runtime, batch: int, steps: int
) -> float:
    """Time so many steps of all processes, after a first one, in seconds."""
    _, row = new_step(pair, runtime, CYCLE * batch * group.world_size, batch, CLASSES)
    row.take()
    group.broadcast_object(None)  # all start together
    start = time.perf_counter()
    for _ in range(steps):
        row.take()
    group.broadcast_object(None)
    return time.perf_counter() - start


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark: sizes to time, and how."""

    pair: tuple[str, str] = ("wrn_16_2", "resnet8")  # teacher and student
    images: tuple[int, ...] = (1_000, 10_000, 50_000)
    batches: tuple[int, ...] = (16, 32, 64, 128, 256)
    classes: tuple[int, ...] = (10, 100, 1000)
    students: tuple[int, ...] = (1, 2, 3, 5)
    processes: tuple[int, ...] = (1, 2)
    batch: int = BATCH  # images a step where the batch is not what grows
    rounds: int = 5  # 5 or more for a record; processes are started in at most three of them
    least: float = 0.3  # seconds of steps that one timing takes the mean of
    device: str = "auto"  # auto, cpu, cuda, mps
    name: str = ""  # the name of the machine in the record
    out: Path | None = None  # JSON file for the record


def main(options: Options) -> None:
    """Time steps of growing size, print the figures and write them as a record."""
    batch, kit = options.batch, sskd.choose_runtime(options.device)
    settings = {"pair": options.pair, "batch": batch, "classes": CLASSES, "rounds": options.rounds}
    record = start_record(options.name, kit.device, settings) | {"runtime": kit.describe()}
    print(f"the kit's format: {kit.in_words()} ({kit.why})")
    new = partial(new_step, options.pair, kit)
    made = {("images", n): new(n, batch, CLASSES) for n in options.images}
    made |= {("batch", n): new(CYCLE * n, n, CLASSES) for n in options.batches}
    made |= {("classes", n): new(CYCLE * batch, batch, n) for n in options.classes}
    made |= {("students", n): new(CYCLE * batch, batch, CLASSES, n) for n in options.students}
    loading: Table = {f"images: {n:,}": [] for n in options.images}
    started: Table = {f"processes: {n}": [] for n in options.processes if kit.device.type == "cpu"}

    def after() -> None:
        for n, values in zip(options.images, loading.values(), strict=True):
            values.append(time_loader(made["images", n][0], len(values)))
        for n, values in zip(options.processes, started.values(), strict=False):
            if len(values) < 3:  # to start them takes seconds
                threads = max(1, usable_cores() // n)
                values.append(time_processes(options.pair, kit, n, threads, batch))

    rows = {key: row for key, (_, row) in made.items()}
    times = time_in_turn(rows, options.rounds, options.least, after)
    tables = growth(times) | {"seconds of the loader for a step": loading, "images a second": started}
    for title, table in tables.items():
        record[title] = summarise_table(title, table)
    record["warning"] = warn_if_wide({f"{what}: {n:,}": seconds for (what, n), seconds in times.items()})
    write_record(options.out, record)


def growth(times: dict[tuple[str, int], list[float]]) -> dict[str, Table]:
    """Return the tables of the record. times: seconds per step by (what grows, how far), one per round."""
    tables: dict[str, Table] = {}
    for (what, n), seconds in times.items():
        tables.setdefault(f"seconds a step, by {what}", {})[f"{what}: {n:,}"] = seconds
        if what == "batch":
            tables.setdefault("seconds an image", {})[f"batch: {n:,}"] = [s / n for s in seconds]
        if what == "students" and ("students", 1) in times:
            title = "time of students together, over that of one"
            tables.setdefault(title, {})[f"students: {n:,}"] = over(seconds, times["students", 1])
    return tables


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        tyro.cli(worker, args=sys.argv[2:])
    else:
        main(tyro.cli(Options, description=__doc__.partition("\n")[0]))
