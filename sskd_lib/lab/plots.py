"""Figures of images, outputs and matrices. Each function returns a matplotlib Figure; `show` displays it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ..data.views import rotate
from ..losses import error_rank
from .softening import entropy_bits, soft
from .style import (
    ANGLES,
    FAINT,
    HEAT,
    INK,
    METHOD_STYLES,
    QUIET,
    WIDTH,
    WRONG,
    class_marker,
    new_figure,
    pixels,
    short,
)


def image_grid(images, titles: Sequence[str] | None = None, columns: int = 8) -> Figure:
    """Draw images in rows, with a title above each. images: uint8 [M, C, H, W] or float in [0, 1]."""
    shown = pixels(images)
    columns = min(columns, len(shown))
    rows = math.ceil(len(shown) / columns)
    cell = min(WIDTH / columns, 1.9)
    lines = max((title.count("\n") + 1 for title in titles), default=0) if titles else 0
    figure = new_figure(cell * columns, rows * (cell + 0.24 * lines))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    letters = int(cell * 9)
    for i, (axes, image) in enumerate(zip(grid.flat, shown, strict=False)):
        axes.imshow(image, interpolation="nearest")
        if titles:
            text = "\n".join(short(line, letters) for line in titles[i].split("\n"))
            axes.set_title(text, fontsize=11, loc="center", pad=3)
    return figure


def views_figure(image) -> Figure:
    """Draw one image's four views: upright, and turned counter-clockwise by 90, 180 and 270 degrees.

    image: uint8 [C, H, W], which is then turned; or its four views [4, C, H, W] from `four_views`.
    """
    image = torch.as_tensor(image)
    views = image if image.dim() == 4 else torch.stack([rotate(image, turns) for turns in range(4)])
    return image_grid(views, ANGLES, columns=4)


def soft_targets(image, logits, classes: Sequence[str], temperatures: Sequence[float] = (1, 4, 10)) -> Figure:
    """Draw one image and its softened outputs, one panel per temperature, with entropy in bits.

    image: uint8 [C, H, W]; logits: float [K]. With more than twelve classes the first twelve are drawn.
    """
    logits = np.asarray(logits, dtype=np.float64)
    chosen = np.arange(len(logits)) if len(logits) <= 12 else np.argsort(-logits, kind="stable")[:12]
    figure = new_figure(WIDTH, 0.29 * len(chosen) + 1.1)
    axes = figure.subplots(1, 1 + len(temperatures), width_ratios=[1.1, *(1.0 for _ in temperatures)])
    axes[0].imshow(pixels(np.asarray(image)[None])[0], interpolation="nearest")
    axes[0].set_axis_off()
    outputs = [soft(logits, temperature) for temperature in temperatures]
    most = max(p.max() for p in outputs)
    for i, (panel, temperature, p) in enumerate(zip(axes[1:], temperatures, outputs, strict=True)):
        panel.barh(range(len(chosen)), p[chosen], 0.72, color=METHOD_STYLES["teacher"].colour, linewidth=0)
        for row, value in enumerate(p[chosen]):
            panel.text(value + 0.03 * most, row, f"{100 * value:.1f}", va="center", fontsize=11)
        panel.set(xlim=(0, 1.42 * most), ylim=(len(chosen) - 0.4, -0.6), xticks=[])
        panel.set_yticks(
            range(len(chosen)), [short(classes[k]) for k in chosen] if i == 0 else [""] * len(chosen)
        )
        panel.tick_params(left=False)
        panel.spines["bottom"].set_visible(False)
        panel.set_title(f"τ = {temperature:g}\n{entropy_bits(p):.2f} bits", fontsize=12)
        panel.set_xlabel("softened output (%)" if i == len(temperatures) // 2 else "")
    return figure


def similarity_heatmap(scores, targets, title: str = "", limits: tuple[float, float] | None = None) -> Figure:
    """Draw the similarity of rotated views to upright images, with a mark on each row's right column.

    The mark is a square where this column has the highest score, else a cross. scores: float [3B, B]
    cosines, drawn as three blocks of B rows (90°, 180°, 270°), or any [R, K] in one block; targets: int [R],
    the right column of each row; limits: of the colours, else the extreme scores.
    """
    return _heatmaps({title: scores}, targets, limits)


def teacher_student_heatmaps(
    teacher, student, targets, names: Sequence[str] = ("Teacher", "Student")
) -> Figure:
    """Draw two similarity matrices on one scale of colours, the teacher's above; see `similarity_heatmap`."""
    return _heatmaps(dict(zip(names, (teacher, student), strict=True)), targets, None)


