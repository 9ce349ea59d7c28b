"""Costs of the full recipe, from counts and from recorded steps, and figures that others report for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..data.load import DATA_FOLDER
from ..models import create_model
from ..recipes import HEAD, STUDENT
from ..reproduce.paper import PAIRS, published
from .few_labels import recorded

RESULTS = DATA_FOLDER.parent / "benchmarks" / "results"
TEACHER, NETWORK = "wrn_40_2", "wrn_16_2"  # teacher and student of the first pair of the paper's tables
PAIR = f"{TEACHER}→{NETWORK}"
IMAGES = 50_000  # training images of CIFAR-100
STEPS = -(-IMAGES // STUDENT.batch_size)  # in an epoch
ROWS = {
    "published": "published procedure, written out plainly",
    "published, ready": "the same, on views made beforehand",
    "kit, exact": "kit, plain float32 (--exact)",
    "kit": "kit, in the format that its rule chose",
    "kit, table": "kit, with the teacher's answers on disk",
    "networks, kit": "the bare networks in this format",
}


def multiply_adds(model: nn.Module, channels: int = 3, side: int = 32) -> int:
    """Return the multiply-adds of a network's convolutions and linear layers for one image.

    torch counts a multiplication and an addition as two operations.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, channels, side, side))
    return counter.get_total_flops() // 2


def stage_costs(teacher: int, student: int) -> dict[str, int]:
    """Return the multiply-adds of each stage at full size: CIFAR-100, published numbers of epochs.

    A backward pass counts as two forward passes. teacher, student: multiply-adds for one image.
    """
    kd = teacher + 3 * student
    per_image = {"ce": 3 * student, "kd": kd, "kd+rotations": 4 * kd, "sskd": 4 * kd}
    costs = {"teacher": STUDENT.epochs * IMAGES * 3 * teacher, "head": HEAD.epochs * IMAGES * 4 * teacher}
    return costs | {name: STUDENT.epochs * IMAGES * cost for name, cost in per_image.items()}


def full_costs() -> dict[str, int]:
    """Return `stage_costs` of the first pair of the paper: the multiply-adds of each stage."""
    return stage_costs(*(multiply_adds(create_model(name)) for name in (TEACHER, NETWORK)))


def print_costs() -> None:
    """Print the multiply-adds of each stage for the first pair of the paper, and their ratio to KD."""
    for name in (TEACHER, NETWORK):
        count = multiply_adds(create_model(name))
        print(f"{name}: {count / 1e6:.1f} million multiply-adds for one image of 32 x 32 pixels")
    costs = full_costs()
    print(f"\n{'stage':16}{'10¹⁵ multiply-adds':>20}{'times KD':>11}")
    for stage, cost in costs.items():
        print(f"{stage:16}{cost / 1e15:20.1f}{cost / costs['kd']:11.1f}")


def recorded_steps(device: str) -> dict[str, float]:
    """Return the recorded seconds of a step of SSKD, by row: medians for the first pair of the paper.

    device: "cpu" or "cuda": the record benchmarks/results/step_DEVICE.json. A step has 64 images.
    """
    return {row: times["median"] for row, times in _record(device)["pairs"][PAIR]["seconds a step"].items()}


def _record(device: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"step_{device}.json").read_text(encoding="utf-8"))


def full_hours(seconds: float) -> float:
    """Return the hours of a student's 240 epochs of CIFAR-100, from the seconds of one step."""
    return seconds * STEPS * STUDENT.epochs / 3600


def print_recorded_steps() -> None:
    """Print seconds of a step and hours of a whole training on the recorded CPU and GPU."""
    devices = ("cpu", "cuda")
    for device in devices:
        record = _record(device)
        machine, torch_version = record["machine"], record["versions"]["torch"]
        cores = f", {machine['cores']} cores" if device == "cpu" else ""
        print(f"{device:5}{machine['device']}{cores}, torch {torch_version}, {record['date']}")
    times = {device: recorded_steps(device) for device in devices}
    print(f"\n{'':44}" + "".join(f"{device:>24}" for device in devices))
    print(f"{'':44}" + len(devices) * f"{'one step':>12}{'240 epochs':>12}")
    for row, words in ROWS.items():
        values = [
            f"{times[d][row]:.3g} s{full_hours(times[d][row]):10,.1f} h" if row in times[d] else "not timed"
            for d in devices
        ]
        print(f"{words:44}" + "".join(f"{value:>24}" for value in values))


def copied_kd_rows() -> list[bool]:
    """Return for each of the paper's pairs whether its KD equals that of CRD's authors to both decimals."""
    rows = [{f.group: f.value for f in published(pair.kind, pair, "kd")} for pair in PAIRS]
    return ["A" in row and row["A"] == row.get("B") for row in rows]


def print_published(methods: Sequence[str] = ("teacher", "ce", "kd", "sskd")) -> None:
    """Print the accuracies that the paper and others report for the first pair, and a row that was copied."""
    names = {"B": "paper", "A": "CRD's authors", "C": "HSAKD's authors", "re-run": "readers"}
    figures = {m: published("similar", PAIR, m) for m in methods}
    print(f"{'':9}" + "".join(f"{name:>20}" for name in names.values()))
    for method, found in figures.items():
        cells = [", ".join(f"{f.value:.2f}" for f in found if f.group == group) for group in names]
        print(f"{method:9}" + "".join(f"{cell:>20}" for cell in cells))
    equal = copied_kd_rows()
    print(
        f"pairs on which the paper's KD equals that of CRD's authors to both decimals: {sum(equal)} of "
        f"{len(equal)}"
    )


def best_minus_last(setting: str, epochs: int = 240) -> list[float]:
    """Return how many points the best epoch is above the last, for each of the kit's recorded runs.

    setting, epochs: see `recorded`.
    """
    return [
        max(epoch["test_accuracy"] for epoch in history) - history[-1]["test_accuracy"]
        for histories in recorded(setting, epochs).values()
        for history in histories
    ]


def print_best_minus_last(epochs: int = 240) -> None:
    """Print how much higher the best epoch is than the last, in the kit's recorded runs of this length."""
    for setting in ("fashion", "cifar10"):
        gaps = best_minus_last(setting, epochs)
        mean, most = sum(gaps) / len(gaps), max(gaps)
        print(f"{setting:8} best minus last epoch, {len(gaps)} runs: mean {mean:.2f}, most {most:.2f} points")
