"""Figures of the claims: every effect with its interval, by verdict, and the accuracies of a cell's arms."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..curves import bars_with_intervals
from ..display import show
from ..style import FAINT, GRID, INK, QUIET, SMALL, WIDTH, new_figure
from .plan import Comparison
from .rows import Row, read_rows, values_of
from .verdicts import HALF_A_POINT, Estimate, Verdict, in_words

ROW = 0.42  # inches per row: two lines of 10 points
LETTERS = 46  # of a claim in one line
UNITS = {"closeness": "hundredths of a nat", "calibration": "points of calibration error"}
# verdict: marker, colour, filled, and the sign of it in a text
MARKS = {
    "holds": ("o", "#00493A", True, "●"),
    "contradicted": ("X", "#C95300", True, "✕"),
    "not shown": ("s", "#00639C", False, "□"),
    "not tried": ("d", QUIET, False, "–"),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a figure: a claim, one of its primary comparisons, and the claim's verdict and plan.

    alone: whether the claim has no other primary comparison.
    """

    claim: str
    alone: bool
    estimate: Estimate
    word: str
    planned: float


def unit_of(comparison: Comparison) -> str:
    """Return the unit of a comparison's effect; "points" is points of accuracy."""
    if comparison.place.startswith("slope"):
        return "points for each halving"
    if comparison.outcome.startswith("probe"):
        return "points of a probe"
    return UNITS.get(comparison.outcome, "points")


def lines_of(verdicts: Mapping[str, Verdict], accuracy: bool = True) -> list[Line]:
    """Return a line for each primary comparison whose effect is in points of accuracy, or for all others."""
    return [
        Line(
            claim=verdict.claim.claim,
            alone=len(verdict.primary) == 1,
            estimate=each,
            word=verdict.word,
            planned=verdict.planned,
        )
        for verdict in verdicts.values()
        for each in verdict.primary
        if (unit_of(each.comparison) == "points") == accuracy
    ]


