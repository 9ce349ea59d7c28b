"""The loop every training shares: epochs, learning rate, progress, records, and survival of a kill.

All randomness of an epoch comes from a generator seeded with (seed, epoch), so an epoch is the same
whether the run got there at once or after a restart; the state to keep is weights, momenta and history.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoints import CheckpointError, read_tensors, save_checkpoint, write_atomically, write_tensors
from .data import ImageSet
from .network import Network
from .recipes import Schedule
from .runtime import Runtime

RESUME_FORMAT = "sskd-kit-resume-1"

# One training step: (x uint8 [B,C,H,W], y int64 [B], generator) → terms by name with "total", hits, rows judged
Step = Callable[[Tensor, Tensor, torch.Generator], tuple[dict[str, Tensor], Tensor, int]]


class TrainingError(RuntimeError):
    """A training cannot go on; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training: the network after the LAST epoch, one record an epoch, and the summary."""

    network: Network
    history: list[dict[str, Any]]
    summary: dict[str, Any]


@dataclass(kw_only=True)
class Job:
    """All that one training needs; `plan` is what must be equal for a resumed run to be the same run."""

    network: Network
    trained: nn.Module  # the part whose parameters move
    step: Step
    train: ImageSet
    measure: Callable[[], dict[str, float]] | None  # test figures, with "test_accuracy"
    schedule: Schedule
    seed: int
    plan: dict[str, Any]
    card: dict[str, Any]
    runtime: Runtime
    out: Path | None
    progress: bool
    evaluate_every: int
    save_seconds: float


def fit(job: Job, file_name: str) -> Run:
    """Train `job.trained` for the epochs that are still to do; the last epoch's weights are the result.

    Raises TrainingError if a loss is not finite, CheckpointError if `out` holds another run.
    """
    optimizer = torch.optim.SGD(
        job.trained.parameters(),
        lr=job.schedule.lr,
        momentum=job.schedule.momentum,
        weight_decay=job.schedule.weight_decay,
        fused=job.runtime.device.type in ("cpu", "cuda"),
    )
    history = restore(job, optimizer)
    steps = -(-len(job.train) // job.schedule.batch_size)
    bar = progress_bar(job, steps, done=len(history))
    saved_at = time.monotonic()
    for epoch in range(len(history), job.schedule.epochs):
        started = time.perf_counter()
        lr = job.schedule.lr_at(epoch)
        record = {"epoch": epoch + 1, "lr": lr, **train_epoch(job, optimizer, epoch, lr, bar)}
        last = epoch + 1 == job.schedule.epochs
        if job.measure and (last or (epoch + 1) % job.evaluate_every == 0):
            record |= job.measure()
        record["seconds"] = round(time.perf_counter() - started, 3)
        history.append(record)
        bar.set_postfix({k: f"{v:.1f}%" for k, v in record.items() if k.endswith("accuracy")})
        if job.out:
            with open(job.out / "metrics.jsonl", "a") as file:
                file.write(json.dumps(record) + "\n")
            if last or time.monotonic() - saved_at >= job.save_seconds:
                save_state(job, optimizer, history)
                saved_at = time.monotonic()
    bar.close()
    summary = summarise(job, history)
    job.network.eval()
    if job.out:
        save_checkpoint(job.out / file_name, job.network, summary["card"])
        write_atomically(job.out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    return Run(network=job.network, history=history, summary=summary)


def train_epoch(
    job: Job, optimizer: torch.optim.Optimizer, epoch: int, lr: float, bar: Any
) -> dict[str, float]:
    """One pass over the training images: mean of every term and accuracy. One read of the device, at the end."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    generator = epoch_generator(job.seed, epoch, job.runtime.device)
    names: list[str] = []
    sums = bad = torch.zeros(())
    rows_seen = 0
    for index, (x, y) in enumerate(job.train.batches(job.schedule.batch_size, generator)):
        terms, hits, rows = job.step(x, y, generator)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        optimizer.step()
        values = torch.stack([v.detach() for v in terms.values()])
        if index == 0:
            names = list(terms)
            sums = torch.zeros(len(names) + 1, device=values.device)
            bad = torch.full((len(names),), torch.iinfo(torch.int64).max, device=values.device)
        sums += torch.cat([values * len(y), hits[None]])
        bad = torch.where(values.isfinite(), bad, bad.clamp(max=index))
        rows_seen += rows
        bar.update()
    stop_if_not_finite(names, bad.tolist(), epoch, job)
    means = (sums[:-1] / len(job.train)).tolist()
    return dict(zip(names, means, strict=True)) | {"train_accuracy": 100 * sums[-1].item() / rows_seen}


