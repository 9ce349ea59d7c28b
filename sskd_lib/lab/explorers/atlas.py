"""The atlas explorer: t-SNE maps of networks' outputs and features, and each image's real neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.checks import describe
from ..arguments import as_choice, as_labels, as_names
from ..atlas_data import FEWEST, MOST, NEAREST, Atlas, shared_neighbours
from ..canvas import Canvas
from ..softening import entropy_bits, percent, ranked, soft
from ..style import METHOD_STYLES, pixels, short
from .atlas_parts import Card, Dots
from .base import Explorer
from .control import Control
from .hover import Spot
from .presentation import present

WIDTH, HEIGHT = 932, 526  # pixels of the picture
FEATURES = "features"
PLAIN = 1.0  # temperature of the outputs shown beside a map of features
COLOURS = (
    ("true class", "class"),
    ("predicted class", "prediction"),
    ("entropy of outputs", "entropy"),
    ("errors", "error"),
)
REACH = 6  # pixels from a dot's middle to the edge of the place to point at


def choose_images(logits: np.ndarray, labels: np.ndarray, count: int = 12) -> list[tuple[int, str]]:
    """Choose images worth a look: (number, "sure", "another wrong", "wrong" or "unsure").

    Where all networks are right, the first one's surest and its least sure; where another is wrong and it
    is not; and its own errors, the surest first. A quarter of each, of different classes where there are;
    where one kind is too rare, the others fill up. logits: float [N, M, K]; labels: int [M].
    """
    wrong = logits.argmax(-1) != labels
    bits = entropy_bits(soft(logits[0], PLAIN))
    order = bits.argsort(kind="stable")
    right = order[~wrong.any(0)[order]]
    kinds = {
        "sure": right,
        "another wrong": order[(~wrong[0] & wrong[1:].any(0))[order]],
        "wrong": order[wrong[0][order]],
        "unsure": right[::-1],
    }
    chosen: list[tuple[int, str]] = []
    for most in (count // 4, count):  # a quarter each, then whatever fills up
        for why, rows in kinds.items():
            for row in _of_different_classes(rows, labels)[:most]:
                if len(chosen) < count and row not in [i for i, _ in chosen]:
                    chosen.append((row, why))
    return sorted(chosen, key=lambda choice: (list(kinds).index(choice[1]), bits[choice[0]]))


def _of_different_classes(rows: np.ndarray, labels: np.ndarray) -> list[int]:
    """The same rows, the first of each class before the second of any."""
    seen: dict[int, int] = {}
    turns = []
    for row in rows.tolist():
        seen[labels[row]] = seen.get(labels[row], 0) + 1
        turns.append((seen[labels[row]], row))
    return [row for _, row in sorted(turns, key=lambda turn: turn[0])]


class AtlasExplorer(Explorer):
    """A map, one image on it, its outputs and its nearest neighbours; see `explore_atlas`."""

    def __init__(self, images, maps, labels, classes, shown, key) -> None:
        if not isinstance(maps, Atlas):
            raise TypeError(f"maps is what atlas_maps returns, not {describe(maps)}.")
        self.images, self.maps, self.classes = pixels(images), maps, as_names("classes", classes)
        self.labels = as_labels("labels", labels, len(self.classes))
        shown = None if shown is None else as_choice("shown", shown, len(self.images))
        self._check()
        self.key, self.cards = key, self.images
        self.names = [METHOD_STYLES[n].label if n in METHOD_STYLES else n for n in maps.networks]
        self.shared = np.array(
            [
                [shared_neighbours(*pair) for pair in zip(*both, strict=True)]
                for both in zip(maps.neighbours, maps.points, strict=True)
            ]
        )  # bool [N, S, M, 6]
        self._soft: dict[tuple[int, float], np.ndarray] = {}
        self._make_controls(shown)
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.headline = self.canvas.words(12, 18, points=13)
        self.dots = Dots(self.canvas, self.labels, len(self.classes))
        self.card = Card(self.canvas, self.classes)

    def _check(self) -> None:
        images, maps = len(self.images), self.maps
        spaces = len(maps.networks), len(maps.temperatures) + 1
        wanted = {
            "labels": (self.labels, (images,)),
            "maps.logits": (maps.logits, (len(maps.networks), images, len(self.classes))),
            "maps.points": (maps.points, (*spaces, images, 2)),
            "maps.neighbours": (maps.neighbours, (*spaces, images, NEAREST)),
        }
        for name, (array, shape) in wanted.items():
            if array.shape != shape:
                raise ValueError(
                    f"{name} is {list(array.shape)}, but {images} images and {len(self.classes)} classes ask "
                    f"for {list(shape)}. Pass the images that atlas_maps saw, in the same order."
                )
        if not FEWEST <= images <= MOST:
            raise ValueError(f"an atlas shows {FEWEST} to {MOST:,} images, but these are {images:,}.")

    def _make_controls(self, shown: Sequence[int] | None) -> None:
        logits, temperatures = self.maps.logits, self.maps.temperatures
        if shown is None:
            first = f"{self.names[0]} "
            reasons = {"another wrong": f"{first}right, another wrong"}
            picked = [(i, reasons.get(why, first + why)) for i, why in choose_images(logits, self.labels)]
            texts = [(f"{i + 1}, {self._class(i)}: {why}", i) for i, why in picked]
        else:
            texts = [(f"{i + 1}, {self._class(i)}", i) for i in dict.fromkeys(shown)]
        spaces = [(f"outputs at τ = {t:g}", t) for t in temperatures] + [(FEATURES, FEATURES)]
        start = 4.0 if 4.0 in temperatures else temperatures[0]
        models = tuple((name, i) for i, name in enumerate(self.names))
        last = len(models) - 1
        self.controls = {  # a page shows fewer images than a kernel: it thins the first of equally long lists
            "image": Control(label="Image", options=tuple(texts), start=texts[-1][1], slider=False),
            "mapped": Control(label="Mapped", options=tuple(spaces), start=start),
            "model": Control(label="Model", options=models, start=0, slider=False),
            "colour": Control(label="Dots show", options=COLOURS, start="class", slider=False),
        }
        self.film = (
            {"mapped": start},
            {"mapped": temperatures[0], "colour": "entropy"},
            {"mapped": FEATURES, "model": last, "colour": "error", "image": texts[len(texts) // 2][1]},
        )

    def _class(self, image: int) -> str:
        return self.classes[self.labels[image]]

    def _space(self, mapped: Any) -> int:
        return -1 if mapped == FEATURES else self.maps.temperatures.index(mapped)

    def _temperature(self, mapped: Any) -> float:
        return PLAIN if mapped == FEATURES else mapped

    def outputs(self, model: int, mapped: Any) -> np.ndarray:
        """Return the outputs beside a map: at its temperature, at 1 beside features. float64 [M, K]."""
        temperature = self._temperature(mapped)
        if (model, temperature) not in self._soft:
            self._soft[model, temperature] = soft(self.maps.logits[model], temperature)
        return self._soft[model, temperature]

    def update(self, image: int, mapped: Any, model: int, colour: str) -> None:
        """Bring the map, the image, its outputs and its neighbours to this state."""
        space, p = self._space(mapped), self.outputs(model, mapped)
        predicted, near, shared = p.argmax(1), *self._neighbours(image, space, model)
        where = FEATURES if mapped == FEATURES else f"outputs at τ = {mapped:g}"
        (shown,) = [text for text, value in COLOURS if value == colour]
        self.headline.text = f"{short(self.names[model], 24)}, {where}; dots show the {shown}"
        self.dots.show(self.maps.points[model, space], colour, predicted, entropy_bits(p))
        self.dots.point_out(image, near, shared)
        self.card.by_class = colour in ("class", "prediction")
        name, softness = f"image {image + 1}", f"τ = {self._temperature(mapped):g}"
        self.card.show_image(self.images[image], name, self.labels[image], p[image], softness)
        title = f"nearest in the {where} (not on the map)"
        captions = [self._caption(i, predicted[i], both) for i, both in zip(near, shared, strict=True)]
        self.card.show_neighbours(title, self.images[near], captions)

    def _neighbours(self, image: int, space: int, model: int) -> tuple[np.ndarray, np.ndarray]:
        return self.maps.neighbours[model, space, image], self.shared[model, space, image]

    def _caption(self, image: int, predicted: int, both: bool) -> list[str]:
        right = predicted == self.labels[image]
        verdict = "✓ right" if right else f"✗ {short(self.classes[predicted], 11)}"
        return [short(self._class(image), 11), verdict, f"map: {'near' if both else 'far'}"]

    def sentences(self, image: int, mapped: Any, model: int, colour: str) -> list[str]:
        """Name the image, the model's outputs for it, its neighbours, and the meaning of the dots."""
        space, p = self._space(mapped), self.outputs(model, mapped)
        near, shared = self._neighbours(image, space, model)
        first = ranked(p[image], self.classes, 3)
        right = "right" if p[image].argmax() == self.labels[image] else "wrong"
        most, kept = np.log2(len(self.classes)), self.shared[model, space].sum(1).mean()
        what = FEATURES if mapped == FEATURES else "outputs"
        return [
            f"Image {image + 1} of {len(self.images)}, {self._class(image)}. Map of the {what} of "
            f"{self.names[model]}. Outputs at temperature {self._temperature(mapped):g}: {first}, so it is "
            f"{right}; entropy {entropy_bits(p[image]):.2f} of {most:.2f} bits.",
            f"Nearest in these {what} themselves: {', '.join(self._class(i) for i in near)}; {shared.sum()} "
            f"of these {NEAREST} are also among the {NEAREST} nearest on the map (mean over all images: "
            f"{kept:.1f}).",
            self._describe_dots(p, colour),
        ]

    def _describe_dots(self, p: np.ndarray, colour: str) -> str:
        wrong = int((p.argmax(1) != self.labels).sum())
        if colour == "entropy":
            bits = entropy_bits(p)
            return f"Dots show the entropy: median {np.median(bits):.2f}, highest {bits.max():.2f} bits."
        if colour == "error":
            return f"A cross marks each of the {wrong} of {len(p)} images that it gets wrong."
        if colour == "prediction":
            return f"Dots show the class that it says; for {wrong} of {len(p)} that is not the true one."
        return "Dots show the true class."

    def find_spots(self, mapped: Any, model: int, **_: Any) -> list[Spot]:
        """Return a spot per dot: its image and neighbours, with the model's prediction."""
        space, p = self._space(mapped), self.outputs(model, mapped)
        predicted, bits = p.argmax(1), entropy_bits(p)
        spots = []
        for i, (x, y) in enumerate(self.dots.pixels(self.maps.points[model, space])):
            near, shared = self._neighbours(i, space, model)
            k = predicted[i]
            taken = "right" if k == self.labels[i] else f"taken for {self.classes[k]}"
            words = (
                f"{i + 1}: {self._class(i)}, {taken} ({percent(p[i, k])}), {bits[i]:.2f} bits. "
                f"Then its nearest, {shared.sum()} of {NEAREST} on the map too:"
            )
            place = x - REACH, y - REACH, 2 * REACH, 2 * REACH
            spots.append(Spot(*place, words, (i, *near.tolist())))
        return spots


def explore_atlas(
    images,
    maps: Atlas,
    *,
    labels,
    classes: Sequence[str],
    shown: Sequence[int] | None = None,
    key: str = "atlas",
) -> AtlasExplorer:
    """Walk through t-SNE maps of networks' outputs and features, with an image's real neighbours beside them.

    Neighbours are the nearest in the mapped outputs or features themselves. Lines lead to them on the map,
    and show how much of the neighbourhood the map keeps. Distances between groups, their sizes and the axes
    mean nothing.

    images: uint8 [M, C, H, W]; maps: what `atlas_maps` made of them; labels: int [M]; classes: K names;
    shown: the images to step through, numbers from 0 to M-1, else twelve that `choose_images` picks (any
    other one answers when its dot is pointed at); key: running a cell again replaces this key's explorer.
    Raises ValueError where shapes do not fit.
    """
    return present(AtlasExplorer(images, maps, labels, classes, shown, key))
