"""t-SNE maps of features as figures: cached, coloured by class or coarse class, with images on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from ..data.images import ImageSet
from ..files import cache_folder
from .display import show
from .plots import scatter_tsne
from .style import CLASS_COLOURS, FAINT, pixels
from .tsne import align, embed

COLOURED = 10  # groups at most; the images of further ones are grey
PICTURE = 15.0  # points: side of an image on a map


def cached_map(vectors, seed: int = 0, perplexity: float = 30.0, start: str = "pca") -> np.ndarray:
    """Place vectors on a plane by t-SNE; joblib keeps the map in the user's cache folder. See `embed`.

    float [M, D] → float32 [M, 2]. The perplexity is lowered to (M - 1) / 3 where that is less.
    """
    perplexity = min(perplexity, (len(vectors) - 1) / 3)
    return embed(vectors, seed=seed, perplexity=perplexity, folder=cache_folder() / "tsne", start=start)


def show_three_maps(teacher, student, images: ImageSet) -> None:
    """Show maps of the teacher's features, of the student's, and of the teacher's from a random start.

    They are called map 1, 2 and 3, so that a reader may guess which is which. The last two are turned and
    mirrored onto the first. teacher: float [M, D]; student: float [M, D']; row by row these images.
    """
    first = cached_map(teacher)
    others = cached_map(student), cached_map(teacher, seed=1, start="random")
    maps = {"Map 1": first} | {f"Map {n}": align(first, points) for n, points in enumerate(others, 2)}
    size = np.linalg.norm(first - first.mean(0), axis=1).mean()
    moved = [
        f"{name} has a dot on average {100 * np.linalg.norm(points - first, axis=1).mean() / size:.0f} %"
        for name, points in list(maps.items())[1:]
    ]
    alt = (
        f"Three t-SNE maps of the same {len(images)} images. Measured by the mean distance of a dot from the "
        f"middle of map 1, {' and '.join(moved)} away from its place on map 1."
    )
    show(map_figure(maps, images), alt=alt)


def colour_groups(images: ImageSet) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the colour group of each image, int [M], and the names of the groups.

    The groups are the coarse classes where the set names one for each class (`coarse`), else the classes. Of
    more than ten groups only the ten with the most images have a number; the other images get -1.
    """
    of_class = images.coarse or images.classes
    names = tuple(dict.fromkeys(of_class))
    groups = np.array([names.index(name) for name in of_class])[images.labels.cpu().numpy()]
    by_size = np.argsort(-np.bincount(groups, minlength=len(names)), kind="stable")
    chosen = np.sort(by_size[:COLOURED])
    numbers = np.full(len(names), -1)
    numbers[chosen] = np.arange(len(chosen))
    return numbers[groups], tuple(names[k] for k in chosen)


def map_figure(maps: Mapping[str, np.ndarray], images: ImageSet, columns: int = 3) -> Figure:
    """Draw maps of the same images, coloured by class or coarse class, with one image of each group beside.

    The image is the one nearest to the middle of its group's dots, and a line leads to its dot. Groups: see
    `colour_groups`; images of groups without a colour are grey dots. maps: title → float [M, 2].
    """
    groups, names = colour_groups(images)
    figure = scatter_tsne(maps, groups, names, columns=columns)
    shown = pixels(images.images.cpu())
    reach = max(np.abs(points).max() for points in maps.values())
    for axes, points in zip(figure.axes, maps.values(), strict=False):
        axes.scatter(*np.asarray(points)[groups < 0].T, s=6, color=FAINT, linewidths=0, zorder=0)
        middles = [middle_image(points, groups == k) for k in range(len(names))]
        for row, place in images_beside(points, middles, 1.14 * reach, reach):
            _draw_image(axes, shown[row], points[row], place, CLASS_COLOURS[middles.index(row)])
        axes.set(xlim=(-1.28 * reach, 1.28 * reach), ylim=(-1.15 * reach, 1.15 * reach))
    return figure


def middle_image(points: np.ndarray, rows: np.ndarray) -> int:
    """Return the number of the image, among those in `rows` (bool [M]), nearest to their median."""
    gaps = np.abs(points - np.median(points[rows], axis=0)).sum(1)
    return int(np.where(rows, gaps, np.inf).argmin())


def images_beside(points: np.ndarray, rows: list[int], edge: float, top: float) -> list[tuple[int, tuple]]:
    """Return images with their places in two columns, left and right of a map, from top to bottom.

    The left half of the dots goes to the left column. edge: |x| of the columns; top: |y| of their ends.
    """
    by_x = sorted(rows, key=lambda row: points[row, 0])
    half = len(by_x) // 2
    placed = []
    for x, column in ((-edge, by_x[:half]), (edge, by_x[half:])):
        column = sorted(column, key=lambda row: -points[row, 1])
        heights = np.linspace(top, -top, len(column)) if len(column) > 1 else [0.0] * len(column)
        placed += [(row, (x, y)) for row, y in zip(column, heights, strict=True)]
    return placed


def _draw_image(axes: Axes, image: np.ndarray, dot: np.ndarray, place: tuple, colour: str) -> None:
    """Draw one image beside a map, with a frame and a line to its dot in the colour of its group."""
    picture = OffsetImage(image, zoom=PICTURE / len(image))
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    frame = {"edgecolor": colour, "linewidth": 1.5, "facecolor": colour}
    box = AnnotationBbox(picture, dot, place, pad=0.08, bboxprops=frame, arrowprops=line)
    box.set_in_layout(False)
    axes.add_artist(box)
