"""Pictures of a wrong result beside the right one; what differs has a dashed frame and a cross."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..style import HEAT, INK, SMALL, WIDTH, WRONG, new_figure, pixels
from .exercise import Case
from .judge import numbers

CLOSE = 1e-6
HEIGHT = 0.36  # inches of a cell


def views_picture(case: Case, wrong: Any, right: Any) -> Figure:
    """Draw the learner's views above the right ones, with the number of each row.

    case: its "images" are [B, C, H, W]; wrong, right: views [M, C, H, W].
    Raises ValueError for a result that is not a batch of pictures.
    """
    rows = [("yours", _pictures(wrong)), ("right", _pictures(right))]
    count = max(len(views) for _, views in rows)
    cell = WIDTH / (count + 1.2)
    figure = new_figure(WIDTH, 2 * cell + 1.1)
    axes = figure.add_subplot()
    for y, (name, views) in enumerate(rows):
        axes.text(-0.15, 1.25 * y + 0.5, name, ha="right", va="center", fontsize=SMALL, color=INK)
        for x, view in enumerate(views):
            place = (x + 0.05, x + 0.95, 1.25 * y + 0.95, 1.25 * y + 0.05)
            axes.imshow(view, extent=place, interpolation="nearest")
    for x in range(count):
        axes.text(x + 0.5, -0.12, str(x), ha="center", va="bottom", fontsize=SMALL, color=INK)
        if any(len(views) <= x for _, views in rows) or not np.array_equal(*(views[x] for _, views in rows)):
            _mark(axes, x, 0, 1, 1)
            axes.text(x + 0.5, 1.12, "×", ha="center", va="center", fontsize=SMALL + 3, color=WRONG)
    axes.set(xlim=(-1.1, count), ylim=(2.3, -0.45), aspect="equal")
    axes.set_axis_off()
    return figure


def matrix_picture(case: Case, wrong: Any, right: Any) -> Figure:
    """Draw the learner's matrix beside the right one, each with its numbers, on one scale of colours.

    wrong, right: [R, B]. Cells that differ are marked where the shapes are equal and some cells are right.
    Raises ValueError for a result that is no matrix.
    """
    matrices = [_matrix(value) for value in (wrong, right)]
    limits = (min(m.min() for m in matrices), max(m.max() for m in matrices))
    tall, broad = max(len(m) for m in matrices), sum(m.shape[1] for m in matrices)
    cell = min(0.62, (WIDTH - 1.6) / broad)
    figure = new_figure(broad * cell + 1.6, tall * HEIGHT + 1.1)
    panels = figure.subplots(1, 2, width_ratios=[m.shape[1] for m in matrices])
    same_shape = matrices[0].shape == matrices[1].shape
    differs = abs(matrices[0] - matrices[1]) > CLOSE if same_shape else np.zeros_like(matrices[0], bool)
    for axes, matrix, name in zip(panels, matrices, ("yours", "right"), strict=True):
        rows, columns = matrix.shape
        place = (0, columns, rows, 0)
        axes.imshow(
            matrix, extent=place, cmap=HEAT, vmin=limits[0], vmax=limits[1], aspect=HEIGHT / cell
        )  # fmt: skip
        axes.set_anchor("N")
        for (y, x), value in np.ndenumerate(matrix):
            ink = INK if value > sum(limits) / 2 else "white"
            text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=SMALL, color=ink)
            if axes is panels[0] and differs[y, x] and not differs.all():
                _mark(axes, x, y, 1, 1)
        _label(axes, f"{name} [{rows}, {columns}]", rows, columns)
    if same_shape and differs.all():
        figure.supxlabel("no number of yours is right", fontsize=SMALL, color=INK)
    return figure


def mask_picture(case: Case, wrong: Any, right: Any) -> Figure:
    """Draw which rows the learner keeps beside which are right to keep, with the rank of each row.

    case: its "rank" is int [N]; wrong, right: bool [N]. Raises ValueError for another shape.
    """
    rank = np.asarray(case["rank"])
    masks = [_matrix(value[:, None]).astype(bool) for value in map(_tensor, (wrong, right))]
    if any(len(mask) != len(rank) for mask in masks):
        raise ValueError("a mask has one entry for each row.")
    figure = new_figure(4.6, 0.32 * len(rank) + 0.8)
    axes = figure.add_subplot()
    for x, mask in enumerate(masks):
        for y, keep in enumerate(mask[:, 0]):
            face, ink = ("white", INK) if keep else ("#5F5F5F", "white")
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=face, edgecolor=INK, linewidth=0.8))
            words = "kept" if keep else "left out"
            cross = " ×" if x == 0 and keep != masks[1][y, 0] else ""
            axes.text(x + 0.5, y + 0.5, words + cross, ha="center", va="center", fontsize=SMALL, color=ink)
            if cross:
                _mark(axes, x, y, 1, 1)
    axes.set(xlim=(0, 2), ylim=(len(rank), 0), yticks=np.arange(len(rank)) + 0.5, xticks=(0.5, 1.5))
    axes.set_yticklabels([f"row {row}: rank {value}" for row, value in enumerate(rank)])
    axes.set_xticklabels(["yours", "right"])
    axes.tick_params(
        labelsize=SMALL, labelcolor=INK, length=0, top=True, bottom=False, labeltop=True, labelbottom=False
    )
    return figure


def _tensor(value: Any) -> torch.Tensor:
    tensor = numbers(value)
    if tensor is None:
        raise ValueError(f"numbers are drawn, not a {type(value).__name__}.")
    return tensor


def _pictures(value: Any) -> np.ndarray:
    return pixels(_tensor(value))


def _matrix(value: Any) -> np.ndarray:
    matrix = np.asarray(_tensor(value))
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"a matrix of finite numbers is drawn, not the shape {list(matrix.shape)}.")
    return matrix


def _label(axes: Axes, title: str, rows: int, columns: int) -> None:
    axes.set_title(title, loc="center", fontsize=SMALL + 1, color=INK)
    axes.set(yticks=np.arange(rows) + 0.5, xticks=np.arange(columns) + 0.5)
    axes.set_yticklabels([str(row) for row in range(rows)])
    axes.set_xticklabels([str(column) for column in range(columns)])
    axes.tick_params(labelsize=SMALL, labelcolor=INK, length=0)


def _mark(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    """Put a dashed frame with a white border around a place, so that it can be seen on any grey."""
    for edge, line, style in (("white", 4.5, "-"), (WRONG, 2.2, "--")):
        axes.add_patch(
            Rectangle(
                (x + 0.05, y + 0.05), width - 0.1, height - 0.1,
                fill=False, edgecolor=edge, linewidth=line, linestyle=style,
            )
        )  # fmt: skip
