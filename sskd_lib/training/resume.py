"""A killed training goes on: its state on disk, and the check that it is the same training.

The state is weights, the optimizer's state and the history, written whole or not at all. Nothing random is in
it: loader.py draws the random numbers of an epoch from (seed, epoch).
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..data.images import ImageSet
from ..files import CheckpointError, differences, explained, tensors_hash, write_atomically
from ..models.network import Network
from .state import TRAINED_FROM, TrainOptions, TrainState, trained_part

RESUME_FORMAT = "sskd-kit-resume-3"
RESUME_FILE = "resume.pt"
EARLIER_FILE = "resume.safetensors"  # of versions before 0.2
METRICS_FILE, SUMMARY_FILE = "metrics.jsonl", "summary.json"


def hash_images(train: ImageSet, test: ImageSet | None) -> dict[str, Any]:
    """Return what a plan holds of the images; students trained together share it."""
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
    options: TrainOptions,
    processes: int,
) -> dict[str, Any]:
    """Collect what makes a run this run and no other, before its first step.

    A network that has been trained keeps the hash of its first weights: the same call goes on with its run.
    """
    part = trained_part(kind, network)
    plan = {
        "kind": kind,
        "network": network.spec,
        "initial_weights": vars(part).get(TRAINED_FROM) or tensors_hash(network.state_dict()),
        "teacher_weights": teacher_weights,
        **images,
        "schedule": dataclasses.asdict(options.schedule),
        "seed": options.seed,
        "processes": processes,
    }
    return plan


def write_metrics(out: Path, records: list[dict[str, Any]], append: bool = False) -> None:
    """Write records to metrics.jsonl, one line per epoch, in the place of its content or after it."""
    path, lines = out / METRICS_FILE, "".join(json.dumps(record) + "\n" for record in records)
    if not append:
        write_atomically(path, lines.encode())
        return
    with explained(path), open(path, "a", encoding="utf-8") as file:
        file.write(lines)


def save_state(state: TrainState) -> None:
    """Write what a killed run needs to go on."""
    buffer = io.BytesIO()
    torch.save(
        {
            "format": RESUME_FORMAT,
            "text": json.dumps({"plan": state.plan, "card": state.card, "history": state.history}),
            "network": state.network.state_dict(),
            "method": state.method.state_dict(),
            "optimizer": state.optimizer.state_dict(),
        },
        buffer,
    )
    write_atomically(state.out / RESUME_FILE, buffer.getvalue())
    state.saved = len(state.history)


def restore(state: TrainState, saved: dict[str, Any], epochs: int) -> None:
    """Load an earlier part of this very run."""
    state.network.load_state_dict(saved["network"])
    state.method.load_state_dict(saved["method"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.history = saved["history"]
    state.saved = len(state.history)
    head = state.network.head
    if state.plan["kind"] != "head" and head is not None and vars(head).pop(TRAINED_FROM, None):
        state.network.head_trained = False  # what `train_head` made of it since is overwritten
    if state.history:
        keep_card(state, saved["card"], finished=len(state.history) == epochs)


def read_state(state: TrainState) -> dict[str, Any] | None:
    """Read the saved state of this very run; None if there is none. Nothing is changed.

    Raises CheckpointError if the folder holds another run that has trained an epoch, or a damaged file.
    """
    path = state.out / RESUME_FILE
    if not path.exists():
        return None
    saved = load_saved(path)
    if saved.get("format") != RESUME_FORMAT:
        raise CheckpointError(
            f"{path} is no saved training of this version of the kit. Choose another output folder, or "
            "delete the folder."
        )
    if differs := differences(saved["plan"], state.plan):
        if saved["history"]:
            raise other_run(state.out, differs)
        return None
    return saved


def load_saved(path: Path) -> dict[str, Any]:
    """Read a file of `save_state` onto the CPU, after a check of its sums; no code in it is run.

    Raises CheckpointError if it is damaged or of another kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is not what was written")
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return {**saved, **json.loads(saved.get("text", "{}"))}
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(
            f"{path} is damaged, cut short, or no saved training ({type(error).__name__}). Nothing was "
            "loaded. Delete it to start this training again, or choose another output folder."
        ) from error


def other_run(out: Path, differs: list[str]) -> CheckpointError:
    """Make the error for a folder of another run, which names what differs."""
    hint = ""
    if differs == ["initial_weights"]:
        hint = " That run began with a fresh network: make yours again with create_network."
    return CheckpointError(
        f"{out} holds another run; what differs: {', '.join(differs)}.{hint} Choose another output "
        "folder, repeat the old settings to resume it, or delete the folder."
    )


def keep_card(state: TrainState, earlier: dict[str, Any], finished: bool) -> None:
    """Note on the card on which machine a resumed run began; that of a finished run stays as it is."""
    if finished:
        state.card = earlier
        return
    began = earlier.get("began_on") or {name: earlier[name] for name in ("versions", "runtime")}
    if began != {name: state.card[name] for name in began}:
        state.card["began_on"] = began
