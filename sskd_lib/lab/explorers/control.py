"""A control of an explorer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ...files import did_you_mean

LISTED = 8  # values that a message names at most, beside the first and the last


@dataclass(frozen=True, kw_only=True)
class Control:
    """One setting of an explorer, chosen by a slider through the options or from a list of them."""

    label: str
    options: tuple[tuple[str, Any], ...]  # (text, value)
    start: Any
    slider: bool = True

    def choose(self, name: str, value: Any) -> Any:
        """Return the option that equals a value.

        name: how the caller names this control. Raises ValueError for a value that is not among the options.
        """
        values = [option for _, option in self.options]
        if isinstance(value, (str, Real)) and not isinstance(value, bool):
            for option in values:
                if option == value:
                    return option
        texts = [option for option in values if isinstance(option, str)]
        hint = did_you_mean(value, texts) if isinstance(value, str) else ""
        hint = hint or (_near(value, values) if self.slider else "")
        shown = [repr(option) for option in values]
        if len(shown) > LISTED + 2:
            shown = [*shown[:LISTED], "…", shown[-1]]
        raise ValueError(
            f"{name}={value!r} is not a value of the control {self.label!r}.{hint} Its values "
            f"are: {', '.join(shown)}."
        )


def _near(value: Any, values: Iterable[Any]) -> str:
    """Return a question that suggests the number nearest to a value; "" without one."""
    numbers = [option for option in values if isinstance(option, Real)]
    try:
        distances = [abs(float(value) - option) for option in numbers]
    except (TypeError, ValueError):
        return ""
    if not distances or not math.isfinite(min(distances)):
        return ""
    return f" Did you mean {numbers[distances.index(min(distances))]!r}?"


def widths(controls: Iterable[Control]) -> tuple[int, int]:
    """Return the letters of the longest label, and of the longest option that a slider shows beside it."""
    controls = list(controls)
    options = (text for control in controls if control.slider for text, _ in control.options)
    return max(len(control.label) for control in controls), max(map(len, options), default=0)
