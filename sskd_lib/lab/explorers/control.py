"""A control of an explorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Control:
    """One setting of an explorer, chosen by a slider through the options or from a list of them."""

    label: str
    options: tuple[tuple[str, Any], ...]  # (text, value)
    start: Any
    slider: bool = True
