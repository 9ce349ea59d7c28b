"""Sets of images on disk, mapped into memory: the format, its card, and reading.

A set is a folder: train.npy and test.npy, uint8 [n, 3, side, side]; train-labels.npy and test-labels.npy,
int64 [n]; and card.json with the classes, a sha256 of the pixels and, per split, how many images are done.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from ..files import write_atomically
from .checks import as_path

FORMAT, FORMER = "sskd-kit-folder-1", "sskd-kit-shards-1"
AGAIN = "Run `python -m sskd_lib shards` again with the same folders: it makes what is missing."
ELSEWHERE = (
    "Choose another output folder, or delete card.json and the .npy files of this one to make them again."
)

Card = dict[str, Any]
CARD = {"side": int, "classes": list, "train": dict, "test": dict}
PART = {"images": int, "done": int, "source": str, "sha256": str, "grey": bool, "left_out": list}


def open_images(out: str | Path, split: str) -> tuple[Tensor, Tensor, tuple[str, ...], str]:
    """Map a split: (images uint8 [M, 3, side, side], labels int64 [M], classes, sha256 of the images).

    Pixels are read from the file when they are used. What is written into the tensor stays in memory.
    Raises FileNotFoundError if there is no such set or a file of it is missing, and ValueError if the set is
    unfinished, damaged, or of an earlier version.
    """
    out = as_path(out)
    card = read_card(out)
    if card is None:
        what = "it has no card.json" if out.is_dir() else "there is no such folder"
        raise FileNotFoundError(
            f"{out} is no set of images on disk: {what}. Make one first: python -m sskd_lib shards --folder "
            f"FOLDER --out {out}. A folder of images itself is 'folder:PATH'."
        )
    part = card[split]
    if part["done"] < part["images"]:
        raise ValueError(
            f"{out} is unfinished: {part['done']} of {part['images']} {split} images are done. {AGAIN}"
        )
    labels = _read_labels(out / f"{split}-labels.npy", part["images"] - len(part["left_out"]))
    images = torch.from_numpy(map_pixels(out, card, split))[: len(labels)]
    return images, torch.from_numpy(labels), tuple(card["classes"]), part["sha256"]


def map_pixels(out: Path, card: Card, split: str) -> np.ndarray:
    """Map the array of a split, copy on write, and check that it is the one of the card.

    Raises FileNotFoundError if it is missing, ValueError if it is damaged.
    """
    path, expected = out / f"{split}.npy", [card[split]["images"], 3, card["side"], card["side"]]
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {AGAIN}")
    try:
        pixels = open_memmap(path, mode="c")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). {AGAIN}") from error
    if list(pixels.shape) != expected or pixels.dtype != np.uint8:
        content = f"{pixels.dtype} {list(pixels.shape)}"
        raise ValueError(f"{path} has {content}, but its card says uint8 {expected}. {AGAIN}")
    return pixels


def _read_labels(path: Path, count: int) -> np.ndarray:
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is missing or damaged ({error}). {AGAIN}") from error
    if labels.shape != (count,) or labels.dtype != np.int64:
        raise ValueError(f"{path} has {labels.dtype} {list(labels.shape)}, not int64 [{count}]. {AGAIN}")
    return labels


def read_card(out: Path) -> Card | None:
    """Read the card of the set in `out`; None if there is none. Raises ValueError if it cannot be used."""
    path = out / "card.json"
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        name = card["format"]
        for part in (card, card["train"], card["test"]) if name == FORMAT else ():
            for entry, kind in (CARD if part is card else PART).items():
                if not isinstance(part[entry], kind):
                    raise TypeError(f"{entry} is {part[entry]!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the card of a set of images ({error!r}). {ELSEWHERE}") from error
    if name == FORMER:
        raise ValueError(
            f"{out} was written by an earlier version of the command `shards` (train-00000.npy and so on), "
            f"which is no longer read. {ELSEWHERE}"
        )
    if name != FORMAT:
        raise ValueError(f"{path} has the format {name!r}, not {FORMAT!r} of this version. {ELSEWHERE}")
    return card


def _write_if_new(path: Path, content: bytes) -> None:
    """Write a file atomically, unless it has this content: a finished set is not touched."""
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def write_card(out: Path, card: Card) -> None:
    """Write the card of a set."""
    _write_if_new(out / "card.json", (json.dumps(card, indent=1) + "\n").encode())


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write a file of labels."""
    content = io.BytesIO()
    np.save(content, labels, allow_pickle=False)
    _write_if_new(path, content.getvalue())


def write_pixels(path: Path, first: int, pixels: np.ndarray) -> None:
    """Write rows of an array file, from row number `first` on, down to the disk.

    By plain writes: on a full disk they raise OSError, where a write into mapped memory ends the process.
    """
    start = open_memmap(path, mode="r").offset
    with open(path, "r+b") as file:
        file.seek(start + first * pixels[:1].nbytes)
        file.write(pixels.data)
        file.flush()
        os.fsync(file.fileno())


def chain_sha256(sha256: str, pixels: np.ndarray) -> str:
    """Continue a hash by each image: h_i = sha256(h_{i-1}, image_i). A killed conversion goes on with it."""
    digest = bytes.fromhex(sha256)
    for image in pixels:
        step = hashlib.sha256(digest)
        step.update(image)
        digest = step.digest()
    return digest.hex()
