"""Figures and tables of notebook 03: which images wrong rows pick, how wrong rows are, what students copy.

The symbols are those of `rotated_views`. A `show_…` displays a figure with its alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..data.images import ImageSet
from ..data.views import four_views
from ..losses import similarity_matrix
from .curves import line_figure
from .display import show
from .plots import image_grid
from .rotated_views import (
    batch_matrices,
    picks,
    ranks,
    ranks_among_rivals,
    rows_right,
    same_class,
    spread,
    wrong_rows,
)
from .style import ANGLES, short


def show_mistakes(images: ImageSet, vectors: Tensor, batch: int = 64, shown: int = 6) -> None:
    """Show wrong rows, below each other: the rotated view, its own image, and the image that it picks.

    The rows are the first wrong one of each of `shown` classes. vectors: [4, M, D] of these images.
    """
    picked, wrong = picks(vectors, batch), wrong_rows(vectors, batch)
    labels = images.labels.cpu()
    first: dict[int, tuple[int, int]] = {}
    for image, turn in wrong.T.nonzero().tolist():
        first.setdefault(int(labels[image]), (image, turn))
    chosen = [first[k] for k in spread(sorted(first), shown)]
    if not chosen:
        print("no row is wrong")
        return
    taken = [int(picked[turn, image]) for image, turn in chosen]
    numbers = [image for image, _ in chosen]
    pixels = [
        four_views(images.images[row], augment=False, window=images.window).cpu().unflatten(0, (4, -1))
        for row in (numbers, taken)
    ]
    rotated = torch.stack([pixels[0][turn + 1, place] for place, (_, turn) in enumerate(chosen)])
    own, other = ([images.classes[labels[image]] for image in row] for row in (numbers, taken))
    angles = [ANGLES[turn + 1] for _, turn in chosen]
    titles = [f"view at {angle}" for angle in angles]
    titles += [f"own image:\n{name}" for name in own] + [f"picked:\n{name}" for name in other]
    words = [f"{a} at {angle} picks {b}" for a, angle, b in zip(own, angles, other, strict=True)]
    show(
        image_grid(torch.cat([rotated, pixels[0][0], pixels[1][0]]), titles, columns=len(chosen)),
        alt=f"{len(chosen)} wrong rows. Above the rotated view, then its own image, then the picked image. "
        f"{'; '.join(words)}.",
    )


def print_mistakes(candidates: Mapping[str, Tensor], labels: Tensor, batch: int = 64) -> None:
    """Print of several vectors the right rows, and how often a wrong row picks an image of its own class."""
    print(f"{'':22} {'rows right':>11} {'wrong rows: own class':>23} {'by chance':>11}")
    for name, vectors in candidates.items():
        same, chance = same_class(vectors, labels, batch)
        print(f"{name:22} {rows_right(vectors, batch):9.1f} % {same:21.1f} % {chance:9.1f} %")


def mean_cosines(vectors: Tensor, labels: Tensor, batch: int = 64) -> dict[str, float]:
    """Return the mean cosine of a rotated view with its own image, others of its class, and other classes."""
    groups: dict[str, list[Tensor]] = {"own image": [], "other image, own class": [], "other class": []}
    for number, matrix in enumerate(batch_matrices(vectors, batch)):
        size = matrix.shape[1]
        y = labels[number * size : (number + 1) * size].cpu()
        own = torch.eye(size, dtype=torch.bool).repeat(3, 1)
        same = (y[:, None] == y[None, :]).repeat(3, 1)
        for name, where in zip(groups, (own, same & ~own, ~same), strict=True):
            groups[name].append(matrix[where])
    return {name: torch.cat(values).mean().item() for name, values in groups.items()}


def print_mean_cosines(vectors: Tensor, labels: Tensor, batch: int = 64) -> None:
    """Print the numbers of `mean_cosines`."""
    for name, value in mean_cosines(vectors, labels, batch).items():
        print(f"mean cosine, {name:22}: {value:5.2f}")


def show_ranks(vectors: Tensor, batch: int = 64, most: int = 20) -> None:
    """Show the share of rotated views with at most a given error rank, per angle, and print some of it."""
    found, size = ranks(vectors, batch), min(batch, vectors.shape[1])
    places = range(min(most, size - 1) + 1)
    curves = {
        angle: [100 * (r <= place).float().mean().item() for place in places]
        for angle, r in zip(ANGLES[1:], found, strict=True)
    }
    curves["guess"] = [100 * (place + 1) / size for place in places]
    words = ", ".join(f"{name} {line[0]:.0f}" for name, line in curves.items())
    show(
        line_figure(places, curves, "error rank", "rows with at most this rank (%)"),
        alt=f"Share of rows with at most a given error rank. Rank 0, in percent: {words}.",
    )
    five, last = min(5, len(places) - 1), places[-1]
    print(f"{'':6} {'right':>8} {f'rank ≤ {five}':>10} {f'rank > {last}':>11}")
    for name, line in curves.items():
        print(f"{name:6} {line[0]:6.1f} % {line[five]:8.1f} % {100 - line[-1]:9.1f} %")


def three_among_rivals(vectors: Tensor, batch: int = 64, draws: int = 300) -> dict[int, Tensor]:
    """Return the ranks of three images at 90°, an easy, a middling and a hard one, in many random batches.

    The three are at 2, 40 and 70 % of the images, in the order of how many other images beat their own.
    Returns image → ranks, int64 [draws].
    """
    cosines = similarity_matrix(vectors[1], vectors[0])
    beaten_by = (cosines > cosines.diagonal()[:, None]).sum(1)
    order = beaten_by.argsort(stable=True)
    chosen = [int(order[int(quantile * len(order))]) for quantile in (0.02, 0.4, 0.7)]
    return {image: ranks_among_rivals(vectors, image, batch=batch, draws=draws) for image in chosen}


def print_ranks_among_rivals(vectors: Tensor, batch: int = 64, draws: int = 300) -> None:
    """Print how often the images of `three_among_rivals` are right, and the range of their ranks."""
    for image, found in three_among_rivals(vectors, batch, draws).items():
        right = 100 * (found == 0).float().mean()
        words = f"rank from {found.min()} to {found.max()}"
        print(f"image {image:4} at 90°: right in {right:3.0f} % of {draws} batches, {words}")


def picked_where_wrong(teacher: Tensor, student: Tensor, batch: int = 64) -> dict[str, float]:
    """Return what a student picks in the rows that the teacher gets wrong, in %: its own image, and others.

    teacher and student: projections [4, M, D] of the same images; the widths D may differ.
    """
    picked, wrong = picks(teacher, batch), wrong_rows(teacher, batch)
    own, same = ~wrong_rows(student, batch)[wrong], (picks(student, batch) == picked)[wrong]
    own, same = 100 * own.float().mean().item(), 100 * same.float().mean().item()
    return {"own image": own, "the teacher's pick": same, "another": 100 - own - same}


def print_copied_mistakes(teacher: Tensor, students: Mapping[str, Tensor], batch: int = 64) -> None:
    """Print how near students' matrices are to the teacher's, and what they pick where the teacher is wrong.

    teacher and students: projections [4, M, D] of the same images; the widths D may differ.
    """
    matrices = batch_matrices(teacher, batch)
    print(f"teacher: {rows_right(teacher, batch):.1f} % of the rows right")
    title = "where the teacher is wrong, the student picks"
    print(f"{'':18} {'mean |A_t − A_s|':>17} {'rows right':>11}   {title}")
    for name, vectors in students.items():
        pairs = zip(matrices, batch_matrices(vectors, batch), strict=True)
        gap = torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()
        shares = picked_where_wrong(teacher, vectors, batch).items()
        words = ", ".join(f"{what} {share:.0f} %" for what, share in shares)
        print(f"{short(name, 18):18} {gap:17.2f} {rows_right(vectors, batch):9.1f} %   {words}")
