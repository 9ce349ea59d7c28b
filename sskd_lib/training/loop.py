"""The loop of every training: epochs, learning rate, progress, records, and survival of a kill.

Several students may be in one loop: they see the same views and share their teacher's forward passes. Each
ends as if it were trained alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..data.batch import Batch
from ..files import write_atomically
from ..models.checkpoint import save_checkpoint
from ..models.network import Network
from ..runtime.cuda_graph import GraphedStep
from .loader import ViewLoader
from .reports import not_finite, out_of_memory, progress_bar
from .resume import restore, save_state, write_metrics
from .state import Run, TrainOptions, TrainState, complete_momenta, summarise
from .step import Pass, share_passes, train_step

# (epochs done, the students that have done them, in eval mode)
Watch = Callable[[int, list[Network]], None]
Step = Callable[[Batch], list[Tensor]]


def fit(
    states: Sequence[TrainState],
    loader: ViewLoader,
    teacher: Network | None,
    options: TrainOptions,
    watch: Watch | None = None,
) -> list[Run]:
    """Train for the epochs that are still to do; the last epoch's weights are the result.

    watch: see `distill`. Raises TrainingError if a loss is not finite or memory runs out, CheckpointError if
    an `out` holds another run, OSError if it cannot be written.
    """
    options.runtime.prepare()
    epochs, is_main = options.schedule.epochs, loader.processes.is_main
    for state in states:
        restore(state, epochs, loader.processes)
    saved_at = time.monotonic()
    first = min(len(state.history) for state in states)
    if first == 0:
        call_watch(watch, [state for state in states if not state.history], loader, 0)
    active: list[TrainState] = []
    with progress_bar(states, loader, options, done=first) as bar:
        for epoch in range(first, epochs):
            if active != (now := [state for state in states if len(state.history) == epoch]):
                active, passes = now, share_passes(now)
                step = make_step(passes, loader, teacher, options)
            try:
                run_epoch(passes, step, loader, options, epoch, bar)
            except (MemoryError, RuntimeError) as error:
                if in_words := out_of_memory(error, active, loader):
                    raise in_words from error
                raise
            call_watch(
                watch, active, loader, epoch + 1
            )  # before the save: killed here, the epoch comes again
            save = epoch + 1 == epochs or time.monotonic() - saved_at >= options.save_seconds
            for state in active if is_main else ():
                if state.out is not None:
                    write_metrics(state.out, state.history[-1:], append=True)
                    if save:
                        save_state(state)
            saved_at = time.monotonic() if save else saved_at
    return [finish(state, loader) for state in states]


def make_step(
    passes: Sequence[Pass], loader: ViewLoader, teacher: Network | None, options: TrainOptions
) -> Step:
    """Return `train_step` of a batch alone, as one CUDA graph where the runtime wants it."""
    runtime = options.runtime
    step = partial(train_step, passes, size=loader.size, teacher=teacher, runtime=runtime)
    return GraphedStep(step) if runtime.cuda_graph and loader.processes.world_size == 1 else step


def begin_epoch(states: Sequence[TrainState], epoch: int, epochs: int, lr: float) -> bool:
    """Set learning rate, weights of the terms and training mode. Return whether a graph is outdated."""
    changed = False
    for state in states:
        state.model.train()
        changed |= state.method.begin_epoch(epoch, epochs)
        if state.method.terms:
            complete_momenta(state.optimizer)
        for group in state.optimizer.param_groups:
            changed |= group["lr"] != lr
            group["lr"] = lr
    return changed


def run_epoch(
    passes: Sequence[Pass], step: Step, loader: ViewLoader, options: TrainOptions, epoch: int, bar: Any
) -> None:
    """Train for one epoch, test where it is time to, and append a record to each history.

    The device is read at the end of the epoch only.
    """
    started = time.perf_counter()
    states = [state for group in passes for state in group.states]
    lr, epochs = options.schedule.lr_at(epoch), options.schedule.epochs
    if begin_epoch(states, epoch, epochs, lr) and isinstance(step, GraphedStep):
        step.reset()
    values: list[list[Tensor]] = []
    images: list[int] = []
    for batch in loader.epoch(epoch):
        values.append(step(batch))
        images.append(len(batch.labels))
        bar.update()
    test = epoch + 1 == epochs or (epoch + 1) % options.evaluate_every == 0
    for state, column in zip(states, zip(*values, strict=True), strict=True):
        means = loader.processes.all_reduce_mean(torch.stack(column)).cpu()
        record = {"epoch": epoch + 1, "lr": lr, **averages(state, epoch, lr, means, images)}
        if state.measure and test:
            # The other processes wait for the figures: the next epoch may not start on weights being tested.
            figures = state.measure() if loader.processes.is_main else None
            record |= loader.processes.broadcast_object(figures)
        if bad := [name for name, value in record.items() if not math.isfinite(value)]:
            raise not_finite(state, epoch, lr, f"{' and '.join(bad)}, measured on the test images,")
        state.history.append(record | {"seconds": round(time.perf_counter() - started, 3)})
    accuracies = {k: f"{v:.1f}%" for k, v in states[0].history[-1].items() if k.endswith("accuracy")}
    bar.set_postfix(accuracies)


def averages(state: TrainState, epoch: int, lr: float, column: Tensor, images: list[int]) -> dict[str, float]:
    """Return the mean of every term over the images of an epoch, and the accuracy.

    column: float [steps, terms + 1]; images: of each step. Raises Diverged, naming the terms that were the
    first to be NaN or infinite, or for such a weight.
    """
    *values, correct = column.double().T
    bad = ~torch.stack(values).isfinite()
    if bad.any():
        step = int(bad.any(0).int().argmax())
        names = [name for name, is_bad in zip(state.term_names, bad[:, step], strict=True) if is_bad]
        names = [name for name in names if name != "total"] or names
        raise not_finite(state, epoch, lr, f"the loss term {' and '.join(names)}", f", step {step + 1}")
    if not torch.stack([tensor.isfinite().all() for tensor in state.tensors()]).all():
        raise not_finite(state, epoch, lr, "a weight")
    share_of_images = torch.tensor(images, dtype=torch.float64) / sum(images)
    means = {name: (share_of_images @ v).item() for name, v in zip(state.term_names, values, strict=True)}
    return means | {"train_accuracy": 100 * correct.sum().item() / (state.rows_per_image * sum(images))}


def call_watch(watch: Watch | None, states: Sequence[TrainState], loader: ViewLoader, epochs: int) -> None:
    """Call `watch` with the networks in eval mode, in the main process; the others wait for it."""
    if watch is None:
        return
    if loader.processes.is_main:
        watch(epochs, [state.network.eval() for state in states])
    loader.processes.broadcast_object(None)


def finish(state: TrainState, loader: ViewLoader) -> Run:
    """Write the result of a training and return it."""
    summary = summarise(state)
    loader.processes.broadcast_(list(state.network.buffers()))  # BatchNorm's averages differ per process
    state.network.eval()
    if state.out and loader.processes.is_main:
        save_checkpoint(state.out / state.file_name, state.network, summary["card"])
        write_atomically(state.out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    return Run(network=state.network, history=state.history, summary=summary)
