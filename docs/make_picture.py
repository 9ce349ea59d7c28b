"""Draw README's picture: the idea of SSKD, with real images and the shipped teacher's own numbers.

    python docs/make_picture.py            # writes docs/idea.png; takes a few seconds

Five test images of the embedded Fashion-MNIST in four views, neither mirrored nor cropped. `numbers` computes
what `picture` draws. tests/docs/test_picture.py compares README's words about the picture with these numbers.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image

import sskd_lib as sskd
from sskd_lib.losses import error_rank, similarity_matrix, soften, transfer_mask

FOLDER = Path(__file__).resolve().parent
WEIGHTS = FOLDER.parent / "data" / "weights" / "fashion-mnist" / "teacher_wrn_16_2.safetensors"
IMAGES = (452, 537, 237, 1991, 1093)  # in the test set: an ankle boot, a coat, a sneaker, a shirt, a pullover
COAT = 1  # its softened outputs are drawn
TURNS = ("90°", "180°", "270°")

WIDE, HIGH, DPI = 1760, 960, 160  # pixels; a web page shows about half of that
TEXT, TITLE = 12, 15  # points
INK, QUIET, LINE, PANEL = "#1A1A1A", "#4A4A4A", "#9A9A9A", "#F3F3EF"
OUT = "#A33B00"  # what is left out; a line through it says the same without colour


class Numbers(NamedTuple):
    """The numbers of the picture: B images, K classes, 3B turned views in the rows of the matrix."""

    views: np.ndarray  # uint8 [4, B, 28, 28]
    probabilities: np.ndarray  # float [4B, K], softened at τ = 4
    matrix: np.ndarray  # float [3B, B], cosines
    wrong: np.ndarray  # bool [3B], another image is more similar than the row's own
    kept: np.ndarray  # bool [3B], the rows that a student imitates
    classes: tuple[str, ...]


def numbers() -> Numbers:
    """Return the shipped teacher's answers for the five images, and which rows the recipe keeps."""
    test = sskd.load_images("fashion-mnist-lab", "test")
    views = sskd.four_views(test.images[list(IMAGES)], augment=False)
    teacher, recipe, count = sskd.load_checkpoint(WEIGHTS).eval(), sskd.Recipe(), len(IMAGES)
    with torch.no_grad():
        output = teacher(views)
    matrix = similarity_matrix(output.projection[count:], output.projection[:count])
    own = torch.arange(3 * count) % count  # the image of each row
    return Numbers(
        views=(views * 255).round().to(torch.uint8).reshape(4, count, *views.shape[2:]).numpy(),
        probabilities=soften(output.logits, recipe.kd_temperature).numpy(),
        matrix=matrix.numpy(),
        wrong=(error_rank(matrix, own) > 0).numpy(),
        kept=transfer_mask(matrix, own, recipe.ss_keep_wrong).numpy(),
        classes=test.classes,
    )


def picture(n: Numbers) -> Figure:
    """Draw views, teacher, its two kinds of knowledge, and student, from left to right."""
    figure = Figure(figsize=(WIDE / DPI, HIGH / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDE), ylim=(HIGH, 0))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    frame(axes, (3, 3, WIDE - 6, HIGH - 6), LINE)
    draw_views(axes, n)
    rounded(axes, (610, 22, 960, 842), PANEL, LINE, -1)
    draw_softened(axes, n)
    draw_matrix(axes, n)
    draw_legend(axes, n)
    draw_network(axes, 432, "Teacher", "large,\ntrained,\nfrozen")
    draw_network(axes, 1606, "Student", "small,\nlearns")
    draw_arrows(axes)
    return figure


def draw_views(axes: Axes, n: Numbers) -> None:
    """Draw the images in four columns: upright, and turned three times."""
    write(axes, 26, 60, "Four views of each image", size=TITLE, weight="bold")
    side, step = 82, 90
    for column, turn in enumerate(("upright", *TURNS)):
        left = 26 + column * step + (12 if column else 0)
        write(axes, left + side / 2, 128, turn, align="center")
        for row in range(len(IMAGES)):
            thumbnail(axes, n.views[column, row], left, 148 + row * step, side)
    question = "Which turned view belongs to\nwhich image? To know it,\nno label is needed."
    write(axes, 26, 664, question, colour=QUIET)


def draw_network(axes: Axes, left: float, name: str, words: str) -> None:
    """Draw a network as a box."""
    width = 144
    rounded(axes, (left, 280, width, 188), "white", INK, 1)
    write(axes, left + width / 2, 316, name, size=13, weight="bold", align="center")
    write(axes, left + width / 2, 398, words, align="center")


def draw_softened(axes: Axes, n: Numbers) -> None:
    """Draw the softened outputs for the coat: its four likeliest classes, and the others in one bar."""
    write(axes, 634, 62, "1  Soft answers", size=TITLE, weight="bold")
    thumbnail(axes, n.views[0, COAT], 634, 98, 88)
    write(axes, 738, 142, "The label says: coat.\nThe teacher says:", colour=QUIET)
    likeliest = n.probabilities[COAT].argsort()[::-1][:4]
    bars = [(n.classes[k], n.probabilities[COAT, k]) for k in likeliest]
    bars.append((f"{len(n.classes) - len(bars)} others", 1 - sum(share for _, share in bars)))
    for row, (name, share) in enumerate(bars):
        middle = 228 + row * 42
        write(axes, 752, middle, name, align="right")
        colour = INK if row < len(likeliest) else LINE
        axes.add_patch(Rectangle((762, middle - 15), 560 * share, 30, facecolor=colour, linewidth=0))
        write(axes, 770 + 560 * share, middle, f"{100 * share:.0f} %")


