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
from ..runtime.distributed import Distributed
from .folders import open_folders
from .loader import ViewLoader
from .reports import diverged, memory_in_words, not_finite, progress_bar
from .resume import SUMMARY_FILE, save_state, write_metrics
from .state import Diverged, Run, TrainOptions, TrainState, complete_momenta, summarise
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

    watch: see `distill`. Raises TrainingError if a loss is not finite, after the other students have ended,
    or if memory runs out; ValueError for a network that has been trained already; CheckpointError if an `out`
    has another run or files of others, OSError if it is in use or cannot be written.
    """
    options.runtime.prepare()
    with open_folders(states, options.schedule.epochs, loader.processes):
        train_epochs(states, loader, teacher, options, watch)
        runs = [finish(state, loader) for state in states if not state.error]
    if len(runs) < len(states):
        raise diverged(states, runs)
    return runs


def train_epochs(
    states: Sequence[TrainState],
    loader: ViewLoader,
    teacher: Network | None,
    options: TrainOptions,
    watch: Watch | None,
) -> None:
    """Train and save the epochs that are still to do. A student that diverges stops, and the others go on."""
    epochs, saved_at = options.schedule.epochs, time.monotonic()
    first = min(len(state.history) for state in states)
    if first == 0:
        call_watch(watch, [state for state in states if not state.history], loader, 0)
    active: list[TrainState] = []
    with progress_bar(states, loader, options, done=first) as bar:
        for epoch in range(first, epochs):
            if active != (now := [state for state in states if len(state.history) == epoch]):
                active, passes = now, share_passes(now)
                step = make_step(passes, loader, teacher, options)
            if not active:
                continue
            with memory_in_words(active, loader):
                run_epoch(passes, step, loader, options, epoch, bar)
            done = [state for state in active if not state.error]
            call_watch(watch, done, loader, epoch + 1)  # before the save: killed here, the epoch comes again
            save = epoch + 1 == epochs or time.monotonic() - saved_at >= options.save_seconds
            for state in done if loader.processes.is_main else ():
                if state.out is not None:
                    write_metrics(state.out, state.history[-1:], append=True)
                    if save:
                        save_state(state)
            saved_at = time.monotonic() if save else saved_at


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
        try:
            record = make_record(state, epoch, lr, means, images, loader.processes, test)
        except Diverged as error:
            state.error = error
        else:
            state.history.append(record | {"seconds": round(time.perf_counter() - started, 3)})
    last = next((state.history[-1] for state in states if not state.error), {})
    bar.set_postfix({k: f"{v:.1f}%" for k, v in last.items() if k.endswith("accuracy")})


def make_record(
    state: TrainState,
    epoch: int,
    lr: float,
    means: Tensor,
    images: list[int],
    processes: Distributed,
    test: bool,
) -> dict[str, float]:
    """Return the record of an epoch: means of the terms, accuracy and, if `test`, the test figures.

    Raises Diverged, in every process, if one of them or a weight is NaN or infinite.
    """
    record = {"epoch": epoch + 1, "lr": lr, **averages(state, epoch, lr, means, images)}
    finite = torch.stack([tensor.isfinite().all() for tensor in state.tensors()]).float().mean()
    if processes.all_reduce_mean(finite) < 1:  # BatchNorm's averages differ per process
        raise not_finite(state, epoch, lr, "a weight")
    if state.measure and test:
        # The other processes wait for the figures: the next epoch may not start on weights being tested.
        record |= processes.broadcast_object(state.measure() if processes.is_main else None)
    if bad := [name for name, value in record.items() if not math.isfinite(value)]:
        raise not_finite(state, epoch, lr, f"{' and '.join(bad)}, measured on the test images,")
    return record


def averages(state: TrainState, epoch: int, lr: float, column: Tensor, images: list[int]) -> dict[str, float]:
    """Return the mean of every term over the images of an epoch, and the accuracy.

    column: float [steps, terms + 1]; images: of each step. Raises Diverged, naming the terms that were the
    first to be NaN or infinite.
    """
    *values, correct = column.double().T
    bad = ~torch.stack(values).isfinite()
    if bad.any():
        step = int(bad.any(0).int().argmax())
        names = [name for name, is_bad in zip(state.term_names, bad[:, step], strict=True) if is_bad]
        names = [name for name in names if name != "total"] or names
        what = f"the loss term{'s' * (len(names) > 1)} {' and '.join(names)}"
        raise not_finite(state, epoch, lr, what, f", step {step + 1}")
    share_of_images = torch.tensor(images, dtype=torch.float64) / sum(images)
    means = {name: (share_of_images @ v).item() for name, v in zip(state.term_names, values, strict=True)}
    return means | {"train_accuracy": 100 * correct.sum().item() / (state.rows_per_image * sum(images))}


def call_watch(watch: Watch | None, states: Sequence[TrainState], loader: ViewLoader, epochs: int) -> None:
    """Call `watch` with the networks in eval mode, in the main process; the others wait for it."""
    if watch is None or not states:
        return
    if loader.processes.is_main:
        watch(epochs, [state.network.eval() for state in states])
    loader.processes.broadcast_object(None)


def finish(state: TrainState, loader: ViewLoader) -> Run:
    """Write the result of a training and return it."""
    summary = summarise(state)
    loader.processes.broadcast_(list(state.network.buffers()))  # BatchNorm's averages differ per process
    state.network.eval()
    state.network.head_trained = state.method.trains_head  # of other features, a head is untrained
    if state.out and loader.processes.is_main:
        save_checkpoint(state.out / state.file_name, state.network, summary["card"])
        write_atomically(state.out / SUMMARY_FILE, (json.dumps(summary, indent=1) + "\n").encode())
    return Run(network=state.network, history=state.history, summary=summary)