def draw_verdicts(axes: Axes, lines: Sequence[Line], limit: float = 2.0, band: bool = True) -> None:
    """Draw effects in rows, with their 95 % intervals, and the line at zero; needs no widgets.

    lines: of `lines_of`. limit: the end of the axis on both sides. An effect beyond it becomes an arrow at
    the edge; its number is written at the right, as all numbers are. Below the interval: the least effect
    that the plan could detect (hollow) and that these seeds could (filled). band: draw that of half a point.
    """
    if band:
        axes.axvspan(-HALF_A_POINT, HALF_A_POINT, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for y, line in enumerate(lines):
        _draw_line(axes, y, line, limit)
    axes.set(xlim=(-limit, limit), ylim=(len(lines) - 0.4, -0.6))
    axes.set_yticks(range(len(lines)), [_label(line) for line in lines], fontsize=10)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def _draw_line(axes: Axes, y: int, line: Line, limit: float) -> None:
    each, (marker, colour, filled, _) = line.estimate, MARKS[line.word]
    beside = {
        "xycoords": ("axes fraction", "data"),
        "va": "center",
        "fontsize": SMALL,
        "annotation_clip": False,
    }
    axes.annotate(_number(line), (1.015, y), color=INK if each.seeds else QUIET, **beside)
    for least, face in ((line.planned, "white"), (each.least, QUIET)):
        if least <= limit:  # false for nan
            axes.plot(least, y + 0.3, "^", color=QUIET, markerfacecolor=face, markersize=5, zorder=3)
    if not each.seeds:
        return
    half = 0.0 if math.isnan(each.half) else each.half
    low, high = each.mean - half, each.mean + half
    inside = [min(max(end, -limit), limit) for end in (low, high)]
    if inside[0] < inside[1]:
        axes.plot(inside, [y, y], color=colour, linewidth=2.2, zorder=2)
    covered = False
    for sign, end, arrow in ((-1, low, "<"), (1, high, ">")):
        if sign * end > limit:
            axes.plot(0.96 * sign * limit, y, arrow, color=colour, markersize=9, zorder=4)
            covered |= sign * each.mean > 0.9 * limit  # the arrow is where the marker would be
    if not covered:
        face = colour if filled else "white"
        style = {"color": colour, "markerfacecolor": face, "markeredgewidth": 1.6, "markersize": 9}
        axes.plot(each.mean, y, marker, zorder=5, **style)


def _label(line: Line) -> str:
    words = line.claim.rstrip(".")
    claim = textwrap.wrap(words, LETTERS if len(words) <= LETTERS else len(words) // 2 + 6)
    return "\n".join(claim if line.alone else [*claim, line.estimate.comparison.name])


def _number(line: Line) -> str:
    each = line.estimate
    if not each.seeds:
        return "– not trained yet"
    half = "" if math.isnan(each.half) else f" ± {each.half:.2f}"
    sign, unit = MARKS[line.word][3], unit_of(each.comparison)
    below = [] if unit == "points" else [unit]
    below += [f"only {each.seeds} seeds yet"] if line.word == "not tried" else []
    return f"{sign} {each.mean:+.2f}{half}" + (f"\n   {', '.join(below)}" if below else "")


def verdict_figure(verdicts: Mapping[str, Verdict]) -> Figure:
    """Draw all claims, id → verdict: above those in points of accuracy, below those in other units."""
    panels = [
        (title, limit, lines)
        for title, limit, lines in (
            ("points of accuracy", 2.0, lines_of(verdicts)),
            ("other units, named at the right", 6.0, lines_of(verdicts, accuracy=False)),
        )
        if lines
    ]
    heights = [len(lines) + 0.4 for _, _, lines in panels]
    figure = new_figure(WIDTH, ROW * sum(heights) + 0.8 * len(panels) + 0.9)
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, limit, lines) in zip(grid, panels, strict=True):
        draw_verdicts(axes, lines, limit, band=all(unit_of(x.estimate.comparison) == "points" for x in lines))
        axes.set_title(title, loc="left", fontsize=12)
    grid[-1].set_xlabel("effect, with its 95 % interval; right of zero speaks for the claim")
    figure.legend(handles=_key(), loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def _key() -> list[Any]:
    handles: list[Any] = []
    for word, (marker, colour, filled, _) in MARKS.items():
        face = colour if filled else "white"
        style = {"color": colour, "markerfacecolor": face, "markersize": 9, "markeredgewidth": 1.6}
        handles.append(Line2D([], [], marker=marker, linestyle="none", label=word, **style))
    for face, text in (("white", "least effect, as planned"), (QUIET, "least effect, with these seeds")):
        style = {"color": QUIET, "markerfacecolor": face, "markersize": 6, "linestyle": "none"}
        handles.append(Line2D([], [], marker="^", label=text, **style))
    return [*handles, Patch(color=FAINT, label="within half a point")]


def verdict_words(verdicts: Mapping[str, Verdict]) -> str:
    """Return the alternative text of the figure: each claim with its verdict and its effects."""
    parts = []
    for verdict in verdicts.values():
        effects = "; ".join(in_words(each) for each in verdict.primary)
        parts.append(f"{verdict.claim.claim.rstrip('.')}: {verdict.word}, {effects}.")
    return "Effects of all claims with their 95 % intervals. " + " ".join(parts)


def show_verdicts(verdicts: Mapping[str, Verdict]) -> None:
    """Show the figure of all claims, and name those within half a point. verdicts: of `claim_verdicts`."""
    show(verdict_figure(verdicts), alt=verdict_words(verdicts))
    names = "; ".join(claim.rstrip(".") for claim in within_band(verdicts)) or "none"
    print(f"The whole interval is within half a point: {names}.")


def within_band(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return the tried claims of accuracy whose intervals are within half a point of zero."""
    return [
        verdict.claim.claim
        for verdict in verdicts.values()
        if verdict.word != "not tried"
        and all(unit_of(each.comparison) == "points" for each in verdict.primary)
        and all(abs(each.mean) + each.half < HALF_A_POINT for each in verdict.primary)
    ]


def arm_accuracies(
    rows: Sequence[Row], cell: str = "hundred-50", arms: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Return the accuracies of arms in a cell, in the order of the seeds; all arms without names."""
    values = values_of(rows, "accuracy")
    names = arms or [arm for place, arm in values if place == cell]
    return {
        arm: [values[cell, arm][seed] for seed in sorted(values[cell, arm])]
        for arm in names
        if (cell, arm) in values
    }


def show_arms(*arms: str, cell: str = "hundred-50") -> None:
    """Draw the accuracies of arms in a cell of the plan: a dot per seed, the mean and its 95 % interval.

    arms: names of the plan, from above; all of the cell where none is named.
    """
    values = arm_accuracies(read_rows(), cell, arms)
    if not values:
        print(f"The cell {cell} is not trained yet.")
        return
    ordered = values if arms else dict(sorted(values.items(), key=lambda item: -_mean(item[1])))
    words = ", ".join(f"{arm} {_mean(numbers):.1f} %" for arm, numbers in ordered.items())
    show(bars_with_intervals(ordered), alt=f"Test accuracies in the cell {cell}, means: {words}.")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
