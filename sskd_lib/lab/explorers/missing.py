"""The missing class: two students that never saw it, and a bias that lets them name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...data.checks import describe, whole_number
from ..arguments import as_labels, as_names, as_numbers
from ..canvas import Canvas
from ..style import FAINT, clean_axes, pixels, short, styles
from .base import Explorer
from .control import Control
from .presentation import present

WIDTH, PANEL = 932, 214  # pixels of the picture, and of each student's part in its height
TOP, PHOTO, COLUMNS = 44, 58, 8  # height of the headline; size of a photograph; photographs per row
FRACTIONS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3)


class Naming(NamedTuple):
    """What a student says with a bias on the missing class's logit."""

    bias: float
    missing_right: float  # percent of the missing class's images
    others_right: float  # percent of all other images
    named: np.ndarray  # int: images that are given the missing class, the surest first


def name_with_bias(logits: np.ndarray, labels: np.ndarray, missing: int, fraction: float) -> Naming:
    """Add one constant to the missing class's logit, so that a fraction of the images is given this class.

    logits: float [M, K]; labels: int [M]; fraction: of the images, 0 to 1.
    """
    others = np.where(np.arange(logits.shape[1]) == missing, -np.inf, logits)
    lead = others.max(1) - logits[:, missing]  # what the missing class lacks to come first
    order, count = np.argsort(lead, kind="stable"), round(fraction * len(lead))
    named, of_missing = np.zeros(len(lead), bool), labels == missing
    named[order[:count]] = True
    right = np.where(named, of_missing, others.argmax(1) == labels)
    bias = float(lead[order[count - 1]]) if count else 0.0
    parts = (100 * float(right[rows].mean()) for rows in (of_missing, ~of_missing))
    return Naming(bias, *parts, order[:count])


