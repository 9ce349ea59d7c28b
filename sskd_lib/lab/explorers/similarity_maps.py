"""Two similarity matrices side by side in an explorer's picture, with one row pulled out."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from ..canvas import Canvas
from ..softening import percent
from ..style import HEAT

LEFT, TOP, WIDE, HIGH, STEP = 52, 52, 192, 384, 216  # pixels; STEP from the left map to the right one
LENS, MARGIN, GAP = 12, 9, 3  # pixels: the row pulled out, nothing above and below it, nothing between angles
SIDE = HIGH + 2 * GAP + LENS + 2 * MARGIN  # of the square that holds both maps


def map_lines(row: int, count: int, high: int) -> np.ndarray:
    """Return the row of the matrix on each line of pixels, -1 for none; `row` is pulled out."""
    lines: list[int] = []
    for r in range(3 * count):
        if r in (count, 2 * count):
            lines += [-1] * GAP
        if r == row:
            lines += [-1] * MARGIN + [r] * max(LENS, high) + [-1] * MARGIN
        else:
            lines += [r] * high
    return np.array(lines)


def right_map(p: dict[str, np.ndarray], view: str) -> tuple[np.ndarray, float, float]:
    """Return the matrix of the right-hand map, with the lowest and highest value of its colours.

    p: softened rows [3B, B] of "teacher" and "student"; view: "student" or "difference".
    """
    if view == "student":
        return p["student"], 0.0, max(float(matrix.max()) for matrix in p.values())
    difference = p["student"] - p["teacher"]
    reach = max(float(np.abs(difference).max()), 1e-9)  # equal matrices are grey all over
    return difference, -reach, reach


class SimilarityMaps:
    """The teacher's matrix and, on its right, the student's or the difference.

    count: images, B of the matrices [3B, B]; sheet: axes over the whole picture, in pixels from its top left.
    """

    def __init__(self, canvas: Canvas, sheet: Axes, count: int) -> None:
        self.count = count
        self.cell = HIGH // (3 * count), WIDE // count  # pixels, high and wide
        lefts, words = (LEFT, LEFT + STEP), canvas.words
        self.titles = [words(x, 14) for x in lefts]
        self.scales = [(words(x + 48, 37, anchor="rm"), words(x + 118, 37)) for x in lefts]
        for x in lefts:
            place = (x + 54, x + 112, 43, 31)
            sheet.imshow(np.linspace(0, 1, 64)[None], cmap=HEAT, extent=place, aspect="auto")
            canvas.keep(x + 54, 31, 58, 12)
        self.square = canvas.photo(LEFT, TOP, SIDE)
        self.angles = [words(2, 0, f"{angle}°") for angle in (90, 180, 270)]
        self.pointer = words(LEFT - 2, 0, "▶", points=8, anchor="rm")
        self.marks = [(words(0, 0, "▼", 8, "mm"), words(0, 0, "▲", 8, "mm")) for _ in lefts]
        words(LEFT, 486, "a row: one rotated view; a column: one upright image")
        words(LEFT, 505, "▼ own image    ▲ ranked first    in line: right")

    def lines(self, row: int) -> np.ndarray:
        """Return the row of the matrix on each line of pixels below TOP where `row` is pulled out."""
        return map_lines(row, self.count, self.cell[0])

    def show(self, p: dict[str, np.ndarray], row: int, view: str, first: list[int]) -> None:
        """Draw both maps with this row pulled out; first: the column each network ranks first in it."""
        lines = self.lines(row)
        square = np.zeros((SIDE, SIDE, 4), np.uint8)  # transparent
        left = (p["teacher"], *right_map(p, "student")[1:])  # one scale for both
        names = ("teacher", "student" if view == "student" else "student − teacher (points)")
        for i, (values, low, high) in enumerate((left, right_map(p, view))):
            colours = matplotlib.colormaps[HEAT]((values - low) / (high - low), bytes=True)
            colours = np.concatenate([colours, np.zeros_like(colours[:1])])  # the last one is transparent
            cells = np.repeat(colours[lines], self.cell[1], axis=1)
            square[: len(lines), STEP * i : STEP * i + cells.shape[1]] = cells
            self.titles[i].text = names[i]
            ends = (f"−{100 * high:.1f}", f"+{100 * high:.1f}") if low else ("0", percent(high))
            for end, text in zip(self.scales[i], ends, strict=True):
                end.text = text
        self.square.image = square
        self._point_out(row, lines, first)

    def _point_out(self, row: int, lines: np.ndarray, first: list[int]) -> None:
        """Put the angles beside the maps, and the marks around the row pulled out."""
        for k, angle in enumerate(self.angles):
            angle.y = TOP + float(np.flatnonzero(lines // self.count == k).mean())
        top, *_, bottom = TOP + np.flatnonzero(lines == row)
        self.pointer.y = (top + bottom) / 2
        for i, (above, below) in enumerate(self.marks):
            above.x, below.x = (
                LEFT + STEP * i + self.cell[1] * (k + 0.5) for k in (row % self.count, first[i])
            )
            above.y, below.y = top - MARGIN / 2, bottom + MARGIN / 2 + 1
