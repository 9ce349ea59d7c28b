"""Parts of the time machine's picture: test images in a plane by their features, outputs for one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..canvas import Canvas
from ..softening import soft
from ..style import (
    FONT,
    METHOD_STYLES,
    add_legend,
    class_marker,
    clean_axes,
    pixels,
    short,
)
from ..time_machine_data import Recording
from .temperature_parts import Scale, output_end
from .training_curves import YOURS


def separation(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of the points' spread between classes: η² = Σ n_k |m_k - m|² / Σ |x - m|².

    points: float [Q, 2]; labels: int [Q]. 0: the classes have one mean; 1: each is one point.
    """
    away = points - points.mean(0)
    groups = [away[labels == k] for k in np.unique(labels)]
    between = sum(len(group) * float((group.mean(0) ** 2).sum()) for group in groups)
    return between / max(float((away**2).sum()), 1e-12)


def spread(points: np.ndarray) -> float:
    """Return the root mean square distance of points, float [Q, 2], from their mean."""
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


class Plane:
    """Test images as dots by their features: the student's move, the teacher's stay faint behind them."""

    def __init__(self, canvas: Canvas, recording: Recording, place: tuple[float, ...]) -> None:
        axes = canvas.figure.add_axes(canvas.place(*place))
        self.labels = recording.dots
        teacher = recording.teacher_features - recording.teacher_features.mean(0)
        self.spread = spread(teacher)
        low, high = teacher.min(0), teacher.max(0)
        middle, half = (low + high) / 2, 0.58 * float((high - low).max())
        self.low, self.high = middle - half, middle + half
        axes.set(xlim=(self.low[0], self.high[0]), ylim=(self.low[1], self.high[1]), xticks=[], yticks=[])
        self.dots = []
        for k, name in enumerate(recording.classes):
            mark = class_marker(k, 6) | {"clip_on": False}  # a dot on the edge is whole
            grey = {"markerfacecolor": "#C9C9C9", "zorder": 1}
            axes.plot(*teacher[self.labels == k].T, **mark | grey)
            self.dots += axes.plot([], [], label=short(name, 12), **mark)
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "borderpad": 0.4}
        gaps = {"handletextpad": 0.1, "labelspacing": 0.18, "markerscale": 1.4}
        add_legend(axes, self.dots, [dots.get_label() for dots in self.dots], **place, **gaps)
        canvas.moving += self.dots

    def show(self, points: np.ndarray | None) -> None:
        """Move the student's dots, float [Q, 2], or take them away. A dot beyond the edge is drawn on it.

        They are drawn with the middle and the spread of the teacher's: so their order is visible also where
        a student that has just begun to learn has all its features far away, or nearly in one point.
        """
        if points is not None:
            points = (points - points.mean(0)) * self.spread / max(spread(points), 1e-9)
        for k, dots in enumerate(self.dots):
            shown = np.empty((0, 2)) if points is None else points[self.labels == k]
            dots.set_data(*np.clip(shown, self.low, self.high).T)


class OutputBars:
    """One test image, and the softened outputs of teacher, recorded student and the student trained here."""

    def __init__(self, canvas: Canvas, recording: Recording, left: int, top: int) -> None:
        self.images = pixels(recording.images)
        self.names = [recording.classes[k] for k in recording.labels]
        self.photo = canvas.photo(left, top + 12, 100)
        self.caption = canvas.words(left + 50, top + 120, anchor="ma")
        axes = canvas.figure.add_axes(canvas.place(left + 210, top, 178, 156))
        rows = np.arange(len(recording.classes))
        teacher, student = METHOD_STYLES["teacher"], METHOD_STYLES["sskd"]
        self.teacher = axes.barh(rows - 0.2, 0.0 * rows, 0.36, color=teacher.colour, linewidth=0)
        hollow = {"facecolor": "white", "edgecolor": student.colour, "linewidth": 1.6}
        self.student = axes.barh(rows + 0.22, 0.0 * rows, 0.34, **hollow)
        mark = {"color": YOURS.colour, "marker": YOURS.marker, "linestyle": "none", "markersize": 6}
        (self.yours,) = axes.plot([], [], **mark)
        self.rows = rows
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        self.scale = Scale(canvas, axes, (0, 0.5, 1), (left + 210, 178, top + 163))
        axes.set_yticks(rows, [short(name, 12) for name in recording.classes])
        clean_axes(axes, ("top", "right", "left"), left=False)
        place = {"loc": "lower right", "bbox_to_anchor": (1.05, 0.99), "ncols": 2}
        handles, names = [self.teacher, self.student], ["teacher", "student"]
        add_legend(axes, handles, names, handlelength=1.2, columnspacing=1.0, **place)
        axes.set_xlabel("softened output", labelpad=14, **FONT)
        canvas.moving += [*self.teacher, *self.student, self.yours]

    def show(self, image: int, teacher: np.ndarray, student: np.ndarray | None, yours: np.ndarray | None):
        """Draw the outputs for one image, each float [K] or None."""
        self.photo.image = self.images[image]
        self.caption.text = f"image {image + 1}\n{self.names[image]}"
        outputs = [0.0 * self.rows if values is None else values for values in (teacher, student)]
        self.scale.fit(output_end(np.concatenate(outputs)), 100, " %")
        for bars, values in zip((self.teacher, self.student), outputs, strict=True):
            for bar, value in zip(bars, values / self.scale.reach, strict=True):
                bar.set_width(value)
        self.yours.set_data(([], []) if yours is None else (yours / self.scale.reach, self.rows + 0.22))


def softened(outputs: np.ndarray, runs: Sequence[int], at: int, image: int, temperature: float):
    """Return the mean over runs of their softened outputs for one image, float [K]; None without a run."""
    return soft(outputs[list(runs), at, image], temperature).mean(0) if len(runs) else None
