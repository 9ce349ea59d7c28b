"""The charts of a patient, on the page."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from ...evaluation import interval
from ...files import did_you_mean
from ..display import show
from ..style import FAINT, GRID, INK, WIDTH, WRONG, new_figure
from . import curve_charts, picture_charts
from .recording import HEALTHY, Record, find_patient, healthy, patients

CHARTS: dict[str, Callable[[str, Record, Record], tuple[Figure, str]]] = {
    "curves": curve_charts.curves,
    "matrices": picture_charts.matrices,
    "first step": curve_charts.first_step,
    "weights": curve_charts.weights,
    "teacher": picture_charts.teacher,
    "student": curve_charts.student,
    "views": picture_charts.views,
}


def draw_chart(patient: str, chart: str) -> tuple[Figure, str]:
    """Draw one chart of a patient beside the healthy runs. Returns the figure and its alternative text.

    Raises ValueError for an unknown patient or chart.
    """
    record = find_patient(patient)
    if chart not in CHARTS:
        hint = did_you_mean(chart, CHARTS) if isinstance(chart, str) else ""
        raise ValueError(f"there is no chart {chart!r}.{hint} The charts are: {', '.join(CHARTS)}.")
    return CHARTS[chart](patient, record, healthy())


def clinic(patient: str, *charts: str) -> None:
    """Show charts of a patient, a training with one mistake, beside the healthy runs.

    patient: "patient 1" to "patient 8"; charts: names of CHARTS, "curves" and "matrices" where none is named.
    Raises ValueError for an unknown patient or chart.
    """
    for chart in charts or ("curves", "matrices"):
        figure, words = draw_chart(patient, chart)
        show(figure, alt=words)


def results() -> tuple[Figure, str]:
    """Draw the test accuracy of each seed after the last epoch. Returns the figure and its words."""
    values = {HEALTHY: healthy().last_accuracy()}
    values |= {name: record.last_accuracy() for name, record in patients().items()}
    figure = new_figure(WIDTH, 0.36 * len(values) + 0.9)
    axes = figure.subplots()
    usual = values[HEALTHY]
    axes.axvspan(usual.min() - 0.2, usual.max() + 0.2, color=FAINT, linewidth=0)
    words = []
    for row, (name, each) in enumerate(values.items()):
        mean, half = interval(each)
        label = f"{mean:.1f}" if math.isnan(half) else f"{mean:.1f} ± {half:.1f}"
        marker, colour = ("D", INK) if name == HEALTHY else ("o", WRONG)
        axes.plot(each, np.full(len(each), row), marker, color=colour, markersize=8, alpha=0.8)
        axes.annotate(label, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=12)
        words.append(f"{name} {label}")
    axes.set_yticks(range(len(values)), list(values), fontsize=12)
    axes.set_ylim(len(values) - 0.5, -0.5)
    beside = "" if len(usual) == 1 else ", with mean and 95 % interval"
    axes.set_xlabel(f"test accuracy after the last epoch (%): a mark per seed{beside}")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    return figure, f"Test accuracy after the last epoch, in percent: {', '.join(words)}."


def show_clinic_results() -> None:
    """Show the test accuracies of the healthy runs and of all patients."""
    figure, words = results()
    show(figure, alt=words)
