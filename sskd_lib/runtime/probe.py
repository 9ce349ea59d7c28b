"""Ten seconds of measuring: in which format a small SSKD step is fastest here. Asked once, then remembered.

Three races, each with the winner of the one before: numbers of threads; number and memory formats; freed
memory kept or returned. In a race the candidates take turns, so that a slow moment of the machine meets them
all; medians are compared, and the first candidate yields only to one that is clearly faster.
"""

from __future__ import annotations

import dataclasses
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.views import four_views
from ..losses import create_method
from ..models.build import build_network
from ..models.network import Network
from .cuda_graph import WARM_UP, CapturedStep
from .device import Runtime, keep_freed_memory, rule_of_thumb, usable_cores

VERSION = 1  # of what is measured; a new one makes every machine measure again
PAIR = ("wrn_16_2", "resnet8")
BATCH = 32  # ranks formats like wrn_40_2 → wrn_16_2 on 64 images, in 1/8 of the time
LARGE_BATCH = 64  # from here on single blocks exceed 32 MiB, and it matters what becomes of freed memory
ROUNDS = 4
CLEARLY = 0.95  # a candidate replaces the first one only in less than this share of its time
CLEARLY_ONCE = 0.5  # the same for one that was timed a single time
HOPELESS = 1.5  # times the best: not timed again

Race = dict[Runtime, list[float]]  # seconds of one step, one number a round; the first is the default


class Batch(NamedTuple):
    """What one step gets. views: float [4B, C, H, W]; labels: int64 [B]."""

    views: Tensor
    labels: Tensor


def probe(device: torch.device, budget: float = 10.0) -> Runtime:
    """Measure for about `budget` seconds and return the fastest runtime, with the reason in `.why`.

    torch's global random numbers, number of threads and grad mode are afterwards what they were.
    """
    started = time.perf_counter()
    races = run_races(device, budget)
    return conclude(races, time.perf_counter() - started)


def run_races(device: torch.device, budget: float) -> list[Race]:
    """The timings a choice is made from: one race after the other, all within `budget` seconds."""
    end, threads = time.perf_counter() + budget, torch.get_num_threads()
    stages = (
        (thread_candidates, BATCH, 0.5),
        (format_candidates, BATCH, 0.6),
        (memory_candidates, LARGE_BATCH, 1.0),
    )
    races, best = [], rule_of_thumb(device, "")  # bfloat16 on a CPU that has it; elsewhere it is emulated
    try:
        with torch.inference_mode(False), torch.enable_grad():
            small_step(best, 1)()  # the first optimiser step of a process loads much of torch
            for candidates, batch, share in stages:
                entrants, now = candidates(best), time.perf_counter()
                if len(entrants) > 1 and (now < end or not races):
                    races.append(run_race(entrants, batch, now + share * (end - now)))
                    best = winner(races[-1])
    finally:
        torch.set_num_threads(threads)
        keep_freed_memory(False)
    return races


