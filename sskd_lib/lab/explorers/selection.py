"""The selection explorer: the teacher's wrong rows that a ratio keeps, and those that it drops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Polygon, Rectangle

from ...data.checks import describe
from ...losses import error_rank
from ..arguments import as_labels, as_names, as_number, as_numbers, as_temperature
from ..canvas import Canvas
from ..style import DROPPED, FONT, INK, RIGHT, WRONG, add_legend, clean_axes, pixels, short
from .base import Explorer
from .control import Control
from .hover import Spot
from .presentation import present
from .row_selection import Selection, select, spread
from .strip import SHOWN, Strip
from .term_curves import TermCurves, term_by_count

WIDTH, HEIGHT, TALLER = 932, 424, 592  # pixels of the picture; TALLER with the term's curves below
LEFT, TOP, WIDE, HIGH, BAR = 78, 52, 296, 196, 330  # of the ranks; top of the bar
EMPTY = {"facecolor": "white", "edgecolor": DROPPED, "hatch": "....", "linewidth": 1}


class SelectionExplorer(Explorer):
    """Ranked wrong rows with a movable cut; see `explore_selection`."""

    def __init__(self, images, scores, targets, columns, student, keep_wrong, film, key) -> None:
        self.images = pixels(images)
        self.scores = torch.from_numpy(as_numbers("scores", scores))  # double keeps every order and tie
        if self.scores.ndim != 2:
            raise ValueError(f"scores is [R, K], a row for each view, not {list(self.scores.shape)}.")
        self.targets = torch.from_numpy(as_labels("targets", targets, self.scores.shape[1]))
        named = isinstance(columns, str) or (len(columns) > 0 and isinstance(columns[0], str))
        self.columns = None if named else pixels(columns)
        self.classes = as_names("columns", columns) if named else None
        self._check()
        keep_wrong = as_number("keep_wrong", keep_wrong, 0, 1)
        self.key = key
        steps = sorted({*(round(0.05 * i, 2) for i in range(21)), keep_wrong})
        options = tuple((f"{100 * s:g} %", s) for s in steps)
        label = "Share of the WRONG rows kept"
        self.controls = {"keep_wrong": Control(label=label, options=options, start=keep_wrong)}
        self.film = tuple({"keep_wrong": ratio} for ratio in film)
        self.rank = error_rank(self.scores, self.targets).numpy()
        self.taken_for = self.scores.argmax(1).numpy()
        everything = select(self.scores, self.targets, 1.0)
        self.wrong, self.heights = everything.kept, self.rank[everything.kept]
        self.cards = self._make_cards()
        self.canvas = Canvas(WIDTH, HEIGHT if student is None else TALLER)
        self.headline = self.canvas.words(12, 20, points=13)
        self._draw_ranks()
        self._draw_bar(len(everything.right))
        self.strips = [Strip(self.canvas, 426, top, 102, self.columns is not None) for top in (58, 252)]
        self.term = None if student is None else self._draw_term(student, everything)

    def _check(self) -> None:
        rows, width = self.scores.shape
        names = self.classes if self.columns is None else self.columns
        if not len(self.images) == len(self.targets) == rows or len(names) != width:
            raise ValueError(
                f"scores is {rows} x {width}, so it needs {rows} images, {rows} targets and {width} column "
                f"images or names, but there are {len(self.images)}, {len(self.targets)} and {len(names)}."
            )

    def _make_cards(self) -> np.ndarray:
        """Views, and behind them the column images where they are of one size with the views."""
        if self.columns is None or self.columns.shape[1:] != self.images.shape[1:]:
            return self.images
        return np.concatenate([self.images, self.columns])

    def _draw_term(self, given: tuple[Any, float], everything: Selection) -> TermCurves:
        """The curves of the loss and of its gradient; a row's place in the order is what the ratio cuts."""
        if not isinstance(given, tuple) or len(given) != 2:
            raise TypeError(f"student is a tuple: the student's scores and τ, not {describe(given)}.")
        student, temperature = given
        student = torch.from_numpy(as_numbers("the student's scores", student))
        if student.shape != self.scores.shape:
            raise ValueError(
                f"the student's scores are {list(student.shape)}, but the teacher's scores are "
                f"{list(self.scores.shape)}: give the same rows and columns, from the student's outputs."
            )
        order = np.concatenate([everything.right, everything.kept])
        values = term_by_count(student, self.scores, order, as_temperature(temperature))
        named = ("L_T", "student's logits") if self.columns is None else ("L_ss", "student's cosines")
        return TermCurves(self.canvas, *named, len(everything.right), len(everything.kept), values)

    def _draw_ranks(self) -> None:
        """Draw each wrong row as a step as high as its rank; kept ones are filled, a line marks the cut."""
        axes = self.canvas.figure.add_axes(self.canvas.place(LEFT, TOP, WIDE, HIGH))
        count = len(self.heights)
        axes.add_patch(Polygon(_steps(self.heights), **EMPTY))
        axes.set(xlim=(-0.5, max(count, 1) - 0.5), ylim=(0, 1.1 * max([1, *self.heights])))
        axes.set_xlabel(f"the {count} wrong rows, least wrong first", **FONT)
        axes.set_ylabel("error rank (columns ahead)", **FONT)
        clean_axes(axes)
        axes.locator_params(integer=True, nbins=6)
        if not count:
            text = "no wrong row:\nnothing to choose"
            axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes, **FONT)
        self.filled = axes.add_patch(Polygon(_steps(self.heights), color=WRONG, linewidth=0))
        self.cut = axes.axvline(0, color=INK, linewidth=2.5, clip_on=False)
        self.canvas.moving += [self.filled, self.cut]

    def _draw_bar(self, right: int) -> None:
        """Draw one bar over all rows: right, wrong but kept, dropped."""
        axes = self.canvas.figure.add_axes(self.canvas.place(LEFT, BAR, WIDE, 30))
        rows = len(self.rank)
        axes.set(xlim=(0, rows), ylim=(0, 1), yticks=[], xticks=[])
        axes.set_title(f"all {rows} rows", loc="left", pad=5, **FONT)
        first = axes.add_patch(Rectangle((0, 0), right, 1, color=RIGHT, linewidth=0))
        dropped = axes.add_patch(Rectangle((right, 0), rows - right, 1, **EMPTY))
        self.kept_bar = axes.add_patch(Rectangle((right, 0), 0, 1, color=WRONG, linewidth=0))
        handles = [first, Rectangle((0, 0), 1, 1, color=WRONG, linewidth=0), dropped]
        place = {"loc": "upper left", "bbox_to_anchor": self.canvas.place(70, BAR + 38)[:2], "ncols": 3}
        names = ["right", "wrong, kept", "dropped"]
        add_legend(self.canvas.figure, handles, names, handlelength=1.2, columnspacing=1.0, **place)
        self.canvas.moving.append(self.kept_bar)

    def update(self, keep_wrong: float) -> None:
        """Move the cut to this ratio, and show examples of both sides."""
        chosen = select(self.scores, self.targets, keep_wrong)
        kept, dropped, rows = len(chosen.kept), len(chosen.dropped), len(self.rank)
        self.filled.set_xy(_steps(self.heights[:kept]))
        self.cut.set_xdata([kept - 0.5] * 2)
        self.kept_bar.set_width(kept)
        self.headline.text = (
            f"{100 * keep_wrong:g} % of the {kept + dropped} wrong rows kept: {kept} stay, {dropped} go; "
            f"{rows - dropped} of all {rows} rows teach ({100 * chosen.used_fraction():.0f} %)"
        )
        for strip, (what, side) in zip(
            self.strips, (("wrong but kept", chosen.kept), ("dropped", chosen.dropped)), strict=True
        ):
            some = spread(side, SHOWN)
            mistaken = () if self.columns is None else self.columns[self.taken_for[some]]
            title = f"{what}: {len(some)} of {len(side)}, least wrong first" if len(side) else f"{what}: none"
            strip.fill(title, self.images[some], mistaken, [self._caption(row) for row in some])
        if self.term is not None:
            self.term.show(keep_wrong, rows - dropped)

    def _caption(self, row: int) -> str:
        rank = f"rank {self.rank[row]}"
        if self.classes is None:
            return rank
        true, taken = (short(self.classes[k], 11) for k in (self.targets[row], self.taken_for[row]))
        return f"{true}\n→ {taken}\n{rank}"

    def sentences(self, keep_wrong: float) -> list[str]:
        """Count the rows that the ratio keeps and drops, and name the rows at the cut."""
        right, kept, dropped = chosen = select(self.scores, self.targets, keep_wrong)
        rows = len(self.rank)
        words = [
            f"Share of the wrong rows kept: {100 * keep_wrong:g} %. Of {rows} rows the teacher gets "
            f"{len(right)} right; they always stay. Of the {len(kept) + len(dropped)} wrong rows {len(kept)} "
            f"are kept and {len(dropped)} dropped, so {rows - len(dropped)} rows "
            f"({100 * chosen.used_fraction():.0f} %) teach."
        ]
        for name, end in (("last row kept", kept[-1:]), ("first row dropped", dropped[:1])):
            for row in end:
                words.append(f"The {name} has error rank {self.rank[row]} ({self._mistake(row)}).")
        return words if self.term is None else [*words, self.term.describe(rows - len(dropped))]

    def find_spots(self, keep_wrong: float) -> list[Spot]:
        """Return a spot per step: its view and, where columns are images, the one it was taken for."""
        kept = len(select(self.scores, self.targets, keep_wrong).kept)
        wide, pairs = WIDE / max(len(self.wrong), 1), len(self.cards) > len(self.images)
        spots = []
        for place, row in enumerate(self.wrong.tolist()):
            words = (
                f"{self._mistake(row)}: error rank {self.rank[row]}, {'kept' if place < kept else 'dropped'}"
            )
            cards = (row, len(self.images) + int(self.taken_for[row])) if pairs else (row,)
            spots.append(Spot(LEFT + wide * place, TOP, wide, HIGH, words, cards))
        return spots

    def _mistake(self, row: int) -> str:
        true, taken = int(self.targets[row]), int(self.taken_for[row])
        if self.classes is None:
            return f"image {true + 1} taken for image {taken + 1}"
        return f"{self.classes[true]} taken for {self.classes[taken]}"


