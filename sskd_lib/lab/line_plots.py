"""Numbers against numbers, or against names, with the levels they are to be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from .style import INK, QUIET, new_figure, short, styles

WIDTH = 9.0  # inches


def lines(
    x: Sequence,
    values: Mapping[str, Sequence[float]],
    xlabel: str = "",
    ylabel: str = "",
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    join: bool = True,
) -> Figure:
    """One line a name, with horizontal levels such as chance or a floor named at their right end.

    x: numbers, or names (then draw points with join=False); values: name → as many numbers as x has;
    log: powers of two along x.
    """
    figure = new_figure(WIDTH, 4.0)
    axes = figure.subplots()
    named = isinstance(x[0], str)
    places = range(len(x)) if named else x
    for name, style in styles(values).items():
        look = {"color": style.colour, "marker": style.marker, "markersize": 7}
        line = style.line if join else "none"
        axes.plot(places, values[name], linestyle=line, label=style.label, markevery=_every(x), **look)
    for name, level in (levels or {}).items():
        axes.axhline(level, color=QUIET, linewidth=1.4, linestyle=(0, (6, 3)))
        axes.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), va="center", color=INK)
    if named:
        slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(x) > 5 else {}
        axes.set_xticks(places, [short(str(name)) for name in x], **slant)
        axes.margins(x=0.05)
    if log:
        axes.set_xscale("log", base=2)
        axes.set_xticks(x)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    if len(values) > 1:
        axes.legend(loc="best", handlelength=3.2)
    return figure


def _every(x: Sequence) -> int:
    return max(1, len(x) // 10)
