"""Charts of a patient that are curves or marks: each beside the healthy runs, with its alternative text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ..style import GRID, INK, QUIET, WIDTH, WRONG, new_figure
from ..time_machine_data import TERM_NAMES
from .recording import TERMS, Record
from .signs import EQUAL

HEALTHY_LINE = {"color": INK, "linestyle": (0, (4, 3)), "linewidth": 1.6, "label": "healthy", "zorder": 3}
PATIENT_LINE = {"color": WRONG, "linestyle": "-", "linewidth": 2.4}
NAMES = tuple(TERM_NAMES[term] for term in TERMS)


def draw_seeds(axes: Axes, epochs: np.ndarray, values: np.ndarray, line: dict) -> None:
    """Draw the mean over seeds, and the range of the seeds as a band. values: [S, E]; nan is left out."""
    there = ~np.isnan(values).any(0)
    epochs, values = epochs[there], values[:, there]
    axes.plot(epochs, values.mean(0), **line)
    axes.fill_between(epochs, values.min(0), values.max(0), color=line["color"], alpha=0.18, linewidth=0)


def _both(axes: Axes, name: str, patient: str, record: Record, healthy: Record, title: str) -> None:
    """Draw one recorded series of the patient and of the healthy runs."""
    for runs, line in ((healthy, HEALTHY_LINE), (record, PATIENT_LINE | {"label": patient})):
        values = runs[name].astype(np.float64)
        epochs = runs.epochs if values.shape[1] == len(runs.epochs) else np.arange(values.shape[1])
        draw_seeds(axes, epochs, values, line)
    axes.set_title(title, fontsize=12)
    axes.grid(color=GRID, linewidth=0.8)
    axes.locator_params(axis="x", integer=True, nbins=5)


def _last(values: np.ndarray) -> float:
    return float(values[:, -1].mean())


def curves(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw the four terms and two accuracies by epoch."""
    figure = new_figure(WIDTH, 5.4)
    panels = figure.subplots(2, 3).flat
    words = []
    titles = dict(zip(TERMS, (f"{name}, logarithmic" for name in NAMES), strict=True))
    titles |= {"train_accuracy": "accuracy in training (%)", "test_accuracy": "test accuracy (%)"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        _both(axes, name, patient, record, healthy, title)
        if name in TERMS:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        label = TERM_NAMES.get(name, title.replace(" (%)", ""))
        words.append(f"{label} {_last(record[name]):.3g} (healthy {_last(healthy[name]):.3g})")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=11
    )
    band = "; line: mean of the seeds, band: all seeds" if len(record["ce"]) > 1 else ""
    figure.supxlabel(f"epoch{band}", fontsize=11)
    return figure, f"Curves of {patient} and of the healthy runs. After the last epoch: {', '.join(words)}."


