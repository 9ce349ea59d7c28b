"""Five ways to be fooled: a reported gain beside the fair one, both from recorded trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...evaluation import interval
from ..canvas import Canvas
from ..comparison.evidence import last_and_best
from ..comparison.statistics import minus
from ..explorers.base import Explorer
from ..explorers.control import Control
from ..explorers.presentation import present
from ..few_labels import recorded
from ..style import FAINT, INK, clean_axes
from .plan import read_plan
from .rows import Row, differences, read_rows, values_of

WIDTH, HEIGHT = 900, 290  # pixels of the picture
CELL = "hundred-50"
LONG, SHORTER = 240, 60  # epochs of the recorded trainings with 300 labels
REPORTED, FAIR = "#C95300", "#00639C"
Pair = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Trick:
    """One way to be fooled: what is reported, what would be fair, and the differences of both, seed by seed.

    single: whether only one seed is reported. again: whether the fair differences are of other seeds.
    """

    title: str
    reported: str
    fair: str
    reported_gaps: tuple[float, ...]
    fair_gaps: tuple[float, ...]
    single: bool = False
    again: bool = False

    def claimed(self, place: int) -> float:
        """Return the gain that is reported. place: of the seed, from 0."""
        return self.reported_gaps[place] if self.single else interval(self.reported_gaps)[0]

    @property
    def false_gain(self) -> float:
        """The most by which the reported gain is above the fair one; for one seed that of the luckiest."""
        top = max(self.reported_gaps) if self.single else interval(self.reported_gaps)[0]
        return top - interval(self.fair_gaps)[0]


def make_tricks(rows: Sequence[Row] | None = None) -> dict[str, Trick]:
    """Return the five tricks by name; one whose trainings are not recorded is left out.

    rows: of the claims' record, the kit's where there are none.
    """
    values = values_of(read_rows() if rows is None else rows, "accuracy")
    arms = {arm: seeds for (cell, arm), seeds in values.items() if cell == CELL}
    made = {}
    if {"sskd", "kd+rotations"} <= arms.keys():
        made["one seed"] = _one_seed(arms["sskd"], arms["kd+rotations"])
    made |= {"best epoch": _best_epoch(), "copied baseline": _copied_baseline()}
    hint = read_plan().claims["hint-again"]
    first, new = (differences(values, c) for c in (hint.other[0], hint.primary[0]))
    if first and new:
        made["best setting"] = _best_setting(first, new)
    if {"sskd", "kd", "kd x4"} <= arms.keys():
        made["unequal compute"] = _unequal_compute(arms["sskd"], arms["kd"], arms["kd x4"])
    return made


def _one_seed(sskd: Pair, control: Pair) -> Trick:
    gaps = tuple(minus(sskd, control))
    return Trick(
        title="SSKD − KD on the same rotated views, 100 classes",
        reported="one seed",
        fair="all seeds",
        reported_gaps=gaps,
        fair_gaps=gaps,
        single=True,
    )


def _best_epoch() -> Trick:
    last, best = last_and_best(recorded("fashion", LONG))
    return Trick(
        title="SSKD − KD on the same rotated views, 300 labels",
        reported="best epoch of SSKD − last epoch of the other",
        fair="last epoch of both",
        reported_gaps=tuple(minus(best["sskd"], last["kd+rotations"])),
        fair_gaps=tuple(minus(last["sskd"], last["kd+rotations"])),
    )


def _copied_baseline() -> Trick:
    long, short = (last_and_best(recorded("fashion", epochs))[0] for epochs in (LONG, SHORTER))
    return Trick(
        title="SSKD − KD, 300 labels",
        reported=f"SSKD of {LONG} epochs − KD copied from a table of {SHORTER}",
        fair=f"both trained for {LONG} epochs",
        reported_gaps=tuple(minus(long["sskd"], short["kd"])),
        fair_gaps=tuple(minus({seed: long["sskd"][seed] for seed in short["kd"]}, long["kd"])),
    )


def _best_setting(first: Pair, new: Pair) -> Trick:
    return Trick(
        title="SSKD − KD on the same rotated views, 20 and 30 % of the labels wrong",
        reported="two settings whose intervals were above zero",
        fair="the same two settings, trained again with new seeds",
        reported_gaps=tuple(first.values()),
        fair_gaps=tuple(new.values()),
        again=True,
    )


def _unequal_compute(sskd: Pair, kd: Pair, kd_longer: Pair) -> Trick:
    return Trick(
        title="SSKD − KD, 100 classes",
        reported="as many epochs: SSKD sees four times the images",
        fair="as many images: KD trains four times the epochs",
        reported_gaps=tuple(minus(sskd, kd)),
        fair_gaps=tuple(minus(sskd, kd_longer)),
    )


class Fooled(Explorer):
    """A trick and a seed; see `explore_fooled`."""

    def __init__(self, tricks: Mapping[str, Trick], key: str) -> None:
        self.tricks, self.key = dict(tricks), key
        most = max(len(trick.reported_gaps) for trick in self.tricks.values())
        names = tuple((name, name) for name in self.tricks)
        self.controls = {
            "trick": Control(label="Trick", options=names, start=names[0][0], slider=False),
            "seed": Control(label="Seed", options=tuple((str(i), i) for i in range(1, most + 1)), start=1),
        }
        self.film = tuple({"trick": name, "seed": _luckiest(trick)} for name, trick in self.tricks.items())
        self.canvas = canvas = Canvas(WIDTH, HEIGHT)
        self.title = canvas.words(12, 20, points=13)
        self.lines = [canvas.words(12, 56), canvas.words(12, 156)]
        axes = canvas.figure.add_axes(canvas.place(30, 70, WIDTH - 60, 170))
        axes.set(xlim=(-1.08, 1.08), ylim=(170, 0), yticks=[], xticks=[-1, -0.5, 0, 0.5, 1])
        clean_axes(axes, ("top", "right", "left"), labelbottom=False)
        for x in (-1, -0.5, 0, 0.5, 1):
            for ends in ((0, 68), (104, 170)):  # not through the words between the rows
                axes.plot([x, x], ends, color=FAINT if x else INK, linewidth=1.2, zorder=0)
        places = [30 + (WIDTH - 60) * (x + 1.08) / 2.16 for x in (-1, -0.5, 0, 0.5, 1)]
        self.ticks = [canvas.words(x, 254, anchor="mm") for x in places]
        unit = "difference in test accuracy (points); right of zero SSKD is ahead"
        canvas.words(WIDTH / 2, 276, unit, anchor="mm")
        self.rows = [Strip(canvas, axes, y, c, m) for y, c, m in ((30, REPORTED, "D"), (130, FAIR, "o"))]

    def update(self, trick: str, seed: int) -> None:
        """Bring dots, means and words to this trick and seed."""
        chosen = self.tricks[trick]
        place = self._place(chosen, seed)
        limit = 2 * math.ceil(max(map(abs, (*chosen.reported_gaps, *chosen.fair_gaps))) / 2)
        for mark, x in zip(self.ticks, (-1, -0.5, 0, 0.5, 1), strict=True):
            mark.text = f"{limit * x:+g}" if x else "0"
        self.title.text = chosen.title
        self.lines[0].text, self.lines[1].text = self._texts(chosen, seed)
        only = chosen.reported_gaps[place : place + 1] if chosen.single else chosen.reported_gaps
        self.rows[0].show(only, 0 if chosen.single else place, limit)
        self.rows[1].show(chosen.fair_gaps, None if chosen.again else place, limit)

    def _place(self, chosen: Trick, seed: int) -> int:
        """Return the place of a seed; the last one where the trick has fewer seeds."""
        return min(seed, len(chosen.reported_gaps)) - 1

    def _texts(self, chosen: Trick, seed: int) -> tuple[str, str]:
        place = self._place(chosen, seed)
        gain = chosen.claimed(place)
        mean, half = interval(chosen.fair_gaps)
        count, ahead = len(chosen.fair_gaps), sum(gap > 0 for gap in chosen.fair_gaps)
        one = f" ({place + 1} of {count})" if chosen.single else ""
        reported = f"Reported: {chosen.reported}{one}: {gain:+.2f}"
        return reported, f"Fair: {chosen.fair}: {mean:+.2f} ± {half:.2f}, ahead in {ahead} of {count} seeds"

    def sentences(self, trick: str, seed: int) -> list[str]:
        """Name the trick, what is reported, what is fair, and what the trick adds."""
        chosen = self.tricks[trick]
        place, fair = self._place(chosen, seed), interval(chosen.fair_gaps)[0]
        gain = chosen.claimed(place)
        signs = "The sign is another one." if gain * fair < 0 else ""
        added = f"The trick adds {gain - fair:+.2f} points."
        fewer = f"This record has {place + 1} seeds." if seed > place + 1 else ""
        return [f"{chosen.title}.", *(f"{text}." for text in self._texts(chosen, seed)), added, signs, fewer]


def _luckiest(trick: Trick) -> int:
    """Return the number of the seed with the largest reported gain."""
    return 1 + max(range(len(trick.reported_gaps)), key=trick.reported_gaps.__getitem__)


class Strip:
    """One row of the picture: a dot per seed, the chosen one ringed, the mean and its interval."""

    def __init__(self, canvas: Canvas, axes: Any, y: float, colour: str, marker: str) -> None:
        self.y = y
        plain = {"linestyle": "none", "marker": marker, "color": colour}
        (self.line,) = axes.plot([], [], color=colour, linewidth=3, solid_capstyle="butt")
        (self.mean,) = axes.plot([], [], **plain, markersize=13)
        (self.dots,) = axes.plot([], [], **plain, markersize=6, alpha=0.75)
        ring = {"linestyle": "none", "marker": "o", "markersize": 13, "markerfacecolor": "none"}
        (self.ring,) = axes.plot([], [], **ring, markeredgecolor=INK, markeredgewidth=1.6)
        canvas.moving += [self.line, self.mean, self.dots, self.ring]

    def show(self, gaps: Sequence[float], place: int | None, limit: float) -> None:
        """Draw differences on an axis from -limit to limit. place: of the seed to ring, or None."""
        mean, half = interval(gaps)
        several = len(gaps) > 1
        self.line.set_data(
            [(mean - half) / limit, (mean + half) / limit] if several else [], [self.y, self.y] * several
        )
        self.mean.set_data([mean / limit], [self.y])
        below = self.y + 24
        self.dots.set_data([gap / limit for gap in gaps] if several else [], [below] * (len(gaps) * several))
        ringed = several and place is not None
        self.ring.set_data([gaps[place] / limit] if ringed else [], [below] * ringed)


def explore_fooled(*, key: str = "fooled") -> Fooled:
    """Compare a reported gain with the fair one, for five ways to be fooled.

    All numbers are recorded trainings. key: running a cell again replaces this key's explorer.
    """
    return present(Fooled(make_tricks(), key))


def false_gains() -> dict[str, float]:
    """Return how many points each trick adds to the fair difference; for one seed, the luckiest of all."""
    return {name: trick.false_gain for name, trick in make_tricks().items()}
