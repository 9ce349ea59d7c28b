"""Images by the million, streamed from memory-mapped uint8 files that `make_shards` (sharding.py) wrote.

A set of shards is a folder: train-00000.npy, test-00000.npy, …, each uint8 [n, 3, side, side]; the labels in
train-labels.npy and test-labels.npy; and card.json with the classes and the sha256 of every finished shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FORMAT = "sskd-kit-shards-1"
SPLITS = ("train", "test")
AGAIN = "Run `python -m sskd_lib shards` again with the same folders: it makes what is missing."
ANEW = "Choose another output folder, or delete this one to have it made anew."


class Shards:
    """Images uint8 [M, 3, side, side] in memory-mapped files, read where a Tensor of them would be indexed.

    An index (int, slice, int64 or bool tensor) gives a Tensor in memory, a copy. Files are opened when they
    are first read. Raises FileNotFoundError or ValueError if one is missing, damaged or another one by then.
    """

    dtype = torch.uint8
    device = torch.device("cpu")

    def __init__(self, files: list[tuple[Path, int, str]], side: int, rows: Tensor | None = None) -> None:
        """files: (path, images, sha256) each; rows: int64 [M], which of all their images, in order."""
        self._files, self._side = files, side
        self._image_bytes = 3 * side * side
        self._ends = np.cumsum([images for _, images, _ in files])
        self._rows = torch.arange(int(self._ends[-1])) if rows is None else rows
        self._maps: dict[int, np.ndarray] = {}

    @property
    def shape(self) -> torch.Size:
        """[M, 3, side, side]."""
        return torch.Size((len(self), 3, self._side, self._side))

    def dim(self) -> int:
        """4, as for a Tensor of images."""
        return 4

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Shards({list(self.shape)} in {len(self._files)} files)"

    def __getitem__(self, index: int | slice | Tensor) -> Tensor:
        chosen = self._rows[index]
        flat = chosen.reshape(-1).numpy()
        shards = np.searchsorted(self._ends, flat, side="right")
        rows = flat - self._ends[shards]  # negative: counted from the shard's end
        places = list(zip(shards.tolist(), rows.tolist(), strict=True))
        for shard, row in places:
            self._announce(shard, row)
        images = np.empty((len(flat), *self.shape[1:]), np.uint8)
        for position, (shard, row) in enumerate(places):
            images[position] = self._open(shard)[row]  # by NumPy: torch's threads are for those who train
        return torch.from_numpy(images).view(*chosen.shape, *self.shape[1:])

    def _open(self, shard: int) -> np.ndarray:
        if shard not in self._maps:
            path, images, _ = self._files[shard]
            start = pixels_start(path, images, self._side)
            size = start + images * self._image_bytes
            # torch.from_file maps without keeping the file open, as NumPy would: a process may have too few.
            mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
            self._maps[shard] = mapped[start:].view(images, *self.shape[1:]).numpy()
        return self._maps[shard]

    def _announce(self, shard: int, row: int) -> None:
        """Let the system fetch an image now; a batch from a cold disk then takes a third of the time."""
        if hasattr(os, "posix_fadvise"):  # Linux
            path, images, _ = self._files[shard]
            self._open(shard)  # says what is wrong with the file
            handle = os.open(path, os.O_RDONLY)
            start = os.fstat(handle).st_size + row * self._image_bytes
            os.posix_fadvise(handle, start, self._image_bytes, os.POSIX_FADV_WILLNEED)
            os.close(handle)

    def split(self, size: int) -> Iterator[Tensor]:
        """Iterator of the images in order, uint8 [size, 3, side, side] at a time; the last may be fewer."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def select(self, index: Tensor) -> Shards:
        """The images of an int64 or bool index, still on disk."""
        return Shards(self._files, self._side, self._rows[index])

    def to(self, device: torch.device | str) -> Shards:
        """Itself: the images stay on disk, and each batch moves by itself."""
        return self

    def sha256(self) -> str:
        """A hash (hex) of the shards' hashes in the card and the selection of images; reads no pixel."""
        digest = hashlib.sha256(repr([(images, sha256) for _, images, sha256 in self._files]).encode())
        digest.update(self._rows.numpy().astype("<i8"))
        return digest.hexdigest()


