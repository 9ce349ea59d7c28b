"""How a student step grows: with images, batch, classes, students that share a teacher, and processes.

    python benchmarks/scaling.py --out benchmarks/results/scaling_cpu.json   # under four minutes on two cores

Small networks (wrn_16_2 → resnet8) in the kit's format; all rows are timed in turn, medians and ranges of the
rounds. What is asked of each table:

images     the feed's work for a step, over a whole epoch, must not grow with the number of images; nor a step
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
from dataclasses import replace
from functools import partial
from pathlib import Path

import tyro
from rows import random_images, real_step
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

import sskd_lib as sskd
from sskd_lib import ImageSet, Network, Runtime
from sskd_lib.runtime.device import usable_cores
from sskd_lib.runtime.distributed import Distributed
from sskd_lib.runtime.distributed import processes as joined
from sskd_lib.training.loop import Step

Table = dict[str, list[float]]  # row → one figure a round
BATCH, CLASSES, CYCLE = 64, 100, 16  # CYCLE: steps an epoch where the number of images is not asked about


def networks(pair: tuple[str, str], data: ImageSet, students: int = 1) -> tuple[list[Network], Network]:
    """(students, teacher) of a pair, for these images."""
    learners = [sskd.create_network(pair[1], data, projection=True, seed=s) for s in range(students)]
    return learners, sskd.create_network(pair[0], data, projection=True, seed=100)


def new_step(
    pair: tuple[str, str], runtime: Runtime, images: int, batch: int, classes: int, students: int = 1
) -> tuple[Step, Row]:
    """The step of `distill` for that many random images, and its row."""
    data = random_images(images, classes)
    step, batches = real_step(*networks(pair, data, students), data, batch, runtime)
    return step, Row(take=lambda: step.call(next(batches)), runtime=runtime)


def time_feed(step: Step, epoch: int) -> float:
    """Seconds of the feed's work for one step, mean over a whole epoch: order, draws, and every batch."""
    feed = step.lesson.feed
    wait(feed.device)
    start = time.perf_counter()
    steps = sum(1 for _ in feed.epoch(epoch))
    wait(feed.device)
    return (time.perf_counter() - start) / steps


def time_processes(
    pair: tuple[str, str], runtime: Runtime, count: int, threads: int, batch: int, steps: int = 5
) -> float:
    """Images a second of `count` new processes that train together, with that many threads each."""
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
    """One of the processes of `time_processes`; the first prints images a second of all of them."""
    format_ = runtime_from_text(runtime)
    format_.prepare()
    with joined("cpu") as world:
        seconds = time_together(world, pair, format_, batch, steps)
        if world.is_main:
            print(world.world_size * batch * steps / seconds)


def time_together(world: Distributed, pair: tuple[str, str], runtime: Runtime, batch: int, steps: int) -> float:
    """Seconds that all processes need for so many steps, after a first one."""
    _, row = new_step(pair, runtime, CYCLE * batch * world.world_size, batch, CLASSES)
    row.take()
    world.broadcast_object(None)  # all start together
    start = time.perf_counter()
    for _ in range(steps):
        row.take()
    world.broadcast_object(None)
    return time.perf_counter() - start


def main(
    pair: tuple[str, str] = ("wrn_16_2", "resnet8"),
    images: tuple[int, ...] = (1_000, 10_000, 50_000),
    batches: tuple[int, ...] = (16, 32, 64, 128, 256),
    classes: tuple[int, ...] = (10, 100, 1000),
    students: tuple[int, ...] = (1, 2, 3, 5),
    processes: tuple[int, ...] = (1, 2),
    batch: int = BATCH,
    rounds: int = 5,
    least: float = 0.3,
    device: str = "auto",
    name: str = "",
    out: Path | None = None,
) -> None:
    """Time steps of growing size.

    Args:
        batch: images a step where the batch is not what grows.
        rounds: 5 or more for a record; processes are started in at most three of them.
        least: seconds of steps that one timing takes the mean of.
        name: what the record calls the machine.
        out: JSON file for the record.
    """
    kit = sskd.choose_runtime(device)
    settings = {"pair": pair, "batch": batch, "classes": CLASSES, "rounds": rounds}
    record = start_record(name, kit.device, settings) | {"runtime": kit.describe()}
    print(f"the kit's format: {kit.in_words()} ({kit.why})")
    new = partial(new_step, pair, kit)
    made = {("images", n): new(n, batch, CLASSES) for n in images}
    made |= {("batch", n): new(CYCLE * n, n, CLASSES) for n in batches}
    made |= {("classes", n): new(CYCLE * batch, batch, n) for n in classes}
    made |= {("students", n): new(CYCLE * batch, batch, CLASSES, n) for n in students}
    fed: Table = {f"images: {n:,}": [] for n in images}
    started: Table = {f"processes: {n}": [] for n in processes if kit.device.type == "cpu"}

    def after() -> None:
        for n, values in zip(images, fed.values(), strict=True):
            values.append(time_feed(made["images", n][0], len(values)))
        for n, values in zip(processes, started.values(), strict=False):
            if len(values) < 3:  # to start them takes seconds
                values.append(time_processes(pair, kit, n, max(1, usable_cores() // n), batch))

    times = time_in_turn({key: row for key, (_, row) in made.items()}, rounds, least, after)
    tables = growth(times) | {"seconds of the feed for a step": fed, "images a second": started}
    for title, table in tables.items():
        record[title] = summarise_table(title, table)
    record["warning"] = warn_if_wide({f"{what}: {n:,}": seconds for (what, n), seconds in times.items()})
    write_record(out, record)


def growth(times: dict[tuple[str, int], list[float]]) -> dict[str, Table]:
    """The tables of the record. times: seconds a step by (what grows, how far), one figure a round."""
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
        tyro.cli(main, description=__doc__.partition("\n")[0])
