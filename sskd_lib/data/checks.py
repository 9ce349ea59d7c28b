"""Checks of images and labels that are given as tensors: what does not fit, and how to convert it."""

from __future__ import annotations

import operator
import os
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LOAD = "Load images first: load_images('cifar10'), load_images('folder:PATH')."


def describe(value: Any) -> str:
    """Return what a value is, for a message: its kind, and the dtype and shape of an array."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a numpy array {value.dtype} {list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) < 60 else f"an object of type {type(value).__name__}"


def check_pixels(images: Any) -> None:
    """Raise TypeError or ValueError unless images are a tensor uint8 [M, C, H, H], C = 1 or 3, M > 0."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a torch tensor, uint8 [M, C, H, W]; this is {describe(images)}. "
            f"{_to_tensor(images)}"
        )
    shape = list(images.shape)
    if images.dtype != torch.uint8:
        remedy = (
            "From floats 0 to 1: (255 * images).round().to(torch.uint8)."
            if images.is_floating_point()
            else "If they run from 0 to 255: images.to(torch.uint8)."
        )
        raise ValueError(f"images must be uint8 [M, C, H, W]; these are {describe(images)}. {remedy}")
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3]:
        raise ValueError(
            "images must be uint8 [M, C, H, W], square, with C = 1 (grey) or 3 (colour); these are "
            f"{describe(images)}.{_to_shape(shape)}"
        )
    if not shape[0] or not shape[2]:
        raise ValueError(f"the image set is empty ({describe(images)}); it needs at least one image.")


def _to_tensor(images: Any) -> str:
    """Say how to make a tensor of arrays or pictures."""
    if isinstance(images, np.ndarray):
        channels_last = images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3)
        change = ".permute(0, 3, 1, 2)" if channels_last else "[:, None]" if images.ndim == 3 else ""
        scale = "" if images.dtype == np.uint8 else ", of values from 0 to 255 as uint8"
        return f"Convert it: torch.from_numpy(images){change}{scale}."
    if isinstance(images, (list, tuple)) and images and isinstance(images[0], Tensor):
        return "Convert it: torch.stack(images)."
    if isinstance(images, (list, tuple)):
        return (
            "Convert it: torch.from_numpy(np.stack([np.asarray(image) for image in images])), and for colour "
            ".permute(0, 3, 1, 2), for grey [:, None]."
        )
    return LOAD


def _to_shape(shape: list[int]) -> str:
    """Say how to bring a uint8 tensor into the right shape, where that is plain to see."""
    if len(shape) == 3:
        return " Grey images: images[:, None]; a single colour image: images[None]."
    if len(shape) != 4:
        return ""
    if shape[1] not in (1, 3) and shape[3] in (1, 3):
        return " The channels come second: images.permute(0, 3, 1, 2)."
    if 4 in (shape[1], shape[3]):
        return " Leave out the fourth channel, the transparency."
    return " Cut out the middle or resize them first." if shape[2] != shape[3] else ""


def check_labels(labels: Any, count: int, classes: Any) -> None:
    """Raise TypeError or ValueError unless labels are a tensor int64 [count] in 0 .. K-1, classes K names."""
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        names = "range(classes)" if isinstance(classes, int) else "classes"
        raise ValueError(
            f"classes must be a tuple of names, one for each class; this is {describe(classes)}. "
            f"Convert it: tuple(map(str, {names}))."
        )
    expected = f"labels must be a torch tensor, int64 [{count}], one number for each image"
    if not isinstance(labels, Tensor):
        make = "torch.from_numpy(labels)" if isinstance(labels, np.ndarray) else "torch.tensor(labels)"
        raise TypeError(f"{expected}; this is {describe(labels)}. Convert it: {make}.long().")
    if labels.shape != (count,):
        change = ""
        if labels.dim() == 2 and len(labels) == count:  # one column, or one for each class
            change = " Convert them: " + ("labels[:, 0]." if labels.shape[1] == 1 else "labels.argmax(1).")
        raise ValueError(f"{expected}; these are {describe(labels)}.{change}")
    if labels.dtype != torch.int64:
        raise ValueError(f"{expected}; these are {describe(labels)}. Convert them: labels.long().")
    low, high, last = int(labels.min()), int(labels.max()), len(classes) - 1
    if low < 0 or high > last:
        shifted = low == 1 and high == last + 1
        remedy = "Count from 0: labels - 1." if shifted else "Correct the labels, or name every class."
        raise ValueError(
            f"labels run from {low} to {high}, but {last + 1} classes have the labels 0 to {last}. {remedy}"
        )


def as_path(path: Any) -> Path:
    """Return a path with ~ as the home folder. Raises ValueError for an empty one or another user's home."""
    if not isinstance(path, (str, os.PathLike)) or not str(path).strip():
        raise ValueError(f"a path was expected, for example ~/images or C:/images, but this is {path!r}.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: there is no user of that name; ~/ is your own home folder.") from error


def check_fraction(name: str, value: Any, ends: bool = True) -> None:
    """Raise ValueError unless a value is a number from 0 to 1; ends: 0 and 1 themselves are allowed."""
    number = float(value) if isinstance(value, Real) else -1.0
    if not (0 <= number <= 1 if ends else 0 < number < 1):
        span = "from 0 to 1" if ends else "between 0 and 1"
        raise ValueError(f"{name}: a fraction is expected, a number {span}.")


def whole_number(name: str, value: Any) -> int:
    """Return a value as an int. Raises TypeError, with its name, if it is no whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, for example 10, not {value!r}.") from None


def check_memory(needed: int, purpose: str) -> None:
    """Raise ValueError if this many bytes are more than half of the free memory."""
    import psutil

    free = psutil.virtual_memory().available
    if needed > free / 2:
        raise ValueError(
            f"{purpose} needs {needed / 1e9:.3g} GB of memory, more than half of the {free / 1e9:.3g} GB "
            "that is free. Use fewer or smaller images. A set made by the command `shards` stays on disk."
        )
