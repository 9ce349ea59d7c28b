"""What the temperature explorer computes: softened outputs, their entropy, and the pull on the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..style import styles


def soft(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature, p = softmax(z / T), in numpy float64: what `soften` computes."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    grown = np.exp(scaled - scaled.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def entropy_bits(p: np.ndarray) -> np.ndarray:
    """Entropy of probabilities in bits, H = -Σ p log₂ p, over the last axis."""
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)


def kd_gradient(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    """Gradient of T² KL(teacher ‖ student) on each student logit of one image: T (p_student - p_teacher)."""
    return temperature * (soft(student, temperature) - soft(teacher, temperature))


def even_above(value: float) -> float:
    """The least of …, 0.8, 1, 2, 4, 6, 8, 10, 20, … that is not below the value: the end of an axis.

    >>> even_above(0.33), even_above(4.0)
    (0.4, 4.0)
    """
    unit = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    return float(
        next(round(unit * step, 9) for step in (1, 2, 4, 6, 8, 10) if unit * step >= 0.999999 * value)
    )


def by_name(who: str, logits: Any) -> dict[str, np.ndarray]:
    """Logits of one network or several, in float64, by name."""
    if logits is None:
        return {}
    several = logits if isinstance(logits, Mapping) else {who: logits}
    return {name: np.asarray(z, dtype=np.float64) for name, z in several.items()}


def called(who: str, name: str) -> str:
    """What a network is called on the page: a method's label, else its own name."""
    return who if name == who else styles([name])[name].label
