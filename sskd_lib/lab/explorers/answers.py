"""Parts of the time machine's picture: where test images lie in a plane, and what is said of one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..canvas import Canvas
from ..recordings import Recording
from ..style import CLASS_COLOURS, CLASS_MARKERS, INK, METHOD_STYLES, pixels, short
from .base import FONT
from .panels import OWN
from .softened import soft


def share_between(points: np.ndarray, labels: np.ndarray) -> float:
    """Share of the points' spread that lies between classes: η² = Σ n_k |m_k - m|² / Σ |x - m|², in [0, 1].

    points: float [Q, 2]; labels: int [Q]. 0: the classes lie over each other; 1: each is one point.
    """
    away = points - points.mean(0)
    groups = [away[labels == k] for k in np.unique(labels)]
    between = sum(len(group) * float((group.mean(0) ** 2).sum()) for group in groups)
    return between / max(float((away**2).sum()), 1e-12)


def spread(points: np.ndarray) -> float:
    """Root mean square distance of points from their mean. float [Q, 2]."""
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


class Plane:
    """Dots of the test images' features: the student's move, the teacher's stay faint behind them."""

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
            marker = CLASS_MARKERS[k % len(CLASS_MARKERS)]
            axes.plot(
                *teacher[self.labels == k].T,
                marker,
                color="#C9C9C9",
                markersize=5,
                markeredgewidth=0,
                zorder=1,
            )
            look = {"color": CLASS_COLOURS[k % len(CLASS_COLOURS)], "markersize": 5, "markeredgewidth": 0}
            self.dots += axes.plot([], [], marker, label=short(name, 12), **look)
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            fontsize=11,
            frameon=False,
            handletextpad=0.1,
            labelspacing=0.35,
            markerscale=1.5,
        )
        canvas.moving += self.dots

    def show(self, points: np.ndarray | None) -> None:
        """Move the student's dots, float [Q, 2], or take them away. A dot beyond the edge sits on it.

        They are drawn with the middle and the spread of the teacher's, so that their order is seen also where
        a student that has just begun to learn has all its features far away, or nearly in one point.
        """
        if points is not None:
            points = (points - points.mean(0)) * self.spread / max(spread(points), 1e-9)
        for k, dots in enumerate(self.dots):
            shown = np.empty((0, 2)) if points is None else points[self.labels == k]
            dots.set_data(*np.clip(shown, self.low, self.high).T)


class Answer:
    """One test image, and the softened outputs of teacher, student and a training of one's own."""

    def __init__(self, canvas: Canvas, recording: Recording, left: int, top: int) -> None:
        self.images = pixels(recording.images)
        self.names = [recording.classes[k] for k in recording.labels]
        self.photo = canvas.photo(left, top + 30, 112)
        self.caption = canvas.words(left + 56, top + 150, anchor="ma")
        axes = canvas.figure.add_axes(canvas.place(left + 218, top, 178, 200))
        rows = np.arange(len(recording.classes))
        teacher, student = METHOD_STYLES["teacher"], METHOD_STYLES["sskd"]
        self.teacher = axes.barh(rows - 0.21, 0.0 * rows, 0.36, color=teacher.colour, linewidth=0)
        hollow = {"facecolor": "white", "edgecolor": student.colour, "linewidth": 2}
        self.student = axes.barh(rows + 0.21, 0.0 * rows, 0.3, **hollow)
        look = {"color": OWN.colour, "marker": OWN.marker, "linestyle": "none", "markersize": 6}
        (self.own,) = axes.plot([], [], **look)
        self.rows = rows
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
        axes.set_yticks(rows, [short(name, 12) for name in recording.classes])
        axes.tick_params(labelsize=11, labelcolor=INK, left=False)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.legend(
            [self.teacher, self.student],
            ["teacher", "student"],
            loc="lower right",
            bbox_to_anchor=(1.05, 0.99),
            ncols=2,
            borderpad=0,
            handlelength=1.2,
            columnspacing=1.0,
            fontsize=11,
            frameon=False,
        )
        axes.set_xlabel("softened output (%)", **FONT)
        canvas.moving += [*self.teacher, *self.student, self.own]

    def show(self, image: int, teacher: np.ndarray, student: np.ndarray | None, own: np.ndarray | None):
        """Draw the outputs for one image, each float [K] or None."""
        self.photo.image = self.images[image]
        self.caption.text = f"image {image + 1}\n{self.names[image]}"
        for bars, values in ((self.teacher, teacher), (self.student, student)):
            for bar, value in zip(bars, 0 * self.rows if values is None else values, strict=True):
                bar.set_width(value)
        self.own.set_data([] if own is None else own, [] if own is None else self.rows + 0.21)


def softened(outputs: np.ndarray, runs: Sequence[int], at: int, image: int, temperature: float):
    """Mean over runs of their softened outputs for one image, float [K]; None without a run."""
    return soft(outputs[list(runs), at, image], temperature).mean(0) if len(runs) else None
