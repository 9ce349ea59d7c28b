"""Part of the temperature explorer's picture: bars of the gradient on the student's logits."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..canvas import Canvas
from ..softening import even_above
from ..style import FONT, INK

LEFT, WIDE = 675, 245  # pixels
TICKS = (-1, -0.5, 0, 0.5, 1)  # of the axis, in units of its reach


class GradientBars:
    """One bar per class: the T²-scaled gradient on the student's logit, to the right where it lowers it.

    bar_axes: the axes of the outputs, of which the rows are shared; top, high: their place, in pixels.
    """

    def __init__(self, canvas: Canvas, bar_axes: Axes, rows: np.ndarray, top: int, high: int) -> None:
        axes = canvas.figure.add_axes(canvas.place(LEFT, top, WIDE, high), sharey=bar_axes)
        self.reach = 1.0
        self.bars = list(axes.barh(rows, 0.0 * rows, 0.5, linewidth=0))
        axes.axvline(0, color=INK, linewidth=1)
        for x, side, words in ((0.47, "right", "raise the logit ←"), (0.53, "left", "→ lower it")):
            axes.text(x, 1.02, words, ha=side, transform=axes.transAxes, **FONT)
        axes.set_xlabel("T² × gradient on student's logit", labelpad=17, **FONT)
        axes.set(xlim=(-1.1, 1.1))
        axes.set_xticks(TICKS, [""] * len(TICKS))
        middle, one = LEFT + WIDE / 2, WIDE / 2.2
        self.labels = [canvas.words(middle + one * x, top + high + 7, anchor="ma") for x in TICKS]
        canvas.moving += self.bars

    def settle(self, gradients: list[np.ndarray], colour: str) -> None:
        """Fit the axis to the gradients at all temperatures, and colour the bars."""
        self.reach = even_above(float(np.abs(gradients).max()))
        for words, x in zip(self.labels, TICKS, strict=True):
            words.text = f"{self.reach * x:g}"
        for bar in self.bars:
            bar.set_facecolor(colour)

    def show(self, gradient: np.ndarray) -> None:
        """Draw a gradient, float [rows]."""
        for bar, value in zip(self.bars, gradient, strict=True):
            bar.set_width(value / self.reach)
