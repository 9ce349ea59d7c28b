"""How long the cells of the claims take on this machine: a few steps of each on noise, times all steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

import sskd_lib as sskd
from sskd_lib.lab.claims.plan import Cell, read_plan
from sskd_lib.lab.claims.trainings import by_length, make_method

SHAPES = {"fashion": (1, 28, 10), "hundred": (3, 32, 100), "grocery": (3, 32, 81), "cifar10": (3, 32, 10)}


def estimate(todo: Iterable[Any], processes: int) -> None:
    """Print the hours that tasks will take on this machine, from a few steps of each cell on noise."""
    total, cells = 0.0, {}
    for task in todo:
        cells.setdefault(task.cell.name, []).append(task)
    for name, seeds in cells.items():
        runtime = seeds[0].runtime()
        if runtime.threads:
            torch.set_num_threads(runtime.threads)
        by_arms: dict[tuple[str, ...], float] = {}
        for task in seeds:
            if task.arms not in by_arms:
                by_arms[task.arms] = seconds_of(task.cell, task.arms, runtime)
        seconds = sum(by_arms[task.arms] for task in seeds) / processes
        total += seconds
        longest = max(by_arms.values())
        print(
            f"{name:24} {len(seeds):3} seeds  {seconds / 3600:6.2f} h   one seed {longest / 60:5.1f} min",
            flush=True,
        )
    print(f"{'all':24}            {total / 3600:6.2f} h, {processes} processes")


def loops(cell: str = "hundred-50") -> None:
    """Print what a seed of a cell takes with its arms in one loop, and with a loop for each arm.

    Args:
        cell: a name of the plan.
    """
    chosen, runtime = read_plan().cells[cell], sskd.choose_runtime("cpu")
    together = seconds_of(chosen, chosen.arms, runtime)
    alone = sum(seconds_of(chosen, (arm,), runtime) for arm in chosen.arms)
    threads, arms = runtime.threads or torch.get_num_threads(), len(chosen.arms)
    print(
        f"{cell}, {arms} arms, {threads} threads: {together:.0f} s in one loop, {alone:.0f} s in {arms} loops"
    )


def seconds_of(cell: Cell, names: tuple[str, ...], runtime: sskd.Runtime) -> float:
    """Return the seconds of one seed: steps times the time of one, the faster of two epochs of four steps."""
    images = noise_like(cell)
    teacher = runtime.place(sskd.create_network("wrn_16_2", like=images, projection=True))
    teacher.head_trained = True
    seconds, steps = 0.0, math.ceil(cell.labels / cell.schedule.batch_size)
    for times, arms in by_length(names).items():
        best = {"ss_temperature": 0.5, "ss": 10.0}
        methods = [make_method(arm, teacher, images, 0, runtime, best) for arm in arms]
        students = [
            sskd.create_network(cell.student, like=images, projection=m.needs_projection) for m in methods
        ]
        schedule = replace(cell.schedule, epochs=2)
        run = sskd.distill(
            students, teacher, images, method=methods, schedule=schedule, runtime=runtime, progress=False
        )[0]
        per_step = min(record["seconds"] for record in run.history) / 4
        seconds += times * cell.schedule.epochs * steps * per_step
    return seconds


def noise_like(cell: Cell) -> sskd.ImageSet:
    """Return noise for four steps in the shape of a cell's images."""
    channels, size, classes = SHAPES[cell.images]
    count = 4 * cell.schedule.batch_size
    shape, generator = (count, channels, size, size), torch.Generator().manual_seed(0)
    return sskd.ImageSet(
        images=torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        labels=torch.arange(count) % classes,
        classes=tuple(map(str, range(classes))),
        name="noise",
    )
