"""What one student step costs: the kit's, the published procedure's, and the networks alone.

    python benchmarks/step.py                                          # the GPU if there is one, else the CPU
    python benchmarks/step.py --device cpu --out benchmarks/results/step_cpu.json

Everything is timed in one process, in turn, on the same random images, over several rounds: the figures are
medians and ranges of the rounds, and ratios are taken round by round. Rows:

published         the published procedure, written out plainly in published.py: PIL, float32, contiguous. Its
                  views are made in this one process; the published code spreads them over four workers
published, ready  the same on views made beforehand, as if the workers were never waited for
kit, exact        the kit's step in float32, contiguous: choose_runtime(exact=True)
kit               the kit's step in the format that choose_runtime() takes on this machine
networks, …       the floor of the two: teacher forward, student forward, backward and update on views made
                  beforehand, under a loss that costs nothing (mean logit + mean projection)
NETWORK …         one network in each number and memory format: the teacher's forward, a student's training

The share of augmentation and losses in the kit's step is taken twice:
    by difference: (kit - networks) / kit, which carries the noise of both;
    directly: the time of views + losses forward + losses backward over that of all phases of the same step.
On a GPU the direct way waits after every phase, and so counts launches that otherwise overlap.
"""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import tyro
from published import published_step, published_transform, published_views
from timing import Step, describe_machine, summarise, time_in_turn
from torch import Tensor

import sskd_lib as sskd
from sskd_lib import ImageSet, Network, Output, Runtime

OWN_PHASES = ("views", "losses", "losses backward")  # what a distillation adds to its networks
PLAIN = "float32 contiguous"


def random_images(batch: int, classes: int) -> ImageSet:
    """One batch of noise in the shape of CIFAR."""
    generator = torch.Generator().manual_seed(0)
    return ImageSet(
        images=torch.randint(0, 256, (batch, 3, 32, 32), generator=generator, dtype=torch.uint8),
        labels=torch.randint(0, classes, (batch,), generator=generator),
        classes=tuple(f"class {k}" for k in range(classes)),
        name="random",
    )


def sgd(network: Network, **options: bool) -> torch.optim.SGD:
    """The optimiser of every row; a tiny rate, so that hundreds of steps on noise stay finite."""
    return torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, **options)


def kit_step(
    student: Network, teacher: Network, data: ImageSet, runtime: Runtime, split: bool = False
) -> Step:
    """The step of `distill(method="sskd")`, with the record keeping of its loop.

    split: cut the backward pass in two where the losses end and the network begins, to time each.
    """
    student, teacher = runtime.place(student).train(), runtime.place(teacher).eval()
    data, generator = data.to(runtime.device), torch.Generator(runtime.device).manual_seed(0)
    optimizer, method = sgd(student, fused=True), sskd.create_method("sskd")

    def step() -> Iterator[str]:
        x, y = next(data.batches(len(data), generator))
        views = sskd.four_views(x, generator)
        yield "views"
        with torch.no_grad():
            taught = runtime.run(teacher, views)
        yield "teacher"
        output = runtime.run(student, views)
        yield "student forward"
        judged = Output(*(part.detach().requires_grad_() for part in output)) if split else output
        terms = method(judged, taught, y)
        yield "losses"
        optimizer.zero_grad()
        terms["total"].backward()
        if split:
            yield "losses backward"
            torch.autograd.backward(output[:2], (judged.logits.grad, judged.projection.grad))
        yield "backward"
        optimizer.step()
        yield "update"
        hits = (output.logits[: len(y)].argmax(1) == y).sum()
        torch.stack([*(term.detach() for term in terms.values()), hits])
        yield "record"

    return step


def networks_step(student: Network | None, teacher: Network | None, data: ImageSet, runtime: Runtime) -> Step:
    """The floor: networks and update alone, on views made beforehand. None leaves a network out."""
    teacher = runtime.place(teacher).eval() if teacher else None
    student = runtime.place(student).train() if student else None
    optimizer = sgd(student, fused=True) if student else None
    views = sskd.four_views(data.images, torch.Generator().manual_seed(0)).to(runtime.device)

    def step() -> Iterator[str]:
        if teacher:
            with torch.no_grad():
                runtime.run(teacher, views)
            yield "teacher"
        if student:
            output = runtime.run(student, views)
            yield "student forward"
            optimizer.zero_grad()
            (output.logits.mean() + output.projection.mean()).backward()
            yield "backward"
            optimizer.step()
            yield "update"

    return step


def plain_step(student: Network, teacher: Network, data: ImageSet, device: torch.device, ready: bool) -> Step:
    """The published procedure; `ready`: on views made beforehand."""
    student, teacher = student.to(device).train(), teacher.to(device).eval()
    pixels, random = data.images.permute(0, 2, 3, 1).contiguous().numpy(), np.random.default_rng(0)
    transform = published_transform(*data.channel_statistics(), data.images.shape[-1])
    made = published_views(pixels, transform, random)
    optimizer, recipe = sgd(student), sskd.Recipe()

    def make_views() -> Tensor:
        return made if ready else published_views(pixels, transform, random)

    return lambda: published_step(student, teacher, optimizer, make_views, data.labels, recipe)


