"""The words of a training: its progress bar, and the errors that end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .loader import ViewLoader
from .resume import RESUME_FILE
from .state import Diverged, TrainingError, TrainOptions, TrainState


def progress_bar(states: Sequence[TrainState], loader: ViewLoader, options: TrainOptions, done: int) -> Any:
    """Return a text bar with the time left and, after each epoch, accuracies."""
    from tqdm import tqdm

    names = list(dict.fromkeys(state.card.get("method", state.card["kind"]) for state in states))
    return tqdm(
        total=len(loader) * options.schedule.epochs,
        initial=len(loader) * done,
        desc=", ".join(names) + (f" ({len(states)} students)" if len(states) > 1 else ""),
        unit="step",
        disable=not (options.progress and loader.processes.is_main),
        dynamic_ncols=True,
    )


def not_finite(state: TrainState, epoch: int, lr: float, what: str, where: str = "") -> Diverged:
    """Make the error that stops a run whose numbers have become NaN or infinite."""
    saved = state.out and (state.out / RESUME_FILE).exists()
    kept = f" The last good state is kept in {state.out}." if saved else ""
    return Diverged(
        f"{what} stopped being a finite number in epoch {epoch + 1}{where} (learning rate {lr:g}).{kept} "
        "Usual cures, in a new output folder: a lower lr, a smaller weight on that term, or exact=True "
        "(float32) if it happens only in bfloat16.",
        state.out,
    )


def out_of_memory(error: Exception, states: Sequence[TrainState], loader: ViewLoader) -> TrainingError | None:
    """Make the error in words if memory ran out; None for any other error."""
    on_gpu = isinstance(error, torch.OutOfMemoryError)
    if not (on_gpu or isinstance(error, MemoryError) or "can't allocate memory" in str(error)):
        return None
    batch, views = loader.batch_size, max(state.method.needs.views for state in states)
    together = f" for {len(states)} students" if len(states) > 1 else ""
    saved = any(state.out and (state.out / RESUME_FILE).exists() for state in states)
    return TrainingError(
        f"{'the GPU' if on_gpu else 'this machine'} ran out of memory with {batch} images x {views} views "
        f"per step{together}. Lower batch_size (command: --batch-size {max(1, batch // 2)}), which also "
        "makes the contrastive task easier, since fewer images compete;"
        + (" train fewer students together;" if len(states) > 1 else "")
        + f" or close other programs that use {'the GPU' if on_gpu else 'memory'}."
        + (" Saved states are as they were." if saved else "")
    )
