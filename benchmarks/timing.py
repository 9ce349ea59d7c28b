"""Stopwatch of the benchmarks: steps timed in turn, phases of a step, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

Step = Callable[[], Iterator[str]]  # runs one step; yields the name of each phase as it ends


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_steps(step: Step, device: torch.device, count: int) -> float:
    """Seconds a step, mean of `count` in a row; the device is waited for only before and after."""
    wait(device)
    start = time.perf_counter()
    for _ in range(count):
        for _ in step():
            pass
    wait(device)
    return (time.perf_counter() - start) / count


def time_phases(step: Step, device: torch.device, count: int) -> dict[str, float]:
    """Seconds of each phase of a step, mean of `count`; the device is waited for after every phase."""
    spent: dict[str, float] = {}
    for _ in range(count):
        wait(device)
        start = time.perf_counter()
        for phase in step():
            wait(device)
            now = time.perf_counter()
            spent[phase] = spent.get(phase, 0.0) + (now - start) / count
            start = now
    return spent


def time_in_turn(
    rows: dict[str, Step], phased: Step, device: torch.device, rounds: int, count: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Time all rows once a round, in the opposite order every other round; the first round only warms up.

    Returns seconds a step of each row and seconds of each phase of `phased`, one figure a round.
    """
    times: dict[str, list[float]] = {name: [] for name in rows}
    phases: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}" if number else "warming up", file=sys.stderr, flush=True)
        taken = {}
        for name in list(rows)[:: -1 if number % 2 else 1]:
            taken[name] = time_steps(rows[name], device, count)
        parts = time_phases(phased, device, count)
        if number:
            for name, seconds in taken.items():
                times[name].append(seconds)
            for name, seconds in parts.items():
                phases.setdefault(name, []).append(seconds)
    return times, phases


def summarise(values: list[float]) -> dict[str, float]:
    """Median and range of the rounds, to four digits."""
    figures = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def describe_machine(device: torch.device) -> dict[str, object]:
    """What a reader of a record must know of the machine; `load` is that of others, before the timing."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        cpu = names[0].split(":")[1].strip() if names else cpu
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
