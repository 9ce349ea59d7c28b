"""Checkpoints: safetensors files of a network with a card of JSON, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..files import CheckpointError, read_tensors, write_tensors
from .build import build_network, explain_misfit
from .network import Network
from .pth_import import load_pth

FORMAT = "sskd-kit-1"


def save_checkpoint(
    path: str | Path, network: Network, card: dict[str, Any], dtype: torch.dtype | None = None
) -> Path:
    """Write a network and its card to one file, whole or not at all.

    card: anything JSON can hold (recipe, seed, versions, accuracy, …); the network's spec is added.
    dtype: store floating-point tensors in this type (float16 halves the file; they load as float32).
    Raises OSError, with the older file intact, if the file cannot be written.
    """
    tensors = network.state_dict()
    if dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    return write_tensors(path, tensors, {**card, "format": FORMAT, "network": network.spec})


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
    tensors, card = read_tensors(path)
    if card.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of this kit's networks (its card says format "
            f"{card.get('format')!r}, expected {FORMAT!r}). Load a file that train_teacher, train_head or "
            "distill wrote."
        )
    try:
        blank = [0.0] * card["network"]["in_channels"]
        network = build_network(card["network"], mean=blank, std=blank)
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
    return network.eval().to(device)


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card of a checkpoint without its weights, which are not checked then."""
    return read_tensors(path, only_card=True)[1]
