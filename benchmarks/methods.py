"""The cost of each method's own computation: its terms and their gradients, beside the two networks' work.

    python benchmarks/methods.py --out benchmarks/results/methods_cpu.json

Own time: the further terms of a method and their backward pass down to the student's outputs, with the
terms' own parameters, on outputs of the two networks for one batch, in the format that a training takes.
Share: own time over the time of the whole training step of that method, both timed in this process, in
turn, over several rounds. The first stage of AB, FSP and FT is the one that is timed. Largest tensor:
elements of the largest one that an operation of the terms returns (forward). For comparison: [3B, D, B]
with B = 64 and D = 128 would have 1.57 million, the first stage's maps of this student have 2.10, CRD's
memory of 50,000 images, which it updates, has 6.40, and the exemplar task's answers for 256 views have
12.80.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from torch.utils._python_dispatch import TorchDispatchMode

import sskd_lib as sskd
from rows import LR, random_images
from sskd_lib.data.views import Draws, cut
from sskd_lib.losses import PRETEXTS, TERMS, Sum, create_method, create_task
from sskd_lib.losses.method import NoTerms
from sskd_lib.training.head import give_head
from sskd_lib.training.loop import begin_epoch
from sskd_lib.training.prepare import Training, prepare
from sskd_lib.training.state import TrainOptions
from sskd_lib.training.step import share_passes, train_step
from timing import start_record, wait, write_record

WHY = {  # methods whose papers ask for a quarter of the step or more
    "kdsvd": "a decomposition of every image's maps in every stage, in float32",
    "reviewkd": "convolutions that fuse all stages of the student, at the first stage's full size",
}


class Largest(TorchDispatchMode):
    """Keep the size of the largest tensor that an operation returned; a view of another counts as well."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and "expand" not in str(func):
                self.elements = max(self.elements, tensor.numel())
        return result


def leaf(output: sskd.Output) -> sskd.Output:
    """Return the same output, cut off from its network, with a gradient of its own."""
    return output.each(lambda part: part.detach().requires_grad_())


def new_training(name: str, pair: tuple[str, str], data: sskd.ImageSet, kit: sskd.Runtime) -> Training:
    """Set up a training of 8 epochs by a method, in its first stage if it has one, else in the last epoch."""
    teacher, student = (sskd.create_network(n, data, projection=True, seed=s) for s, n in enumerate(pair))
    method = create_method(name)
    give_head(teacher, create_task(method.task or "contrastive"), data, seed=0)
    options = TrainOptions(schedule=sskd.Schedule(epochs=8, lr=LR), seed=0, runtime=kit)
    training = prepare([student], teacher, data, None, methods=[method], options=options)
    first = any(term.first_stage for term in method.terms)
    begin_epoch(training.states, 0 if first else 7, 8, LR)
    return training


def further_terms(method: sskd.losses.Method) -> Sum:
    """Return a method's further terms alone, in the same stage and format, without those of its recipe."""
    further = Sum(method.name, NoTerms(), list(method.terms))
    further.first_stage, further.weights = method.first_stage, method.weights
    further.layer_format = method.layer_format
    return further


def time_method(
    name: str, pair: tuple[str, str], data: sskd.ImageSet, kit: sskd.Runtime, rounds: int
) -> dict[str, Any]:
    """Return seconds of the step and of the terms alone (medians of the rounds), and the largest tensor."""
    training = new_training(name, pair, data, kit)
    (state,), loader, teacher = training.states, training.loader, training.teacher
    kit.prepare()
    batch, needs = next(iter(loader.epoch(0))), state.method.needs
    step = partial(train_step, share_passes([state]), batch, size=loader.size, teacher=teacher, runtime=kit)
    permutation = batch.permutation if needs.jigsaw else None
    draws = Draws(batch.flip, batch.corner)
    views = cut(batch.pixels, draws, loader.size, needs.views, permutation)
    with torch.no_grad():
        teacher_output = kit.run(teacher, views, maps=needs.teacher_maps)
    student_output = leaf(kit.run(state.network, views, maps=needs.maps))
    further = further_terms(state.method)

    def terms() -> None:
        further(student_output, teacher_output, batch)["total"].backward()

    for _ in range(2):
        step(), terms()
    times = [(timed(step, kit), timed(terms, kit)) for _ in range(rounds)]
    with Largest() as largest:
        further(student_output, teacher_output, batch)
    steps, owns = zip(*times, strict=True)
    ratios = [a / b for a, b in zip(owns, steps, strict=True)]
    return {
        "step, s": statistics.median(steps),
        "own, s": statistics.median(owns),
        "share": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "largest tensor": largest.elements,
    }


def timed(call: Callable[[], Any], kit: sskd.Runtime) -> float:
    """Return the seconds of a call, with the device's work."""
    started = time.perf_counter()
    call()
    wait(kit.device)
    return time.perf_counter() - started


def main(
    pair: tuple[str, str] = ("wrn_40_2", "wrn_16_2"),
    methods: tuple[str, ...] = (*TERMS, *PRETEXTS),
    images: int = 50_000,
    rounds: int = 7,
    device: str = "auto",
    name: str = "",
    out: Path | None = None,
) -> None:
    """Time the terms of every method.

    Args:
        pair: teacher and student.
        methods: names as in distill.
        images: training images, which CRD remembers.
        rounds: timings of each method.
        device: auto, cpu, cuda, mps.
        name: the name of the machine in the record.
        out: JSON file for the record.
    """
    kit = sskd.choose_runtime(device)
    data = random_images(images, 100)
    settings = {"pair": list(pair), "batch": 64, "classes": 100, "images": images, "rounds": rounds}
    record = start_record(name, kit.device, settings) | {"runtime": kit.describe(), "methods": {}}
    print("| method | step (s) | own (s) | share of the step (%) | range | largest tensor (million) |")
    print("|---|---|---|---|---|---|")
    for method in methods:
        figures = record["methods"][method] = time_method(method, pair, data, kit, rounds)
        low, middle, high = (100 * figures["share"][key] for key in ("min", "median", "max"))
        numbers = (
            f"{figures['step, s']:.3f} | {figures['own, s']:.4f} | {middle:.1f} | {low:.1f} to {high:.1f}"
        )
        print(f"| {method} | {numbers} | {figures['largest tensor'] / 1e6:.2f} |", flush=True)
        write_record(out, record)
    print(*(f"\n{method}: {why}." for method, why in WHY.items() if method in methods))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__.partition("\n")[0])