def stop_if_not_finite(names: list[str], first_bad_step: list[int], epoch: int, job: Job) -> None:
    """Raise TrainingError naming the terms that were the first to be NaN or infinite."""
    step = min(first_bad_step)
    if step == torch.iinfo(torch.int64).max:
        return
    terms = [n for n, s in zip(names, first_bad_step, strict=True) if s == step]
    terms = [n for n in terms if n != "total"] or terms
    kept = f" The last good state is kept in {job.out}." if job.out else ""
    raise TrainingError(
        f"the loss term {' and '.join(terms)} stopped being a finite number in epoch {epoch + 1}, step "
        f"{step + 1} (learning rate {job.schedule.lr_at(epoch):g}).{kept} Usual cures: a lower lr, a smaller "
        "weight on that term, or exact=True (float32) if it happens only in bfloat16."
    )


def epoch_generator(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """The private source of randomness of one epoch."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + epoch)


def progress_bar(job: Job, steps: int, done: int) -> Any:
    """A text bar with time left and, after each epoch, accuracies."""
    from tqdm import tqdm

    return tqdm(
        total=steps * job.schedule.epochs,
        initial=steps * done,
        desc=job.card["kind"] if "method" not in job.card else job.card["method"],
        unit="step",
        disable=not job.progress,
        dynamic_ncols=True,
    )


def save_state(job: Job, optimizer: torch.optim.Optimizer, history: list[dict[str, Any]]) -> None:
    """Keep what a killed run needs to go on."""
    momenta = {
        f"momentum.{i}": state["momentum_buffer"]
        for i, state in optimizer.state_dict()["state"].items()
        if state.get("momentum_buffer") is not None
    }
    weights = {f"network.{name}": tensor for name, tensor in job.network.state_dict().items()}
    card = {"format": RESUME_FORMAT, "plan": job.plan, "history": history}
    write_tensors(job.out / "resume.safetensors", weights | momenta, card)


def restore(job: Job, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Load an earlier part of this very run, if `out` has one. Returns its history."""
    if job.out is None:
        return []
    job.out.mkdir(parents=True, exist_ok=True)
    path = job.out / "resume.safetensors"
    if not path.exists():
        write_atomically(job.out / "metrics.jsonl", b"")
        return []
    tensors, card = read_tensors(path)
    plan = json.loads(json.dumps(job.plan))
    if card.get("format") != RESUME_FORMAT or card.get("plan") != plan:
        theirs = card.get("plan", {})
        differs = [k for k in plan | theirs if plan.get(k) != theirs.get(k)]
        raise CheckpointError(
            f"{job.out} holds another run: {', '.join(differs) or 'its format'} differs from what you asked for. "
            "Choose another output folder, repeat the old settings to resume it, or delete the folder."
        )
    job.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
    state = optimizer.state_dict()
    state["state"] = {
        int(k[9:]): {"momentum_buffer": v} for k, v in tensors.items() if k.startswith("momentum.")
    }
    optimizer.load_state_dict(state)
    lines = "".join(json.dumps(record) + "\n" for record in card["history"])
    write_atomically(job.out / "metrics.jsonl", lines.encode())
    return card["history"]


def summarise(job: Job, history: list[dict[str, Any]]) -> dict[str, Any]:
    """The last epoch is the result; the best one is recorded beside it, for comparison with papers."""
    measured = [record for record in history if "test_accuracy" in record]
    best = max(measured, key=lambda record: record["test_accuracy"], default=None)
    card = job.card | {
        "plan": job.plan,
        "runtime": job.runtime.describe(),
        "last": history[-1],
        "best": best,
        "seconds": round(sum(record["seconds"] for record in history), 1),
    }
    return {"last": history[-1], "best": best, "epochs": len(history), "card": card}


def tensors_hash(tensors: Iterable[Tensor]) -> str:
    """sha256 over tensors' bytes: tells whether two networks hold the same weights."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
