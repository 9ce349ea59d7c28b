"""Figures with a row for each of many methods: one colour, and a shape for each kind of result."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...evaluation import interval
from ...losses import METHODS, create_method
from ..style import GRID, HEAT, INK, QUIET, SMALL, WIDTH, new_figure
from .cards import AMONG, INPUTS, OUTPUTS, compared_output, zoo_card

ROW = 0.26  # inches per method: room for 11 points
COLOUR = "#00639C"
WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1}
ROW_LABELS = {INPUTS["pre_relu"]: "maps before\nthe ReLU", "projection": "answers of\na pretext head"}
# marker, its face and its size
SHAPES = {"": ("o", "white", 7), "different": ("D", COLOUR, 7), "corrected": ("*", COLOUR, 11)}


def zoo_map(names: Iterable[str] = METHODS) -> Figure:
    """Draw the outputs that methods compare in rows, and the images compared together in columns."""
    columns, cells = tuple(AMONG.values()), {}
    for name in names:
        year = zoo_card(name).year
        views = " ×4" if create_method(name).needs.views == 4 else ""
        label = f"{name}{views} {year}" if year else f"{name}{views}"
        cells.setdefault((compared_output(name), zoo_card(name).among), []).append(label)
    rows = [output for output in OUTPUTS if any(key[0] == output for key in cells)]
    whole = {key: ", ".join(label.replace(" ", "\xa0") for label in cells[key]) for key in cells}
    lines = {key: textwrap.wrap(text, 34, break_on_hyphens=False) for key, text in whole.items()}
    tall = [max(len(lines.get((row, column), "")) for column in columns) + 0.9 for row in rows]
    figure = new_figure(WIDTH, 0.24 * sum(tall) + 0.6)
    axes = figure.subplots()
    edges, sides = np.concatenate([[0], np.cumsum(tall)]), np.array([0, 3.6, 6.7, 8.1])
    for row, top, bottom in zip(rows, edges, edges[1:], strict=False):
        for column, left, right in zip(columns, sides, sides[1:], strict=False):
            text = "\n".join(lines.get((row, column), ()))
            axes.text((left + right) / 2, (top + bottom) / 2, text, ha="center", va="center", fontsize=SMALL)
    axes.hlines(edges, 0, sides[-1], color=QUIET, linewidth=0.8)
    axes.vlines(sides, 0, edges[-1], color=QUIET, linewidth=0.8)
    axes.set(xlim=(0, sides[-1]), ylim=(edges[-1], 0))
    axes.set_yticks((edges[:-1] + edges[1:]) / 2, [ROW_LABELS.get(row, row) for row in rows])
    axes.set_xticks((sides[:-1] + sides[1:]) / 2, [c.replace("against a ", "") for c in columns])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def method_rows(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
    order: Sequence[str] | None = None,
    shapes: Mapping[str, Mapping[str, str]] | None = None,
    labels: Mapping[str, str] | None = None,
    level: float | None = None,
    whiskers: bool = True,
    missing: str = "not run",
) -> Figure:
    """Draw many methods in rows, panels side by side: values as dots, their mean, its 95 % interval.

    panels: title → method → values, one per seed. order: of the rows, from above; without it that of the
    means in the first panel, the highest above. shapes: title → method → "" (a hollow ring), "different" (a
    diamond) or "corrected" (a star). labels: method → its text. level: a vertical line. whiskers: draw the
    intervals. missing: the text where a panel has no values of a method.
    All panels have one scale, wide enough for all values; a whisker that leaves it ends in an arrow.
    """
    names = list(order or _by_mean(panels))
    figure = new_figure(WIDTH, ROW * len(names) + 1.4)
    grid = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    limits = _limits(panels, level)
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        for y, name in enumerate(names):
            shape = (shapes or {}).get(title, {}).get(name, "")
            if len(rows.get(name, ())):
                _row(axes, y, rows[name], SHAPES[shape], limits, whiskers)
            else:
                middle = {"ha": "center", "va": "center", "bbox": WHITE}
                axes.text(sum(limits) / 2, y, missing, fontsize=SMALL, color=QUIET, **middle)
        if level is not None:
            axes.axvline(level, color=INK, linewidth=1, zorder=0)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set(xlim=limits, ylim=(len(names) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0, pad=8)  # beside the arrows
    grid[0].set_yticks(range(len(names)), [(labels or {}).get(name, name) for name in names])
    return figure


def _limits(panels: Mapping[str, Mapping[str, Sequence[float]]], level: float | None) -> tuple[float, float]:
    """Return the ends of an axis that has room for all values and the level."""
    every = [value for rows in panels.values() for values in rows.values() for value in values]
    every += [] if level is None else [level]
    margin = 0.06 * (max(every) - min(every)) or 1.0
    return min(every) - margin, max(every) + margin


def _by_mean(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    means: dict[str, float] = {}
    for rows in panels.values():
        for name, values in rows.items():
            means.setdefault(name, float(np.mean(values)))
    return sorted(means, key=means.__getitem__, reverse=True)


def _row(
    axes: Axes,
    y: int,
    values: Sequence[float],
    shape: tuple[str, str, int],
    limits: tuple[float, float],
    whiskers: bool,
) -> None:
    """Draw one method: dots, whisker, mean."""
    mean, half = interval(values)
    if whiskers and not np.isnan(half):
        ends = np.clip([mean - half, mean + half], *limits)
        axes.plot(ends, [y, y], color=COLOUR, linewidth=1.4, zorder=2)
        for end, free, arrow in zip(ends, (mean - half, mean + half), "<>", strict=True):
            mark = "|" if end == free else arrow
            axes.plot(end, y, marker=mark, color=COLOUR, markersize=6, clip_on=False, zorder=2)
    axes.plot(values, np.full(len(values), y + 0.27), ".", color=QUIET, markersize=5, zorder=3)
    marker, face, size = shape
    style = {"color": COLOUR, "markerfacecolor": face, "markersize": size, "markeredgewidth": 1.5}
    axes.plot(mean, y, marker, zorder=4, **style)


def shape_key(figure: Figure, texts: Mapping[str, str]) -> Figure:
    """Add a legend of the shapes below a figure of `method_rows`. texts: shape → its meaning."""
    marks = []
    for shape, text in texts.items():
        marker, face, size = SHAPES[shape]
        style = {"color": COLOUR, "markerfacecolor": face, "markersize": size, "linestyle": "none"}
        marks.append(Line2D([], [], marker=marker, label=text, **style))
    figure.legend(handles=marks, loc="outside lower center", ncols=1 if len(texts) > 3 else len(texts))
    return figure


def change_table(changes: Mapping[str, Mapping[str, float]], title: str = "") -> Figure:
    """Draw the change of each loss under each transformation, in colours and numbers.

    changes: loss → transformation → |after - before| / before. Up to a millionth counts as unchanged and is
    written 0; a larger one is written in per cent, from tenfold on as a factor.
    """
    columns = list(next(iter(changes.values())))
    table = np.array([[changes[name][column] for column in columns] for name in changes])
    figure = new_figure(WIDTH, 1.1 * ROW * len(changes) + 1.5)
    axes = figure.subplots()
    depth = np.log10(np.clip(table, 1e-3, 1))
    axes.imshow(depth, cmap=HEAT, aspect="auto", vmin=-3, vmax=0, interpolation="nearest")
    for (row, column), value in np.ndenumerate(table):
        ink = "white" if depth[row, column] < -1.5 else INK
        axes.text(column, row, _change(value), ha="center", va="center", fontsize=SMALL, color=ink)
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(changes)), list(changes))
    axes.tick_params(length=0)
    axes.set_title(title)
    return figure


def _change(value: float) -> str:
    if value <= 1e-6:
        return "0"
    if value < 1e-3:
        return "<0.1 %"
    if value < 10:
        return f"{100 * value:.1f} %" if value < 0.1 else f"{100 * value:.0f} %"
    return f"× {value + 1:,.0f}"
