"""Neighbours, widths and distances of classes in features or outputs, and what a map keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..losses import soften
from .atlas_data import Atlas, nearest
from .softening import entropy_bits
from .tsne import align

NEAREST = 10  # neighbours of an image
QUARTERS = ("surest quarter", "second", "third", "least sure")


def neighbour_overlap(a, b, count: int = NEAREST) -> float:
    """Return the mean share of each image's nearest images that two sets of vectors have in common, in %.

    a: float [M, D]; b: float [M, D']; row by row the same images.
    """
    near_a, near_b = (nearest(np.asarray(vectors), count) for vectors in (a, b))
    return 100 * float((near_a[:, :, None] == near_b[:, None, :]).any(2).mean())


def order_of_distances(a, b, labels: Tensor) -> float:
    """Return the rank correlation (Spearman) of the distances between class centres in two sets of vectors.

    1: both order all pairs of classes in the same way; 0: the one says nothing about the other.
    """
    from scipy.stats import spearmanr

    present = labels.unique()
    pairs = []
    for vectors in (a, b):
        rows = torch.as_tensor(np.asarray(vectors)).double()
        pairs.append(torch.pdist(torch.stack([rows[labels == k].mean(0) for k in present])).numpy())
    return float(spearmanr(*pairs).statistic)


def within_to_between(vectors: Tensor, labels: Tensor) -> float:
    """Return the distance of two images of one class, in % of that of two images of different classes.

    Both are medians over all pairs. vectors: float [M, D]; labels: int [M].
    """
    distances = torch.cdist(vectors, vectors)
    one_class = labels[:, None] == labels
    pairs = torch.ones_like(one_class).triu(diagonal=1)
    within, between = distances[pairs & one_class], distances[pairs & ~one_class]
    return 100 * float(within.median() / between.median())


def print_map_table(first: np.ndarray, others: Mapping[str, np.ndarray], features, labels: Tensor) -> None:
    """Print how far the dots of other maps are from those of the first, and what they keep of its features.

    moved: mean distance of a dot from its place on the first map, after alignment, in % of the mean distance
    of a dot from the middle of that map. neighbours: see `neighbour_overlap`, of the map with the features.
    order: see `order_of_distances`. features: those of the network on the first map, [M, D].
    """
    size = np.linalg.norm(first - first.mean(0), axis=1).mean()
    rows = []
    print(f"{'':22}{'moved':>8}{'neighbours':>13}{'order of far distances':>25}")
    for name, points in {"map 1: teacher": first, **others}.items():
        moved = 100 * np.linalg.norm(align(first, points) - first, axis=1).mean() / size
        kept, order = neighbour_overlap(features, points), order_of_distances(features, points, labels)
        print(f"{name:22}{moved:6.0f} %{kept:11.0f} %{order:25.2f}")
        rows.append((name, moved, kept))
    by_place, by_neighbours = min(rows[1:], key=lambda row: row[1]), max(rows[1:], key=lambda row: row[2])
    print(f"most like map 1 by the places of the dots: {by_place[0]}")
    print(f"most like map 1 by the teacher's neighbours: {by_neighbours[0]}")


def class_widths(
    features: Tensor, points, temperatures: Tensor, labels: Tensor, names: Sequence[str]
) -> list[tuple[float, float, float, str]]:
    """Return how wide each class is, the narrowest in the features first.

    Width: median distance of two images of the class. temperatures: of each image in t-SNE's softmax, [M].
    Returns (width in the features, width on the map, median temperature, name) for each class with two images
    or more.
    """
    flat = torch.as_tensor(np.asarray(points))
    rows = []
    for k, name in enumerate(names):
        of_class = labels == k
        if of_class.sum() > 1:
            in_features, on_map = (torch.pdist(v[of_class]).median().item() for v in (features, flat))
            rows.append((in_features, on_map, temperatures[of_class].median().item(), name))
    return sorted(rows)


def print_class_widths(
    features: Tensor, points, temperatures: Tensor, labels: Tensor, names: Sequence[str]
) -> None:
    """Print how wide the narrowest, the middle and the widest class are: see `class_widths`."""
    rows = class_widths(features, points, temperatures, labels, names)
    narrow, middle, wide = rows[0], rows[len(rows) // 2], rows[-1]
    print(f"{'class':24}{'width in features':>18}{'temperature':>14}{'width on the map':>19}")
    for width, on_map, temperature, name in (narrow, middle, wide):
        print(f"{name[:23]:24}{width:18.2f}{temperature:14.2f}{on_map:19.2f}")
    ratios = [f"{w / n:.1f} ×" for w, n in zip(wide[:3], narrow[:3], strict=True)]
    print(f"{'widest / narrowest':24}{ratios[0]:>18}{ratios[2]:>14}{ratios[1]:>19}")


def certainty_quarters(
    atlas: Atlas, labels: Tensor, temperature: float = 4.0
) -> dict[str, tuple[int, float, float]]:
    """Return errors and neighbours of the atlas's first network for quarters of the images, surest first.

    The quarters are made by the entropy of the outputs at temperature 1. Neighbours are the six nearest in
    the outputs at `temperature`. Returns quarter → (errors, mean number of neighbours of other classes, mean
    number of neighbours that are also among the six nearest on the map).
    """
    space, kinds = atlas.temperatures.index(temperature), labels.numpy()
    p = soften(torch.as_tensor(atlas.logits[0]).double(), 1.0).numpy()
    near, on_map = (nearest(atlas.points[0, space], 6), atlas.neighbours[0, space].astype(int))
    both = (near[:, :, None] == on_map[:, None, :]).any(2).sum(1)
    other, errors = (kinds[on_map] != kinds[:, None]).sum(1), p.argmax(1) != kinds
    quarters = np.array_split(entropy_bits(p).argsort(kind="stable"), len(QUARTERS))
    return {
        name: (int(errors[rows].sum()), float(other[rows].mean()), float(both[rows].mean()))
        for name, rows in zip(QUARTERS, quarters, strict=True)
    }


def print_certainty(atlas: Atlas, labels: Tensor, temperature: float = 4.0) -> None:
    """Print `certainty_quarters`, and how much of the errors and neighbours is in the least sure quarter."""
    quarters = certainty_quarters(atlas, labels, temperature)
    print(f"{'':16}{'errors':>8}{'of 6 neighbours: of other classes':>36}{'near on the map':>18}")
    for name, (errors, other, both) in quarters.items():
        print(f"{name:16}{errors:8}{other:36.2f}{both:18.2f}")
    columns = list(zip(*quarters.values(), strict=True))[:2]
    parts = [f"{100 * column[-1] / (sum(column) or 1):.0f} %" for column in columns]
    print(
        f"the least sure quarter has {parts[0]} of the errors, {parts[1]} of the neighbours of other classes"
    )


def vote_of_neighbours(features, labels: Tensor, count: int = NEAREST) -> float:
    """Return the accuracy, in %, of the most frequent class among each image's nearest other images."""
    kinds = labels.numpy()
    votes = [np.bincount(row).argmax() for row in kinds[nearest(np.asarray(features), count)]]
    return 100 * float((np.array(votes) == kinds).mean())
