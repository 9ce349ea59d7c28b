"""Contrast of colours by WCAG 2.2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb


def rgb(colour: str) -> tuple[float, ...]:
    """A colour of matplotlib's as numbers from 0 to 255."""
    return tuple(255 * part for part in to_rgb(colour))


def linear(colour: Sequence[float]) -> np.ndarray:
    """Linear RGB in [0, 1] of sRGB from 0 to 255."""
    c = np.asarray(colour, float) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(ink: Sequence[float], ground: Sequence[float]) -> float:
    """Contrast ratio of WCAG 2.2, from 1 to 21, of two colours sRGB from 0 to 255."""
    dark, light = sorted(float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (ink, ground))
    return (light + 0.05) / (dark + 0.05)
