"""Weights on disk: safetensors files that carry a card, written whole or not at all.

A file holds tensors and, in its metadata, one JSON text under "card". Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .models import create_model
from .network import Network

FORMAT = "sskd-kit-1"


class CheckpointError(RuntimeError):
    """A file of weights cannot be used; the message says why and what to do."""


def save_checkpoint(
    path: str | Path, network: Network, card: dict[str, Any], dtype: torch.dtype | None = None
) -> Path:
    """Write a network and its card to one file, in one step that cannot be half done.

    card: anything JSON can hold (recipe, seed, versions, accuracy, …); the network's own spec is added.
    dtype: store floating-point tensors in this type (float16 halves the file; they load as float32).
    """
    tensors = network.state_dict()
    if dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    return write_tensors(path, tensors, {"format": FORMAT, "network": network.spec, **card})


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Network:
    """Rebuild the network a checkpoint holds, in eval mode, float32.

    Raises FileNotFoundError or CheckpointError (truncated, foreign, or not fitting its own card); the
    network is returned whole or not at all.
    """
    tensors, card = read_tensors(path)
    if card.get("format") != FORMAT or "network" not in card:
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of this kit's networks (its card says format "
            f"{card.get('format')!r}, expected {FORMAT!r}). Load a file that train_teacher, train_head or "
            "distill wrote."
        )
    spec = card["network"]
    backbone = create_model(spec["model"], num_classes=spec["num_classes"], in_channels=spec["in_channels"])
    blank = [0.0] * spec["in_channels"]
    network = Network(backbone, mean=blank, std=blank, projection=spec["projection"])
    network.spec = spec
    own = network.state_dict()
    problems = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    problems += [f"{name} is not part of it" for name in tensors.keys() - own.keys()]
    problems += [
        f"{name} has shape {list(tensors[name].shape)}, expected {list(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if problems:
        raise CheckpointError(
            f"{path} does not fit the {spec['model']} its card names: {'; '.join(sorted(problems)[:3])}"
            f"{' …' if len(problems) > 3 else ''}. Nothing was loaded; train it again or get the file anew."
        )
    network.load_state_dict(tensors)  # copies into float32 parameters
    return network.eval().to(device)


def read_card(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's card without its weights."""
    return read_tensors(path, only_card=True)[1]


def write_tensors(path: str | Path, tensors: dict[str, Tensor], card: dict[str, Any]) -> Path:
    """Write tensors and a card as one safetensors file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_atomically(path, safetensors.torch.save(tensors, {"card": json.dumps(card, sort_keys=True)}))


def read_tensors(path: str | Path, only_card: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `write_tensors`: (tensors on the CPU, card)."""
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.safetensors")) if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"there is no checkpoint {path}. "
            + (f"That folder has: {', '.join(near)}." if near else "Train one first, or check the path.")
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {}).get("card", "{}"))
            tensors = {} if only_card else {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged, cut short, or not a safetensors file ({error}). Nothing was loaded. "
            "Delete it and train or fetch it again."
        ) from error
    return tensors, card


def write_atomically(path: str | Path, data: bytes) -> Path:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
