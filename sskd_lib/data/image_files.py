"""Image files: which ones a folder has, in a fixed order, and how one is decoded to a square of pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
LAYOUT = (
    "Expected: one sub-folder of images per class, PATH/cat/1.jpg, or PATH/train/cat/1.jpg with PATH/test."
)
HELD_OUT = 5  # without a test/ level, one image of so many is held out


def list_images(folder: Path) -> tuple[tuple[str, ...], list[Path], np.ndarray, np.ndarray]:
    """List the images of a folder, always in the same order.

    Returns (class names, sorted; M files; labels, int64 [M]; whether it is a test image, bool [M]). Test
    images are those below test/ or, without it, below val/.
    Raises FileNotFoundError if there is no such folder; ValueError if its layout does not fit, the classes of
    train/ and test/ differ, or a class has too few images.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}. {LAYOUT}")
    roots = _roots(folder)
    names = [_sub_folders(root) for root in roots]
    if len(names) == 2 and names[0] != names[1]:
        only = [_some(set(names[0]) - set(names[1])), _some(set(names[1]) - set(names[0]))]
        raise ValueError(
            f"{roots[0]} and {roots[1]} have different classes: "
            f"only in train/: {only[0]}; only in {roots[1].name}/: {only[1]}."
        )
    if len(names[0]) < 2:
        raise ValueError(
            f"{roots[0]} has {len(names[0])} sub-folders; at least two classes are needed. {LAYOUT}"
        )
    files: list[Path] = []
    labels: list[int] = []
    is_test: list[bool] = []
    for root in roots:
        for label, name in enumerate(names[0]):
            images = _image_files(root / name)
            _check_count(root / name, len(images), 1 if len(roots) == 2 else HELD_OUT)
            files += images
            labels += [label] * len(images)
            is_test += [root != roots[0]] * len(images)
    return tuple(names[0]), files, np.array(labels, dtype=np.int64), np.array(is_test, dtype=bool)


def _roots(folder: Path) -> list[Path]:
    """Return the folders above the classes: the training level and the test level, or the folder itself."""
    levels = [name for name in ("train", "test", "val") if _sub_folders(folder / name)]
    if levels and levels[0] != "train":
        raise ValueError(f"{folder} has a {levels[0]}/ level but no train/. {LAYOUT}")
    if levels == ["train"] and (folder / "val").is_dir() and _image_files(folder / "val"):
        raise ValueError(
            f"{folder / 'val'} has images, but not in one sub-folder per class. Sort them into folders "
            "named as those in train/, or move val/ away to have a fifth of train/ held out instead."
        )
    return [folder / name for name in levels[:2]] or [folder]  # with test/ there, val/ is left alone


def _sub_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
    )


def _image_files(folder: Path) -> list[Path]:
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        files += [os.path.join(place, name) for name in names if name[0] != "."]
    return [Path(file) for file in sorted(files) if os.path.splitext(file)[1].lower() in SUFFIXES]


def _check_count(folder: Path, count: int, least: int) -> None:
    if count >= least:
        return
    if least == 1:
        raise ValueError(
            f"{folder} has no image ({', '.join(sorted(SUFFIXES))}); add some or delete the folder."
        )
    raise ValueError(
        f"{folder} has {count} images; every class needs at least {least}, because a fifth of "
        "them is held out for testing. Add images, or make a train/ and a test/ level yourself."
    )


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def decode_image(file: Path, size: int) -> np.ndarray:
    """Decode an image file to RGB, uint8 [3, size, size]: upright, white where it is transparent.

    The shorter side is resized to `size`, and the middle square is cut out.
    Raises ValueError, from the decoder's error, if it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.draft(None, (4 * size, 4 * size))  # lets a large JPEG be read at a fraction of its size
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
            if image.size != (size, size):
                image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
            return np.asarray(image).transpose(2, 0, 1)
    except Exception as error:  # image files are broken in many ways
        raise ValueError(f"cannot read the image {file} ({error}). Delete it or replace it.") from error
