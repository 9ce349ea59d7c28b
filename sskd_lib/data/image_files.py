"""Image files: which kinds can be read, and how one is decoded to a square of pixels."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = {
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif",
    ".tiff", ".webp",
}  # fmt: skip
KINDS = "PNG, JPEG, WebP, TIFF, GIF, BMP, PGM, PPM"  # the same in a message
LEAST = 1 / 16  # of the whole scale: what the brightest pixel of a deep image reaches at least


class UnreadableImage(ValueError):
    """The content of an image file cannot be decoded."""


class WrongScale(ValueError):
    """The numbers in an image file are not on the scale of their kind."""


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """Return the suffixes of images that can be read: those of SUFFIXES that this Pillow was built for."""
    from PIL import Image

    return frozenset(SUFFIXES & set(Image.registered_extensions()))


def decode_image(file: Path, size: int) -> np.ndarray:
    """Decode an image file to RGB, uint8 [3, size, size]: upright, white where it is transparent.

    The shorter side is resized to `size`, and the middle square is cut out. White is 255 in images of 8 bits,
    65535 in those of more, and 1 in those of floats.
    Raises UnreadableImage, from the decoder's error, if the content cannot be read; WrongScale if the numbers
    are not on that scale; OSError if the file cannot be opened.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.draft(None, (4 * size, 4 * size))  # lets a large JPEG be read at a fraction of its size
            raw = str(image.tile[:1])
            image = _to_rgb(file, ImageOps.exif_transpose(image), deep=bool(re.search(";16[BLN]", raw)))
            if image.size != (size, size):
                image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
            return np.asarray(image).transpose(2, 0, 1)
    except WrongScale:
        raise
    except Exception as error:  # image files are broken in many ways
        if isinstance(error, OSError) and error.errno:  # it is not the content
            raise OSError(f"cannot open the image {file}: {error.strerror}.") from error
        raise UnreadableImage(f"cannot read the image {file} ({error}). Delete it or replace it.") from error


def _to_rgb(file: Path, image: PIL.Image.Image, deep: bool) -> PIL.Image.Image:
    """Convert a picture of any mode to RGB with 8 bits; deep: it has 16 bits in the file."""
    from PIL import Image

    if image.mode == "F":
        values = 255 * _check_scale(file, np.asarray(image), 1)
        image = Image.fromarray(values.round().astype(np.uint8))
    elif image.mode.startswith("I"):
        values = _check_scale(file, np.asarray(image), 65535)
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif deep:  # a colour, of which Pillow keeps the upper 8 bits
        _check_scale(file, 256 * np.asarray(image)[..., :3].astype(np.int32) + 255, 65535)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _check_scale(file: Path, values: np.ndarray, white: int) -> np.ndarray:
    """Return the values. Raises WrongScale if one is outside 0 .. white, or all are near black."""
    low, high = values.min(), values.max()
    kind = "floats" if white == 1 else "more than 8 bits"
    if not (low >= 0 and high <= white):
        fault = f"values from {low:.6g} to {high:.6g}"
    elif 0 < high < LEAST * white:
        fault = f"no value above {high:.6g}, so it would be almost black"
    else:
        return values
    raise WrongScale(
        f"the image {file} has {fault}: in images of {kind}, 0 is black and {white} is white. Bring all "
        "images of the folder to one scale, for example as PNG with 8 bits (0 to 255)."
    )