def _heatmaps(matrices: Mapping[str, object], targets, limits: tuple[float, float] | None) -> Figure:
    arrays = {name: torch.as_tensor(m).detach().float().cpu() for name, m in matrices.items()}
    targets = torch.as_tensor(targets).long().cpu()
    rows, columns = next(iter(arrays.values())).shape
    blocks = 3 if rows == 3 * columns else 1
    low = min(float(a.min()) for a in arrays.values())
    high = max(float(a.max()) for a in arrays.values())
    limits = limits or (low, high)
    cell = 2.15 / columns if blocks == 3 else min(0.24, 8 / rows)  # inches
    wide = WIDTH if blocks == 3 else min(WIDTH, columns * cell + 2.6)
    tall = rows // blocks * cell + 0.85
    figure = new_figure(wide, tall * len(arrays))
    grid = figure.subplots(len(arrays), blocks, squeeze=False)
    for line, (name, array) in zip(grid, arrays.items(), strict=True):
        right = error_rank(array, targets) == 0
        for block, axes in enumerate(line):
            part = slice(block * rows // blocks, (block + 1) * rows // blocks)
            drawn = axes.imshow(
                array[part].numpy(), cmap=HEAT, vmin=limits[0], vmax=limits[1], interpolation="nearest"
            )
            _mark_targets(axes, targets[part].numpy(), right[part].numpy(), cell)
            angle = f"{ANGLES[block + 1]}: " if blocks == 3 else ""
            axes.set_title(f"{angle}{int(right[part].sum())} of {len(right[part])} right", fontsize=12)
            axes.set_xlabel("upright image" if blocks == 3 else "column")
            axes.set_ylabel(f"{name}\nrotated view".lstrip() if block == 0 else "")
            axes.locator_params(integer=True, nbins=5)
            axes.spines[["top", "right"]].set_visible(True)
    figure.colorbar(drawn, ax=list(grid.flat), label="score", shrink=0.8, aspect=25)
    return figure


def matrix_heatmap(
    matrix, names: Sequence[str], title: str = "", xlabel: str = "", ylabel: str = "", form: str = ".1f"
) -> Figure:
    """Draw a square table, one row and one column per name, in colours and, up to twelve names, numbers.

    matrix: float [K, K]; a cell that is nan stays grey and empty; form: how a number is written.
    """
    array = np.ma.masked_invalid(np.asarray(matrix, dtype=np.float64))
    side = min(0.52 * len(names) + 0.4, 6.0)
    figure = new_figure(side * 1.12 + 2.2, side + 1.2)
    axes = figure.subplots()
    axes.set_facecolor(FAINT)
    drawn = axes.imshow(array, cmap=HEAT, interpolation="nearest")
    middle = (array.min() + array.max()) / 2
    for row, column in np.argwhere(~np.ma.getmaskarray(array)) if len(names) <= 12 else ():
        value = array[row, column]
        ink = "white" if value < middle else INK
        axes.text(column, row, f"{value:{form}}", ha="center", va="center", fontsize=11, color=ink)
    labels = [short(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels)
    axes.tick_params(length=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure


def _mark_targets(axes: Axes, targets: np.ndarray, right: np.ndarray, cell: float) -> None:
    """Mark each row's right column: a square where the row is right, a cross where it is wrong."""
    points = 72 * cell
    thick = min(max(0.15 * points, 0.7), 2.0)
    for rows, marker, colour, halo in ((right, "s", "white", "black"), (~right, "x", WRONG, "white")):
        face = {"facecolors": "none", "edgecolors": colour} if marker == "s" else {"color": colour}
        axes.scatter(
            targets[rows],
            np.flatnonzero(rows),
            s=(0.72 * points) ** 2,
            marker=marker,
            linewidths=thick,
            path_effects=[withStroke(linewidth=1.9 * thick, foreground=halo)],
            **face,
        )


def scatter_tsne(
    maps,
    labels,
    classes: Sequence[str],
    title: str = "",
    emphasise: Sequence[int] | None = None,
    columns: int = 2,
) -> Figure:
    """Draw t-SNE maps with a colour and a marker for each class, and its name beside its dots.

    maps: float [M, 2], or a dict of title → [M, 2] drawn `columns` to a row, on one scale (with three or
    more to a row only the legend names the classes); labels: int [M];
    emphasise: point numbers to ring, such as the images two networks disagree on.
    """
    maps = maps if isinstance(maps, Mapping) else {title: maps}
    labels = np.asarray(labels)
    columns = min(columns, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure = new_figure(WIDTH, 0.9 + rows * (0.3 + 0.86 * WIDTH / max(columns, 1.45)))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    dot, ring = (5.5, 9) if columns < 3 else (4.5, 7.5)  # points
    every = np.concatenate([np.asarray(points) for points in maps.values()])
    middle, half = (every.max(0) + every.min(0)) / 2, 0.58 * np.ptp(every, axis=0).max()
    for axes in grid[len(maps) :]:
        axes.set_axis_off()
    for axes, (name, points) in zip(grid, maps.items(), strict=False):
        points = np.asarray(points)
        for k, label in enumerate(classes):
            axes.plot(*points[labels == k].T, label=label, **class_marker(k, dot))
        if emphasise is not None:
            rings = points[list(emphasise)]
            axes.scatter(*rings.T, s=ring**2, facecolors="none", edgecolors=INK, linewidths=1)
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.set(xlim=middle[0] + [-half, half], ylim=middle[1] + [-half, half])
        if columns < 3 and len(classes) <= 12:
            _name_classes(axes, points, labels, classes, 2 * half / (72 * 3.7))
        axes.set_title(name)
        axes.spines[["left", "bottom"]].set_color(QUIET)
    if len(classes) <= 12:
        handles, names = grid[0].get_legend_handles_labels()
        place = {"loc": "outside lower center", "ncols": min(5, len(names))}
        figure.legend(handles, names, markerscale=8 / dot, **place)
    return figure


def _name_classes(
    axes: Axes, points: np.ndarray, labels: np.ndarray, classes: Sequence[str], point: float
) -> None:
    """Write each class's name at the nearest free place to its dots, with a line to them.

    point: a typographic point in units of the map.
    """
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    around = np.concatenate([r * np.stack([np.cos(turns), np.sin(turns)], 1) for r in range(14, 150, 6)])
    edges = np.stack([axes.get_xlim(), axes.get_ylim()], 1)
    taken = [(place, np.array([5.0, 5.0]) * point) for place in points]  # middles and half-sizes
    for k in [k for k in range(len(classes)) if (labels == k).any()]:
        name, dots = short(classes[k]), points[labels == k]
        half = np.array([3.6 * len(name) + 2, 8]) * point
        places = np.median(dots, axis=0) + around * point
        middles, halves = map(np.array, zip(*taken, strict=True))
        free = ~(abs(places[:, None] - middles) < halves + half).all(2).any(1)
        free &= ((places - half > edges[0]) & (places + half < edges[1])).all(1)
        place = places[free.argmax()]
        taken.append((place, half))
        end = dots[((dots - place) ** 2).sum(1).argmin()]
        line = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 1}
        axes.annotate(name, end, place, fontsize=11, ha="center", va="center", arrowprops=line)