class Panel:
    """One student's part of the picture: two bars, and the images that it gives the missing class."""

    def __init__(self, canvas: Canvas, top: int, name: str, missing: str, colour: str, hatch: str) -> None:
        canvas.words(12, top + 14, name, points=13)
        self.words = canvas.words(12, top + 38)
        axes = canvas.figure.add_axes(canvas.place(12, top + 74, 300, 104))
        axes.set(xlim=(0, 100), ylim=(1.5, -0.5), yticks=[], xticks=[0, 25, 50, 75, 100])
        clean_axes(axes, ("top", "right", "left"))
        self.bars = list(axes.barh([0, 1], [0, 0], 0.34, color=[colour, FAINT], hatch=[hatch, ""], lw=0))
        canvas.moving += self.bars
        self.labels = [canvas.words(14, top + 74 + 52 * row + 8) for row in (0, 1)]
        self.names = (f"{missing}: named right", "other classes: named right")
        self.none = canvas.words(350, top + 90)
        self.photos, self.marks = [], []
        for i in range(2 * COLUMNS):
            x, y = 350 + 72 * (i % COLUMNS), top + 16 + 94 * (i // COLUMNS)
            self.photos.append(canvas.photo(x, y, PHOTO))
            self.marks.append(canvas.words(x + PHOTO / 2, y + PHOTO + 12, points=9, anchor="mm"))

    def show(self, naming: Naming, images: np.ndarray, names: Sequence[str], missing: str) -> None:
        """Draw what the student says. names: of the images' classes."""
        self.words.text = f"bias on its logit: {naming.bias:+.1f}"
        for bar, words, name, value in zip(self.bars, self.labels, self.names, naming[1:3], strict=True):
            bar.set_width(value)
            words.text = f"{name} {value:.1f} %"
        self.none.text = "" if len(naming.named) else f"No image is called {missing}."
        # Evenly from the surest to the last, so that the places show the whole list and not its best part.
        chosen = np.unique(np.linspace(0, len(naming.named) - 1, len(self.photos)).round().astype(int))
        shown = naming.named[chosen] if len(naming.named) else naming.named
        for i, (photo, mark) in enumerate(zip(self.photos, self.marks, strict=True)):
            photo.image = images[shown[i]] if i < len(shown) else None
            name = names[shown[i]] if i < len(shown) else ""
            mark.text = "" if not name else "✓" if name == missing else f"✗ {short(name, 8)}"


class MissingClass(Explorer):
    """Two students and a bias; see `explore_missing_class`."""

    def __init__(self, images, labels, logits, classes, missing, key) -> None:
        if not isinstance(logits, Mapping) or not logits:
            raise TypeError(
                f"logits is a dict of logits [M, K] by the student's name, not {describe(logits)}."
            )
        self.logits = {name: as_numbers(f"logits[{name!r}]", z) for name, z in logits.items()}
        self.images, self.classes = pixels(images), as_names("classes", classes)
        self.labels = as_labels("labels", labels, len(self.classes))
        self.missing, self.key = whole_number("missing", missing), key
        if len(self.labels) != len(self.images):
            raise ValueError(f"labels are {len(self.labels)}, but the images are {len(self.images)}.")
        if not 0 <= self.missing < len(self.classes):
            last = len(self.classes) - 1
            raise ValueError(f"missing is the number of a class, 0 to {last}, not {missing}.")
        for name, z in self.logits.items():
            if z.shape != (len(self.images), len(self.classes)):
                raise ValueError(
                    f"the logits of {name!r} are {list(z.shape)}, but {len(self.images)} images and "
                    f"{len(self.classes)} classes need {[len(self.images), len(self.classes)]}."
                )
        self.names = [self.classes[k] for k in self.labels]
        own = round(float((self.labels == self.missing).mean()), 3)  # the true fraction of the class
        steps = sorted({*FRACTIONS, own})
        options = tuple((f"{100 * s:g} %", s) for s in steps)
        self.namings = {  # what each student says at each step of the slider
            name: {s: name_with_bias(z, self.labels, self.missing, s) for s in steps}
            for name, z in self.logits.items()
        }
        self.controls = {"fraction": Control(label="Images given the class", options=options, start=0.0)}
        self.film = ({"fraction": 0.0}, {"fraction": own})
        self.canvas = Canvas(WIDTH, TOP + PANEL * len(self.logits))
        self.headline = self.canvas.words(12, 20, points=13)
        self.panels = {}
        for row, (name, style) in enumerate(styles(self.logits).items()):
            top, hatch = TOP + PANEL * row, ("", "///")[row % 2]
            self.panels[name] = Panel(self.canvas, top, style.label, self._class(), style.colour, hatch)

    def _class(self) -> str:
        return self.classes[self.missing]

    def update(self, fraction: float) -> None:
        """Bring bars and photographs to this bias."""
        missing = self._class()
        self.headline.text = (
            f"No student saw a {missing}. A bias gives it {100 * fraction:g} % of the images:"
        )
        for name, panel in self.panels.items():
            panel.show(self.namings[name][fraction], self.images, self.names, missing)

    def sentences(self, fraction: float) -> list[str]:
        """Name the bias, and what each student gets right with it."""
        words = [f"{100 * fraction:g} % of the {len(self.images):,} images are given {self._class()}."]
        for name in self.panels:
            named = self.namings[name][fraction]
            words.append(
                f"Student {name}, bias {named.bias:+.1f}: {named.missing_right:.1f} % of the images of "
                f"{self._class()} named right, {named.others_right:.1f} % of all others."
            )
        return words


def explore_missing_class(
    images,
    labels,
    logits: Mapping[str, object],
    *,
    classes: Sequence[str],
    missing: int,
    key: str = "missing class",
) -> MissingClass:
    """Raise the logit of a class that students never saw, and see which images they give it.

    One constant, the bias, is added to the class's logit for all images; the slider sets the share of images
    that it brings to the class, for each student by a bias of its own.
    images: uint8 [M, C, H, W]; labels: int [M]; logits: name of a student → float [M, K]; classes: K names;
    missing: number of the class; key: running a cell again replaces this key's explorer.
    Raises ValueError where shapes do not fit.
    """
    return present(MissingClass(images, labels, logits, classes, missing, key))
