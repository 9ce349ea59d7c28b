"""What each method's own computation costs: its terms and their gradients, beside the two networks' work.

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
from pathlib import Path
from typing import Any

import torch
import tyro
from rows import random_images
from timing import start_record, write_record
from torch.utils._python_dispatch import TorchDispatchMode

import sskd_lib as sskd
from sskd_lib.losses import PRETEXTS, TERMS, create_method
from sskd_lib.models.heads import give_head
from sskd_lib.training.jobs import prepare
from sskd_lib.training.loop import Step, sgd

WHY = {  # methods whose papers ask for a quarter of the step or more
    "kdsvd": "a decomposition of every image's maps in every stage, in float32",
    "reviewkd": "convolutions that fuse all stages of the student, at the first stage's full size",
}


class Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that an operation returned; a view of another counts as well."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(tensor, torch.Tensor) and "expand" not in str(func):
                self.elements = max(self.elements, tensor.numel())
        return found


def leaf(output: sskd.Output) -> sskd.Output:
    """The same output, cut off from its network, with a gradient of its own."""
    return output.each(lambda part: part.detach().requires_grad_())


def time_method(
    name: str, pair: tuple[str, str], data: sskd.ImageSet, kit: sskd.Runtime, rounds: int
) -> dict:
    """Seconds of the step and of the terms alone, one a round, and the largest tensor."""
    teacher, student = (sskd.create_network(n, data, projection=True, seed=s) for s, n in enumerate(pair))
    made = create_method(name)
    give_head(teacher, made.task or "contrastive", data, seed=0)
    options = {"method": name, "runtime": kit, "progress": False, "schedule": sskd.Schedule(epochs=8)}
    lesson, (job,) = prepare([student], teacher, data, **options)
    lesson.runtime.prepare()
    job.optimizer = sgd(job.trained, lesson.schedule, lesson.runtime)
    step = Step(lesson, [job])
    step.begin(0 if any(term.first for term in made.extra) else 7)
    batch = next(iter(lesson.feed.epoch(0)))
    views = batch.views(lesson.feed.size, *job.look[:2])
    with torch.no_grad():
        taught = kit.run(lesson.teacher, views, **job.asked)
    said = leaf(kit.run(student, views, **job.asked))

    def own() -> None:
        _, loss = job.own(said, taught, batch.labels, batch.index)
        loss.backward()

    def timed(call: Any, *arguments: Any) -> float:
        started = time.perf_counter()
        call(*arguments)
        if kit.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in range(2):
        step.take(batch), own()
    times = [(timed(step.take, batch), timed(own)) for _ in range(rounds)]
    with Largest() as largest:
        job.own(said, taught, batch.labels, batch.index)
    steps, owns = zip(*times, strict=True)
    shares = [a / b for a, b in zip(owns, steps, strict=True)]
    return {
        "step, s": statistics.median(steps),
        "own, s": statistics.median(owns),
        "share": {"median": statistics.median(shares), "min": min(shares), "max": max(shares)},
        "largest tensor": largest.elements,
    }


def main(
    pair: tuple[str, str] = ("wrn_40_2", "wrn_16_2"),
    methods: tuple[str, ...] = (*TERMS, *PRETEXTS),
    images: int = 50_000,
    rounds: int = 7,
    device: str = "auto",
    name: str = "",
    out: Path | None = None,
) -> None:
    """Time the terms of every method of the zoo.

    Args:
        images: training images, which CRD remembers.
        name: what the record calls the machine.
        out: JSON file for the record.
    """
    kit = sskd.choose_runtime(device)
    data = random_images(images, 100)
    settings = {"pair": list(pair), "batch": 64, "classes": 100, "images": images, "rounds": rounds}
    record = start_record(name, kit.device, settings) | {"runtime": kit.describe(), "methods": {}}
    print("| method | step (s) | own (s) | share of the step (%) | range | largest tensor (million) |")
    print("|---|---|---|---|---|---|")
    for method in methods:
        found = record["methods"][method] = time_method(method, pair, data, kit, rounds)
        low, middle, high = (100 * found["share"][key] for key in ("min", "median", "max"))
        numbers = f"{found['step, s']:.3f} | {found['own, s']:.4f} | {middle:.1f} | {low:.1f} to {high:.1f}"
        print(f"| {method} | {numbers} | {found['largest tensor'] / 1e6:.2f} |", flush=True)
        write_record(out, record)
    print(*(f"\n{method}: {why}." for method, why in WHY.items() if method in methods))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__.partition("\n")[0])
