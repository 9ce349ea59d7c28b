"""The parts of the atlas's picture: the map with its dots, and the card of one image."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from ..canvas import Canvas
from ..style import CLASS_COLOURS, CLASS_MARKERS, DROPPED, HEAT, INK, QUIET, WRONG, short
from .maps import percent
from .softened import entropy_bits

LEFT, TOP, SIDE, ROOM = 12, 38, 456, 1.04  # the map's square in pixels, and its half-width in map units
DOT = 5.6  # points across
LARGER = {"*": 1.5, "P": 1.2, "X": 1.2}  # markers that cover less than a disc of their size
SHOWN = 10  # classes at most: with more, the ten likeliest
X = 490  # left edge of the card, in pixels
BARS = 622, 142, 195, 228  # left, top, width and height of its bars
PHOTO, PLACES = 54, [(X + 152 * i, top) for top in (412, 482) for i in range(3)]


def class_look(k: int, points: float) -> dict[str, Any]:
    """Colour and marker of a class, about so many points across."""
    marker = CLASS_MARKERS[k % len(CLASS_MARKERS)]
    return {
        "marker": marker,
        "markersize": points * LARGER.get(marker, 1),
        "markerfacecolor": CLASS_COLOURS[k % len(CLASS_COLOURS)],
    }


class Dots:
    """The map: one dot an image, lines from the chosen one to its neighbours, and what the colours mean."""

    def __init__(self, canvas: Canvas, labels: np.ndarray, classes: int) -> None:
        self.labels, self.classes = labels, classes
        axes = canvas.figure.add_axes(canvas.place(LEFT, TOP, SIDE, SIDE))
        axes.set(xlim=(-ROOM, ROOM), ylim=(-ROOM, ROOM), xticks=[], yticks=[])
        axes.spines[:].set(color=DROPPED, visible=True, linewidth=1)
        self.near = axes.add_collection(LineCollection([], colors=INK, linewidths=1.3), autolim=False)
        edge = {"linestyle": "none", "markeredgewidth": 0.4, "markeredgecolor": "white"}
        self.groups = [axes.plot([], [], **edge, **class_look(k, DOT))[0] for k in range(classes)]
        self.heat = axes.scatter([], [], s=DOT**2, linewidths=0.4, edgecolors=QUIET)
        hollow = {"marker": "o", "markersize": DOT, "markerfacecolor": "white"}
        right = edge | hollow | {"markeredgecolor": DROPPED}
        crosses = edge | {"marker": "X", "markerfacecolor": WRONG, "markersize": 10}
        self.verdicts = [axes.plot([], [], **look)[0] for look in (right, crosses)]
        ring = {"linestyle": "none", "marker": "o", "markerfacecolor": "none"}
        self.rings = [
            axes.plot([], [], **ring, markersize=size, markeredgecolor=colour, markeredgewidth=width)[0]
            for size, colour, width in ((16, "white", 5), (16, INK, 2.4))
        ]
        self._draw_legends(canvas)
        canvas.moving += [self.near, *self.groups, self.heat, *self.verdicts, *self.rings]

    def _draw_legends(self, canvas: Canvas) -> None:
        """Below the map: a bar of entropies, or the two marks of right and wrong; words for the rest."""
        y = TOP + SIDE + 18
        self.legend, self.most = canvas.words(LEFT, y), np.log2(self.classes)
        canvas.words(LEFT, y + 24, "Near means alike. Far distances and sizes mean nothing.")
        self.end = canvas.words(LEFT + 292, y)
        bar = canvas.figure.add_axes(canvas.place(LEFT + 154, y - 7, 130, 14))
        bar.set_axis_off()
        self.scale = bar.imshow(np.linspace(0, 1, 128)[None], cmap=HEAT, aspect="auto")
        canvas.moving.append(self.scale)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Where dots lie in the picture, in pixels from its upper left corner: float [M, 2]."""
        share = (np.asarray(points, dtype=np.float64) * [1, -1] + ROOM) / (2 * ROOM)
        return share * SIDE + [LEFT, TOP]

    def show(self, points: np.ndarray, colour: str, said: np.ndarray, bits: np.ndarray) -> None:
        """Place the dots. colour: class, prediction, entropy or error; said: int [M]; bits: float [M]."""
        self.points = points
        groups = {"class": self.labels, "prediction": said}.get(colour)
        for k, dots in enumerate(self.groups):
            dots.set_visible(groups is not None)
            if groups is not None:
                dots.set_data(*points[groups == k].T)
        for artist in (self.heat, self.scale):
            artist.set_visible(colour == "entropy")
        if colour == "entropy":
            order = bits.argsort()  # the uncertain ones on top
            self.heat.set_offsets(points[order])
            self.heat.set_facecolors(matplotlib.colormaps[HEAT](bits[order] / self.most))
        for artist, rows in zip(self.verdicts, (said == self.labels, said != self.labels), strict=True):
            artist.set_visible(colour == "error")
            artist.set_data(*points[rows].T)
        wrong = int((said != self.labels).sum())
        self.end.text = f"{self.most:.2f} (evenly spread)" if colour == "entropy" else ""
        self.legend.text = {
            "entropy": "entropy in bits:  0",
            "error": f"crosses: the {wrong} images that it gets wrong",
        }.get(colour, "Colour and marker: the classes, as beside the bars.")

    def point_out(self, image: int, near: np.ndarray, shared: np.ndarray) -> None:
        """Ring a dot, and join it to its neighbours: solid where the map has them near, else dashed."""
        for ring in self.rings:
            ring.set_data(*self.points[[image]].T)
        self.near.set_segments([self.points[[image, i]] for i in near])
        self.near.set_linestyles(["-" if both else (0, (4, 3)) for both in shared])