def _steps(heights: np.ndarray) -> np.ndarray:
    """Return the outline of a staircase of unit steps, for a polygon: float [2n + 2, 2]."""
    edges = np.arange(len(heights) + 1) - 0.5
    x = np.concatenate([edges[:1], np.repeat(edges, 2)[1:-1], edges[-1:]])
    return np.stack([x, np.concatenate([[0], np.repeat(heights, 2), [0]])], axis=1)


def explore_selection(
    images,
    scores,
    targets,
    *,
    columns,
    student: tuple[Any, float] | None = None,
    keep_wrong: float = 0.75,
    film: Sequence[float] = (0.25, 0.5, 0.75),
    key: str = "selection",
) -> SelectionExplorer:
    """Show the teacher's wrong rows that a ratio keeps and drops, with the mistake in each.

    With the student's scores also the term, τ² KL(teacher ‖ student) as a mean over the kept rows, and the
    norm of its gradient on those scores, over all ratios.

    images: the R rotated views, uint8 or float in [0, 1], [R, C, H, W]; scores: the TEACHER's, float
    [R, K], cosines [3B, B] or logits; targets: int [R], the right column of each row (`image_of_row` for
    cosines, the class for logits). columns: the K columns of scores, as images [B, C, H, W] (the term is
    L_ss) or as names of classes (L_T). student: (the student's scores, float [R, K]; τ of the term, 4 for
    L_T and 0.5 for L_ss). keep_wrong: start of the slider; film: the ratios on a page without a kernel; key:
    running a cell again replaces this key's explorer.
    Raises ValueError where shapes do not fit, and for a temperature that is not above 0.
    """
    return present(SelectionExplorer(images, scores, targets, columns, student, keep_wrong, film, key))
