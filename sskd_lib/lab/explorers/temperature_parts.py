"""Parts of pictures of softened outputs: the scale of an axis, and bars of the pull on the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..canvas import Canvas
from ..softening import even_above
from ..style import FONT, INK

LEFT, WIDE = 675, 245  # pixels
ENDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the axis of outputs


class Scale:
    """Numbers below an axis from 0 to 1, or from -1 to 1, on which 1 stands for `reach`.

    axes: their ticks get no labels of their own; place: pixels of 0, from 0 to 1, and of the numbers' top.
    """

    def __init__(
        self, canvas: Canvas, axes: Axes, ticks: Sequence[float], place: tuple[float, float, float]
    ) -> None:
        zero, one, top = place
        axes.set_xticks(ticks, [""] * len(ticks))
        self.reach, self.ticks = 1.0, ticks
        self.labels = [canvas.words(zero + one * x, top, anchor="ma") for x in ticks]

    def fit(self, reach: float, factor: float = 1, unit: str = "") -> None:
        """Let the axis end at `reach`, written as so many times the number, with a unit at the end."""
        self.reach = reach
        for words, x in zip(self.labels, self.ticks, strict=True):
            words.text = f"{factor * reach * x:g}{unit * (x == 1)}"


def output_end(values: np.ndarray) -> float:
    """Return where an axis of outputs ends: at 100 %, or sooner if the largest value is far below it."""
    return next((end for end in ENDS if values.max() <= end), 1.0)


class PullBars:
    """One bar per class: the pull on the student's logit, minus the gradient, to the right where it raises.

    bar_axes: the axes of the outputs, of which the rows are shared; top, high: their place, in pixels.
    """

    def __init__(self, canvas: Canvas, bar_axes: Axes, rows: np.ndarray, top: int, high: int) -> None:
        axes = canvas.figure.add_axes(canvas.place(LEFT, top, WIDE, high), sharey=bar_axes)
        self.bars = list(axes.barh(rows, 0.0 * rows, 0.5, linewidth=0))
        axes.axvline(0, color=INK, linewidth=1)
        for x, side, words in ((0.47, "right", "lower the logit ←"), (0.53, "left", "→ raise it")):
            axes.text(x, 1.02, words, ha=side, transform=axes.transAxes, **FONT)
        axes.set_xlabel("pull on the logit (−τ² × gradient)", labelpad=17, **FONT)
        axes.set(xlim=(-1.1, 1.1))
        place = LEFT + WIDE / 2, WIDE / 2.2, top + high + 7
        self.scale = Scale(canvas, axes, (-1, -0.5, 0, 0.5, 1), place)
        canvas.moving += self.bars

    def settle(self, pulls: list[np.ndarray], colour: str) -> None:
        """Fit the axis to the pulls at all temperatures, and colour the bars."""
        self.scale.fit(even_above(float(np.abs(pulls).max())))
        for bar in self.bars:
            bar.set_facecolor(colour)

    def show(self, pull: np.ndarray) -> None:
        """Draw a pull, float [rows]."""
        for bar, value in zip(self.bars, pull, strict=True):
            bar.set_width(value / self.scale.reach)
