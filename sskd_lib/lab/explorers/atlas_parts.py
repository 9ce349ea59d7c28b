"""Parts of the atlas's picture: the map with its dots, and the card of one image."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from ..canvas import Canvas
from ..softening import entropy_bits, percent
from ..style import DROPPED, HEAT, INK, QUIET, WRONG, class_marker, short

LEFT, TOP, SIDE, ROOM = 12, 36, 440, 1.04  # the map's square in pixels, and its half-width in map units
DOT = 6.4  # points across
SHOWN = 10  # classes at most: with more, the ten likeliest
X = 468  # left edge of the card, in pixels
BARS_LEFT, BARS_TOP, BARS_WIDE, BARS_HIGH = 600, 136, 195, 220
PHOTO, PLACES = 46, [(X + 155 * i, top) for top in (392, 460) for i in range(3)]


class Dots:
    """The map: one dot per image, lines from the chosen one to its neighbours, and a legend."""

    def __init__(self, canvas: Canvas, labels: np.ndarray, classes: int) -> None:
        self.labels, self.classes = labels, classes
        axes = canvas.figure.add_axes(canvas.place(LEFT, TOP, SIDE, SIDE))
        axes.set(xlim=(-ROOM, ROOM), ylim=(-ROOM, ROOM), xticks=[], yticks=[])
        axes.spines[:].set(color=DROPPED, visible=True, linewidth=1)
        self.near = axes.add_collection(LineCollection([], colors=INK, linewidths=1.3), autolim=False)
        self.groups = [axes.plot([], [], **class_marker(k, DOT))[0] for k in range(classes)]
        self.heat = axes.scatter([], [], s=DOT**2, linewidths=0.4, edgecolors=QUIET)
        right = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": DROPPED}
        crosses = {"marker": "X", "markerfacecolor": WRONG, "markersize": 10}
        marks = [class_marker(0, DOT) | more for more in (right, crosses)]
        self.verdicts = [axes.plot([], [], **mark)[0] for mark in marks]
        ring = {"linestyle": "none", "marker": "o", "markerfacecolor": "none"}
        self.rings = [
            axes.plot([], [], **ring, markersize=size, markeredgecolor=colour, markeredgewidth=width)[0]
            for size, colour, width in ((16, "white", 5), (16, INK, 2.4))
        ]
        self._draw_legends(canvas)
        canvas.moving += [self.near, *self.groups, self.heat, *self.verdicts, *self.rings]

    def _draw_legends(self, canvas: Canvas) -> None:
        """Add a bar of entropies or the two marks of right and wrong below the map; words for the rest."""
        y = TOP + SIDE + 16
        self.legend, self.most = canvas.words(LEFT, y), np.log2(self.classes)
        canvas.words(LEFT, y + 21, "Near means similar. Far distances and sizes mean nothing.")
        self.end = canvas.words(LEFT + 292, y)
        bar = canvas.figure.add_axes(canvas.place(LEFT + 154, y - 7, 130, 14))
        bar.set_axis_off()
        self.scale = bar.imshow(np.linspace(0, 1, 128)[None], cmap=HEAT, aspect="auto")
        canvas.moving.append(self.scale)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return the dots' places in the picture, pixels from its upper left corner: float [M, 2]."""
        fraction = (np.asarray(points, dtype=np.float64) * [1, -1] + ROOM) / (2 * ROOM)
        return fraction * SIDE + [LEFT, TOP]

    def show(self, points: np.ndarray, colour: str, predicted: np.ndarray, bits: np.ndarray) -> None:
        """Place the dots. colour: class, prediction, entropy or error; predicted: int [M]; bits [M]."""
        self.points = points
        groups = {"class": self.labels, "prediction": predicted}.get(colour)
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
        wrong = predicted != self.labels
        for artist, rows in zip(self.verdicts, (~wrong, wrong), strict=True):
            artist.set_visible(colour == "error")
            artist.set_data(*points[rows].T)
        self.end.text = f"{self.most:.2f} (evenly spread)" if colour == "entropy" else ""
        self.legend.text = {
            "entropy": "entropy in bits:  0",
            "error": f"crosses: the {int(wrong.sum())} images that it gets wrong",
        }.get(colour, "Colour and marker: the classes, as beside the bars.")

    def point_out(self, image: int, near: np.ndarray, shared: np.ndarray) -> None:
        """Ring a dot, and draw lines to its neighbours: solid where the map has them near, else dashed."""
        for ring in self.rings:
            ring.set_data(*self.points[[image]].T)
        self.near.set_segments([self.points[[image, i]] for i in near])
        self.near.set_linestyles(["-" if both else (0, (4, 3)) for both in shared])


