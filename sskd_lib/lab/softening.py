"""Softened outputs in numpy: their entropy, the gradient on the student, and names of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arguments import as_numbers
from .style import styles


def soft(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Soften logits, p = softmax(z / τ) over the last axis, in float64: the equation of `losses.soften`."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    grown = np.exp(scaled - scaled.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def entropy_bits(p: np.ndarray) -> np.ndarray:
    """Return the entropy of probabilities in bits, H = -Σ p log₂ p, over the last axis."""
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)


def kd_gradient(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    """Return the gradient of τ² KL(teacher ‖ student) on one image's student logits: τ (p_s - p_t)."""
    return temperature * (soft(student, temperature) - soft(teacher, temperature))


def percent(p: float) -> str:
    """Return a probability in words."""
    return f"{100 * p:.1f} %" if p >= 0.0005 else "< 0.1 %"


def ranked(p: np.ndarray, classes: tuple[str, ...], count: int) -> str:
    """Return the classes of highest probability, p float [K], with their percentages."""
    return ", ".join(f"{classes[k]} {percent(p[k])}" for k in np.argsort(-p, kind="stable")[:count])


def even_above(value: float) -> float:
    """Return the least of …, 0.8, 1, 2, 4, 6, 8, 10, 20, … that is not below the value: the end of an axis.

    >>> even_above(0.33), even_above(4.0)
    (0.4, 4.0)
    """
    unit = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    steps = (unit * step for step in (1, 2, 4, 6, 8, 10))
    return float(next(round(step, 9) for step in steps if step >= 0.999999 * value))


def by_name(role: str, logits: Any) -> dict[str, np.ndarray]:
    """Return the logits of one network or several, in float64, by name. Raises as `as_numbers` does."""
    if logits is None:
        return {}
    several = logits if isinstance(logits, Mapping) else {role: logits}
    return {name: as_numbers(f"{role}_logits", z) for name, z in several.items()}


def display_name(role: str, name: str) -> str:
    """Return a network's name on the page: a method's label, else the name itself."""
    return role if name == role else styles([name])[name].label
