"""Parts of the mixer's picture: the gain from each term, and its proportion of the loss."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

from ...evaluation import interval
from ..canvas import Canvas
from ..style import FONT, INK, clean_axes
from .training_curves import TERM_STYLES

REACH = 8.0  # points; a bar that is longer ends in an arrow
HATCHES = {"ce": "....", "kd": "////", "tf": "", "ss": "xxxx"}


class Gains:
    """The gain from each term: a bar for the mean over seeds, a dot per seed, and the numbers."""

    def __init__(self, canvas: Canvas, left: int, top: int) -> None:
        self.title = canvas.words(left, top)
        high = 200
        axes = canvas.figure.add_axes(canvas.place(left + 46, top + 28, 176, high))
        axes.set(xlim=(-REACH, REACH), ylim=(3.5, -0.5), yticks=[])
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_xlabel("points of accuracy", **FONT)
        clean_axes(axes, ("top", "right", "left"))
        self.bars, self.dots, self.numbers, self.arrows = {}, {}, {}, {}
        for row, (name, style) in enumerate(TERM_STYLES.items()):
            bar = Rectangle((0, row - 0.32), 0, 0.44, color=style.colour, linewidth=0)
            self.bars[name] = axes.add_patch(bar)
            (self.dots[name],) = axes.plot([], [], "o", color=INK, markersize=4, clip_on=False)
            (self.arrows[name],) = axes.plot([], [], color=INK, markersize=8, clip_on=False)
            middle = top + 28 + high * (row + 0.4) / 4
            canvas.words(left, middle, style.label)
            self.numbers[name] = canvas.words(left + 234, middle)
            canvas.moving += [self.bars[name], self.dots[name], self.arrows[name]]

    def show(self, name: str, gain: np.ndarray | str) -> None:
        """Draw a term's gain, float [seeds], or write why it is not known."""
        row, unknown = list(TERM_STYLES).index(name), isinstance(gain, str)
        values = np.zeros(0) if unknown else gain
        mean = 0.0 if unknown else float(values.mean())
        self.bars[name].set_width(np.clip(mean, -REACH, REACH))
        seen = values[np.abs(values) <= REACH]  # the others are in the numbers
        self.dots[name].set_data(seen, np.full(len(seen), row + 0.3))
        far = abs(mean) > REACH
        self.arrows[name].set_data([np.sign(mean) * REACH] * far, [row - 0.1] * far)
        self.arrows[name].set_marker(">" if mean > 0 else "<")
        spread = "" if unknown else f"{mean:+.1f} [{values.min():+.1f}, {values.max():+.1f}]"
        self.numbers[name].text = gain if unknown else spread


class Proportions:
    """The weighted terms' proportions of the loss, side by side in one bar, and their numbers below."""

    def __init__(self, canvas: Canvas, left: int, top: int) -> None:
        self.title = canvas.words(left, top)
        axes = canvas.figure.add_axes(canvas.place(left, top + 18, 400, 40))
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        self.parts, self.percents = {}, {}
        for place, (name, style) in enumerate(TERM_STYLES.items()):
            fill = {"facecolor": style.colour, "edgecolor": "white", "hatch": HATCHES[name], "linewidth": 1}
            self.parts[name] = axes.add_patch(Rectangle((0, 0), 0, 1, **fill))
            x = left + 102 * place
            key = canvas.figure.add_axes(canvas.place(x, top + 74, 20, 16))
            key.add_patch(Rectangle((0, 0), 1, 1, **fill))
            key.axis("off")
            canvas.words(x + 25, top + 82, style.label)
            self.percents[name] = canvas.words(x, top + 110)
        canvas.moving += self.parts.values()

    def show(self, proportions: dict[str, float] | None) -> None:
        """Draw the proportions, which sum to 1, or nothing."""
        left = 0.0
        for name in TERM_STYLES:
            width = 0.0 if proportions is None else proportions[name]
            self.parts[name].set(x=left, width=width)
            self.percents[name].text = "–" if proportions is None else f"{100 * width:.1f} %"
            left += width


def gain_words(gain: np.ndarray | str) -> str:
    """Return a term's gain in words. gain: float [seeds], accuracy with it minus without; or why not."""
    if isinstance(gain, str):
        why = {"is alone": "is the only term: without it nothing would be learned"}
        return why.get(gain, "was not recorded switched off" if gain == "not recorded" else gain)
    return f"adds {difference_words(gain)}"


def difference_words(values: np.ndarray) -> str:
    """Return a paired difference in words: mean, range, 95 % interval. values: float [seeds], points."""
    mean, half = interval(values)
    if np.isnan(half):
        return f"{mean:+.2f} points (one seed)"
    verdict = "contains 0: not told apart from no effect" if abs(mean) <= half else "leaves 0 out"
    return (
        f"{mean:+.2f} points (seeds from {values.min():+.2f} to {values.max():+.2f}; the 95 % interval "
        f"{mean - half:+.2f} to {mean + half:+.2f} {verdict})"
    )
