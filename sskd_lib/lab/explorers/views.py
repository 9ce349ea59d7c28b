"""The views explorer: the flip and the crops of four views, and how well a head matches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from ...data.checks import check_pixels, describe
from ...data.views import PADDING, Draws, cut, frame
from ..arguments import as_choice, as_names, as_numbers
from ..canvas import Canvas
from ..style import ANGLES, DROPPED, FONT, INK, RIGHT, WRONG, clean_axes, pixels, short
from .base import Explorer
from .control import Control
from .presentation import present
from .views_data import Match, Matches

WIDTH, HEIGHT = 932, 500  # pixels of the picture
# Of each view's outline. Second cues: the dashes, and the angle written in a corner of the window.
OUTLINES = ((INK, "-"), ("#0072B2", (0, (4, 1.5))), ("#B5598C", (0, (1, 1))), ("#7A6000", "-."))
CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))  # right, low: the corner that the turn brings to the top left
FRAMED = (14, 196, 250)  # left, top and size of the framed image, in pixels
VIEWS, TAKEN = (72, 138), (356, 84)  # top and size of the views, and of the images that they match
FIRST, PITCH = 306, 160  # left edge of the first view, and the step to the next
APART = 3  # pixels between outlines: of windows that coincide one is inside the other


class Column(NamedTuple):
    """The artists below one turned view."""

    others: Any
    upright: Any
    border: Any
    photo: Any
    above: Any
    below: Any


class ViewsExplorer(Explorer):
    """Windows, views, and a head's match of each; see `explore_views`."""

    def __init__(self, images, projections, draws, shown, names, key) -> None:
        images = torch.as_tensor(images).cpu() if isinstance(images, np.ndarray) else images
        check_pixels(images)
        images = images.cpu()
        self.projections = torch.from_numpy(as_numbers("projections", projections)).float()
        if not isinstance(draws, (list, tuple)) or not all(isinstance(each, Draws) for each in draws):
            raise TypeError(f"draws is a list of Draws, as project_draws makes it, not {describe(draws)}.")
        self.draws = [Draws(flip.cpu(), corner.cpu()) for flip, corner in draws]
        self.names, self.key = None if names is None else as_names("names", names), key
        self.batch, self.side = len(images), images.shape[-1]
        self.shown = as_choice("shown", range(min(4, self.batch)) if shown is None else shown, self.batch)
        self._check()
        framed, size = frame(images), (self.side, self.side)
        self.images, self.framed = pixels(images), pixels(framed)
        self.views = [pixels(cut(framed, d, size, 4)) for d in self.draws]  # each uint8 [4B, H, H, 3]
        self.match = Matches(self.projections, self.batch).match
        listed = tuple((self._name(i), i) for i in self.shown)
        numbers = tuple((f"{d + 1}", d) for d in range(len(self.draws)))
        self.controls = {
            "image": Control(label="Image", options=listed, start=self.shown[0], slider=False),
            "draw": Control(label="Draw: flip and crops", options=numbers, start=0),
        }
        self.film = tuple({"image": self.shown[0], "draw": d} for d in range(min(3, len(self.draws))))
        self._draw_picture()

    def _check(self) -> None:
        count = self.batch
        if self.names is not None and len(self.names) != count:
            raise ValueError(f"{count} images need as many names, but there are {len(self.names)}.")
        shape, rows = list(self.projections.shape), [len(self.draws), 4 * count]
        if not self.draws or len(shape) != 3 or shape[:2] != rows:
            raise ValueError(
                f"{count} images in {rows[0]} draws (one at least) need projections "
                f"[{rows[0]}, {rows[1]}, D], not {shape}. project_draws makes both."
            )
        most = 2 * PADDING
        for number, (flip, corner) in enumerate(self.draws):
            shapes = f"{list(flip.shape)} and {list(corner.shape)}"
            fits = shapes == f"{[count]} and {[count, 4, 2]}"
            if not fits or corner.min() < 0 or corner.max() > most:
                raise ValueError(
                    f"draws[{number}] needs flip [{count}] and corner [{count}, 4, 2] in 0 to {most}, but "
                    f"has {shapes}{' with numbers outside' * fits}. project_draws makes draws that fit."
                )

    def _name(self, image: int) -> str:
        return f"image {image + 1}" + (f", {self.names[image]}" if self.names is not None else "")

    def _draw_picture(self) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.headline = self.canvas.words(14, 20, points=13)
        self.photo = self.canvas.photo(FRAMED[0], 56, 96)
        self.flipped = self.canvas.words(124, 104)
        self._draw_windows()
        self.photos = []
        for k, (colour, line) in enumerate(OUTLINES):
            x = FIRST + k * PITCH
            self.canvas.words(x + VIEWS[1] / 2, 52, ANGLES[k], anchor="mm")
            self._outline(x, *VIEWS).set(edgecolor=colour, linestyle=line)
            self.photos.append(self.canvas.photo(x, *VIEWS))
        x, others = FIRST + VIEWS[1] / 2, f"{self.batch - 1} others (lines)"
        self.canvas.words(x, 270, f"Cosine with its\nupright view\n(mark) and with\n{others}", anchor="mm")
        self.canvas.words(x, 398, "The upright view\nmost like it:", anchor="mm")
        self.columns = [self._draw_column(FIRST + k * PITCH) for k in (1, 2, 3)]

    def _outline(self, x: float, y: float, size: float) -> Rectangle:
        """Draw a square around a photograph of this place and size, in pixels."""
        place = self.canvas.place(x - 5, y - 5, size + 10, size + 10)
        square = Rectangle(place[:2], *place[2:], fill=False, linewidth=3)
        return self.canvas.figure.add_artist(square)

    def _draw_windows(self) -> None:
        left, top, size = FRAMED
        self.canvas.words(left, top - 18, "with black around it, four windows:")
        caption = "Each angle is in the corner that\nits turn brings to the top left."
        self.canvas.words(left, top + size + 26, caption)
        axes = self.canvas.figure.add_axes(self.canvas.place(left, top, size, size))
        axes.set_axis_off()
        self.canvas.keep(left, top, size, size)
        whole = self.side + 2 * PADDING
        self.picture = axes.imshow(self.framed[0], extent=(0, whole, whole, 0), interpolation="nearest")
        colours, lines = zip(*OUTLINES, strict=True)
        halo = LineCollection([], colors="white", linewidths=4.5, clip_on=False)
        outlines = LineCollection([], colors=colours, linestyles=lines, linewidths=2, clip_on=False)
        self.windows = [axes.add_collection(lines, autolim=False) for lines in (halo, outlines)]
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        self.marks = []
        for name, (right, low) in zip(("0°", *ANGLES[1:]), CORNERS, strict=True):
            side = {"ha": ("left", "right")[right], "va": ("top", "bottom")[low]}
            self.marks.append(axes.text(0, 0, name, bbox=ground, **side, **FONT))
        self.canvas.moving += [self.picture, *self.windows, *self.marks]

    def _draw_column(self, x: int) -> Column:
        """Draw a line of cosines, room for the image most like the view, and words."""
        axes = self.canvas.figure.add_axes(self.canvas.place(x, 252, VIEWS[1], 44))
        axes.set(xlim=(-1.02, 1.02), ylim=(-1, 1), xticks=[-1, 0, 1], yticks=[])
        clean_axes(axes, ("top", "right", "left"))
        (others,) = axes.plot([], [], "|", color=DROPPED, markersize=13, markeredgewidth=1.2)
        (upright,) = axes.plot([], [], markersize=10, markeredgecolor="white", clip_on=False)
        left, middle = x + (VIEWS[1] - TAKEN[1]) // 2, x + VIEWS[1] / 2
        border = self._outline(left, *TAKEN)
        self.canvas.moving += [others, upright, border]
        above = self.canvas.words(middle, 232, anchor="mm")
        below = self.canvas.words(middle, sum(TAKEN) + 28, anchor="mm")
        return Column(others, upright, border, self.canvas.photo(left, *TAKEN), above, below)

    def update(self, image: int, draw: int) -> None:
        """Bring windows, views and matches to this image and draw."""
        flip, corner = self.draws[draw]
        self.photo.image = self.images[image]
        self.flipped.text = "mirrored:\nleft is right" if flip[image] else "not mirrored"
        self.picture.set_data(self.framed[image][:, ::-1] if flip[image] else self.framed[image])
        squares, pixel = [], (self.side + 2 * PADDING) / FRAMED[2]
        for k, (top, left) in enumerate(corner[image].tolist()):
            inset = (k - 1.5) * APART * pixel
            corners = np.array([*CORNERS, CORNERS[0]]) * (self.side - 2 * inset)
            squares.append(np.array([left, top]) + inset + corners)
            self.marks[k].set_position(squares[k][k])
            self.photos[k].image = self.views[draw][k * self.batch + image]
        for lines in self.windows:
            lines.set_segments(squares)
        matches = [self.match(image, draw, turns) for turns in (1, 2, 3)]
        for column, match in zip(self.columns, matches, strict=True):
            self._show_match(column, match, self.views[draw][match.taken_for])
        right = sum(match.rank == 0 for match in matches)
        self.headline.text = (
            f"{short(self._name(image), 34)}, draw {draw + 1} of {len(self.draws)}: "
            f"the head gets {right} of 3 turned views right"
        )

    def _show_match(self, column: Column, match: Match, photo: np.ndarray) -> None:
        right = match.rank == 0
        colour, marker, line = (RIGHT, "o", "-") if right else (WRONG, "X", "--")
        column.others.set_data(match.others, np.full(len(match.others), 0.4))
        column.upright.set_data([match.cosine], [-0.5])
        column.upright.set(marker=marker, markerfacecolor=colour)
        column.border.set(edgecolor=colour, linestyle=line)
        column.photo.image = photo
        column.above.text = f"cosine {_signed(match.cosine)}"
        wrong = f"✗ wrong: image {match.taken_for + 1}\n{match.rank} ahead of its own"
        column.below.text = "✓ right: its own" if right else wrong

    def sentences(self, image: int, draw: int) -> list[str]:
        """Name flip and corners, and of each turned view the cosine and whether the head is right."""
        (flip, corner), whole = self.draws[draw], self.side + 2 * PADDING
        begin = (f"{a} ({y}, {x})" for a, (y, x) in zip(ANGLES, corner[image].tolist(), strict=True))
        name, mirrored = self._name(image), "mirrored" if flip[image] else "not mirrored"
        words = [
            f"{name[0].upper()}{name[1:]}, draw {draw + 1} of {len(self.draws)}: {mirrored}. With black "
            f"around it, it has {whole} x {whole} pixels; the windows of {self.side} x {self.side} begin at "
            f"(row, column): {', '.join(begin)}."
        ]
        for turns in (1, 2, 3):
            cosine, others, rank, taken_for = self.match(image, draw, turns)
            verdict = "right, no other image is more similar"
            if rank:
                verdict = (
                    f"wrong, {rank} of the {len(others)} others more similar, most of all "
                    f"{self._name(taken_for)} ({_signed(others.max())})"
                )
            words.append(f"{ANGLES[turns]}: cosine {_signed(cosine)} with its upright view, {verdict}.")
        return words


def _signed(cosine: float) -> str:
    return f"{cosine:.2f}".replace("-", "−")


def explore_views(
    images,
    projections,
    *,
    draws: Sequence[Draws],
    shown: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    key: str = "views",
) -> ViewsExplorer:
    """Show how flip and crops make an image's four views, and whether a head matches them.

    Below each turned view are its cosine with its upright view and, of the upright views of the whole batch,
    the one most like it: that of its image (right) or of another one (wrong).

    images: uint8 [B, C, H, H]; draws: how each draw mirrors and cuts them; projections: float
    [draws, 4B, D], rows as in `four_views`; `project_draws` makes both. shown: the images to choose from,
    numbers from 0 to B-1, else the first four; names: B strings; key: running a cell again replaces this
    key's explorer. Raises ValueError where shapes do not fit.
    """
    return present(ViewsExplorer(images, projections, draws, shown, names, key))
