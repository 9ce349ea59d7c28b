"""The similarity explorer: the teacher's and the student's softened similarity matrices, row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Rectangle

from ...losses import error_rank, kl_rows, own_image, similarity_matrix, soften
from ..canvas import Canvas
from ..style import INK, WRONG, pixels
from .base import Control, Explorer
from .maps import Maps, percent, right_map
from .page import MOST
from .selection import spread

WIDTH, HEIGHT = 940, 516  # pixels of the picture
TEMPERATURES = (0.1, 0.25, 0.5, 1.0, 2.0)
LARGEST = 32  # images: with more, a cell of the maps would be under 4 pixels high
SHOWN = 4  # images ranked first
RANKED_LEFT, RANKED_PITCH, RANKED_SIZE = 499, 112, 84


def choose_rows(wrong: np.ndarray, count: int) -> np.ndarray:
    """Pick up to `count` rows: a spread of the wrong ones for half of them, a spread of the right ones.

    wrong: bool [R]. Where one kind is too few, the other fills up. Returns row numbers in rising order.
    """
    bad, good = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    bad = spread(bad, max(count // 2, count - len(good)))
    return np.sort(np.concatenate([bad, spread(good, count - len(bad))]))


class SimilarityExplorer(Explorer):
    """Two heat maps and the images one row resembles most; see `explore_similarity`."""

    def __init__(self, images, teacher, student, temperature, key) -> None:
        self.images = pixels(images)
        self.count = len(self.images)
        self._check_images(temperature)
        projections = {"teacher": teacher, "student": student}
        self.cosine = {who: self._cosines(who, z) for who, z in projections.items()}
        self.own = own_image(3 * self.count, self.count)
        self.rank = {who: error_rank(a, self.own).numpy() for who, a in self.cosine.items()}
        self.key = key
        self._make_controls(float(temperature))
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.sheet = self.canvas.figure.add_axes((0, 0, 1, 1))
        self.sheet.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), autoscale_on=False)
        self.sheet.set_axis_off()
        self.maps = Maps(self.canvas, self.sheet, self.count)
        self._draw_row()

    def _check_images(self, temperature: float) -> None:
        high, wide = self.images.shape[1:3]
        if high != wide:
            raise ValueError(f"images are square, so that they can be turned, but these are {high} x {wide}.")
        if not 2 <= self.count <= LARGEST:
            raise ValueError(
                f"images are {self.count}, but the maps hold 2 to {LARGEST}: with more, a cell would be too "
                "small to see. Take fewer images, and the projections of their views."
            )
        if not 0 < temperature < math.inf:
            raise ValueError(f"a temperature must be above 0 and finite, not {temperature}.")

    def _cosines(self, who: str, projection: Any) -> torch.Tensor:
        """Cosines float64 [3B, B] of projections [4B, D]."""
        z = torch.as_tensor(projection).detach().cpu().double()
        if z.ndim != 2 or len(z) != 4 * self.count:
            raise ValueError(
                f"{who} is {list(z.shape)}, but {self.count} images ask for projections "
                f"[{4 * self.count}, D]: one row a view, in the order of four_views(images)."
            )
        if not z.isfinite().all():
            raise ValueError(f"{who} holds values that are not finite: its matrix cannot be drawn.")
        return similarity_matrix(z[self.count :], z[: self.count])

    def _make_controls(self, start: float) -> None:
        temperatures = sorted({*TEMPERATURES, start})
        wrong = self.rank["teacher"] > 0
        rows = choose_rows(wrong, MOST // (2 * len(temperatures))).tolist()
        labels = [f"{self._name(r)}{', teacher wrong' if wrong[r] else ''}" for r in rows]
        views = (("student", "student"), ("difference: student minus teacher", "difference"))
        named = tuple((f"{t:g}", t) for t in temperatures)
        self.controls = {
            "row": Control(label="Row", options=tuple(zip(labels, rows, strict=True)), start=rows[0]),
            "temperature": Control(label="Temperature τ", options=named, start=start, slider=False),
            "view": Control(label="Right-hand map", options=views, start="student", slider=False),
        }
        hard = next((r for r in rows if wrong[r]), rows[-1])
        easy = next((r for r in rows if not wrong[r]), rows[0])
        self.film = ({"row": easy}, {"row": hard}, {"row": hard, "view": "difference"})

    def _name(self, row: int) -> str:
        return f"image {row % self.count + 1} at {90 * (row // self.count + 1)}°"

    def _draw_row(self) -> None:
        words, photo = self.canvas.words, self.canvas.photo
        self.places = photo(486, 32, 96), photo(598, 32, 96)
        words(534, 16, "view", anchor="mm")
        words(646, 16, "own image", anchor="mm")
        self.facts = words(708, 80)
        right = [int((rank == 0).sum()) for rank in self.rank.values()]
        self.totals = (
            f"Of all {len(self.own)} rows the teacher gets {right[0]} right, the student {right[1]}."
        )
        words(486, 150, self.totals)
        self.verdicts, self.ranked, self.captions, self.frames = {}, {}, {}, {}
        lefts = [RANKED_LEFT + RANKED_PITCH * i for i in range(min(SHOWN, self.count))]
        for who, top in (("teacher", 204), ("student", 370)):
            self.verdicts[who] = words(486, top - 22)
            self.ranked[who] = [photo(x, top, RANKED_SIZE) for x in lefts]
            under = top + RANKED_SIZE + 7
            self.captions[who] = [words(x + RANKED_SIZE / 2, under, anchor="ma") for x in lefts]
            looks = ({"edgecolor": INK}, {"edgecolor": WRONG, "linestyle": (0, (2, 1))})
            frames = [Rectangle((0, top - 4), 92, 92, fill=False, linewidth=3.2, **look) for look in looks]
            self.frames[who] = [self.sheet.add_patch(frame) for frame in frames]  # own image; a wrong winner
            self.canvas.moving += frames

    def update(self, row: int, temperature: float, view: str) -> None:
        """Bring the maps and the images to this row, temperature and right-hand map."""
        p = self.soft(temperature)
        own = row % self.count
        self.maps.show(p, row, view, [self.order(who, row)[0] for who in p])
        self.places[0].image = np.rot90(self.images[own], row // self.count + 1)
        self.places[1].image = self.images[own]
        self.facts.text = (
            f"{self._name(row)}\ntemperature τ = {temperature:g}\n\n"
            f"τ² · KL(teacher ‖ student)\n= {self.divergence(row, temperature):.4f}"
        )
        for who, matrix in p.items():
            self._show_ranked(who, row, matrix[row])

    def soft(self, temperature: float) -> dict[str, np.ndarray]:
        """Both matrices with softened rows, float64 [3B, B] by name."""
        return {who: soften(a, temperature).numpy() for who, a in self.cosine.items()}

    def divergence(self, row: int, temperature: float) -> float:
        """τ² · KL(teacher ‖ student) of one row."""
        one = slice(row, row + 1)
        return max(float(kl_rows(self.cosine["student"][one], self.cosine["teacher"][one], temperature)), 0.0)

    def order(self, who: str, row: int) -> np.ndarray:
        """Columns of a row, most similar first; its own image leads its equals, as in `error_rank`."""
        scores = self.cosine[who][row].numpy()
        return np.lexsort((np.arange(self.count) != row % self.count, -scores))

    def _show_ranked(self, who: str, row: int, p: np.ndarray) -> None:
        """Show the images ranked first, its own in a solid frame and a wrong first one in a dashed one."""
        own, order = row % self.count, self.order(who, row)
        place = int(self.rank[who][row])
        self.verdicts[who].text = f"{who}: " + (
            f"✗ wrong, own image in place {place + 1} ({percent(p[own])})" if place else "✓ right"
        )
        for column, photo, caption in zip(order, self.ranked[who], self.captions[who], strict=False):
            photo.image = self.images[column]
            name = "own image" if column == own else f"image {column + 1}"
            caption.text = f"{name}\n{percent(p[column])}"
        for frame, at, seen in zip(self.frames[who], (place, 0), (place < SHOWN, place > 0), strict=True):
            frame.set_x(RANKED_LEFT + RANKED_PITCH * at - 4)
            frame.set_visible(seen)

    def describe(self, **state: Any) -> str:
        """Say the row, whom teacher and student rank first, their divergence and what the maps span."""
        row, temperature, view = ({**self.start(), **state}[name] for name in ("row", "temperature", "view"))
        p, own = self.soft(temperature), row % self.count
        said = [
            f"The view is {self._name(row)}, row {row + 1} of {len(self.own)}, temperature {temperature:g}."
        ]
        for who, matrix in p.items():
            place = int(self.rank[who][row])
            first = ", ".join(
                f"{'its own image' if k == own else f'image {k + 1}'} {percent(matrix[row, k])}"
                for k in self.order(who, row)[:SHOWN]
            )
            verdict = "right"
            if place:
                verdict = f"wrong, own image in place {place + 1} with {percent(matrix[row, own])}"
            said.append(f"{who.capitalize()}: {verdict}; it ranks first {first}.")
        kl = self.divergence(row, temperature)
        said.append(f"τ² · KL(teacher ‖ student) of this row is {kl:.4f}. {self.totals}")
        high = right_map(p, view)[2]
        shown = f"student minus teacher, within ± {100 * high:.1f} points"
        if view == "student":
            shown = f"the student's probabilities, up to {percent(high)}"
        said.append(f"The right-hand map shows {shown}.")
        return " ".join(said)


def explore_similarity(
    images, teacher, student, *, temperature: float = 0.5, key: str = "similarity"
) -> SimilarityExplorer:
    """Show teacher's and student's similarity matrices side by side, and what each view is taken for.

    The rows of both are softened as in L_ss: softmax(cosine / τ) over the B upright images.

    images: the B upright ones, uint8 or float in [0, 1], [B, C, H, H], B from 2 to 32; teacher, student:
    projections of their 4B views in the order of `four_views`, float [4B, D_t] and [4B, D_s]; temperature:
    τ to start from; key: running a cell again replaces this key's explorer. The slider holds at most 16 of
    the 3B rows, half of them such as the teacher gets wrong.
    Raises ValueError where shapes do not fit, for values that are not finite, for too many images and for a
    temperature that is not above 0 and finite.
    """
    return SimilarityExplorer(images, teacher, student, temperature, key).present()
