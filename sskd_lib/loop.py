"""The loop every training shares: epochs, learning rate, progress, records, and survival of a kill.

All randomness of an epoch comes from a generator seeded with (seed, epoch), so an epoch is the same
whether the run got there at once or after a restart; the state to keep is weights, momenta and history.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoints import save_checkpoint, write_atomically
from .data import ImageSet
from .network import Network
from .recipes import Schedule
from .resume import RESUME_FILE, restore, save_state, write_metrics
from .runtime import Runtime

# One step: (x uint8 [B,C,H,W], y int64 [B], generator) → terms by name with "total", hits, rows judged
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

    def __post_init__(self) -> None:
        if self.evaluate_every < 1:
            raise ValueError(f"evaluate_every counts epochs, so it is at least 1, not {self.evaluate_every}.")
        self.plan = json.loads(json.dumps(self.plan))  # as it will be read: lists for tuples


def fit(job: Job, file_name: str) -> Run:
    """Train `job.trained` for the epochs that are still to do; the last epoch's weights are the result.

    Raises TrainingError if a loss is not finite, CheckpointError if `out` holds another run, OSError if it
    cannot be written.
    """
    optimizer = torch.optim.SGD(
        job.trained.parameters(),
        lr=job.schedule.lr,
        momentum=job.schedule.momentum,
        weight_decay=job.schedule.weight_decay,
        fused=job.runtime.device.type in ("cpu", "cuda"),
    )
    history = restore(job, optimizer)
    saved_at = time.monotonic()
    with progress_bar(job, done=len(history)) as bar:
        for epoch in range(len(history), job.schedule.epochs):
            history.append(run_epoch(job, optimizer, epoch, bar))
            bar.set_postfix({k: f"{v:.1f}%" for k, v in history[-1].items() if k.endswith("accuracy")})
            if job.out is None:
                continue
            write_metrics(job.out, history[-1:], append=True)
            last = epoch + 1 == job.schedule.epochs
            if last or time.monotonic() - saved_at >= job.save_seconds:
                save_state(job, optimizer, history)
                saved_at = time.monotonic()
    summary = summarise(job, history)
    job.network.eval()
    if job.out:
        save_checkpoint(job.out / file_name, job.network, summary["card"])
        write_atomically(job.out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    return Run(network=job.network, history=history, summary=summary)


def run_epoch(job: Job, optimizer: torch.optim.Optimizer, epoch: int, bar: Any) -> dict[str, Any]:
    """Train for one epoch and measure, where it is time to. Returns the epoch's record."""
    started = time.perf_counter()
    lr = job.schedule.lr_at(epoch)
    for group in optimizer.param_groups:
        group["lr"] = lr
    record = {"epoch": epoch + 1, "lr": lr, **train_epoch(job, optimizer, epoch, bar)}
    last = epoch + 1 == job.schedule.epochs
    if job.measure and (last or (epoch + 1) % job.evaluate_every == 0):
        record |= job.measure()
    if bad := [name for name, value in record.items() if not math.isfinite(value)]:
        raise not_finite(job, epoch, f"{' and '.join(bad)}, measured on the test images,")
    return record | {"seconds": round(time.perf_counter() - started, 3)}


def train_epoch(job: Job, optimizer: torch.optim.Optimizer, epoch: int, bar: Any) -> dict[str, float]:
    """One pass over the training images: mean of every term, and accuracy. Reads the device at the end."""
    generator = epoch_generator(job.seed, epoch, job.runtime.device)
    steps, images, rows_seen = [], [], 0
    for x, y in job.train.batches(job.schedule.batch_size, generator):
        terms, hits, rows = job.step(x, y, generator)
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        steps.append(torch.stack([*(term.detach() for term in terms.values()), hits]))
        images.append(len(y))
        rows_seen += rows
        bar.update()
    *values, hits = torch.stack(steps).cpu().double().T  # one row a term, one column a step
    stop_if_not_finite(list(terms), torch.stack(values), epoch, job)
    share = torch.tensor(images, dtype=torch.float64) / len(job.train)
    means = {name: (share @ value).item() for name, value in zip(terms, values, strict=True)}
    return means | {"train_accuracy": 100 * hits.sum().item() / rows_seen}


def stop_if_not_finite(names: list[str], values: Tensor, epoch: int, job: Job) -> None:
    """Raise TrainingError naming the terms that were the first to be NaN or infinite; or the weights.

    values: float [terms, steps].
    """
    bad = ~values.isfinite()
    if bad.any():
        step = int(bad.any(0).int().argmax())
        terms = [name for name, is_bad in zip(names, bad[:, step], strict=True) if is_bad]
        terms = [name for name in terms if name != "total"] or terms
        raise not_finite(job, epoch, f"the loss term {' and '.join(terms)}", f", step {step + 1}")
    finite = torch.stack([tensor.isfinite().all() for tensor in job.network.state_dict().values()])
    if not finite.all():
        raise not_finite(job, epoch, "a weight")


def not_finite(job: Job, epoch: int, what: str, where: str = "") -> TrainingError:
    """The error that stops a run whose numbers have become NaN or infinite."""
    saved = job.out and (job.out / RESUME_FILE).exists()
    kept = f" The last good state is kept in {job.out}." if saved else ""
    return TrainingError(
        f"{what} stopped being a finite number in epoch {epoch + 1}{where} (learning rate "
        f"{job.schedule.lr_at(epoch):g}).{kept} Usual cures, in a new output folder: a lower lr, a smaller "
        "weight on that term, or exact=True (float32) if it happens only in bfloat16."
    )


def epoch_generator(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """The private source of randomness of one epoch."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + epoch)


def progress_bar(job: Job, done: int) -> Any:
    """A text bar with time left and, after each epoch, accuracies."""
    from tqdm import tqdm

    steps = math.ceil(len(job.train) / job.schedule.batch_size)
    return tqdm(
        total=steps * job.schedule.epochs,
        initial=steps * done,
        desc=job.card.get("method", job.card["kind"]),
        unit="step",
        disable=not job.progress,
        dynamic_ncols=True,
    )


def make_card(
    kind: str,
    train: ImageSet,
    test: ImageSet | None,
    runtime: Runtime,
    *,
    teacher: Network | None,
    method: str | None = None,
) -> dict[str, Any]:
    """What a reader of the weights wants to know, beyond the plan."""
    from . import __version__

    card: dict[str, Any] = {
        "kind": kind,
        "train": {"name": train.name, "images": len(train)},
        "test": {"name": test.name, "images": len(test)} if test is not None else None,
        "teacher": teacher.spec["model"] if teacher is not None else None,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sskd_lib": __version__,
        },
        "runtime": runtime.describe(),
        "date": datetime.date.today().isoformat(),
    }
    return card | ({"method": method} if method else {})


def summarise(job: Job, history: list[dict[str, Any]]) -> dict[str, Any]:
    """The last epoch is the result; the best one is recorded beside it, for comparison with papers."""
    measured = [record for record in history if "test_accuracy" in record]
    best = max(measured, key=lambda record: record["test_accuracy"], default=None)
    card = job.card | {
        "plan": job.plan,
        "last": history[-1],
        "best": best,
        "seconds": round(sum(record["seconds"] for record in history), 1),
    }
    return {"last": history[-1], "best": best, "epochs": len(history), "card": card}
