"""Figures of results: learning curves and bars, always with what several seeds say of the uncertainty."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation import interval
from .style import QUIET, new_figure, short, styles

WIDTH = 9.0  # inches


def learning_curves(
    histories: Mapping[str, Sequence[Any]],
    metric: str = "test_accuracy",
    ylabel: str | None = None,
    title: str = "",
) -> Figure:
    """A metric against epochs, one line a method: the mean over seeds, and a band for its 95 % interval.

    histories: name → history, or name → list of histories, one a seed; a history is a list of dicts with
    "epoch" and the metric (epochs without it are left out). One seed gives a line without a band.
    Raises ValueError if no epoch has the metric.
    """
    figure = new_figure(WIDTH, 4.4)
    axes = figure.subplots()
    for name, style in styles(histories).items():
        runs = histories[name]
        runs = [runs] if runs and isinstance(runs[0], Mapping) else runs
        epochs, values = _table(runs, metric, name)
        middle = values.mean(0)
        look = {"color": style.colour, "linestyle": style.line, "marker": style.marker, "markersize": 6}
        axes.plot(epochs, middle, label=style.label, markevery=max(1, len(epochs) // 8), **look)
        if len(values) > 1:
            half = np.array([interval(column)[1] for column in values.T])
            axes.fill_between(
                epochs, middle - half, middle + half, color=style.colour, alpha=0.18, linewidth=0
            )
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel or _spoken(metric))
    axes.set_title(title)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.legend(loc="best", handlelength=3.2)
    axes.locator_params(axis="x", integer=True)
    return figure


def _table(runs: Sequence[Sequence[Mapping]], metric: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs [E] that all runs have the metric for, and its values [runs, E]."""
    found = [{row["epoch"]: row[metric] for row in run if row.get(metric) is not None} for run in runs]
    epochs = sorted(set.intersection(*map(set, found))) if found else []
    if not epochs:
        has = sorted({key for run in runs for row in run for key in row})
        raise ValueError(
            f"no epoch of {name!r} has {metric!r} in every run; its histories hold: {', '.join(has)}."
        )
    return np.array(epochs), np.array([[run[e] for e in epochs] for run in found])


def _spoken(metric: str) -> str:
    words = metric.replace("_", " ")
    return f"{words} (%)" if "accuracy" in metric else words


def bars_with_intervals(
    results: Mapping[str, Sequence[float]], xlabel: str = "test accuracy (%)", title: str = ""
) -> Figure:
    """A line a method: every run as a small dot, their mean as a marker, its 95 % interval as a whisker.

    Nothing starts at zero here, so nothing is drawn as a solid bar, which would exaggerate differences.

    results: name → one number a seed. Mean and interval are also written beside each line.
    """
    figure = new_figure(WIDTH, 0.62 * len(results) + 1.3)
    axes = figure.subplots()
    looks = styles(results)
    for y, (name, style) in enumerate(looks.items()):
        values = np.asarray(results[name], dtype=np.float64)
        mean, half = interval(values)
        label = f"{mean:.1f} (one run)" if np.isnan(half) else f"{mean:.1f} ± {half:.1f}"
        axes.plot(values, np.full(len(values), y + 0.24), "o", color=style.colour, markersize=5, alpha=0.6)
        whisker = {"capsize": 7, "capthick": 2, "elinewidth": 2.5, "markersize": 10}
        axes.errorbar(
            mean, y, xerr=np.nan_to_num(half), fmt=style.marker, color=style.colour, label=label, **whisker
        )
        axes.annotate(label, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=12)
    axes.set_yticks(range(len(results)), [style.label for style in looks.values()], fontsize=12)
    axes.set(ylim=(len(results) - 0.5, -0.5))
    axes.margins(x=0.08)
    axes.set_xlabel(xlabel)
    axes.set_title(title)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    return figure


def line_figure(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    logarithmic: bool | str = False,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Measured values against a quantity that was varied, such as a temperature or an epoch.

    x: n numbers; lines: name → n numbers; logarithmic: True for both axes, on which a power of x is a
    straight line, or "x" for x alone; levels: name → a horizontal line to compare with, such as chance.
    """
    figure = new_figure(WIDTH, 4.2)
    axes = figure.subplots()
    for name, style in styles(lines).items():
        look = {"color": style.colour, "linestyle": style.line, "marker": style.marker, "markersize": 6}
        axes.plot(x, lines[name], label=style.label, **look)
    if logarithmic:
        axes.set(xscale="log", yscale="linear" if logarithmic == "x" else "log")
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.minorticks_off()
    elif all(value == int(value) for value in x):
        axes.locator_params(axis="x", integer=True)
    _finish(axes, levels, xlabel, ylabel, title, len(lines))
    return figure


def mark_figure(
    names: Sequence[str],
    marks: Mapping[str, Sequence[float]],
    ylabel: str,
    title: str = "",
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Measured values for named things, such as classes: a mark each, and no line between them.

    names: n names; marks: name of a series → n numbers; levels: as in `line_figure`.
    """
    figure = new_figure(WIDTH, 4.2)
    axes = figure.subplots()
    for name, style in styles(marks).items():
        look = {"color": style.colour, "marker": style.marker, "markersize": 8}
        axes.plot(range(len(names)), marks[name], linestyle="none", label=style.label, **look)
    slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(names) > 5 else {}
    axes.set_xticks(range(len(names)), [short(name) for name in names], **slant)
    axes.margins(x=0.06)
    _finish(axes, levels, "", ylabel, title, len(marks))
    return figure


def _finish(
    axes: Axes, levels: Mapping[str, float] | None, xlabel: str, ylabel: str, title: str, series: int
) -> None:
    """Add levels, named at their right end, labels, a grid, and a legend for several series."""
    for name, level in (levels or {}).items():
        axes.axhline(level, color=QUIET, linewidth=1.4, linestyle=(0, (6, 3)))
        axes.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), va="center")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.grid(color="#E5E5E5", linewidth=0.8)
    if series > 1:
        axes.legend(loc="best", handlelength=3.2)


def results_figure(records: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw the accuracy of each run after its last epoch, by method. Returns a PNG.

    records: of `reproduce.results.read_results`.
    """
    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(record["method"], []).append(record["last"])
    png = io.BytesIO()
    bars_with_intervals(values, "accuracy, last epoch (%)", title).savefig(png, format="png", dpi=150)
    return png.getvalue()
