"""Checks of what an explorer is made from: arrays of numbers, labels, names, and single numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import torch

from ..data.checks import describe


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Return an array of any kind as float64, off the graph and off the GPU.

    Raises TypeError for what is no array of numbers, ValueError for NaN and infinite ones.
    """
    try:
        array = torch.as_tensor(values).detach().cpu().double().numpy()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"{name} is an array of numbers, of torch or numpy, not {describe(values)}."
        ) from None
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} has numbers that are NaN or infinite, so no picture can be drawn. Take the outputs of a "
            "network whose training did not diverge."
        )
    return array


def as_labels(name: str, values: Any, classes: int) -> np.ndarray:
    """Return class numbers as int64 [M].

    Raises TypeError for what is no array of numbers, ValueError unless all are whole, from 0 to classes - 1.
    """
    labels = as_numbers(name, values)
    if labels.size and not ((labels % 1 == 0) & (labels >= 0) & (labels < classes)).all():
        raise ValueError(
            f"{name} are class numbers from 0 to {classes - 1}, whole ones, but these run from "
            f"{labels.min():g} to {labels.max():g}{'' if (labels % 1 == 0).all() else ', with fractions'}."
        )
    return labels.astype(np.int64)


def as_names(name: str, values: Any) -> tuple[str, ...]:
    """Return a list of names as a tuple. Raises TypeError for anything else, such as a single name."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is a list of names, not {describe(values)}.")
    names = tuple(values)
    if not all(isinstance(each, str) for each in names):
        raise TypeError(f"{name} is a list of names, and each is a string; this is {describe(values)}.")
    return names


def as_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a single number as a float.

    Raises TypeError for what is no number, ValueError for NaN, infinity and a number below low or above high.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is a number, not {value!r}.")
    if not (math.isfinite(value) and low <= value <= high):
        span = f"from {low:g} to {high:g}" if math.isfinite(low) else "and finite"
        raise ValueError(f"{name} is a number {span}, not {value!r}.")
    return float(value)


def as_temperature(value: Any) -> float:
    """Return a temperature as a float. Raises as `as_number` does, and for one that is not above 0."""
    if isinstance(value, Real) and not 0 < value < math.inf:
        raise ValueError(f"a temperature must be above 0 and finite, not {value!r}.")
    return as_number("a temperature", value)


def as_choice(name: str, values: Any, count: int) -> list[int]:
    """Return numbers of images, from 0 to count - 1, as a list. Raises ValueError for others and for none."""
    listed = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else []
    whole = [int(i) for i in listed if hasattr(i, "__index__") and not isinstance(i, bool) and 0 <= i < count]
    if not whole or len(whole) < len(listed):
        raise ValueError(f"{name} lists images from 0 to {count - 1}, at least one, but it is {values!r}.")
    return whole