class Card:
    """One image: its outputs as bars, and its neighbours with captions."""

    def __init__(self, canvas: Canvas, classes: tuple[str, ...]) -> None:
        self.classes, self.by_class = classes, True  # by_class: whether dots have the marks of the classes
        self.photo = canvas.photo(X, 40, 88)
        self.facts = [canvas.words(X + 102, y) for y in (60, 84, 108)]
        sheet = canvas.figure.add_axes((0, 0, 1, 1), facecolor="none")
        sheet.set(xlim=(0, canvas.width), ylim=(canvas.height, 0), autoscale_on=False)
        sheet.set_axis_off()
        self._draw_bars(canvas, sheet)
        self.title = canvas.words(X, 396)
        self.photos = [canvas.photo(*place, PHOTO) for place in PLACES]
        lines = [PHOTO / 2 + shift for shift in (-19, 0, 19)]
        self.captions = [[canvas.words(x + PHOTO + 6, y + line) for line in lines] for x, y in PLACES]

    def _draw_bars(self, canvas: Canvas, sheet: Axes) -> None:
        left, top, wide, high = BARS
        self.rows = range(min(SHOWN, len(self.classes)))
        step = high / len(self.rows)
        middles = [top + step * (row + 0.5) for row in self.rows]
        thick = min(0.7 * step, 16)
        self.bars = [
            sheet.add_patch(Rectangle((left, y - thick / 2), 0, thick, linewidth=0)) for y in middles
        ]
        sheet.plot([left, left], [top, top + high], color=INK, linewidth=1)
        mark = {"linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.4}
        self.marks = [sheet.plot([X + 7], [y], **mark)[0] for y in middles]
        self.names = [canvas.words(X + 20, y) for y in middles]
        self.numbers = [canvas.words(left, y) for y in middles]
        canvas.moving += [*self.bars, *self.marks]

    def show_image(self, image: np.ndarray, name: str, true: int, p: np.ndarray, softness: str) -> None:
        """Show an image with its outputs p [K]. softness: their temperature, in words."""
        self.photo.image = image
        said, most = int(p.argmax()), np.log2(len(p))
        verdict = "✓ right" if said == true else "✗ wrong"
        facts = (
            f"{name}: {short(self.classes[true], 20)}",
            f"taken for {short(self.classes[said], 16)} {verdict}",
            f"{softness}: entropy {entropy_bits(p):.2f} of {most:.2f} bits",
        )
        for words, text in zip(self.facts, facts, strict=True):
            words.text = text
        for mark in self.marks:
            mark.set_visible(self.by_class)
        shown = range(len(p)) if len(p) <= SHOWN else np.argsort(-p, kind="stable")[:SHOWN]
        parts = zip(shown, self.bars, self.marks, self.names, self.numbers, strict=True)
        for k, bar, mark, name, share in parts:
            look = class_look(k, 9)
            mark.set(**look)
            bar.set(width=BARS[2] * p[k], facecolor=look["markerfacecolor"] if self.by_class else QUIET)
            name.text = short(self.classes[k], 13)
            share.x = BARS[0] + BARS[2] * p[k] + 7
            share.text = percent(p[k]) + ("  true" if k == true else "")

    def show_neighbours(self, title: str, images: np.ndarray, captions: list[list[str]]) -> None:
        """Show neighbours uint8 [6, H, W, 3], nearest first, with three lines beside each."""
        self.title.text = title
        for photo, caption, image, lines in zip(self.photos, self.captions, images, captions, strict=True):
            photo.image = image
            for words, text in zip(caption, lines, strict=True):
                words.text = text
