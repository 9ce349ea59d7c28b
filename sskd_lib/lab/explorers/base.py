"""Base of the explorers: controls, a picture, and the same in words.

An explorer computes from numbers that were made before; no network runs when a control moves. It has

    frame(**state) -> PNG bytes        the picture for one setting of the controls
    describe(**state) -> str           the same in words

Under a live kernel these feed sliders (live.py); in a committed notebook the same frames make one static
filmstrip, on a page of HTML a twin that moves without a kernel (page.py), and on paper a figure
(`Explorer.save`). presentation.py chooses among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...files import did_you_mean
from ..canvas import Canvas
from ..printing import save_print
from .control import Control
from .goal import Goal
from .hover import Spot


class Explorer:
    """Base of the explorers: set key, controls, film and canvas; write `update` and `sentences`."""

    key: str  # one explorer of a key is open at a time: running a cell again replaces its explorer
    controls: dict[str, Control]
    film: tuple[dict[str, Any], ...]  # the settings a static page shows
    canvas: Canvas
    goal: Goal | None = None  # a task, which the explorer checks; `present` sets it
    live: Any = None  # its widgets, a live.Live, under a live kernel
    actions: Mapping[str, Callable[[], None]] = MappingProxyType({})  # buttons under a live kernel, by label
    cards: np.ndarray | None = None  # uint8 [n, H, W, 3]: images that spots may show
    on_pages: tuple[str, ...] | None = None  # controls that move without a kernel; None: all of them

    def update(self, **state: Any) -> None:
        """Bring the artists on the canvas to this state, which names every control."""
        raise NotImplementedError

    def sentences(self, **state: Any) -> list[str]:
        """Return this state, which names every control, in words."""
        raise NotImplementedError

    def find_spots(self, **state: Any) -> list[Spot]:
        """Return the places that answer when pointed at, in this state, which names every control."""
        return []

    def close(self) -> None:
        """Stop what an action has started; called when the cell is run again."""

    def start(self) -> dict[str, Any]:
        """Return the value each control starts from."""
        return {name: control.start for name, control in self.controls.items()}

    def complete(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state that names every control; one that is not named has its start.

        Raises ValueError for a name that is no control, and for a value that a control does not have.
        """
        for name in state:
            if name not in self.controls:
                raise ValueError(
                    f"there is no control {name!r}.{did_you_mean(name, self.controls)} The controls of this "
                    f"explorer are: {', '.join(self.controls)}."
                )
        return self.start() | {name: self.controls[name].choose(name, value) for name, value in state.items()}

    def describe(self, **state: Any) -> str:
        """Return one state in words; a control that is not named has its start. Errors: see `complete`."""
        return " ".join(filter(None, self.sentences(**self.complete(state))))

    def task(self, **state: Any) -> str:
        """Return the task, and whether one state, as for `describe`, fulfils it; "" without a task."""
        return "" if self.goal is None else self.goal.words(self.complete(state))

    def spots(self, **state: Any) -> list[Spot]:
        """Return the places that answer when pointed at, in one state as for `describe`."""
        return self.find_spots(**self.complete(state))

    def frame(self, **state: Any) -> bytes:
        """Draw one state, as for `describe`, and return it as PNG bytes."""
        state = self.complete(state)
        with self.canvas.lock:
            self.update(**state)
            return self.canvas.png()

    def save(self, path: str | Path, **state: Any) -> Path:
        """Write one state for print, with its words below: 300 dots an inch, PNG or PDF by the file's name.

        Raises ValueError for another ending and as `complete` does, OSError if the file cannot be written.
        """
        state = self.complete(state)
        with self.canvas.lock:
            self.update(**state)
            return save_print(Path(path).expanduser(), self.canvas, self.describe(**state))

    def width(self, around: int) -> str:
        """Return a CSS width at which the screen has room for controls, picture and so many pixels more."""
        rows, canvas = len(self.controls) // 2 + 1, self.canvas  # two controls per row, and the buttons
        shape = canvas.width / canvas.height
        return f"calc(max(28rem, 100vh - {around + 30 * rows}px) * {shape:.3f})"

    @property
    def mark(self) -> str:
        """The key as a name in HTML."""
        return f"sskd-{re.sub('[^a-z0-9]+', '-', self.key.lower())}"

    def _ipython_display_(self) -> None:
        """Display nothing: `present` already did, also when the call is the last line of a cell."""
