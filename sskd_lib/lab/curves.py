"""Figures of results: learning curves and means, with the uncertainty that several seeds show."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation import interval
from .style import GRID, INK, QUIET, WIDTH, Style, new_figure, short, styles


def learning_curves(
    histories: Mapping[str, Sequence[Any]],
    metric: str = "test_accuracy",
    ylabel: str | None = None,
    title: str = "",
) -> Figure:
    """Draw a metric against epochs, one line per method: its mean over seeds, a band for the 95 % interval.

    histories: name → history, or name → list of histories, one per seed; a history is a list of dicts with
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
        axes.plot(epochs, middle, markevery=max(1, len(epochs) // 8), **_line(style))
        if len(values) > 1:
            half = np.array([interval(column)[1] for column in values.T])
            axes.fill_between(
                epochs, middle - half, middle + half, color=style.colour, alpha=0.18, linewidth=0
            )
    axes.set(xlabel="epoch", ylabel=ylabel or _metric_label(metric))
    axes.set_title(title)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.legend(loc="best", handlelength=3.2)
    axes.locator_params(axis="x", integer=True)
    return figure


def _table(runs: Sequence[Sequence[Mapping]], metric: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the epochs [E] for which all runs have the metric, and its values [runs, E]."""
    tables = [{row["epoch"]: row[metric] for row in run if row.get(metric) is not None} for run in runs]
    epochs = sorted(set.intersection(*map(set, tables))) if tables else []
    if not epochs:
        has = sorted({key for run in runs for row in run for key in row})
        raise ValueError(
            f"no epoch of {name!r} has {metric!r} in every run; its histories have: {', '.join(has)}."
        )
    return np.array(epochs), np.array([[table[e] for e in epochs] for table in tables])


def _line(style: Style) -> dict[str, Any]:
    """Return label, colour and marks of a curve, as `Axes.plot` takes them."""
    marks = {"linestyle": style.line, "marker": style.marker, "markersize": 6}
    return {"label": style.label, "color": style.colour} | marks


def _metric_label(metric: str) -> str:
    words = metric.replace("_", " ")
    return f"{words} (%)" if "accuracy" in metric else words


def bars_with_intervals(
    results: Mapping[str, Sequence[float]], xlabel: str = "test accuracy (%)", title: str = ""
) -> Figure:
    """Draw a row per method: each run as a small dot, the mean as a marker, its 95 % interval as a whisker.

    The axis does not start at zero, so nothing is drawn as a solid bar, which would exaggerate differences.

    results: name → one number per seed. Mean and interval are also written beside each row.
    """
    figure = new_figure(WIDTH, 0.62 * len(results) + 1.3)
    axes = figure.subplots()
    by_name = styles(results)
    for y, (name, style) in enumerate(by_name.items()):
        values = np.asarray(results[name], dtype=np.float64)
        mean, half = interval(values)
        label = f"{mean:.1f} (one run)" if np.isnan(half) else f"{mean:.1f} ± {half:.1f}"
        axes.plot(values, np.full(len(values), y + 0.24), "o", color=style.colour, markersize=5, alpha=0.6)
        whisker = {"xerr": np.nan_to_num(half), "capsize": 7, "capthick": 2, "elinewidth": 2.5}
        # Not as `fmt`, which takes no marker that is a tuple.
        marks = {"marker": style.marker, "linestyle": "none", "color": style.colour, "markersize": 10}
        axes.errorbar(mean, y, label=label, **whisker, **marks)
        axes.annotate(label, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=12)
    axes.set_yticks(range(len(results)), [style.label for style in by_name.values()], fontsize=12)
    axes.set(ylim=(len(results) - 0.5, -0.5))
    axes.margins(x=0.08)
    axes.set_xlabel(xlabel)
    axes.set_title(title)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    return figure


def difference_figure(differences: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Draw paired differences as `bars_with_intervals` does, with a line at 0. name → one number per seed."""
    figure = bars_with_intervals(differences, "difference in test accuracy (points)", title)
    figure.axes[0].axvline(0, color=INK, linewidth=1)
    return figure


def results_figure(records: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Draw the accuracy of each run after its last epoch, by method, as a PNG.

    records: runs of one pair and condition, dicts with "method" and "last" (per cent).
    """
    values: dict[str, list[float]] = {}
    for record in records:
        values.setdefault(record["method"], []).append(record["last"])
    png = io.BytesIO()
    bars_with_intervals(values, "accuracy, last epoch (%)", title).savefig(png, format="png", dpi=150)
    return png.getvalue()


def line_figure(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    logarithmic: bool | str = False,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Draw measured values against a quantity that was varied, such as a temperature or an epoch.

    x: n numbers; lines: name → n numbers; logarithmic: True for both axes, on which a power of x is a
    straight line, or "x" for x alone; levels: name → a horizontal line to compare with, such as chance.
    """
    figure = new_figure(WIDTH, 4.2)
    axes = figure.subplots()
    for name, style in styles(lines).items():
        axes.plot(x, lines[name], **_line(style))
    if logarithmic:
        axes.set(xscale="log", yscale="linear" if logarithmic == "x" else "log")
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.minorticks_off()
    elif all(value == int(value) for value in x):
        axes.locator_params(axis="x", integer=True)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _finish(axes, levels, title, len(lines))
    return figure


def mark_figure(
    names: Sequence[str],
    marks: Mapping[str, Sequence[float]],
    ylabel: str,
    title: str = "",
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Draw measured values of named things, such as classes: a mark each, and no line between them.

    names: n names; marks: name of a series → n numbers; levels: as in `line_figure`.
    """
    figure = new_figure(WIDTH, 4.2)
    axes = figure.subplots()
    for name, style in styles(marks).items():
        mark = _line(style) | {"linestyle": "none", "markersize": 8}
        axes.plot(range(len(names)), marks[name], **mark)
    slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(names) > 5 else {}
    axes.set_xticks(range(len(names)), [short(name) for name in names], **slant)
    axes.margins(x=0.06)
    axes.set_ylabel(ylabel)
    _finish(axes, levels, title, len(marks))
    return figure


def _finish(axes: Axes, levels: Mapping[str, float] | None, title: str, series: int) -> None:
    """Add levels, named at their right end, the title, a grid, and a legend for several series."""
    for name, level in (levels or {}).items():
        axes.axhline(level, color=QUIET, linewidth=1.4, linestyle=(0, (6, 3)))
        axes.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), va="center")
    axes.set_title(title)
    axes.grid(color=GRID, linewidth=0.8)
    if series > 1:
        axes.legend(loc="best", handlelength=3.2)
