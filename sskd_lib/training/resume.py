"""What lets a killed training go on: its state on disk, and the check that it is the same training.

The state is weights, momenta and history, written whole or not at all. Nothing random is in it: feed.py
draws the randomness of an epoch from (seed, epoch).
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.images import ImageSet
from ..files import (
    TEMPORARY,
    CheckpointError,
    explained,
    read_tensors,
    tensors_hash,
    write_atomically,
    write_tensors,
)
from ..models.network import Network
from ..recipes import Schedule

if TYPE_CHECKING:
    from .loop import Job, Lesson

RESUME_FORMAT = "sskd-kit-resume-2"
RESUME_FILE = "resume.safetensors"


def hash_images(train: ImageSet, test: ImageSet | None) -> dict[str, Any]:
    """What a plan says of the images; students trained together share it."""
    return {
        "data": train.fingerprint(),
        "window": train.window,
        "test": test.fingerprint() if test is not None else None,
    }


def make_plan(
    kind: str,
    network: Network,
    teacher_weights: str | None,
    images: dict[str, Any],
    schedule: Schedule,
    seed: int,
    processes: int,
) -> dict[str, Any]:
    """What makes a run this run and no other. Hashes (checkpoints.tensors_hash) are taken before the first
    step.
    """
    return {
        "kind": kind,
        "network": network.spec,
        "initial_weights": tensors_hash(network.state_dict()),
        "teacher_weights": teacher_weights,
        **images,
        "schedule": dataclasses.asdict(schedule),
        "seed": seed,
        "processes": processes,
    }


def write_metrics(out: Path, records: list[dict[str, Any]], append: bool = False) -> None:
    """Write records to metrics.jsonl, one line an epoch, in place of what it holds or after it."""
    path, lines = out / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records)
    if not append:
        write_atomically(path, lines.encode())
        return
    with explained(path), open(path, "a", encoding="utf-8") as file:
        file.write(lines)


def save_state(job: Job) -> None:
    """Keep what a killed run needs to go on."""
    momenta = {f"momentum.{i}": momentum for i, momentum in momentum_buffers(job).items()}
    card = {"format": RESUME_FORMAT, "plan": job.plan, "card": job.card, "history": job.history}
    write_tensors(job.out / RESUME_FILE, job.state() | momenta, card)


def momentum_buffers(job: Job) -> dict[int, Tensor]:
    """The optimiser's momentum of each parameter that has one, by the parameter's number."""
    states = (job.optimizer.state[parameter] for parameter in job.trained.parameters())
    found = {i: state.get("momentum_buffer") for i, state in enumerate(states)}
    return {i: momentum for i, momentum in found.items() if momentum is not None}


def restore(job: Job, lesson: Lesson) -> list[dict[str, Any]]:
    """Load an earlier part of this very run, if `out` has one, into every process. Returns its history."""
    world = lesson.feed.world
    history = world.tell(read_state(job, lesson.schedule.epochs) if world.leads else None)
    numbers = world.tell(sorted(momentum_buffers(job)))
    for i, parameter in enumerate(job.trained.parameters()):
        if i in numbers and not world.leads:
            job.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter)
    world.share([*job.state().values(), *momentum_buffers(job).values()])
    return history


def read_state(job: Job, epochs: int) -> list[dict[str, Any]]:
    """Load an earlier part of this very run, if `out` has one. Returns its history."""
    if job.out is None:
        return []
    with explained(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
        for litter in job.out.glob(f".*{TEMPORARY}"):  # of a process killed while it wrote
            litter.unlink(missing_ok=True)
    path = job.out / RESUME_FILE
    if not path.exists():
        write_metrics(job.out, [])
        return []
    tensors, saved = read_tensors(path)
    check_same_run(job, saved)
    for name, tensor in job.state().items():  # checked above to be the same networks
        tensor.copy_(tensors[name])
    for i, parameter in enumerate(job.trained.parameters()):
        if (momentum := tensors.get(f"momentum.{i}")) is not None:
            # In the parameter's memory format: a fused step walks through both as they lie in memory.
            job.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
    write_metrics(job.out, saved["history"])
    keep_card(job, saved["card"], finished=len(saved["history"]) == epochs)
    return saved["history"]


def check_same_run(job: Job, saved: dict[str, Any]) -> None:
    """Raise CheckpointError, naming what differs, unless a saved state belongs to this job."""
    if saved.get("format") != RESUME_FORMAT:
        differs = [f"{RESUME_FILE}, which is no saved training of this version of the kit"]
    else:
        differs = differences(saved["plan"], job.plan)
    if not differs:
        return
    hint = ""
    if differs == ["initial_weights"]:
        hint = " That run began with a fresh network: make yours anew with create_network."
    raise CheckpointError(
        f"{job.out} holds another run; what differs: {', '.join(differs)}.{hint} Choose another output "
        "folder, repeat the old settings to resume it, or delete the folder."
    )


def differences(there: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> list[str]:
    """Names of the entries that two plans do not share, with both values where they are short."""
    found = []
    for name in asked | there:
        old, new = there.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            values = f" ({old} there, {new} asked for)"
            found.append(prefix + name + (values if len(values) < 80 else ""))
    return found


def keep_card(job: Job, earlier: dict[str, Any], finished: bool) -> None:
    """Let the card say on which machine a resumed run began; that of a finished run stays as it is."""
    if finished:
        job.card = earlier
        return
    began = earlier.get("began_on") or {name: earlier[name] for name in ("versions", "runtime")}
    if began != {name: job.card[name] for name in began}:
        job.card["began_on"] = began
