"""The temperature explorer: what softening does to a teacher's answer, and to the student's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..canvas import Canvas
from ..style import INK, METHOD_STYLES, pixels, short
from .base import FONT, Control, Explorer

TEMPERATURES = (
    *(0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5),
    *(4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0),
)
WIDTH, HEIGHT = 940, 500  # pixels of the picture
SHOWN = 10  # classes at most: with more, the teacher's first ten


def soft(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature, p = softmax(z / T), in numpy float64: what `soften` computes."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    grown = np.exp(scaled - scaled.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def entropy_bits(p: np.ndarray) -> np.ndarray:
    """Entropy of probabilities in bits, H = -Σ p log₂ p, over the last axis."""
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)


def kd_gradient(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    """Gradient of T² KL(teacher ‖ student) on each student logit of one image: T (p_student - p_teacher)."""
    return temperature * (soft(student, temperature) - soft(teacher, temperature))


class TemperatureExplorer(Explorer):
    """Bars of the softened outputs for one image; see `explore_temperature`."""

    def __init__(self, images, teacher_logits, student_logits, classes, labels, student_name, key) -> None:
        self.images = pixels(images)
        self.teacher = np.asarray(teacher_logits, dtype=np.float64)
        self.student = None if student_logits is None else np.asarray(student_logits, dtype=np.float64)
        self.classes = tuple(classes)
        self.labels = None if labels is None else np.asarray(labels)
        self.style = METHOD_STYLES.get(student_name, METHOD_STYLES["sskd"])
        self._check()
        self.key = key
        names = [f"{i + 1}: {self._name(i)}" for i in range(len(self.images))]
        self.controls = {
            "image": Control(
                label="Image",
                options=tuple((n, i) for i, n in enumerate(names)),
                start=0,
                slider=False,
            ),
            "temperature": Control(
                label="Temperature T", options=tuple((f"{t:g}", t) for t in TEMPERATURES), start=1.0
            ),
        }
        self.film = ({"temperature": 1.0}, {"temperature": 4.0}, {"temperature": 20.0})
        self._drawn: int | None = None
        self._draw_axes()

    def _check(self) -> None:
        images, classes = len(self.images), len(self.classes)
        wanted = {"teacher_logits": self.teacher, "student_logits": self.student, "labels": self.labels}
        for name, array in wanted.items():
            shape = (images,) if name == "labels" else (images, classes)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name} is {list(array.shape)}, but {images} images and {classes} classes ask for "
                    f"{list(shape)}: one row an image, in the same order."
                )

    def _name(self, image: int) -> str:
        return "?" if self.labels is None else self.classes[self.labels[image]]

    def _draw_axes(self) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.headline = self.canvas.words(12, 22, points=13)
        self.picture = self.canvas.photo(12, 120, 168)
        self.caption = self.canvas.words(96, 296, anchor="ma")
        count, pair = min(SHOWN, len(self.classes)), self.student is not None
        self.left, self.top, self.wide, self.high = 300, 64, 270 if pair else 540, 374
        self.rows = np.arange(count)
        self.bar_axes = axes = self.canvas.figure.add_axes(
            self.canvas.place(self.left, self.top, self.wide, self.high)
        )
        axes.set(xlim=(0, 1), ylim=(count - 0.5, -0.5))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
        axes.set_xlabel("softened output", **FONT)
        black = METHOD_STYLES["teacher"].colour
        self.bars = self._add_bars(axes, -0.22 if pair else 0, 0.36, color=black, linewidth=0)
        if pair:  # hollow against solid: they differ without their colours
            hollow = {"facecolor": "white", "edgecolor": self.style.colour, "linewidth": 2}
            self.bars += self._add_bars(axes, 0.22, 0.3, **hollow)
            axes.legend(
                self.bars[::count],
                ["teacher", "student"],
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=2,
                fontsize=11,
                frameon=False,
                borderpad=0.2,
            )
            self._draw_gradient_axes()
        self.numbers = [self.canvas.words(0, self._pixel_row(b)) for b in self.bars]
        for axes in self.canvas.figure.axes:
            axes.tick_params(labelsize=11, labelcolor=INK, left=False)
            axes.spines[["top", "right", "left"]].set_visible(False)
        self.canvas.moving += [*self.bars, *(self.pulls if pair else [])]

    def _add_bars(self, axes: Axes, shift: float, thick: float, **look: Any) -> list:
        return list(axes.barh(self.rows + shift, 0.0 * self.rows, thick, **look))

    def _pixel_row(self, bar: Any) -> float:
        """Pixels from the top to the middle of a bar."""
        row = bar.get_y() + bar.get_height() / 2
        return self.top + self.high * (row + 0.5) / len(self.rows)

    def _draw_gradient_axes(self) -> None:
        place = self.canvas.place(675, self.top, 245, self.high)
        self.pull_axes = self.canvas.figure.add_axes(place, sharey=self.bar_axes)
        self.pulls = self._add_bars(self.pull_axes, 0, 0.5, color=self.style.colour, linewidth=0)
        self.pull_axes.axvline(0, color=INK, linewidth=1)
        self.pull_axes.tick_params(labelleft=False)
        for x, side, words in ((0.47, "right", "raise the logit ←"), (0.53, "left", "→ lower it")):
            self.pull_axes.text(x, 1.02, words, ha=side, transform=self.pull_axes.transAxes, **FONT)
        self.pull_axes.set_xlabel("T² × gradient on student's logit", **FONT)
        self.pull_axes.locator_params(axis="x", nbins=5)

    def _choose_rows(self, image: int) -> None:
        """Set what belongs to the image: classes shown, their labels, the gradient's scale."""
        self.shown = np.arange(len(self.classes))
        if len(self.classes) > SHOWN:
            self.shown = np.argsort(-self.teacher[image], kind="stable")[:SHOWN]
        names = [short(self.classes[k]) for k in self.shown]
        ticks = self.bar_axes.set_yticks(range(len(names)), names)
        for tick, k in zip(ticks, self.shown, strict=True):
            is_true = self.labels is not None and k == self.labels[image]
            tick.label1.set_fontweight("bold" if is_true else "normal")
        if self.student is not None:
            pulls = [kd_gradient(self.student[image], self.teacher[image], t) for t in TEMPERATURES]
            reach = max(1.15 * float(np.abs(np.array(pulls)[:, self.shown]).max()), 1e-3)
            self.pull_axes.set_xlim(-reach, reach)
        self.picture.image = self.images[image]
        self.caption.text = f"image {image + 1}\n{self._name(image)}"
        self._drawn = image
        self.canvas.forget()

    def update(self, image: int, temperature: float) -> None:
        """Bring the bars to this image and temperature."""
        if image != self._drawn:
            self._choose_rows(image)
        both = [soft(z[image], temperature) for z in (self.teacher, self.student) if z is not None]
        values = np.concatenate([p[self.shown] for p in both])
        for bar, number, value in zip(self.bars, self.numbers, values, strict=True):
            bar.set_width(value)
            number.x = self.left + self.wide * value + 7
            number.text = _percent(value)
        bits = "   ".join(
            f"{who} {entropy_bits(p):.2f} bits" for who, p in zip(("teacher", "student"), both, strict=False)
        )
        self.headline.text = f"T = {temperature:g}    {bits}    (even spread: {self._most():.2f} bits)"
        if self.student is not None:
            pull = kd_gradient(self.student[image], self.teacher[image], temperature)
            for bar, value in zip(self.pulls, pull[self.shown], strict=True):
                bar.set_width(value)

    def _most(self) -> float:
        return float(np.log2(len(self.classes)))

    def describe(self, **state: Any) -> str:
        """Say image, temperature, first classes, entropies and the largest gradient."""
        image, temperature = ({**self.start(), **state}[name] for name in ("image", "temperature"))
        said = [f"Image {image + 1}, {self._name(image)}, at temperature {temperature:g}."]
        for who, logits in (("Teacher", self.teacher), ("Student", self.student)):
            if logits is None:
                continue
            p = soft(logits[image], temperature)
            first = ", ".join(
                f"{self.classes[k]} {_percent(p[k])}" for k in np.argsort(-p, kind="stable")[:3]
            )
            said.append(f"{who}: {first}; entropy {entropy_bits(p):.2f} of {self._most():.2f} bits.")
        if self.student is not None:
            pull = kd_gradient(self.student[image], self.teacher[image], temperature)
            k = int(np.abs(pull).argmax())
            verb = "lower" if pull[k] > 0 else "raise"
            said.append(
                f"Largest T² × gradient: {pull[k]:+.2f} on {self.classes[k]}, so the student is to {verb} it."
            )
        return " ".join(said)


def _percent(p: float) -> str:
    return f"{100 * p:.1f} %" if p >= 0.0005 else "< 0.1 %"


def explore_temperature(
    images,
    teacher_logits,
    student_logits=None,
    *,
    classes: Sequence[str],
    labels=None,
    student_name: str = "sskd",
    key: str = "temperature",
) -> TemperatureExplorer:
    """Show how temperature softens outputs: bars, entropy in bits, and the T²-scaled gradient.

    images: uint8 [M, C, H, W]; teacher_logits, student_logits: float [M, K]; classes: K names; labels:
    int [M]; student_name: a method, for its colour; key: running a cell again replaces the explorer of
    this key. With more than ten classes the teacher's first ten are drawn; the numbers count all of them.
    Raises ValueError where shapes do not fit.
    """
    explorer = TemperatureExplorer(images, teacher_logits, student_logits, classes, labels, student_name, key)
    return explorer.present()
