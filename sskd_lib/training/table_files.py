"""The files of a teacher table, written so that a killed writer goes on where it stopped.

    card.json           what the table is, and how many images are done
    index.safetensors   keys [M], a hash of each image's pixels; the draws: flip [M, K], corner [M, K, 4, 2]
    logits.npy          [M, 4K, classes]
    projection.npy      [M, 4K, D], if the teacher has a head

Outputs are flushed to the disk before the card counts them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from ..files import CheckpointError, differences, explained, read_tensors, write_atomically, write_tensors

FORMAT = "sskd-kit-table-2"
CARD, INDEX = "card.json", "index.safetensors"
HASHED = 1024  # images in memory at a time


def hash_pixels(images: Tensor) -> Tensor:
    """Return the first 8 bytes of the SHA-256 of each image's pixels: uint8 [M, C, H, W] → int64 [M].

    Two different images of a million share a key with a chance of 3 in 10⁸.
    """
    chunks = (images[start : start + HASHED].cpu().contiguous() for start in range(0, len(images), HASHED))
    keys = b"".join(hashlib.sha256(image).digest()[:8] for chunk in chunks for image in chunk.numpy())
    return torch.from_numpy(np.frombuffer(keys, dtype="<i8").astype(np.int64))


def read_card(folder: Path, plan: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the card of the table in a folder, finished or not; None where there is nothing yet.

    Raises ValueError for a folder with other content, and for another table than the planned one.
    """
    if not folder.exists() or (folder.is_dir() and all(p.name.startswith(".") for p in folder.iterdir())):
        return None
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        readable = card["format"] == FORMAT and "done" in card
    except (OSError, ValueError, KeyError, TypeError):
        readable = False
    if not readable:
        raise ValueError(
            f"{folder} is no teacher table that this version of the kit can read: {CARD} is missing, damaged "
            f"or not of the format {FORMAT}. Nothing was changed. Choose another folder, or delete this one "
            "and call cache_teacher."
        )
    if plan and (names := differences({name: card.get(name) for name in plan}, plan)):
        raise ValueError(
            f"{folder} holds another table; what differs: {', '.join(names)}. Nothing was changed. Choose "
            "another folder or delete this one. To use it as it is, also for some of its images: open_table."
        )
    return card


def write_card(folder: Path, card: dict[str, Any], done: int) -> None:
    """Write the card of a table of which `done` images are finished."""
    text = json.dumps(card | {"format": FORMAT, "done": done}, indent=1)
    write_atomically(folder / CARD, f"{text}\n".encode())


def create(folder: Path, card: dict[str, Any], index: dict[str, Tensor]) -> None:
    """Write the files of a table of which nothing is done: card, index, and room for the outputs."""
    write_card(folder, card, 0)
    write_tensors(folder / INDEX, index, {"pixels": card["pixels"]})
    with explained(folder):
        for name, shape in _shapes(card).items():
            open_memmap(folder / name, "w+", card["dtype"], shape)
            if hasattr(os, "posix_fallocate"):  # a full disk is an error now, and not in the middle
                with open(folder / name, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def read_index(folder: Path, card: dict[str, Any]) -> dict[str, Tensor]:
    """Read the images' keys and the draws of a table. Raises ValueError if they are damaged."""
    try:
        index, origin = read_tensors(folder / INDEX)
    except (CheckpointError, FileNotFoundError) as error:
        raise ValueError(_damaged(folder, f"{INDEX} is missing or cannot be read")) from error
    if origin != {"pixels": card["pixels"]}:
        raise ValueError(_damaged(folder, f"{INDEX} and {CARD} are of two different tables"))
    return index


def map_outputs(folder: Path, card: dict[str, Any], mode: Literal["r", "r+"]) -> list[np.memmap]:
    """Map logits and, if there are any, projections into memory. Raises ValueError for a damaged file."""
    arrays = []
    for name, shape in _shapes(card).items():
        try:
            array = open_memmap(folder / name, "r")  # "r+" would lengthen a short file
            fits = (array.shape, array.dtype.name) == (shape, card["dtype"])
        except (OSError, ValueError):
            fits = False
        if not fits:
            raise ValueError(_damaged(folder, f"{name} is missing, cut short or of another shape"))
        arrays.append(array if mode == "r" else open_memmap(folder / name, mode))
    return arrays


def store(array: np.ndarray, part: slice, output: Tensor) -> None:
    """Round outputs to an array's number format and put them into it.

    Raises ValueError where a number does not fit.
    """
    array[part] = output.to(getattr(torch, array.dtype.name)).cpu().numpy()
    if not np.isfinite(array[part]).all():
        raise ValueError(
            f"an output of the teacher is no finite number in {array.dtype}: the largest is "
            f"{output.abs().max():g}. Check the teacher with evaluate; if it is sound, store float32."
        )


def _shapes(card: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    widths = {"logits.npy": card["classes"], "projection.npy": card["width"]}
    return {name: (card["images"], 4 * card["draws"], width) for name, width in widths.items() if width}


def _damaged(folder: Path, what: str) -> str:
    return (
        f"the teacher table in {folder} is damaged: {what}. Nothing was changed. Delete the folder and make "
        "the table again with cache_teacher."
    )