def thread_candidates(best: Runtime) -> list[Runtime]:
    """All cores, half of them, one; nothing to compare on a GPU or where the user has set the number."""
    if best.device.type != "cpu" or os.environ.get("OMP_NUM_THREADS"):
        return [best]
    cores = usable_cores()
    return [dataclasses.replace(best, threads=n) for n in dict.fromkeys((cores, max(1, cores // 2), 1))]


def format_candidates(best: Runtime) -> list[Runtime]:
    """Number and memory formats to compare: that of the rule of thumb first."""
    last = dataclasses.replace(best, dtype=torch.float32, channels_last=True)
    if best.device.type == "cpu":
        return list(dict.fromkeys((best, last, dataclasses.replace(last, channels_last=False))))
    half = dataclasses.replace(last, dtype=torch.bfloat16)
    return [last, half, *(dataclasses.replace(runtime, capture=True) for runtime in (last, half))]


def memory_candidates(best: Runtime) -> list[Runtime]:
    """Freed memory returned or kept, on a CPU whose C library gives the choice."""
    if best.device.type != "cpu" or not keep_freed_memory(False):
        return [best]
    return [best, dataclasses.replace(best, keep_memory=True)]


def run_race(entrants: list[Runtime], batch: int, end: float) -> Race:
    """Time the entrants in turn, until the rounds are over or the clock reads `end`; the first once anyhow.

    One that is far behind after two rounds, or raises an error (the first one's is passed on), is left out.
    """
    race: Race = {}
    steps: dict[Runtime, Callable[[], Any]] = {}
    costs: dict[Runtime, float] = {}  # seconds that the last timing of each took
    threads, left = torch.get_num_threads(), list(entrants)
    for _ in range(ROUNDS):
        for runtime in list(left):
            if costs and time.perf_counter() + costs.get(runtime, max(costs.values())) > end:
                return race
            try:
                torch.set_num_threads(runtime.threads or threads)
                keep_freed_memory(runtime.keep_memory)
                if runtime not in steps:
                    steps[runtime] = small_step(runtime, batch)
                started = time.perf_counter()
                race.setdefault(runtime, []).append(time_step(steps[runtime], runtime.device))
                costs[runtime] = time.perf_counter() - started
            except RuntimeError:  # a GPU without bfloat16, a step that cannot be captured, too little memory
                if runtime is entrants[0]:
                    raise
                left.remove(runtime)
                race.pop(runtime, None)
        medians = {runtime: statistics.median(race[runtime]) for runtime in left}
        limit = HOPELESS * min(medians.values())
        left = [r for r in left if len(race[r]) < 2 or medians[r] <= limit]
        if len(left) == 1:
            break
    return race


def winner(race: Race) -> Runtime:
    """The fastest by median among those that are clearly faster than the first; else the first."""
    first = next(iter(race))

    def clearly_faster(runtime: Runtime) -> bool:
        share = CLEARLY if len(race[runtime]) > 1 else CLEARLY_ONCE
        return statistics.median(race[runtime]) < share * statistics.median(race[first])

    return min(filter(clearly_faster, race), key=lambda r: statistics.median(race[r]), default=first)


def small_step(runtime: Runtime, batch: int) -> Callable[[], Any]:
    """One SSKD step on noise in the shape of CIFAR: teacher forward, student training, on ready views."""

    def new(model: str) -> Network:
        spec = {"model": model, "num_classes": 100, "in_channels": 3, "projection": True}
        return runtime.place(build_network(spec, mean=[0.5] * 3, std=[0.25] * 3))

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 100, (batch,), generator=generator)
    given = Batch(four_views(images, generator).to(runtime.device), labels.to(runtime.device))
    teacher, student, method = new(PAIR[0]).eval(), new(PAIR[1]).train(), create_method("sskd")
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=True)

    def step(given: Batch) -> list[Tensor]:
        with torch.no_grad():
            taught = runtime.run(teacher, given.views)
        total = method(runtime.run(student, given.views), taught, given.labels)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return [total.detach()]

    if not runtime.capture:
        return lambda: step(given)
    captured = CapturedStep(step)  # the captured candidates are timed like the others, once they are recorded
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="this step cannot be recorded")
        for _ in range(WARM_UP + 2):
            captured(given)
    if captured.failed:
        raise RuntimeError("the step cannot be captured")
    return lambda: captured(given)


def time_step(step: Callable[[], Any], device: torch.device, least: float = 0.1) -> float:
    """Seconds of one step, as the mean over `least` seconds of them, after one that is not counted.

    The first step after a change of threads or memory pays for the change; above 0.7 s it must do.
    """

    def timed(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - started) / count

    first = timed(1)
    return first if first > 0.7 else timed(math.ceil(least / first))


def conclude(races: list[Race], seconds: float) -> Runtime:
    """The winner of the last race, and why: what it gained over plain float32 on as many threads.

    Where plain float32 was not timed (on a GPU, or for lack of time), the first candidate stands in for it.
    """
    best = winner(races[-1])
    compared = any(sum(len(times) > 1 for times in race.values()) > 1 for race in races)
    start, reference = 0, next(iter(races[0]))
    for number, race in enumerate(races):
        for runtime in race:
            if runtime == Runtime(device=runtime.device, threads=runtime.threads):
                start, reference = number, runtime
    gain, standard = 1.0, reference
    for race in races[start:]:  # the winner of one is the first of the next
        gain *= statistics.median(race[standard]) / statistics.median(race[winner(race)])
        standard = winner(race)
    gained = f"{gain:.1f} times as fast as {reference.in_words()}"
    if best == reference:
        gained = "nothing was clearly faster" if compared else "a step takes too long here to compare formats"
    return dataclasses.replace(best, why=f"measured in {seconds:.1f} s: {best.in_words()}; {gained}")
