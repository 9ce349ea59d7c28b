"""Race number and memory formats on this machine: is the rule of `choose_runtime` the fastest of them?

Every format trains the same students by `distill` on noise in the shape of CIFAR, a few steps at a time, in
turn with the others. A step's time is that of the last epoch over its steps. Ratios are taken round by round:
seconds of a format over those of the rule, so a figure above 1 is slower than the rule.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
import tyro

import sskd_lib as sskd
from rows import random_images
from sskd_lib import ImageSet, Network, Runtime, Schedule
from sskd_lib.runtime.hardware import computes_in_bfloat16, keep_freed_memory
from timing import over, start_record, summarise_table, write_record

PAIRS = ("wrn_40_2", "wrn_16_2", "resnet20", "resnet8")
RULE = "the rule"
BATCH = 64


def rivals(rule: Runtime) -> dict[str, Runtime]:
    """Return the other formats for the device of the rule, by name; bfloat16 only where it has the units."""
    rule = replace(rule, why="")
    dtypes = (torch.float32, torch.bfloat16) if computes_in_bfloat16(rule.device) else (torch.float32,)
    formats = [replace(rule, dtype=dtype, channels_last=last) for dtype in dtypes for last in (True, False)]
    if rule.device.type == "cuda":
        formats += [replace(runtime, cuda_graph=False) for runtime in formats]
    else:
        formats += [replace(rule, keep_memory=not rule.keep_memory), Runtime(device=rule.device)]
    return {runtime.in_words(): runtime for runtime in formats if runtime != rule}


def time_steps(method: str, teacher: Network, student: Network, data: ImageSet, runtime: Runtime) -> float:
    """Return seconds per step of `distill` in the last of two epochs."""
    threads = torch.get_num_threads()
    keep_freed_memory(False)
    try:
        run = sskd.distill(
            copy.deepcopy(student),
            teacher,
            data,
            method=method,
            schedule=Schedule(epochs=2, batch_size=BATCH, lr=1e-4, milestones=()),
            runtime=runtime,
            progress=False,
        )
    finally:
        torch.set_num_threads(threads)
    return run.history[-1]["seconds"] / (len(data) // BATCH)


def race(
    method: str, pair: tuple[str, str], formats: dict[str, Runtime], steps: int, rounds: int
) -> dict[str, list[float]]:
    """Return seconds per step of each format, one figure per round; every other round runs backwards."""
    data = random_images(BATCH * steps, 100)
    teacher, student = (
        sskd.create_network(name, data, projection=True, seed=seed) for seed, name in enumerate(pair)
    )
    teacher.head_trained = True  # its answers do not matter for the time
    seconds: dict[str, list[float]] = {name: [] for name in formats}
    for number in range(rounds):
        for name in list(formats)[:: -1 if number % 2 else 1]:
            seconds[name].append(time_steps(method, teacher, student, data, formats[name]))
    return seconds


def main(
    device: str = "auto",
    methods: tuple[str, ...] = ("kd", "sskd"),
    pairs: tuple[str, ...] = PAIRS,
    steps: int = 4,
    rounds: int = 9,
    name: str = "",
    note: str = "",
    out: Path | None = None,
) -> None:
    """Race the formats.

    Args:
        device: as in choose_runtime.
        methods: methods that the students are trained by.
        pairs: teacher, student, teacher, student, …
        steps: steps that one timing takes the mean of (on a GPU take 50).
        rounds: timings of each format.
        name: what the record calls the machine.
        note: a sentence for the record.
        out: JSON file for the record.
    """
    rule = sskd.choose_runtime(device)
    formats = {RULE: rule} | rivals(rule)
    settings = {"methods": list(methods), "batch": BATCH, "classes": 100, "steps": steps, "rounds": rounds}
    record = start_record(name, rule.device, settings)
    record |= {"note": note} if note else {}
    record |= {"rule": rule.describe(), "races": {}}
    for pair in zip(pairs[::2], pairs[1::2], strict=True):
        for method in methods:
            seconds = race(method, pair, formats, steps, rounds)
            ratios = {n: over(values, seconds[RULE]) for n, values in seconds.items() if n != RULE}
            title = f"{method}, {' → '.join(pair)}"
            record["races"][title] = {
                "seconds per step": summarise_table(f"{title}: seconds per step", seconds),
                "over the rule": summarise_table(f"{title}: seconds over those of the rule", ratios),
            }
            write_record(out, record)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__.partition("\n")[0])
