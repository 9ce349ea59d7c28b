"""What a training says of itself: its progress, its card, its summary, and why it stopped."""

from __future__ import annotations

import datetime
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..data.images import ImageSet
from ..models.network import Network
from ..runtime.device import Runtime
from .resume import RESUME_FILE

if TYPE_CHECKING:
    from .loop import Job, Lesson


class TrainingError(RuntimeError):
    """A training cannot go on; the message says why and what to do."""


class Diverged(TrainingError):
    """A student's numbers have become NaN or infinite. `out` is that student's folder, or None."""

    def __init__(self, message: str, out: Path | None) -> None:
        super().__init__(message)
        self.out = out


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training: the network after the LAST epoch, one record an epoch, and the summary."""

    network: Network
    history: list[dict[str, Any]]
    summary: dict[str, Any]


def not_finite(job: Job, lesson: Lesson, epoch: int, what: str, where: str = "") -> Diverged:
    """The error that stops a run whose numbers have become NaN or infinite."""
    saved = job.out and (job.out / RESUME_FILE).exists()
    kept = f" The last good state is kept in {job.out}." if saved else ""
    return Diverged(
        f"{what} stopped being a finite number in epoch {epoch + 1}{where} (learning rate "
        f"{lesson.schedule.lr_at(epoch):g}).{kept} Usual cures, in a new output folder: a lower lr, a "
        "smaller weight on that term, or exact=True (float32) if it happens only in bfloat16.",
        job.out,
    )


def out_of_memory(error: Exception, lesson: Lesson, jobs: list[Job]) -> TrainingError | None:
    """The error in words if memory ran out; None for any other error."""
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    if not (on_gpu or isinstance(error, MemoryError) or "can't allocate memory" in str(error)):
        return None
    batch, views = lesson.feed.batch_size, max(job.views for job in jobs)
    together = f" for {len(jobs)} students" if len(jobs) > 1 else ""
    saved = any(job.out and (job.out / RESUME_FILE).exists() for job in jobs)
    return TrainingError(
        f"{'the GPU' if on_gpu else 'this machine'} ran out of memory with {batch} images x {views} views a "
        f"step{together}. Lower batch_size (command: --batch-size {max(1, batch // 2)}), which also "
        "makes the contrastive task easier, since fewer images compete;"
        + (" train fewer students together;" if len(jobs) > 1 else "")
        + f" or close other programs that use {'the GPU' if on_gpu else 'memory'}."
        + (" Saved states are as they were." if saved else "")
    )


def progress_bar(lesson: Lesson, jobs: list[Job], done: int) -> Any:
    """A text bar with time left and, after each epoch, accuracies."""
    from tqdm import tqdm

    names = list(dict.fromkeys(job.card.get("method", job.card["kind"]) for job in jobs))
    return tqdm(
        total=len(lesson.feed) * lesson.schedule.epochs,
        initial=len(lesson.feed) * done,
        desc=", ".join(names) + (f" ({len(jobs)} students)" if len(jobs) > 1 else ""),
        unit="step",
        disable=not (lesson.progress and lesson.feed.world.leads),
        dynamic_ncols=True,
    )


def make_card(
    kind: str,
    train: ImageSet,
    test: ImageSet | None,
    runtime: Runtime,
    *,
    teacher: str | None,
    method: str | None = None,
) -> dict[str, Any]:
    """What a reader of the weights wants to know, beyond the plan. teacher: name of its backbone."""
    from .. import __version__

    card: dict[str, Any] = {
        "kind": kind,
        "train": {"name": train.name, "images": len(train)},
        "test": {"name": test.name, "images": len(test)} if test is not None else None,
        "teacher": teacher,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sskd_lib": __version__,
        },
        "runtime": runtime.describe(),
        "date": datetime.date.today().isoformat(),
    }
    return card | ({"method": method} if method else {})


def summarise(job: Job) -> dict[str, Any]:
    """The last epoch is the result; the best one is recorded beside it, for comparison with papers."""
    history = job.history
    measured = [record for record in history if "test_accuracy" in record]
    best = max(measured, key=lambda record: record["test_accuracy"], default=None)
    card = job.card | {
        "plan": job.plan,
        "last": history[-1],
        "best": best,
        "seconds": round(sum(record["seconds"] for record in history), 1),
    }
    return {"last": history[-1], "best": best, "epochs": len(history), "card": card}