def first_step(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw each term at the very first step over the healthy one: same weights, same images, same views."""
    ratios = record["first_steps"][:, 0] / healthy["first_steps"][:, 0]  # [S, 4]
    figure = new_figure(WIDTH, 2.9)
    axes = figure.subplots()
    axes.axvline(1, color=QUIET, linestyle=(0, (5, 2)), linewidth=1.6)
    for row, values in enumerate(ratios.T):
        axes.plot(values, np.full(len(values), row), "o", color=WRONG, markeredgecolor=INK, markersize=9)
        label = "equal" if np.abs(values - 1).max() < EQUAL else f"{values[0]:.4f} times"
        axes.annotate(label, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=12)
    axes.set(xscale="log", xlim=(0.03, 8), ylim=(3.5, -0.5))
    ticks = (1 / 16, 1 / 4, 1, 4)
    axes.set_xticks(ticks, ["1/16", "1/4", "1", "4"])
    axes.minorticks_off()
    axes.set_yticks(range(4), NAMES)
    axes.set_xlabel(
        f"term of {patient} / healthy term, at the first step (a dot per seed; number: first seed)"
    )
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    words = (f"{name} {ratio:.4f}" for name, ratio in zip(NAMES, ratios[0], strict=True))
    return figure, f"Terms of {patient} at the first step over those of the healthy run: {', '.join(words)}."


def student(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw the student's BatchNorm: accuracy with its two kinds of statistics, and who shares a batch."""
    figure = new_figure(WIDTH, 3.6)
    panels = figure.subplots(1, 3, width_ratios=[1.3, 1.3, 0.8])
    panels[1].sharey(panels[0])
    words = []
    for axes, (name, runs) in zip(panels, (("healthy", healthy), (patient, record)), strict=False):
        lines = (
            ("batch_accuracy", {"color": INK, "linestyle": "-", "label": "those of the batch"}),
            ("running_accuracy", {"color": WRONG, "linestyle": "--", "label": "running ones"}),
        )
        for series, line in lines:
            draw_seeds(axes, runs.epochs, runs[series].astype(np.float64), line | {"linewidth": 2})
            words.append(f"{name}, {line['label']} {_last(runs[series]):.1f} %")
        axes.set_title(f"{name}, accuracy (%)", fontsize=12)
        axes.set_xlabel("epoch")
        axes.grid(color=GRID, linewidth=0.8)
        axes.locator_params(axis="x", integer=True, nbins=5)
    panels[0].legend(loc="lower right", fontsize=11, title="mean and variance")
    alone = [float(runs["student_alone"].mean()) for runs in (healthy, record)]
    bars(panels[2], patient, alone, "upright views alone:\n% that changes")
    return figure, (
        f"The student of {patient} on training images, with BatchNorm's two kinds of mean and variance. "
        f"After the last epoch: {', '.join(words)}. Before the first step its answers to upright views "
        f"change by {alone[1]:.1f} % without the turned views beside them (healthy {alone[0]:.1f} %)."
    )


def bars(axes: Axes, patient: str, values: Sequence[float], title: str) -> None:
    """Draw a number of the healthy runs and of the patient as two bars with their values. values: both."""
    axes.bar([0, 1], values, 0.6, color=["white", WRONG], edgecolor=[QUIET, INK], linewidth=1.6)
    top = max(5.0, 1.25 * max(values))
    for place, value in enumerate(values):
        axes.text(place, value + 0.02 * top, f"{value:.1f}", ha="center", fontsize=12)
    axes.set(ylim=(0, top), yticks=[])
    axes.set_xticks([0, 1], ["healthy", patient])
    axes.set_title(title, fontsize=12)


def weights(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw how far the weights have moved, and the norms of the terms' gradients before the first step."""
    figure = new_figure(WIDTH, 3.4)
    left, right = figure.subplots(1, 2)
    _both(left, "moved", patient, record, healthy, "distance of the weights from their start")
    left.set_xlabel("epoch")
    left.set_ylim(bottom=0)
    left.legend(loc="best", fontsize=11)
    norms = [runs["gradients"][:, 0].mean(0) for runs in (healthy, record)]
    for offset, values, line, marker in zip(
        (-0.12, 0.12), norms, (HEALTHY_LINE, PATIENT_LINE | {"label": patient}), ("D", "o"), strict=True
    ):
        right.plot(
            values,
            np.arange(4) + offset,
            linestyle="none",
            marker=marker,
            markersize=9,
            color=line["color"],
            label=line["label"],
        )
    right.set(xscale="log", ylim=(3.5, -0.5))
    right.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    right.set_yticks(range(4), NAMES)
    right.set_title("gradient of each weighted term, epoch 0", fontsize=12)
    right.set_xlabel("norm, logarithmic")
    right.grid(axis="x", color=GRID, linewidth=0.8)
    words = (f"{n} {p:.3g} (healthy {h:.3g})" for n, h, p in zip(NAMES, *norms, strict=True))
    moved = f"{record['moved'][:, 1].mean():.3g} (healthy {healthy['moved'][:, 1].mean():.3g})"
    return figure, (
        f"Distance of the weights of {patient} from their start after {record.epochs[1]} epochs: {moved}. "
        f"Gradient norms of the weighted terms before the first step: {', '.join(words)}."
    )