def open_shards(out: str | Path, split: str) -> tuple[Shards, Tensor, tuple[str, ...]]:
    """(images, labels int64 [M], classes) of a split that `make_shards` wrote.

    Raises FileNotFoundError if there is no such set or a file of it is missing; ValueError for another split
    than train and test, or if the set is unfinished or a file is damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; the splits are 'train' and 'test'.")
    out = Path(out).expanduser()
    card = read_card(out)
    if card is None:
        raise FileNotFoundError(
            f"{out} holds no shards (no card.json). Make them first: "
            f"python -m sskd_lib shards --folder FOLDER --out {out}"
        )
    parts, side = pieces(card, split), card["side"]
    if missing := [name for name, _, _ in parts if name not in card["shards"]]:
        raise ValueError(
            f"{out} is unfinished: {len(missing)} of {len(parts)} {split} shards are missing. {AGAIN}"
        )
    for name, start, stop in parts:
        pixels_start(out / name, stop - start, side)
    left_out = [start + row for name, start, _ in parts for row, _ in card["shards"][name]["left_out"]]
    rows = np.setdiff1d(np.arange(card[split]["images"]), left_out)
    labels = _read_labels(out / f"{split}-labels.npy", card[split]["labels"])[rows]
    files = [(out / name, stop - start, card["shards"][name]["sha256"]) for name, start, stop in parts]
    return Shards(files, side, torch.from_numpy(rows)), torch.from_numpy(labels), tuple(card["classes"])


def _read_labels(path: Path, sha256: str) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"the labels {path} are missing. {AGAIN}")
    content = path.read_bytes()
    if (found := sha256_of(content)) != sha256:
        raise ValueError(f"{path} is damaged: its sha256 is {found}, the card says {sha256}. {AGAIN}")
    return np.load(io.BytesIO(content), allow_pickle=False)


# ---- the format ---------------------------------------------------------------------------------


def pieces(card: dict[str, Any], split: str) -> list[tuple[str, int, int]]:
    """(file name, first image, last image + 1) of every shard of a split."""
    total, step = card[split]["images"], card["images_a_shard"]
    starts = range(0, total, step)
    return [(f"{split}-{i:05d}.npy", start, min(start + step, total)) for i, start in enumerate(starts)]


def sha256_of(content: Any) -> str:
    """sha256 (hex) of a text or of bytes."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()


def npy_header(images: int, side: int) -> bytes:
    """How a shard's .npy file begins."""
    file = io.BytesIO()
    shape = (images, 3, side, side)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def shard_bytes(images: int, side: int) -> int:
    """The size of a shard's file."""
    return len(npy_header(images, side)) + images * 3 * side * side


def pixels_start(path: Path, images: int, side: int) -> int:
    """The byte at which a shard's pixels begin. Raises FileNotFoundError or ValueError if it is not whole."""
    if not path.is_file():
        raise FileNotFoundError(f"the shard {path} is missing. {AGAIN}")
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
    except ValueError as error:
        raise ValueError(f"{path} is damaged or no shard at all ({error}). {AGAIN}") from error
    if shape != (images, 3, side, side) or dtype != np.uint8:
        expected = f"uint8 {[images, 3, side, side]}"
        raise ValueError(f"{path} holds {dtype} {list(shape)}, but its card says {expected}. {AGAIN}")
    if (size := path.stat().st_size) != (expected := start + images * 3 * side * side):
        raise ValueError(f"{path} is damaged: it has {size} bytes instead of {expected}. {AGAIN}")
    return start


def read_card(out: Path) -> dict[str, Any] | None:
    """The card of the set in `out`, None if there is none. Raises ValueError if it cannot be used."""
    path = out / "card.json"
    if not path.exists():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        found, _ = card["format"], card.get("shards", {})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the card of a set of shards ({error!r}). {ANEW}") from error
    if found != FORMAT:
        raise ValueError(f"{path} has the format {found!r}, not {FORMAT!r} of this version. {ANEW}")
    return card
