"""The similarity explorer: the teacher's and the student's softened similarity matrices, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.patches import Rectangle

from ...data.checks import whole_number
from ..arguments import as_temperature
from ..canvas import Canvas
from ..softening import percent
from ..style import INK, WRONG, pixels
from .base import Explorer
from .control import Control
from .hover import Spot
from .page import MOST
from .presentation import present
from .row_selection import choose_rows
from .similarity_batch import SimilarityBatch, by_view, make_batch
from .similarity_maps import LEFT, STEP, TOP, SimilarityMaps, right_map

WIDTH, HEIGHT = 932, 516  # pixels of the picture
TEMPERATURES = (0.1, 0.25, 0.5, 1.0, 2.0)
LARGEST = 32  # images: with more, a cell of the maps would be under 4 pixels high
SHOWN = 4  # images ranked first
RANKED_LEFT, RANKED_PITCH, RANKED_SIZE = 499, 112, 84


class SimilarityExplorer(Explorer):
    """Two heat maps and the images one row resembles most; see `explore_similarity`."""

    def __init__(self, images, teacher, student, batch, draws, seed, temperature, key) -> None:
        self.images = pixels(images)
        self.count = len(self.images) if batch is None else whole_number("batch", batch)
        draws, temperature = whole_number("draws", draws), as_temperature(temperature)
        self._check_images(draws)
        projections, images = {"teacher": teacher, "student": student}, len(self.images)
        every = {role: by_view(role, z, images) for role, z in projections.items()}
        numbers = [torch.arange(images)]
        if batch is not None:
            draw = torch.Generator().manual_seed(whole_number("seed", seed))
            numbers = [torch.randperm(images, generator=draw)[:batch] for _ in range(draws)]
        self.batches = [make_batch(every, chosen) for chosen in numbers]
        self.cards = np.concatenate([np.rot90(self.images, k, axes=(1, 2)) for k in range(4)])
        self.key = key
        self._make_controls(temperature)
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.sheet = self.canvas.sheet()
        self.maps = SimilarityMaps(self.canvas, self.sheet, self.count)
        self._draw_row()

    def _check_images(self, draws: int) -> None:
        high, wide = self.images.shape[1:3]
        if high != wide:
            raise ValueError(f"images are square, so that they can be turned, but these are {high} x {wide}.")
        if self.count > len(self.images):
            raise ValueError(
                f"batch is {self.count}, but there are {len(self.images)} images to draw it from: give more."
            )
        if not 2 <= self.count <= LARGEST:
            raise ValueError(
                f"images are {self.count}, but the maps have room for 2 to {LARGEST}: with more, cells are "
                f"too small to see. Take fewer, or draw them from all with batch={LARGEST // 2}."
            )
        if draws < 1:
            raise ValueError(f"draws is the number of batches to choose from, at least 1, not {draws}.")

    def _make_controls(self, start: float) -> None:
        temperatures = sorted({*TEMPERATURES, start})
        several, wrong = len(self.batches) > 1, self.batches[0].rank["teacher"] > 0
        rows = choose_rows(wrong, MOST // (2 * len(temperatures))).tolist()
        # Another batch has other wrong rows, but the labels do not change.
        labels = [f"{self._name(r)}{', teacher wrong' if wrong[r] and not several else ''}" for r in rows]
        views = (("student", "student"), ("difference: student minus teacher", "difference"))
        named = tuple((f"{t:g}", t) for t in temperatures)
        drawn = tuple((f"{i + 1} of {len(self.batches)}", i) for i in range(len(self.batches)))
        self.controls = {"batch": Control(label="Batch", options=drawn, start=0)} if several else {}
        self.controls |= {
            "row": Control(label="Row", options=tuple(zip(labels, rows, strict=True)), start=rows[0]),
            "temperature": Control(label="Temperature τ", options=named, start=start, slider=False),
            "view": Control(label="Right-hand map", options=views, start="student", slider=False),
        }
        hard = next((r for r in rows if wrong[r]), rows[-1])
        easy = next((r for r in rows if not wrong[r]), rows[0])
        last = {"row": hard, "batch": 1} if several else {"row": hard, "view": "difference"}
        self.film = ({"row": easy}, {"row": hard}, last)

    def _name(self, row: int) -> str:
        return f"image {row % self.count + 1} at {90 * (row // self.count + 1)}°"

    def _draw_row(self) -> None:
        words, photo = self.canvas.words, self.canvas.photo
        self.places = photo(486, 32, 96), photo(598, 32, 96)
        words(534, 16, "view", anchor="mm")
        words(646, 16, "own image", anchor="mm")
        self.facts = words(708, 80)
        self.totals = words(486, 150)
        self.verdicts, self.ranked, self.captions, self.frames = {}, {}, {}, {}
        lefts = [RANKED_LEFT + RANKED_PITCH * i for i in range(min(SHOWN, self.count))]
        for role, top in (("teacher", 204), ("student", 370)):
            self.verdicts[role] = words(486, top - 22)
            self.ranked[role] = [photo(x, top, RANKED_SIZE) for x in lefts]
            under = top + RANKED_SIZE + 7
            self.captions[role] = [words(x + RANKED_SIZE / 2, under, anchor="ma") for x in lefts]
            edges = ({"edgecolor": INK}, {"edgecolor": WRONG, "linestyle": (0, (2, 1))})
            frames = [Rectangle((0, top - 4), 92, 92, fill=False, linewidth=3.2, **edge) for edge in edges]
            self.frames[role] = [self.sheet.add_patch(frame) for frame in frames]  # own image; wrong winner
            self.canvas.moving += frames

    def update(self, row: int, temperature: float, view: str, batch: int = 0) -> None:
        """Bring the maps and the images to this batch, row, temperature and right-hand map."""
        now = self.batches[batch]
        p, upright = now.soft(temperature), self.images[now.numbers[row % self.count]]
        self.maps.show(p, row, view, [now.order(role, row)[0] for role in p])
        self.places[0].image = np.rot90(upright, row // self.count + 1)
        self.places[1].image = upright
        drawn = f"batch {batch + 1} of {len(self.batches)}" if len(self.batches) > 1 else ""
        self.facts.text = (
            f"{self._name(row)}\ntemperature τ = {temperature:g}\n{drawn}\n"
            f"τ² · KL(teacher ‖ student)\n= {now.divergence(row, temperature):.4f}"
        )
        self.totals.text = now.totals()
        for role, matrix in p.items():
            self._show_ranked(now, role, row, matrix[row])

    def _show_ranked(self, now: SimilarityBatch, role: str, row: int, p: np.ndarray) -> None:
        """Show the images ranked first, the right one in a solid frame, a wrong first one in a dashed one."""
        target, order = row % self.count, now.order(role, row)
        place = int(now.rank[role][row])
        self.verdicts[role].text = f"{role}: " + (
            f"✗ wrong, own image in place {place + 1} ({percent(p[target])})" if place else "✓ right"
        )
        for column, photo, caption in zip(order, self.ranked[role], self.captions[role], strict=False):
            photo.image = self.images[now.numbers[column]]
            name = "own image" if column == target else f"image {column + 1}"
            caption.text = f"{name}\n{percent(p[column])}"
        for frame, at, seen in zip(self.frames[role], (place, 0), (place < SHOWN, place > 0), strict=True):
            frame.set_x(RANKED_LEFT + RANKED_PITCH * at - 4)
            frame.set_visible(seen)

    def sentences(self, row: int, temperature: float, view: str, batch: int = 0) -> list[str]:
        """Name the row, the images each network ranks first, their divergence and the range of the maps."""
        now, target = self.batches[batch], row % self.count
        p, drawn = now.soft(temperature), ""
        if len(self.batches) > 1:
            drawn = f"Batch {batch + 1}: {self.count} of {len(self.images)} images. "
        words = [
            f"{drawn}The view is {self._name(row)}, row {row + 1} of {3 * self.count}, "
            f"temperature {temperature:g}."
        ]
        for role, matrix in p.items():
            place = int(now.rank[role][row])
            first = ", ".join(
                f"{'its own image' if k == target else f'image {k + 1}'} {percent(matrix[row, k])}"
                for k in now.order(role, row)[:SHOWN]
            )
            verdict = "right"
            if place:
                verdict = f"wrong, own image in place {place + 1} with {percent(matrix[row, target])}"
            words.append(f"{role.capitalize()}: {verdict}; it ranks first {first}.")
        kl = now.divergence(row, temperature)
        words.append(f"τ² · KL(teacher ‖ student) of this row is {kl:.4f}. {now.totals()}")
        high = right_map(p, view)[2]
        shown = f"student minus teacher, within ± {100 * high:.1f} points"
        if view == "student":
            shown = f"the student's probabilities, up to {percent(high)}"
        return [*words, f"The right-hand map shows {shown}."]

    def find_spots(self, row: int, batch: int = 0, **_: Any) -> list[Spot]:
        """Return a spot per row of the maps: its view, its own image, and each network's first."""
        now, lines = self.batches[batch], self.maps.lines(row)
        spots, wide = [], STEP + self.maps.cell[1] * self.count
        for r in range(3 * self.count):
            top, high = np.flatnonzero(lines == r)[0], int((lines == r).sum())
            words, cards = self._point(now, r)
            spots.append(Spot(LEFT, TOP + int(top), wide, high, words, cards))
        return spots

    def _point(self, now: SimilarityBatch, row: int) -> tuple[str, tuple[int, ...]]:
        """Return the words and the cards for pointing at a row."""
        verdicts, first = [], []
        for role, rank in now.rank.items():
            first.append(int(now.order(role, row)[0]))
            place = int(rank[row]) + 1
            wrong = f"✗ image {first[-1] + 1} first, own in place {place}"
            verdicts.append(f"{role} {wrong if place > 1 else '✓'}")
        numbers = now.numbers[[row % self.count, *first]].tolist()
        turned = (row // self.count + 1) * len(self.images) + numbers[0]
        words = (
            f"{self._name(row)}: {'; '.join(verdicts)}. View, own image, teacher's first, student's first:"
        )
        return words, (turned, *numbers)


def explore_similarity(
    images,
    teacher,
    student,
    *,
    batch: int | None = None,
    draws: int = 6,
    seed: int = 0,
    temperature: float = 0.5,
    key: str = "similarity",
) -> SimilarityExplorer:
    """Show teacher's and student's similarity matrices side by side, and the images each view resembles.

    The rows of both are softened as in L_ss: softmax(cosine / τ) over the B upright images. Pointing at a
    row shows its images.

    images: M upright ones, uint8 or float in [0, 1], [M, C, H, H]; teacher, student: projections of their
    4M views in the order of `four_views`, float [4M, D_t] and [4M, D_s]; batch: B, from 2 to 32, of which
    `draws` batches are drawn from the images by `seed`, to choose from; without it all images are the one
    batch. (A projection may be part of any batch where BatchNorm uses stored statistics: eval mode.)
    temperature: τ to start from; key: running a cell again replaces this key's explorer. The slider has
    at most 16 of the 3B rows, half of them rows that the teacher gets wrong in the first batch.
    Raises ValueError where shapes do not fit, for values that are not finite, for too many images and for a
    temperature that is not above 0 and finite.
    """
    drawing = batch, draws, seed
    return present(SimilarityExplorer(images, teacher, student, *drawing, temperature, key))
