"""Folders of small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def save_image(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    """Write an image file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def noise(seed: int, side: int = 32) -> np.ndarray:
    """Return a colour image of noise, uint8 [side, side, 3]."""
    return np.random.RandomState(seed).randint(0, 256, (side, side, 3), dtype=np.uint8)


def shade(label: int, index: int, test: bool = False) -> int:
    """Return a grey level that no other image of `shaded_folder` has."""
    return 80 * label + index + 40 * test


def shaded_folder(folder: Path) -> Path:
    """Make train/ with ten, val/ with four images of each of three classes, all of one shade each."""
    for label, name in enumerate("abc"):
        for level, count in (("train", 10), ("val", 4)):
            for index in range(count):
                pixels = np.full((9, 11), shade(label, index, level == "val"), np.uint8)
                save_image(folder / level / name / f"{index}.png", pixels)
    return folder
