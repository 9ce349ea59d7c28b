"""Curves over a training, for the two explorers of recorded trainings: accuracy with its range, and terms."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from ..canvas import Canvas
from ..style import FONT, GRID, INK, METHOD_STYLES, QUIET, Style, clean_axes
from ..time_machine_data import Recording

SPAN = (-2.0, 102.0)  # percent of the training
YOURS = Style(label="yours, trained here", colour="#5B3A8C", line=(0, (4, 1.5)), marker="D")

TERM_STYLES = {
    "ce": Style(label="L_ce", colour="#B5598C", line=":", marker="v"),
    "kd": Style(label="L_kd", colour="#00639C", line="--", marker="s"),
    "tf": Style(label="L_T", colour="#00493A", line="-.", marker="^"),
    "ss": Style(label="L_ss", colour="#C95300", line="-", marker="o"),
}


class Curve:
    """A mean over a training as a line, and the range of its runs as a band."""

    def __init__(self, canvas: Canvas, axes: Axes, style: Style, alpha: float = 0.22, **more: Any) -> None:
        self.band = axes.add_patch(Polygon(np.zeros((1, 2)), color=style.colour, alpha=alpha, linewidth=0))
        marks = {"linestyle": style.line, "marker": style.marker, "linewidth": 2, "markersize": 5}
        (self.line,) = axes.plot([], [], label=style.label, color=style.colour, **marks | more)
        canvas.moving += [self.line] if alpha == 0 else [self.band, self.line]
        self.band.set_visible(False)
        self.ranged = alpha > 0

    def show(self, percent: np.ndarray, values: np.ndarray) -> None:
        """Draw runs, float [n, E]; nothing for n = 0. nan is left out."""
        values = np.asarray(values, dtype=np.float64).reshape(-1, len(percent))
        seen = np.isfinite(values).all(0) & (len(values) > 0)
        percent, values = percent[seen], values[:, seen]
        self.line.set_data(percent, values.mean(0) if len(percent) else [])
        self.band.set_visible(self.ranged and len(values) > 1 and len(percent) > 0)
        if self.band.get_visible():
            self.band.set_xy(around(percent, values))


def around(percent: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the outline of the range of runs, float [n, E]: along the least, back along the most."""
    low, high = np.stack([percent, values.min(0)], 1), np.stack([percent, values.max(0)], 1)
    return np.concatenate([low, high[::-1]])


def accuracy_axes(canvas: Canvas, recording: Recording, place: tuple[float, ...]) -> Axes:
    """Add axes of accuracy over the training, wide enough for every run, with the teacher's line."""
    axes = canvas.figure.add_axes(canvas.place(*place))
    low = float(np.nanmin(recording.accuracy))
    high = max(recording.teacher_accuracy, float(np.nanmax(recording.accuracy)))
    room = 0.06 * (high - low)
    axes.set(xlim=SPAN, ylim=(low - room, high + 2.5 * room))
    teacher = METHOD_STYLES["teacher"]
    axes.axhline(recording.teacher_accuracy, color=teacher.colour, linestyle=teacher.line, linewidth=1.6)
    text, place = f"teacher {recording.teacher_accuracy:.1f} %", (0.04, recording.teacher_accuracy)
    systems = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, place, (0, 1), va="bottom", **systems, **FONT)
    axes.set_ylabel("test accuracy (%)", **FONT)
    _finish(axes)
    return axes


def term_axes(canvas: Canvas, recording: Recording, place: tuple[float, ...]) -> Axes:
    """Add logarithmic axes over the training, wide enough for every term of the recording."""
    axes = canvas.figure.add_axes(canvas.place(*place))
    values = np.concatenate([term[np.isfinite(term) & (term > 0)] for term in recording.terms.values()])
    low, high = (values.min(), values.max()) if len(values) else (0.1, 1.0)
    axes.set(xlim=SPAN, yscale="log", ylim=(low / 1.3, high * 1.3))
    axes.set_ylabel("terms, unweighted", **FONT)
    _finish(axes)
    return axes


def cursor(canvas: Canvas, axes: Axes) -> Any:
    """Add a vertical line that marks a point of the training."""
    line = axes.axvline(0, color=INK, linewidth=1.4, linestyle=(0, (5, 2)))
    canvas.moving.append(line)
    return line


def _finish(axes: Axes) -> None:
    axes.set_xlabel("trained (%)", **FONT)
    clean_axes(axes, which="both", color=QUIET)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
