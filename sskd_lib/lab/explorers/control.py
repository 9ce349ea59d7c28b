"""A control of an explorer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Control:
    """One setting of an explorer, chosen by a slider through the options or from a list of them."""

    label: str
    options: tuple[tuple[str, Any], ...]  # (text, value)
    start: Any
    slider: bool = True


def widths(controls: Iterable[Control]) -> tuple[int, int]:
    """Return the letters of the longest label, and of the longest option that a slider shows beside it."""
    controls = list(controls)
    options = (text for control in controls if control.slider for text, _ in control.options)
    return max(len(control.label) for control in controls), max(map(len, options), default=0)
