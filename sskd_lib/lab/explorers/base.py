"""What all explorers share: controls, a picture, a line of words, and how they come onto a page.

An explorer computes from numbers that were made before; no network runs when a control moves. It has

    frame(**state) -> PNG bytes        the picture for one setting of the controls
    describe(**state) -> str           the same in words

Under a live kernel these feed sliders; in a committed notebook the same frames make one static filmstrip,
on a page of HTML a twin that moves without a kernel (page.py), and on paper a figure (`Explorer.save`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..canvas import Canvas, filmstrip
from ..show import on_a_page, show_png, static_reason
from .hover import Spot
from .live import OPEN, Live

FONT = {"fontsize": 11, "fontfamily": "DejaVu Sans", "color": "#1A1A1A"}


@dataclass(frozen=True, kw_only=True)
class Control:
    """One thing to take hold of: a slider through the options, or a list of them."""

    label: str
    options: tuple[tuple[str, Any], ...]  # (text shown, value)
    start: Any
    slider: bool = True


class Explorer:
    """Base of the explorers. Fill in key, controls, film and canvas; write update and describe."""

    key: str  # one explorer of a key is open at a time: running a cell again replaces its explorer
    controls: dict[str, Control]
    film: tuple[dict[str, Any], ...]  # the settings a static page shows
    canvas: Canvas
    live: Live | None = None
    actions: dict[str, Callable[[], None]] = {}  # buttons under a live kernel: label → what it does
    cards: np.ndarray | None = None  # uint8 [n, H, W, 3]: images that spots may show
    on_pages: tuple[str, ...] | None = None  # controls that move without a kernel; None: all of them

    def update(self, **state: Any) -> None:
        """Bring the artists on the canvas to this state."""
        raise NotImplementedError

    def describe(self, **state: Any) -> str:
        """Say the state in words."""
        raise NotImplementedError

    def spots(self, **state: Any) -> list[Spot]:
        """Places of this state's picture that answer when pointed at."""
        return []

    def close(self) -> None:
        """Stop what an action has started; called when the cell is run again."""

    def start(self) -> dict[str, Any]:
        """The value each control starts from."""
        return {name: control.start for name, control in self.controls.items()}

    def frame(self, **state: Any) -> bytes:
        """Draw one state and return it as PNG bytes; what is not named stands at its start."""
        with self.canvas.lock:
            self.update(**{**self.start(), **state})
            return self.canvas.png()

    def save(self, path: str | Path, **state: Any) -> Path:
        """Write one state for print, with its words below: 300 dots an inch, PNG or PDF by the file's name.

        Raises ValueError for another ending, OSError if the file cannot be written.
        """
        from ..printing import save_print

        state = {**self.start(), **state}
        with self.canvas.lock:
            self.update(**state)
            return save_print(Path(path), self.canvas, self.describe(**state))

    @property
    def mark(self) -> str:
        """The key as a name in HTML."""
        return f"sskd-{re.sub('[^a-z0-9]+', '-', self.key.lower())}"

    def present(self) -> Explorer:
        """Come onto the page: live with sliders where that works, else as a filmstrip."""
        from IPython.display import display

        reason = static_reason()
        if on_a_page():
            from .page import explorer_html

            display({"text/html": explorer_html(self), "text/plain": self.describe()}, raw=True)
        elif reason is None:
            if self.key in OPEN:
                OPEN.pop(self.key).close()
            self.live = OPEN[self.key] = Live(self)
            display(self.live.bundle(), raw=True)
        else:
            show_png(
                filmstrip([self.frame(**state) for state in self.film]),
                alt=" ".join(f"Picture {i}: {self.describe(**s)}" for i, s in enumerate(self.film, start=1)),
            )
            print(f"Static pictures, because {reason}. Run this cell in JupyterLab to move the sliders.")
        return self

    def _ipython_display_(self) -> None:
        """Nothing: it is on the page already, also when the call is the last line of a cell."""
