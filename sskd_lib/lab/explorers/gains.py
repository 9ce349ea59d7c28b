"""Parts of the mixer's picture: what each term adds, and what it weighs in the loss."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

from ..canvas import Canvas
from ..curves import interval
from ..style import INK
from .base import FONT
from .panels import TERMS

REACH = 8.0  # points; a bar that is longer ends in an arrow
HATCHES = {"ce": "....", "kd": "////", "tf": "", "ss": "xxxx"}


class Gains:
    """What each term adds: a bar for the mean over seeds, a dot a seed, and the numbers."""

    def __init__(self, canvas: Canvas, left: int, top: int) -> None:
        self.title = canvas.words(left, top)
        high = 200
        axes = canvas.figure.add_axes(canvas.place(left + 46, top + 28, 176, high))
        axes.set(xlim=(-REACH, REACH), ylim=(3.5, -0.5), yticks=[])
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel("points of accuracy", **FONT)
        axes.tick_params(labelsize=11, labelcolor=INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        self.bars, self.dots, self.numbers, self.arrows = {}, {}, {}, {}
        for row, (name, style) in enumerate(TERMS.items()):
            bar = Rectangle((0, row - 0.32), 0, 0.44, color=style.colour, linewidth=0)
            self.bars[name] = axes.add_patch(bar)
            (self.dots[name],) = axes.plot([], [], "o", color=INK, markersize=4)
            (self.arrows[name],) = axes.plot([], [], color=INK, markersize=8, clip_on=False)
            middle = top + 28 + high * (row + 0.4) / 4
            canvas.words(left, middle, style.label)
            self.numbers[name] = canvas.words(left + 232, middle)
            canvas.moving += [self.bars[name], self.dots[name], self.arrows[name]]

    def show(self, name: str, gain: np.ndarray | str) -> None:
        """Draw what a term adds, float [seeds], or write why that is not known."""
        row, unknown = list(TERMS).index(name), isinstance(gain, str)
        values = np.zeros(0) if unknown else gain
        mean = 0.0 if unknown else float(values.mean())
        self.bars[name].set_width(np.clip(mean, -REACH, REACH))
        self.dots[name].set_data(np.clip(values, -REACH, REACH), np.full(len(values), row + 0.3))
        far = abs(mean) > REACH
        self.arrows[name].set_data([np.sign(mean) * REACH] * far, [row - 0.1] * far)
        self.arrows[name].set_marker(">" if mean > 0 else "<")
        spread = "" if unknown else f"{mean:+.1f} [{values.min():+.1f}, {values.max():+.1f}]"
        self.numbers[name].text = gain if unknown else spread


class Shares:
    """The weighted terms' shares of the loss, side by side in one bar, and their numbers below."""

    def __init__(self, canvas: Canvas, left: int, top: int) -> None:
        self.title = canvas.words(left, top)
        axes = canvas.figure.add_axes(canvas.place(left, top + 18, 400, 40))
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        self.parts, self.percents = {}, {}
        for place, (name, style) in enumerate(TERMS.items()):
            look = {"facecolor": style.colour, "edgecolor": "white", "hatch": HATCHES[name], "linewidth": 1}
            self.parts[name] = axes.add_patch(Rectangle((0, 0), 0, 1, **look))
            x = left + 102 * place
            key = canvas.figure.add_axes(canvas.place(x, top + 74, 20, 16))
            key.add_patch(Rectangle((0, 0), 1, 1, **look))
            key.axis("off")
            canvas.words(x + 25, top + 82, style.label)
            self.percents[name] = canvas.words(x, top + 110)
        canvas.moving += self.parts.values()

    def show(self, shares: dict[str, float] | None) -> None:
        """Draw the shares, which sum to 1, or nothing."""
        left = 0.0
        for name in TERMS:
            share = 0.0 if shares is None else shares[name]
            self.parts[name].set(x=left, width=share)
            self.percents[name].text = "–" if shares is None else f"{100 * share:.1f} %"
            left += share


def added(gain: np.ndarray | str) -> str:
    """What a term adds, in words. gain: float [seeds], accuracy with it minus without; or why not known."""
    if isinstance(gain, str):
        why = {"is alone": "is the only term: without it nothing would be learned"}
        return why.get(gain, "was not recorded switched off" if gain == "not recorded" else gain)
    return f"adds {differs(gain)}"


def differs(values: np.ndarray) -> str:
    """A paired difference in words: mean, range over seeds, 95 % interval. values: float [seeds], points."""
    mean, half = interval(values)
    if np.isnan(half):
        return f"{mean:+.2f} points (one seed)"
    verdict = "contains 0: not told apart from no effect" if abs(mean) <= half else "leaves 0 out"
    return (
        f"{mean:+.2f} points (seeds from {values.min():+.2f} to {values.max():+.2f}; the 95 % interval "
        f"{mean - half:+.2f} to {mean + half:+.2f} {verdict})"
    )
