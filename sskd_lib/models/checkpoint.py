"""Checkpoints: safetensors files of a network with a card of JSON, written whole or not at all.

Of the network the card has: "network", its spec; "classes", the names of its classes, or null where they are
not known (then only their number can be checked); "head_trained", whether its head has been trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..files import CheckpointError, read_tensors, write_tensors
from ..runtime.arguments import checked
from .build import build_network, explain_misfit, explain_numbers
from .file_kinds import explain_folder, explain_other_kind
from .network import Network
from .pth_import import load_pth

FORMAT = "sskd-kit-1"


@checked
def save_checkpoint(
    path: str | Path, network: Network, card: dict[str, Any], dtype: torch.dtype | None = None
) -> Path:
    """Write a network and its card to one file, whole or not at all.

    card: anything JSON can hold (recipe, seed, versions, accuracy, …); the network's spec, the names of its
    classes and whether its head is trained are added.
    dtype: store floating-point tensors in this type (float16 halves the file; they load as float32).
    Raises ValueError for weights that are not finite in this type, OSError if the file cannot be written; an
    older file is intact then.
    """
    tensors = network.state_dict()
    if dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    if problem := explain_numbers(tensors):
        raise ValueError(
            f"the network was not written to {path}: {problem}. "
            + ("Train it again with a lower lr." if dtype is None else "Store it in torch.float32.")
        )
    facts = {"classes": network.classes, "head_trained": network.head_trained}
    return write_tensors(path, tensors, {**card, "format": FORMAT, "network": network.spec, **facts})


@checked
def load_checkpoint(
    path: str | Path, device: str | torch.device = "cpu", *, format: str = FORMAT, **published: Any
) -> Network:
    """Rebuild the network of a checkpoint, in eval mode, float32.

    format: the kit's own, or "repdistiller" or "torchvision" for a published .pth file; then `published` may
    hold model, num_classes and projection, which such a file does not state (see `pth_import.load_pth`).

    The network is returned whole or not at all: raises FileNotFoundError, or CheckpointError if the file is
    cut short, changed, of another kind, or does not fit its card; ValueError for an unknown format or model.
    """
    if format != FORMAT:
        return load_pth(path, format, **published).to(device)
    if published:
        raise ValueError(
            f"{', '.join(published)} is for files of others; the kit's own state it. Leave it out, or name "
            'the format of the file, such as format="repdistiller".'
        )
    tensors, card = _read(path)
    if card.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of this kit's networks (its card says format "
            f"{card.get('format')!r}, expected {FORMAT!r}). Load a file that train_teacher, train_head or "
            "distill wrote."
        )
    try:
        blank = [0.0] * card["network"]["in_channels"]
        network = build_network(card["network"], mean=blank, std=blank)
        network.classes = _names(card.get("classes"), card["network"]["num_classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the card of {path} describes no network that this version of the kit can make: {error} "
            "Update the kit, or train the network again."
        ) from error
    if misfit := explain_misfit(network.state_dict(), tensors):
        raise CheckpointError(
            f"{path} does not fit the {card['network']['model']} its card names: {misfit}. Nothing was "
            "loaded; train it again or fetch the file again."
        )
    network.load_state_dict(tensors)  # copies into float32 parameters
    # Files of versions before 0.2 do not state it: the command teacher left the head as it was drawn.
    network.head_trained = bool(card.get("head_trained", card.get("kind") != "teacher"))
    return network.eval().to(device)


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card of a checkpoint without its weights, which are not checked then."""
    return _read(path, only_card=True)[1]


def _read(path: str | Path, only_card: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a checkpoint's tensors and card; a file of another kind is refused with its name."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(explain_folder(path, "checkpoint", ".safetensors"))
    if other := explain_other_kind(path):
        raise CheckpointError(other)
    return read_tensors(path, only_card)


def _names(classes: Any, count: int) -> tuple[str, ...] | None:
    """Return the names of a card's classes, None without them. Raises ValueError for what cannot be names."""
    if classes is None:
        return None
    if not isinstance(classes, list) or len(classes) != count or not all(isinstance(c, str) for c in classes):
        raise ValueError(f"{count} classes have the names {classes!r}.")
    return tuple(classes)
