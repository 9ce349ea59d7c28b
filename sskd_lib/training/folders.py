"""The output folders of a training: no files of others are overwritten, one process writes, and all fits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..files import CheckpointError, check_space, explained, locked, remove_leftovers, tensors_hash
from ..models.network import Network
from ..runtime.distributed import Distributed
from .resume import (
    EARLIER_FILE,
    METRICS_FILE,
    RESUME_FILE,
    SUMMARY_FILE,
    read_state,
    restore,
    save_state,
    write_metrics,
)
from .state import TRAINED_FROM, TrainState, trained_part

LOCK = ".lock"
MARGIN = 200_000  # bytes for metrics, summary and the headers of files


def check_start(kind: str, network: Network, out: Path | None, file_name: str) -> None:
    """Raise an error where a training could only begin with trained weights, or over files of others.

    Nothing is changed. A folder with a saved state passes: `read_state` compares that.
    Raises ValueError for a network that is trained already, CheckpointError for files without a saved state.
    """
    if out is not None and (out / RESUME_FILE).exists():
        return
    check_fresh(kind, network)
    if out is None:
        return
    if (out / EARLIER_FILE).exists():
        raise CheckpointError(
            f"{out} holds a run that an earlier version of the kit saved ({EARLIER_FILE}), and this version "
            "cannot continue it. Choose another output folder, or delete the folder."
        )
    if others := [name for name in (file_name, METRICS_FILE, SUMMARY_FILE) if (out / name).exists()]:
        raise CheckpointError(
            f"{out} has {', '.join(others)}, but no {RESUME_FILE}: a training would overwrite what it "
            "cannot continue. Nothing was changed. Choose another output folder, or move these files."
        )


def check_fresh(kind: str, network: Network) -> None:
    """Raise ValueError if what a training of this kind trains has been trained already.

    A training that stopped before its first step left the weights as they were, and does not count.
    """
    began = vars(trained_part(kind, network)).get(TRAINED_FROM)
    if began is None or began == tensors_hash(network.state_dict()):
        return
    what, name, again = {
        "head": ("the head of this teacher", "teacher.head", "Load the teacher again with load_checkpoint"),
        "teacher": ("this network", "network", "Make a fresh one with create_network"),
    }.get(kind, ("this student", "student", "Make a fresh one with create_network"))
    raise ValueError(
        f"{what} has been trained before, to the end or until it was stopped, so this training would not "
        f"begin with fresh weights. {again}; or, to train these weights further, set "
        f"{name}.{TRAINED_FROM} = None."
    )


@contextmanager
def open_folders(states: Sequence[TrainState], epochs: int, processes: Distributed) -> Iterator[None]:
    """Keep the output folders for this process during a block, and load what they have of these very runs.

    The state of a new run is saved before its first step. Errors: those of `check_start`, `read_state`,
    `locked` and `check_space`; then no file has changed.
    """
    earlier: list[dict[str, Any] | None] = []
    with ExitStack() as stack:
        if processes.is_main:
            for state in states:
                check_start(state.plan["kind"], state.network, state.out, state.file_name)
            for folder in [state.out for state in states if state.out]:
                with explained(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder / LOCK))
        for state in states:
            mine = processes.is_main and state.out is not None
            saved = processes.broadcast_object(read_state(state) if mine else None)
            earlier.append(saved)
            if saved is None:
                check_fresh(state.plan["kind"], state.network)
        for state, saved in zip(states, earlier, strict=True):
            if saved is not None:
                restore(state, saved, epochs)
        if processes.is_main:
            begin([state for state in states if state.out], epochs)
        for state in states:
            state.mark_trained()
        yield


def begin(states: Sequence[TrainState], epochs: int) -> None:
    """Make the files of some trainings agree with their states, of which a new one is saved."""
    check_disk([state for state in states if len(state.history) < epochs])
    for state in states:
        remove_leftovers(state.out, RESUME_FILE, METRICS_FILE, SUMMARY_FILE, state.file_name)
        if not state.history:
            save_state(state)
        write_metrics(state.out, state.history)


def check_disk(states: Sequence[TrainState]) -> None:
    """Raise OSError if the files of some trainings do not fit their disks, also while one is replaced."""
    disks: dict[int, list[TrainState]] = {}
    for state in states:
        disks.setdefault(os.stat(state.out).st_dev, []).append(state)
    for together in disks.values():
        sizes = [state_bytes(state) for state in together]
        weights = [sum(tensor.nbytes for tensor in state.network.state_dict().values()) for state in together]
        present = sum(
            (state.out / name).stat().st_size
            for state in together
            for name in (RESUME_FILE, state.file_name)
            if (state.out / name).exists()
        )
        need = sum(sizes) + max(sizes) + sum(weights) + MARGIN * len(together) - present
        names = " and ".join(str(state.out) for state in together[:3]) + " …" * (len(together) > 3)
        check_space(together[0].out, need, f"the training in {names} needs")


def state_bytes(state: TrainState) -> int:
    """Return the size of a saved state: weights of network and method, and a momentum for each parameter."""
    groups = state.optimizer.param_groups
    momenta = sum(parameter.nbytes for group in groups for parameter in group["params"])
    return sum(tensor.nbytes for tensor in state.tensors()) + momenta