def draw_matrix(axes: Axes, n: Numbers) -> None:
    """Draw the similarity matrix: a row for each turned view, a column for each upright image."""
    write(axes, 1026, 62, "2  What resembles what", size=TITLE, weight="bold")
    left, wide, high = 1106, 86, 46
    right = left + len(IMAGES) * wide
    for column in range(len(IMAGES)):
        thumbnail(axes, n.views[0, column], left + column * wide + 18, 90, 50)
    for row, values in enumerate(n.matrix):
        turn, image = divmod(row, len(IMAGES))
        top = 148 + row * high + turn * 8
        thumbnail(axes, n.views[turn + 1, image], left - 52, top + 1, high - 2)
        if image == len(IMAGES) // 2:
            write(axes, left - 70, top + high / 2, TURNS[turn], align="center", rotation=90)
        for column, value in enumerate(values):
            cell = (left + column * wide, top, wide, high)
            shade = matplotlib.colormaps["Greys"](0.5 * max(value, 0) ** 2)
            axes.add_patch(Rectangle(cell[:2], wide, high, facecolor=shade, edgecolor="white", linewidth=1))
            weight = "bold" if value == values.max() else "normal"
            words = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
            write(axes, cell[0] + wide / 2, top + high / 2, words, align="center", weight=weight)
        frame(axes, (left + image * wide + 2, top + 2, wide - 4, high - 4), INK)
        if not n.kept[row]:
            strike(axes, left - 56, right + 6, top + high / 2)
            cross = {"size": 17, "weight": "bold", "colour": OUT, "align": "center"}
            write(axes, right + 17, top + high / 2, "×", **cross)


def draw_legend(axes: Axes, n: Numbers) -> None:
    """Explain the matrix."""
    write(axes, 634, 486, "How to read 2:", weight="bold")
    frame(axes, (636, 518, 46, 36), INK)
    write(axes, 696, 550, "the row's own image,\nshould be the largest")
    write(axes, 659, 620, "0.98", weight="bold", align="center")
    write(axes, 706, 620, "the largest of its row")
    wrong = f"In {n.wrong.sum()} of {len(n.wrong)} rows another\nimage wins: that is wrong."
    write(axes, 634, 694, wrong)
    strike(axes, 636, 682, 776)
    write(axes, 696, 792, f"the {(~n.kept).sum()} worst of these:\nnot imitated")


def draw_arrows(axes: Axes) -> None:
    """Draw what goes where."""
    arrow(axes, [(398, 374), (430, 374)])
    arrow(axes, [(578, 374), (608, 374)])
    arrow(axes, [(1572, 374), (1604, 374)])
    arrow(axes, [(200, 730), (200, 912), (1678, 912), (1678, 472)])
    aim = "The student sees the same views. It learns the labels, and to give the same 1 and 2."
    write(axes, 222, 888, aim)


def thumbnail(axes: Axes, image: np.ndarray, left: float, top: float, side: float) -> None:
    """Draw one image with its upper left corner at (left, top)."""
    extent = (left, left + side, top + side, top)
    axes.imshow(image, extent=extent, cmap="gray", vmin=0, vmax=255, aspect="auto", zorder=3)


def write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    size: float = TEXT,
    colour: str = INK,
    align: str = "left",
    **more,
) -> None:
    """Write text with its middle at the height y, and its left edge, centre or right edge at x."""
    axes.text(
        x, y, text, fontsize=size, color=colour, ha=align, va="center", linespacing=1.25, zorder=6, **more
    )


def frame(axes: Axes, place: tuple[float, float, float, float], colour: str) -> None:
    """Draw the outline of a rectangle: left, top, width, height."""
    axes.add_patch(Rectangle(place[:2], *place[2:], fill=False, edgecolor=colour, linewidth=2, zorder=4))


def rounded(axes: Axes, place: tuple[float, float, float, float], fill: str, line: str, order: int) -> None:
    """Draw a rectangle with round corners: left, top, width, height."""
    style = "round,pad=0,rounding_size=16"
    patch = FancyBboxPatch(
        place[:2], *place[2:], boxstyle=style, facecolor=fill, edgecolor=line, linewidth=2, zorder=order
    )
    axes.add_patch(patch)


def strike(axes: Axes, left: float, right: float, middle: float) -> None:
    """Draw the line through what is left out."""
    axes.plot([left, right], [middle, middle], color=OUT, linewidth=2.6, zorder=5, solid_capstyle="round")


def arrow(axes: Axes, corners: list[tuple[float, float]]) -> None:
    """Draw an arrow along straight lines from corner to corner."""
    axes.plot(*zip(*corners[:-1], strict=True), color=INK, linewidth=2.2, solid_joinstyle="round")
    ends = corners[-2:]
    axes.add_patch(
        FancyArrowPatch(
            *ends, arrowstyle="-|>", mutation_scale=22, linewidth=2.2, color=INK, shrinkA=0, shrinkB=0
        )
    )


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 128 colours: a third of the bytes, and no difference to see."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    save(picture(numbers()), FOLDER / "idea.png")
    print(f"docs/idea.png: {(FOLDER / 'idea.png').stat().st_size / 1000:.0f} kB")
