"""A similarity matrix with the images themselves along its sides, for a handful of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .style import ANGLES, HEAT, INK, WIDTH, WRONG, new_figure, pixels

ROOM = 1.25  # cells taken by the images along a side


def similarity_picture(views, scores, rows: Sequence[int] | None = None) -> Figure:
    """Draw cosines with each row's rotated view on its left and the upright images on top.

    A row's right column has a thick black frame; where another column wins, that one has a dashed frame.

    views: the 4B views of `four_views`, [4B, C, H, H]; scores: [3B, B]; rows: the rows to draw one below
    the other; without them all 3B are drawn, one panel per angle. Raises ValueError if shapes do not fit.
    """
    shown = pixels(torch.as_tensor(views).detach().cpu())
    array = torch.as_tensor(scores).detach().float().cpu().numpy()
    images = array.shape[1]
    if array.shape != (3 * images, images) or len(shown) != 4 * images:
        raise ValueError(
            f"scores [3B, B] and views [4B, C, H, H] belong together, but they are {list(array.shape)} and "
            f"{len(shown)} views."
        )
    panels = [range(k * images, (k + 1) * images) for k in range(3)] if rows is None else [list(rows)]
    side = ROOM if rows is None else ROOM + 0.85  # with room for words beside single rows
    cell = min(WIDTH / (len(panels) * (images + side) + 0.3), 0.8)
    figure = new_figure(
        len(panels) * (images + side) * cell + 0.3,
        (len(panels[0]) + ROOM) * cell + 0.3 * (rows is None) + 0.3,
    )
    limits = array[np.concatenate([list(panel) for panel in panels])]
    limits = (float(limits.min()), float(limits.max()))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, shown, array, panel, limits, cell)
        axes.set(xlim=(-side, images), ylim=(len(panel), -ROOM), aspect="equal")
        if rows is None:
            right = sum(array[r].argmax() == r % images for r in panel)
            axes.set_title(f"{ANGLES[panel[0] // images + 1]}: {right} of {images} right", loc="center")
        else:
            for y, r in enumerate(panel):
                words = f"row {r}\n{ANGLES[r // images + 1]}"
                axes.text(-ROOM - 0.05, y + 0.5, words, ha="right", va="center", fontsize=11)
    return figure


def _draw_panel(
    axes: Axes, shown: np.ndarray, array: np.ndarray, panel: Sequence[int], limits: tuple, cell: float
) -> None:
    images = array.shape[1]
    axes.set_axis_off()
    part = array[list(panel)]
    place = (0, images, len(panel), 0)
    axes.imshow(part, extent=place, cmap=HEAT, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    for column in range(images):
        _thumb(axes, shown[column], column, -ROOM + 0.1)
    middle = (limits[0] + limits[1]) / 2
    for y, r in enumerate(panel):
        _thumb(axes, shown[images + r], -ROOM + 0.1, y)
        right, winner = r % images, int(array[r].argmax())
        _frame(axes, right, y, INK, "-")
        if winner != right:
            _frame(axes, winner, y, WRONG, "--")
        if cell >= 0.5:  # inches: narrower ones have no room for a number of 11 points
            for x, value in enumerate(array[r]):
                ink = INK if value > middle else "white"
                text = f"{value:.2f}".replace("-", "−")
                axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=11, color=ink)


def _frame(axes: Axes, x: int, y: int, colour: str, line: str) -> None:
    place = (x + 0.07, y + 0.07)
    for edge, width in (("white", 5.0), (colour, 2.6)):
        style = {"edgecolor": edge, "linewidth": width, "linestyle": line}
        axes.add_patch(Rectangle(place, 0.86, 0.86, fill=False, **style))


def _thumb(axes: Axes, image: np.ndarray, left: float, top: float) -> None:
    place = (left + 0.04, left + 0.96, top + 0.96, top + 0.04)
    axes.imshow(image, extent=place, interpolation="nearest")
