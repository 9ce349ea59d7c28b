"""The cost of one student step: the kit's, the published procedure's, and the networks alone.

    python benchmarks/step.py                                          # the GPU if there is one, else the CPU
    python benchmarks/step.py --device cpu --out benchmarks/results/step_cpu.json
    python benchmarks/step.py --pairs wrn_16_2 resnet8 --rows published kit --rounds 2

Everything is timed in one process, in turn, over several rounds: the figures are medians and ranges of the
rounds, and ratios are taken round by round. rows.py says what each row is. The first pair has all of them
and the peak memory (memory.py), the others the main ones. For each row freed memory is kept or
given back as the row would have it, whatever the row before did.

Own work of the kit: loader, views, losses and their backward pass, over all phases of the same step; the
phases are those of the kit's format, taken one by one even where the kit's row is captured. On a GPU this
waits after every phase, and so counts launches that otherwise overlap.
Utilisation: arithmetic of the networks' layers, 2 · MAC for a view in the teacher and 6 · MAC in a student
(forward, and twice that backward), over the time of a step and the rate of a large matrix product in the same
number format on the same machine.
An epoch is 50,000 images, four views of each; 240 of them make a training of the paper. Both are computed
from the step; tests between epochs are left out.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

import sskd_lib as sskd
from arithmetic import gflop, matmul_rate
from memory import peaks
from rows import BATCHES, SHORT, SMALL, Setting, builders, phased_step, random_images, real_step
from timing import (
    over,
    start_record,
    summarise_table,
    time_in_turn,
    time_phases,
    warn_if_wide,
    write_record,
)

PAIRS = (
    ("wrn_40_2", "wrn_16_2"),
    ("resnet32x4", "resnet8x4"),
    ("vgg13", "vgg8"),
    ("wrn_40_2", "ShuffleV1"),
)
RATIOS = (
    ("published", "kit, exact"),
    ("published", "kit, float32"),
    ("published", "kit"),
    ("published", "kit, table"),
    ("published, ready", "kit, exact"),
    ("published, ready", "kit"),
    ("published, ready", "published, ready, memory kept"),
    ("published, ready, memory kept", "kit"),
    ("kit, exact", "networks, exact"),
    ("kit, float32", "networks, float32"),
    ("kit", "networks, kit"),
    ("kit, table", "student alone"),
    ("three students", "kit"),
    ("resnet8, three students", "resnet8, one student"),
)
OWN_PHASES = ("loader", "views", "losses", "losses backward")  # a distillation adds these to its networks
IMAGES, EPOCHS = 50_000, 240


def time_pair(setting: Setting, names: tuple[str, ...], rounds: int) -> tuple[dict[str, list[float]], ...]:
    """(seconds a step by row, seconds a phase of the kit's step), one figure a round."""
    made = builders(setting)
    rows = {name: made[name]() for name in names or made}
    eager = replace(setting.kit, cuda_graph=False)
    kit = real_step(setting.students(), setting.teacher(), setting.data, setting.batch, eager)
    phased = phased_step(kit, split=True)
    phases: dict[str, list[float]] = {}

    def after() -> None:
        eager.prepare()
        time_phases(phased, eager.device, 1)  # not counted
        for phase, seconds in time_phases(phased, eager.device, 2).items():
            phases.setdefault(phase, []).append(seconds)

    return time_in_turn(rows, rounds, after=after), phases


def ratios(times: dict[str, list[float]], phases: dict[str, list[float]]) -> dict[str, list[float]]:
    """The figures asked of the kit, one a round. times: by row; phases: those of the kit's split step."""
    figures = {
        f"{left} / {right}": over(times[left], times[right])
        for left, right in RATIOS
        if left in times and right in times
    }
    figures["own work of the kit, share of its step"] = [
        sum(part for name, part in zip(phases, parts, strict=True) if name in OWN_PHASES) / sum(parts)
        for parts in zip(*phases.values(), strict=True)
    ]
    return figures


def costs(setting: Setting, times: dict[str, list[float]]) -> dict[str, dict[str, list[float]]]:
    """Epochs, whole trainings and utilisation, of the rows that are trainings."""
    steps, device = IMAGES / setting.batch, setting.kit.device
    rates = {dtype: matmul_rate(device, dtype) for dtype in {torch.float32, setting.kit.dtype}}
    print("matrix product, GFLOP/s:", {str(dtype)[6:]: round(rate) for dtype, rate in rates.items()})
    trained = {row: seconds for row, seconds in times.items() if "networks" not in row and "alone" not in row}
    used = {}
    for row, seconds in trained.items():
        work = gflop(
            SMALL if "resnet8" in row else setting.pair,
            setting.batch,
            setting.data,
            teachers=int("table" not in row),
            students=3 if "three" in row else 1,
        )
        plain = "published" in row or "exact" in row or "float32" in row
        rate = rates[torch.float32 if plain else setting.kit.dtype]
        used[f"{row} ({work:.4g} GFLOP)"] = [work / rate / s for s in seconds]
    return {
        f"seconds an epoch of {IMAGES:,} images": {r: [steps * s for s in v] for r, v in trained.items()},
        f"hours of {EPOCHS} epochs": {r: [EPOCHS * steps * s / 3600 for s in v] for r, v in trained.items()},
        "utilisation": used,
    }


def memory_ratios(peak: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    """Return the peak memory of the kit's rows over that of the bare networks in their format."""
    pairs = (("kit, exact", "networks, exact"), ("kit", "networks, kit"), ("three students", "networks, kit"))
    return {
        f"{left} / {right}": {name: round(peak[left][name] / peak[right][name], 3) for name in peak[left]}
        for left, right in pairs
    }


def measure_pair(setting: Setting, names: tuple[str, ...], rounds: int, memory: bool) -> dict[str, Any]:
    """Return the part of the record that is about one pair, and print it."""
    print(f"\n{' → '.join(setting.pair)}", flush=True)
    record: dict[str, Any] = {}
    if memory:  # first, while the machine is not yet warm with other work
        bytes_of = peaks(setting)
        record = {"peak memory, bytes": bytes_of, "peak memory, ratios": memory_ratios(bytes_of)}
        print(json.dumps(record["peak memory, ratios"], indent=1))
    times, phases = time_pair(setting, names, rounds)
    tables = {
        "seconds a step": times,
        "seconds a phase of the kit's step": phases,
        "ratios": ratios(times, phases),
    }
    for title, table in (tables | costs(setting, times)).items():
        record[title] = summarise_table(title, table)
    return record | {"warning": warn_if_wide(times)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    # teacher and student, one pair after the other; those with a network the kit lacks are left out
    pairs: tuple[tuple[str, str], ...] = PAIRS
    # names of rows (rows.py) to time in every pair; none: all in the first pair, the main ones in the others
    rows: tuple[str, ...] = ()
    batch: int = 64  # images in a step
    classes: int = 100
    rounds: int = 5  # 5 or more for a record
    device: str = "auto"  # auto, cpu, cuda, mps
    memory: bool = True  # also measure the peak memory of the first pair, in processes of their own
    cudnn_search: bool = False  # let cuDNN try its algorithms first (torch.backends.cudnn.benchmark)
    name: str = ""  # the name of the machine in the record
    out: Path | None = None  # JSON file for the record


def main(options: Options) -> None:
    """Time student steps, print the figures and write them as a record."""
    kit = sskd.choose_runtime(options.device)
    torch.backends.cudnn.benchmark = options.cudnn_search
    settings = {name: getattr(options, name) for name in ("batch", "classes", "rounds", "cudnn_search")}
    record = start_record(options.name, kit.device, settings) | {"runtime": kit.describe(), "pairs": {}}
    print(f"the kit's format: {kit.in_words()} ({kit.why})")
    known = [pair for pair in options.pairs if set(pair) <= set(sskd.MODELS)]
    data = random_images(BATCHES.get(kit.device.type, 8) * options.batch, options.classes)
    for number, pair in enumerate(known):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            setting = Setting(pair=pair, batch=options.batch, data=data, kit=kit, folder=Path(folder))
            rows, memory = options.rows or (SHORT if number else ()), options.memory and number == 0
            record["pairs"]["→".join(pair)] = measure_pair(setting, rows, options.rounds, memory)
        write_record(options.out, record)  # after each pair: the later ones may be cut off


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__.partition("\n")[0]))
