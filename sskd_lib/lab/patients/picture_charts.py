"""Charts of a patient that are pictures: similarity matrices, the teacher's answers, the views."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..style import ANGLES, HEAT, INK, WIDTH, new_figure, pixels
from .curve_charts import HEALTHY_LINE, PATIENT_LINE, bars, draw_seeds
from .recording import Record
from .signs import border, dropped_right


def matrices(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw the similarity matrices of a fixed batch after the last epoch, and which rows are kept."""
    figure = new_figure(WIDTH, 5.6)
    panels = figure.subplots(1, 4)
    for axes, who, runs, place in zip(
        panels,
        ("teacher, healthy", f"teacher,\n{patient}", "student, healthy", f"student,\n{patient}"),
        (healthy, record, healthy, record),
        (0, 0, 1, 1),
        strict=True,
    ):
        _matrix(axes, runs["matrices"][-1, place].astype(np.float64), who)
        if place == 0:
            _marks(axes, runs["ranks"][-1] == 0, runs["kept"][-1])
    dropped, right = (int(dropped_right(record, healthy)), int((record["ranks"][0] == 0).sum()))
    figure.supxlabel(
        "16 upright images. Beside the teacher: dot = row that it has right, square = row kept, "
        "empty square = row dropped",
        fontsize=11,
    )
    kept = f"{int(record['kept'][0].sum())} of {record['kept'].shape[1]} rows are kept"
    return figure, (
        f"Similarity matrices of 16 images after the last epoch, {patient} and healthy. In the first epoch "
        f"{kept} in {patient}; of the {right} rows that its teacher has right, {dropped} are dropped."
    )


def _matrix(axes: Axes, matrix: np.ndarray, title: str) -> None:
    rows, images = matrix.shape
    axes.imshow(matrix, cmap=HEAT, interpolation="nearest", aspect="auto")
    axes.set_title(title, fontsize=12, loc="center")
    axes.set_xticks([])
    axes.set_yticks([images / 2 - 0.5 + images * k for k in range(3)], ANGLES[1:], rotation=90, va="center")
    axes.tick_params(length=0)
    for edge in range(images, rows, images):
        axes.axhline(edge - 0.5, color="white", linewidth=1.5)


def _marks(axes: Axes, right: np.ndarray, kept: np.ndarray) -> None:
    """Mark each row on its right: a dot where the teacher is right, a square, full where it is kept."""
    rows, edge = np.arange(len(kept)), 16.2
    marks = {"clip_on": False, "linestyle": "none", "markersize": 4, "markeredgecolor": INK}
    axes.plot(np.full(right.sum(), edge), rows[right], marker="o", markerfacecolor=INK, **marks)
    for chosen, colour in ((kept, INK), (~kept, "white")):
        axes.plot(
            np.full(chosen.sum(), edge + 1.3), rows[chosen], marker="s", markerfacecolor=colour, **marks
        )
    axes.set_xlim(-0.5, 15.5)


def teacher(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw the teacher in training: how often it is right, which answers the loss gets, if they repeat."""
    figure = new_figure(WIDTH, 3.7)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.25, 1.25, 0.8])
    for view, name in enumerate(("upright", "turned")):
        for runs, line in ((healthy, HEALTHY_LINE), (record, PATIENT_LINE)):
            draw_seeds(left, runs.epochs, runs["teacher_right"][..., view].astype(np.float64), line)
        height = float(record["teacher_right"][:, -1, view].mean())
        left.annotate(name, (2, height - 10), fontsize=11)
    left.set(ylim=(0, 100), xlabel="epoch")
    left.set_title("teacher right in training (%)", fontsize=12)
    table = record["matches"][:, 0].mean(0)
    _table(middle, table)
    twice = [runs["teacher_twice"].mean() for runs in (healthy, record)]
    bars(right, patient, twice, "other companions:\n% that moves")
    hits = [record["teacher_right"][:, -1, view].mean() for view in (0, 1)]
    usual = [healthy["teacher_right"][:, -1, view].mean() for view in (0, 1)]
    return figure, (
        f"The teacher in the training of {patient}: right on {hits[0]:.0f} % of the upright and "
        f"{hits[1]:.0f} % of the turned views in the last epoch (healthy {usual[0]:.0f} and "
        f"{usual[1]:.0f} %). Agreement of the answers that the loss gets with a fresh pass: "
        f"{_agreement(table)}. With other images in the batch, {twice[1]:.1f} % of the probability moves "
        f"(healthy {twice[0]:.1f} %)."
    )


def _table(axes: Axes, table: np.ndarray) -> None:
    axes.imshow(table, cmap=HEAT, vmin=0, vmax=100)
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            ink = INK if value > 50 else "white"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=12)
    axes.set_xticks(range(4), ANGLES, fontsize=11)
    axes.set_yticks(range(4), ANGLES, fontsize=11)
    axes.tick_params(length=0)
    axes.set_xlabel("fresh pass of the teacher", fontsize=11)
    axes.set_ylabel("student's view", fontsize=11)
    axes.set_title("same answer in the loss (%)", fontsize=12)


def _agreement(table: np.ndarray) -> str:
    rows = (
        f"{ANGLES[k]} most with {ANGLES[int(row.argmax())]} ({row.max():.0f} %)"
        for k, row in enumerate(table)
    )
    return ", ".join(rows)


def views(patient: str, record: Record, healthy: Record) -> tuple[Figure, str]:
    """Draw the four views of two images as the networks get them."""
    figure = new_figure(WIDTH, 2 * 1.25)
    grid = figure.subplots(2, 8)
    for row, (name, runs) in zip(grid, (("healthy", healthy), (patient, record)), strict=True):
        shown = pixels(runs["views"].swapaxes(0, 1).reshape(-1, *runs["views"].shape[2:]))
        for k, (axes, image) in enumerate(zip(row, shown, strict=True)):
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(ANGLES[k % 4] if row is grid[0] else "", fontsize=11, loc="center")
        row[0].set_ylabel(name, fontsize=11)
    grey = border(record, healthy)
    return figure, (
        f"Two images in four views, as the networks of {patient} get them, below those of a healthy run. The "
        f"corners that are black in the healthy views have a brightness of up to {grey:.0f} of 255."
    )
