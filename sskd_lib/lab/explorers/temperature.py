"""The temperature explorer: a teacher's softened outputs, and their pull on the student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ...data.checks import whole_number
from ..arguments import as_labels, as_names
from ..canvas import Canvas
from ..softening import by_name, display_name, entropy_bits, kd_gradient, percent, ranked, soft
from ..style import METHOD_STYLES, clean_axes, pixels, short, styles
from .base import Explorer
from .control import Control
from .presentation import present
from .temperature_parts import PullBars, Scale, output_end

TEMPERATURES = (
    *(0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5),
    *(4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0),
)
WIDTH, HEIGHT = 932, 500  # pixels of the picture
SHOWN = 10  # classes at most: with more, the teacher's first ten


class TemperatureExplorer(Explorer):
    """Bars of the softened outputs for one image; see `explore_temperature`."""

    def __init__(self, images, teachers, students, classes, labels, per_class, student_name, key) -> None:
        self.images = pixels(images)
        self.classes = as_names("classes", classes)
        self.labels = None if labels is None else as_labels("labels", labels, len(self.classes))
        self.logits = {"teacher": by_name("teacher", teachers), "student": by_name("student", students)}
        self._check()
        self.pair = bool(self.logits["student"])
        self.colours = {name: style.colour for name, style in styles(self.logits["student"]).items()}
        if "student" in self.colours:  # one without a name
            self.colours["student"] = METHOD_STYLES.get(student_name, METHOD_STYLES["sskd"]).colour
        self.key = key
        self.groups = None if per_class is None else self._group(per_class)
        self.controls = self._make_controls()
        if self.groups is not None:  # on a page more classes and temperatures than images of a class
            self.on_pages = tuple(name for name in self.controls if name != "image")
        self.film = tuple({"temperature": t} for t in (1.0, 4.0, 20.0))
        if "student" in self.controls:  # the same image at the same temperature, by another student
            self.film += ({"temperature": 4.0, "student": list(self.logits["student"])[-1]},)
        self._drawn: tuple | None = None
        self._draw_axes()

    def _check(self) -> None:
        images, classes = len(self.images), len(self.classes)
        shape = images, classes
        wanted = [(f"{role}_logits", z, shape) for role, named in self.logits.items() for z in named.values()]
        if self.labels is not None:
            wanted.append(("labels", self.labels, (images,)))
        for name, array, shape in wanted:
            if array.shape != shape:
                raise ValueError(
                    f"{name} is {list(array.shape)}, but {images} images and {classes} classes need "
                    f"{list(shape)}: one row per image, in the same order."
                )
        if not self.logits["teacher"]:
            raise ValueError("teacher_logits names no network: give its logits [M, K], or a dict of such.")

    def _group(self, per_class: int) -> dict[int, np.ndarray]:
        """Return the numbers of the first `per_class` images of each class, by class."""
        if self.labels is None:
            raise ValueError("per_class= chooses images by class, so it needs labels=, one per image.")
        groups = {int(k): np.flatnonzero(self.labels == k) for k in np.unique(self.labels)}
        per_class = whole_number("per_class", per_class)
        for k, numbers in groups.items():
            if not 1 <= per_class <= len(numbers):
                raise ValueError(
                    f"per_class is {per_class}, but of {self.classes[k]} there are {len(numbers)} images: "
                    "ask for as many as the rarest class has, or fewer, but at least 1."
                )
        return {k: numbers[:per_class] for k, numbers in groups.items()}

    def _make_controls(self) -> dict[str, Control]:
        """Return a list for each thing there is a choice of, and the slider of temperatures."""

        def drop_down(label: str, options: list[tuple[str, Any]], start: Any) -> Control:
            return Control(label=label, options=tuple(options), start=start, slider=False)

        controls, names = {}, [f"{i + 1}: {self._name(i)}" for i in range(len(self.images))]
        if self.groups is not None:  # first comes the class of the first image
            options, start = [(self.classes[k], k) for k in self.groups], int(self.labels[0])
            controls["label"] = drop_down("Class", options, start)
            names = [f"{i + 1} of {len(self.groups[start])}" for i in range(len(self.groups[start]))]
        controls["image"] = drop_down("Image", [(name, i) for i, name in enumerate(names)], 0)
        for role, networks in self.logits.items():
            if len(networks) > 1:
                options = [(display_name(role, name), name) for name in networks]
                controls[role] = drop_down(role.capitalize(), options, options[0][1])
        steps = tuple((f"{t:g}", t) for t in TEMPERATURES)
        return controls | {"temperature": Control(label="Temperature τ", options=steps, start=1.0)}

    def _name(self, number: int) -> str:
        return "?" if self.labels is None else self.classes[self.labels[number]]

    def chosen(self, state: dict[str, Any]) -> tuple[int, dict[str, str]]:
        """Return the chosen image's number, and the names of the chosen teacher and student."""
        image = state["image"]
        if self.groups is not None:
            image = int(self.groups[state["label"]][image])
        return image, {role: state.get(role, next(iter(z))) for role, z in self.logits.items() if z}

    def _draw_axes(self) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.headline = self.canvas.words(12, 22, points=13)
        self.picture = self.canvas.photo(12, 120, 168)
        self.caption = self.canvas.words(96, 296, anchor="ma")
        count, pair = min(SHOWN, len(self.classes)), self.pair
        self.left, self.top, self.wide, self.high = 300, 64, 270 if pair else 540, 374
        self.rows = np.arange(count)
        self.bar_axes = axes = self.canvas.figure.add_axes(
            self.canvas.place(self.left, self.top, self.wide, self.high)
        )
        axes.set(xlim=(0, 1), ylim=(count - 0.5, -0.5), yticks=[])
        below = self.top + self.high + 7
        self.scale = Scale(self.canvas, axes, (0, 0.25, 0.5, 0.75, 1), (self.left, self.wide, below))
        self.scale_words = self.canvas.words(self.left + self.wide / 2, below + 29, anchor="ma")
        black = METHOD_STYLES["teacher"].colour
        self.bars = self._add_bars(axes, -0.22 if pair else 0, 0.36, color=black, linewidth=0)
        if pair:  # hollow against solid: they differ without their colours
            self.bars += self._add_bars(axes, 0.22, 0.3, facecolor="white", linewidth=2)
            self._draw_names(black)
            self.pull = PullBars(self.canvas, axes, self.rows, self.top, self.high)
        self.numbers = [self.canvas.words(0, self._pixel_row(b)) for b in self.bars]
        middles = self.top + self.high * (self.rows + 0.5) / count
        self.ticks = [self.canvas.words(self.left - 8, y, anchor="rm") for y in middles]
        for axes in self.canvas.figure.axes:
            clean_axes(axes, ("top", "right", "left"))
        self.canvas.moving += self.bars

    def _add_bars(self, axes: Axes, shift: float, thick: float, **style: Any) -> list:
        return list(axes.barh(self.rows + shift, 0.0 * self.rows, thick, **style))

    def _pixel_row(self, bar: Any) -> float:
        """Return the pixels from the top to the middle of a bar."""
        row = bar.get_y() + bar.get_height() / 2
        return self.top + self.high * (row + 0.5) / len(self.rows)

    def _draw_names(self, black: str) -> None:
        """Name the networks above their bars."""
        self.names, fills = {}, ({"color": black}, {"facecolor": "white", "linewidth": 2})
        for (role, x), fill in zip((("teacher", 304), ("student", 436)), fills, strict=True):
            left, bottom, wide, high = self.canvas.place(x, 43, 22, 11)
            self.swatch = Rectangle((left, bottom), wide, high, **fill)  # in the end the student's
            self.canvas.moving.append(self.canvas.figure.add_artist(self.swatch))
            self.names[role] = self.canvas.words(x + 28, 49)

    def _settle(self, image: int, names: dict[str, str]) -> None:
        """Set what belongs to image and networks: classes shown, their labels, the gradient's scale."""
        teacher = self.logits["teacher"][names["teacher"]][image]
        self.shown = np.arange(len(self.classes))
        if len(self.classes) > SHOWN:
            self.shown = np.argsort(-teacher, kind="stable")[:SHOWN]
        for tick, k in zip(self.ticks, self.shown, strict=True):
            is_true = self.labels is not None and k == self.labels[image]
            tick.text = ("▸ " if is_true else "") + short(self.classes[k])
        self.picture.image = self.images[image]
        self.caption.text = f"image {image + 1}\n▸ {self._name(image)}"
        if self.pair:
            student = self.logits["student"][names["student"]][image]
            for role, name in names.items():
                self.names[role].text = short(display_name(role, name), 12 if role == "teacher" else 16)
            colour = self.colours[names["student"]]
            for part in (*self.bars[len(self.rows) :], self.swatch):
                part.set_edgecolor(colour)
            self.pull.settle([kd_gradient(student, teacher, t)[self.shown] for t in TEMPERATURES], colour)
        self._drawn = image, names

    def update(self, temperature: float, **state: Any) -> None:
        """Bring the bars to this image, these networks and this temperature."""
        image, names = self.chosen(state)
        if (image, names) != self._drawn:
            self._settle(image, names)
        z = {role: self.logits[role][name][image] for role, name in names.items()}
        p = {role: soft(row, temperature) for role, row in z.items()}
        values = np.concatenate([q[self.shown] for q in p.values()])
        self._fit_scale(output_end(values))
        for bar, number, value in zip(self.bars, self.numbers, values, strict=True):
            bar.set_width(value / self.scale.reach)
            number.x = self.left + self.wide * value / self.scale.reach + 7
            number.text = percent(value)
        bits = "   ".join(f"{role} {entropy_bits(q):.2f} bits" for role, q in p.items())
        self.headline.text = f"τ = {temperature:g}    {bits}    (even spread: {self._most():.2f} bits)"
        if self.pair:
            self.pull.show(-kd_gradient(z["student"], z["teacher"], temperature)[self.shown])

    def _fit_scale(self, end: float) -> None:
        longer = "" if end == 1 else f" (axis to {100 * end:g} %: bars {1 / end:g} × as long)"
        self.scale.fit(end, 100, " %")
        self.scale_words.text = f"softened output{longer}"

    def _most(self) -> float:
        return float(np.log2(len(self.classes)))

    def sentences(self, temperature: float, **state: Any) -> list[str]:
        """Name image, temperature, first classes, entropies and the largest pull."""
        image, names = self.chosen(state)
        words = [f"Image {image + 1}, {self._name(image)}, at temperature {temperature:g}."]
        z = {role: self.logits[role][name][image] for role, name in names.items()}
        for role, row in z.items():
            p = soft(row, temperature)
            named = f" {display_name(role, names[role])}" if names[role] != role else ""
            words.append(
                f"{role.capitalize()}{named}: {ranked(p, self.classes, 3)}; entropy {entropy_bits(p):.2f} of "
                f"{self._most():.2f} bits."
            )
        if self.pair:
            pull = -kd_gradient(z["student"], z["teacher"], temperature)
            k = int(np.abs(pull).argmax())
            verb = "raise" if pull[k] > 0 else "lower"
            words.append(
                f"Largest pull, −τ² × gradient: {pull[k]:+.2f} on {self.classes[k]}, so the student is to "
                f"{verb} it."
            )
        return words


def explore_temperature(
    images,
    teacher_logits,
    student_logits=None,
    *,
    classes: Sequence[str],
    labels=None,
    per_class: int | None = None,
    student_name: str = "sskd",
    key: str = "temperature",
) -> TemperatureExplorer:
    """Show how temperature softens outputs: bars, entropy in bits, and the pull on the student.

    The pull on a logit is minus the gradient of τ² KL(teacher ‖ student), τ (p_t - p_s): where it is
    positive, a step of gradient descent raises the logit.

    images: uint8 [M, C, H, W]; teacher_logits, student_logits: float [M, K], or a dict of such by name, to
    choose networks from; classes: K names; labels: int [M]; per_class: choose class and image apart, from
    the first so many images of each class in labels; student_name: the method of one student without a
    name, for its colour; key: running a cell again replaces the explorer of this key. With more than ten
    classes the teacher's first ten are drawn; the numbers count all of them.
    Raises ValueError where shapes do not fit, or a class has fewer images than per_class.
    """
    networks = teacher_logits, student_logits
    explorer = TemperatureExplorer(images, *networks, classes, labels, per_class, student_name, key)
    return present(explorer)
