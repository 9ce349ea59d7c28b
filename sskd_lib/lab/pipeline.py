"""Draw the whole method: images, four views, teacher and student, four loss terms."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from ..data.views import four_views
from .style import INK, METHOD_STYLES, QUIET, pixels

WIDE, HIGH = 98.0, 50.0  # the drawing's own units, a tenth of an inch each
THUMB, STEP = 7.0, 7.6
TERMS = (  # symbol, what is compared, on which views, whether the teacher takes part
    ("$L_{ce}$", "cross-entropy", "upright views against labels", False),
    ("$L_{kd}$", "soft targets", "upright views", True),
    ("$L_{T}$", "soft targets (tf)", "rotated views, rows selected", True),
    ("$L_{ss}$", "similarity matrices", "rotated × upright, selected", True),
)


def pipeline_figure(images) -> Figure:
    """Draw SSKD as a scheme around real images. images: uint8 [M, C, H, H]; the first three are shown."""
    images = torch.as_tensor(images)[:3]
    figure = Figure(figsize=(WIDE / 10, HIGH / 10))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDE), ylim=(0, HIGH))
    axes.set_axis_off()
    _batch(axes, images)
    _views(axes, images)
    teacher = _network(axes, 32.0, "Teacher", "frozen", METHOD_STYLES["teacher"].colour, dashed=True)
    student = _network(axes, 12.0, "Student", "learns", METHOD_STYLES["sskd"].colour, dashed=False)
    for top in (32.0, 12.0):
        _arrow(axes, (44.8, 25.0), (50.0, top), INK)
    _terms(axes, teacher, student)
    return figure


def _batch(axes: Axes, images: torch.Tensor) -> None:
    axes.text(1, 42.5, "images", fontsize=13, weight="bold")
    for i, image in enumerate(pixels(images)):
        _thumb(axes, image, 1, 32.5 - i * STEP)
    axes.text(1, 12.0, "a batch of B,\nwith labels", fontsize=11, va="top", color=QUIET)
    _arrow(axes, (8.6, 28.5), (12.8, 28.5), INK)


def _views(axes: Axes, images: torch.Tensor) -> None:
    axes.text(13.6, 42.5, "four views", fontsize=13, weight="bold")
    views = pixels(four_views(images, augment=False)).reshape(4, len(images), *images.shape[2:], 3)
    for column, name in enumerate(("0°", "90°", "180°", "270°")):
        left = 13.6 + column * STEP + (1.0 if column else 0)
        for i in range(len(images)):
            _thumb(axes, views[column, i], left, 32.5 - i * STEP)
        axes.text(left + THUMB / 2, 15.8, name, fontsize=11, ha="center", va="top")
    for left, width, words in ((13.6, THUMB, "upright: B"), (22.2, 3 * STEP - 0.6, "rotated: 3B")):
        axes.plot([left, left + width], [13.2, 13.2], color=INK, linewidth=1.2)
        axes.text(left + width / 2, 12.6, words, fontsize=11, ha="center", va="top")


def _network(
    axes: Axes, middle: float, name: str, state: str, colour: str, dashed: bool
) -> tuple[float, float]:
    """Draw a box for a network; return the point its arrows start from."""
    line = "--" if dashed else "-"
    axes.add_patch(
        FancyBboxPatch(
            (50.5, middle - 5.5), 13.5, 11, boxstyle="round,pad=0,rounding_size=1.2",
            facecolor="white", edgecolor=colour, linewidth=2.2, linestyle=line,
        )
    )  # fmt: skip
    axes.text(57.25, middle + 3.0, name, fontsize=13, weight="bold", ha="center", va="center")
    axes.text(
        57.25, middle - 1.8, f"{state}\nlogits and\nprojection z", fontsize=11, ha="center", va="center"
    )
    return 64.3, middle


def _terms(axes: Axes, teacher: tuple[float, float], student: tuple[float, float]) -> None:
    axes.text(73, 47.2, "four loss terms", fontsize=13, weight="bold")
    for i, (symbol, what, views, with_teacher) in enumerate(reversed(TERMS)):
        middle = 41.0 - i * 10.0
        axes.add_patch(Rectangle((73, middle - 4.1), 24, 8.2, facecolor="#F3F3F3", edgecolor=QUIET))
        axes.text(74, middle + 1.7, f"{symbol}  {what}", fontsize=12, va="center")
        axes.text(74, middle - 1.9, views, fontsize=11, va="center", color=INK)
        if with_teacher:
            _arrow(axes, teacher, (72.6, middle + 1.2), METHOD_STYLES["teacher"].colour, dashed=True)
        _arrow(axes, student, (72.6, middle - 1.2), METHOD_STYLES["sskd"].colour)
    weights = " + ".join(
        f"$\\lambda_{{{name}}}$ {term[0]}" for name, term in zip(("ce", "kd", "tf", "ss"), TERMS, strict=True)
    )
    axes.text(97, 2.6, f"$L$ = {weights}", fontsize=13, ha="right", va="center")


def _thumb(axes: Axes, image, left: float, bottom: float) -> None:
    place = (left, left + THUMB, bottom, bottom + THUMB)
    axes.imshow(image, extent=place, interpolation="nearest", aspect="auto")
    axes.set(xlim=(0, WIDE), ylim=(0, HIGH))  # imshow would zoom in


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, dashed: bool = False
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=13, color=colour, linewidth=1.6,
            linestyle=(0, (4, 2)) if dashed else "-", shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip
