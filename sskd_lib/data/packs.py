"""Embedded sets of images: an .npz in data/ with its card, checked by hash and read without pickle."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np


def read_pack(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Read a split of an embedded pack: (images uint8 [M, C, H, H], labels uint8 [M], card).

    The images are an array, or one picture of all of them (see `cut_sheet`).
    Raises FileNotFoundError if the pack or its card is missing, and ValueError if the pack is not the file
    that its card describes, or if Pillow cannot read WebP.
    """
    card_file = path.with_suffix(".json")
    repair = f"Take it back with: git checkout -- data/{path.name}"
    for file in (path, card_file):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing. {repair} data/{card_file.name}")
    card = json.loads(card_file.read_text(encoding="utf-8"))
    content = path.read_bytes()
    expected = card["sha256"]
    if (digest := hashlib.sha256(content).hexdigest()) != expected:
        raise ValueError(f"{path} is damaged: its sha256 is {digest}, its card says {expected}. {repair}")
    with np.load(io.BytesIO(content), allow_pickle=False) as pack:
        labels = pack[f"{split}_labels"]
        if "sheet" in card:
            images = cut_sheet(pack[f"{split}_sheet"].tobytes(), len(labels), **card["sheet"])
        else:
            images = pack[f"{split}_images"]
        return images, labels, card


def cut_sheet(webp: bytes, count: int, *, side: int, step: int) -> np.ndarray:
    """Cut a sheet into its images: uint8 [count, 3, side, side].

    The sheet is a lossless WebP picture of square tiles, row after row, the last row filled up with black.
    Its numbers are grey levels divided by `step`. Every decoder gives the same numbers.
    Raises ValueError if Pillow was built without WebP.
    """
    from PIL import Image, features

    if not features.check("webp"):
        raise ValueError(
            "these images are stored as WebP, which the installed Pillow cannot read. "
            "Install a common build of it: pip install --force-reinstall pillow"
        )
    with Image.open(io.BytesIO(webp)) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    rows, columns = (length // side for length in sheet.shape[:2])
    tiles = sheet.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3)
    return np.multiply(tiles.reshape(-1, 3, side, side)[:count], np.uint8(step), order="C")
