"""The words of a training: its progress bar, and the errors that end it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .loader import ViewLoader
from .state import Diverged, Run, TrainOptions, TrainState, memory_for


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
    who = f"{state.label}: " if state.label else ""
    kept = f" The state after epoch {state.saved} is kept in {state.out}." if state.saved else ""
    return Diverged(
        f"{who}{what} stopped being a finite number in epoch {epoch + 1}{where} (learning rate {lr:g})."
        f"{kept} Usual cures, in a new output folder: a lower lr, a smaller weight on that term, or "
        "exact=True (float32) if it happens only in bfloat16.",
        state.out,
    )


def diverged(states: Sequence[TrainState], runs: Sequence[Run]) -> Diverged:
    """Make the error of a training in which some students diverged, and the others have these runs."""
    first, *more = [state for state in states if state.error]
    text = str(first.error)
    if more:
        text += f" Also diverged: {', '.join(state.label for state in more)}."
    if runs:
        where = "their files are written" if first.out else "their runs are in this error's `runs`"
        text += f" The other students were trained to the end; {where}."
    return Diverged(text, first.out, runs)


@contextmanager
def memory_in_words(states: Sequence[TrainState], loader: ViewLoader) -> Iterator[None]:
    """Turn the end of memory in the steps of a training into a TrainingError that says what to do."""
    batch, views = loader.batch_size, max(state.method.needs.views for state in states)
    together = f" for {len(states)} students" if len(states) > 1 else ""
    saved = any(state.saved for state in states)
    with memory_for(
        f"{batch} images x {views} views per step{together}",
        f"Lower batch_size (command: --batch-size {max(1, batch // 2)}), which also makes the contrastive "
        "task easier, since fewer images compete;"
        + (" train fewer students together;" if len(states) > 1 else "")
        + f" or close other programs that use {'the GPU' if loader.device.type == 'cuda' else 'memory'}."
        + (" Saved states are as they were." if saved else ""),
    ):
        yield
