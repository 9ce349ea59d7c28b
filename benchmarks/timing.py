"""Stopwatch of the benchmarks: rows timed in turn, phases of a step, records, and the machine they ran on."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import sskd_lib as sskd
from sskd_lib import Runtime
from sskd_lib.files import write_atomically
from sskd_lib.runtime.cuda_graph import WARM_UP
from sskd_lib.runtime.hardware import cpu_name, keep_freed_memory, usable_cores

WIDE = 1.25  # highest over lowest of the rounds, from which the machine was not idle
LEAST, LEAST_ON_GPU = 1.0, 0.3  # seconds of steps that one timing takes the mean of


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row to time: `take` does one step, in a process with the threads and the allocator of `runtime`."""

    take: Callable[[], Any]
    runtime: Runtime


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def time_row(row: Row, threads: int, least: float) -> float:
    """Seconds a step, mean over `least` seconds of them, with the allocator set as the row's runtime says.

    The first step is not counted: it pays for blocks that the row before kept or gave back. Holes that other
    rows left in the heap may still serve a row that keeps nothing: it is then faster than in a process of its
    own. threads: where the runtime does not say.
    """
    device = row.runtime.device
    torch.set_num_threads(row.runtime.threads or threads)
    keep_freed_memory(row.runtime.keep_memory)

    def timed(count: int) -> float:
        wait(device)
        start = time.perf_counter()
        for _ in range(count):
            row.take()
        wait(device)
        return (time.perf_counter() - start) / count

    return timed(max(1, math.ceil(least / timed(1))))


def time_phases(step: Callable[[], Iterator[str]], device: torch.device, count: int) -> dict[str, float]:
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
    rows: dict[str, Row],
    rounds: int,
    least: float | None = None,
    after: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Time all rows once a round, in the opposite order every other round; `after` ends a round.

    Returns seconds a step of each row, one figure a round. Threads and allocator are then as they were.
    """
    times: dict[str, list[float]] = {name: [] for name in rows}
    threads = torch.get_num_threads()
    for row in rows.values():  # a step to be captured is taken plainly first
        for _ in range(WARM_UP + 2 if row.runtime.device.type == "cuda" else 0):
            row.take()
    try:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for name in list(rows)[:: -1 if number % 2 else 1]:
                usual = LEAST_ON_GPU if rows[name].runtime.device.type == "cuda" else LEAST
                times[name].append(time_row(rows[name], threads, usual if least is None else least))
            after()
    finally:
        torch.set_num_threads(threads)
        keep_freed_memory(False)
    return times


def over(left: list[float], right: list[float]) -> list[float]:
    """Ratios, round by round."""
    return [a / b for a, b in zip(left, right, strict=True)]


def summarise(values: list[float]) -> dict[str, float]:
    """Median and range of the rounds, to four digits."""
    figures = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def summarise_table(title: str, table: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print a table of figures, one a round, as medians and ranges, and return those."""
    print(f"\n{title:64} median   (range)")
    summary = {row: summarise(values) for row, values in table.items()}
    for row, figure in summary.items():
        print(f"  {row:60} {figure['median']:9.4g}   ({figure['low']:.4g} to {figure['high']:.4g})")
    return summary


def warn_if_wide(times: dict[str, list[float]]) -> str:
    """A sentence, printed too, that names the rows whose rounds differ too much to be trusted; or nothing."""
    wide = [row for row, values in times.items() if max(values) > WIDE * min(values)]
    if not wide:
        return ""
    text = (
        f"the machine was not idle: the rounds of {'; '.join(wide)} differ by more than "
        f"{WIDE - 1:.0%}. Stop other programs and time again."
    )
    print(f"\nwarning: {text}")
    return text


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine for the reader of a record; `load` is that of others, before the timing."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def describe_versions() -> dict[str, Any]:
    """Versions that timings depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sskd_lib": sskd.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def start_record(name: str, device: torch.device, settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a record that is known before the timing. name: what the reader calls the machine."""
    program = "benchmarks/" + Path(sys.argv[0]).name
    return {
        "machine": {"name": name} | describe_machine(device),
        "versions": describe_versions(),
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", program, *sys.argv[1:]]),
        "settings": settings,
    }


def write_record(path: Path | None, record: dict[str, Any]) -> None:
    """Write a record, if there is a path for it."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def runtime_to_text(runtime: Runtime) -> str:
    """A runtime as one argument of a command."""
    fields = dataclasses.asdict(runtime)
    return json.dumps(fields | {"device": str(runtime.device), "dtype": str(runtime.dtype)[6:]})


def runtime_from_text(text: str) -> Runtime:
    """The runtime that `runtime_to_text` wrote."""
    fields = json.loads(text)
    device, dtype = torch.device(fields.pop("device")), getattr(torch, fields.pop("dtype"))
    return Runtime(device=device, dtype=dtype, **fields)