def all_rows(pair: tuple[str, str], data: ImageSet, kit: Runtime, exact: Runtime) -> tuple[dict, dict, Step]:
    """Steps by row; steps by network and format; the kit's step cut into phases."""

    def new(model: str) -> Network:
        return sskd.create_network(model, data, projection=True)

    taught_by, learner = pair
    rows = {
        "published": plain_step(new(learner), new(taught_by), data, kit.device, ready=False),
        "published, ready": plain_step(new(learner), new(taught_by), data, kit.device, ready=True),
        "kit, exact": kit_step(new(learner), new(taught_by), data, exact),
        "kit": kit_step(new(learner), new(taught_by), data, kit),
        "networks, exact": networks_step(new(learner), new(taught_by), data, exact),
        "networks, kit": networks_step(new(learner), new(taught_by), data, kit),
    }
    formats = {}
    for dtype in (torch.float32, torch.bfloat16):
        for channels_last in (False, True):
            runtime = Runtime(device=kit.device, dtype=dtype, channels_last=channels_last)
            label = f"{str(dtype)[6:]} {'channels_last' if channels_last else 'contiguous'}"
            formats[f"{taught_by} forward", label] = networks_step(None, new(taught_by), data, runtime)
            for model in (learner, "resnet8"):
                formats[f"{model} training", label] = networks_step(new(model), None, data, runtime)
    return rows, formats, kit_step(new(learner), new(taught_by), data, kit, split=True)


def ratios(times: dict[str, list[float]], phases: dict[str, list[float]]) -> dict[str, list[float]]:
    """The figures asked of the kit, one a round. times: by row; phases: those of the kit's split step."""

    def over(left: str, right: str) -> list[float]:
        return [a / b for a, b in zip(times[left], times[right], strict=True)]

    figures = {
        f"{theirs} / {ours}": over(theirs, ours)
        for theirs in ("published", "published, ready")
        for ours in ("kit, exact", "kit")
    }
    for ours, floor in (("kit, exact", "networks, exact"), ("kit", "networks, kit")):
        figures[f"share of views and losses in {ours}, by difference"] = [1 - r for r in over(floor, ours)]
    figures["share of views and losses in kit, directly"] = [
        sum(part for name, part in zip(phases, parts, strict=True) if name in OWN_PHASES) / sum(parts)
        for parts in zip(*phases.values(), strict=True)
    ]
    return figures


def main(
    pair: tuple[str, str] = ("wrn_40_2", "wrn_16_2"),
    batch: int = 64,
    classes: int = 100,
    repeats: int = 7,
    steps: int = 0,
    device: str = "auto",
    cudnn_search: bool = False,
    name: str = "",
    out: Path | None = None,
) -> None:
    """Time a student step.

    Args:
        pair: teacher and student.
        repeats: rounds; 5 or more for a record.
        steps: steps of each row a round; 0 takes 1 on a CPU and 20 on a GPU.
        cudnn_search: let cuDNN try its algorithms first (torch.backends.cudnn.benchmark), in every row.
        name: what the record calls the machine.
        out: JSON file for the record.
    """
    kit, exact = sskd.choose_runtime(device), sskd.choose_runtime(device, exact=True)
    torch.backends.cudnn.benchmark = cudnn_search
    machine, count = describe_machine(kit.device), steps or (20 if kit.device.type == "cuda" else 1)
    rows, formats, phased = all_rows(pair, random_images(batch, classes), kit, exact)
    times, phases = time_in_turn(rows | formats, phased, kit.device, repeats, count)
    gains = {
        f"{network}: {PLAIN} / {label}": [
            a / b for a, b in zip(times[network, PLAIN], times[network, label], strict=True)
        ]
        for network, label in formats
        if label != PLAIN
    }
    tables = {
        "seconds a step": {row: times[row] for row in rows},
        "seconds a phase of the kit's step": phases,
        "ratios": ratios(times, phases),
        "seconds of one network": {
            f"{network}, {label}": times[network, label] for network, label in formats
        },
        "gain of formats": gains,
    }
    record = {
        "machine": {"name": name} | machine,
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "benchmarks/step.py", *sys.argv[1:]]),
        "settings": {"pair": pair, "batch": batch, "classes": classes, "rounds": repeats, "steps": count},
        "kit format": {"dtype": str(kit.dtype)[6:], "channels_last": kit.channels_last},
    }
    for title, table in tables.items():
        record[title] = {row: summarise(values) for row, values in table.items()}
        print(f"\n{title:64} median   (range)")
        for row, figure in record[title].items():
            print(f"  {row:60} {figure['median']:9.4g}   ({figure['low']:.4g} to {figure['high']:.4g})")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__.partition("\n")[0])