class Card:
    """One image: its outputs as bars, and its neighbours with captions."""

    def __init__(self, canvas: Canvas, classes: tuple[str, ...]) -> None:
        self.classes, self.by_class = classes, True  # by_class: whether dots have the marks of the classes
        self.photo = canvas.photo(X, 36, 88)
        self.facts = [canvas.words(X + 102, y) for y in (56, 80, 104)]
        self._draw_bars(canvas)
        self.title = canvas.words(X, 376)
        self.photos = [canvas.photo(*place, PHOTO) for place in PLACES]
        lines = [PHOTO / 2 + shift for shift in (-19, 0, 19)]
        self.captions = [[canvas.words(x + PHOTO + 5, y + line) for line in lines] for x, y in PLACES]

    def _draw_bars(self, canvas: Canvas) -> None:
        sheet, count = canvas.sheet(), min(SHOWN, len(self.classes))
        step = BARS_HIGH / count
        middles = [BARS_TOP + step * (row + 0.5) for row in range(count)]
        thick = min(0.7 * step, 16)
        bars = [Rectangle((BARS_LEFT, y - thick / 2), 0, thick, linewidth=0) for y in middles]
        self.bars = [sheet.add_patch(bar) for bar in bars]
        sheet.plot([BARS_LEFT] * 2, [BARS_TOP, BARS_TOP + BARS_HIGH], color=INK, linewidth=1)
        self.marks = [sheet.plot([X + 7], [y])[0] for y in middles]
        self.names = [canvas.words(X + 20, y) for y in middles]
        self.numbers = [canvas.words(BARS_LEFT, y) for y in middles]
        canvas.moving += [*self.bars, *self.marks]

    def show_image(self, image: np.ndarray, name: str, true: int, p: np.ndarray, softness: str) -> None:
        """Show an image with its outputs p [K]. softness: their temperature, in words."""
        self.photo.image = image
        predicted, most = int(p.argmax()), np.log2(len(p))
        verdict = "✓ right" if predicted == true else "✗ wrong"
        facts = (
            f"{name}: {short(self.classes[true], 20)}",
            f"taken for {short(self.classes[predicted], 16)} {verdict}",
            f"{softness}: entropy {entropy_bits(p):.2f} of {most:.2f} bits",
        )
        for words, text in zip(self.facts, facts, strict=True):
            words.text = text
        for mark in self.marks:
            mark.set_visible(self.by_class)
        shown = range(len(p)) if len(p) <= SHOWN else np.argsort(-p, kind="stable")[:SHOWN]
        parts = zip(shown, self.bars, self.marks, self.names, self.numbers, strict=True)
        for k, bar, mark, title, number in parts:
            marker = class_marker(k, 9)
            mark.set(**marker)
            colour = marker["markerfacecolor"] if self.by_class else QUIET
            bar.set(width=BARS_WIDE * p[k], facecolor=colour)
            title.text = short(self.classes[k], 13)
            number.x = BARS_LEFT + BARS_WIDE * p[k] + 7
            number.text = percent(p[k]) + ("  true" if k == true else "")

    def show_neighbours(self, title: str, images: np.ndarray, captions: list[list[str]]) -> None:
        """Show neighbours uint8 [6, H, W, 3], nearest first, with three lines beside each."""
        self.title.text = title
        for photo, caption, image, lines in zip(self.photos, self.captions, images, captions, strict=True):
            photo.image = image
            for words, text in zip(caption, lines, strict=True):
                words.text = text
