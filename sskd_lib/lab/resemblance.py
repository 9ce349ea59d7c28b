"""How much students resemble their teacher: CKA, agreement and distance, with intervals over the images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..evaluation import agreement, linear_cka
from ..losses import kd_loss
from ..losses.kd import kl_rows
from ..models.network import Output
from .display import show
from .neighbourhoods import neighbour_overlap, vote_of_neighbours
from .plots import matrix_heatmap

TEMPERATURE = 4.0  # of the distance between outputs
MEASURES = ("CKA", "agreement", "distance")


def resemblance(student: Output, teacher: Output) -> dict[str, float]:
    """Return CKA of the features, agreement in %, and the KD loss at τ = 4 ("distance"): see `MEASURES`."""
    values = (
        linear_cka(student.features, teacher.features),
        agreement(student.logits, teacher.logits),
        kd_loss(student.logits, teacher.logits, TEMPERATURE).item(),
    )
    return dict(zip(MEASURES, values, strict=True))


def print_resemblance(sets: Mapping[str, Mapping[str, Output]], labels: Tensor) -> None:
    """Print the `resemblance` of each network to the teacher, and how good the first set's features are.

    sets: name of the images → network → its outputs; the first set's images have these labels.
    """
    upright = next(iter(sets.values()))
    heads = f"{'CKA':>9}{'agree':>9}{'distance':>11}", f"{'neighbours':>13}{'10-NN':>9}"
    print(f"{'':13}" + "".join(f"{name:>{len(heads[0])}}" for name in sets))
    print(f"{'':13}" + len(sets) * heads[0] + heads[1])
    for name, output in upright.items():
        line = f"{name:13}"
        for outputs in sets.values():
            cka, agree, distance = resemblance(outputs[name], outputs["teacher"]).values()
            line += f"{cka:9.3f}{agree:8.1f}%{distance:11.2f}"
        kept = neighbour_overlap(upright["teacher"].features, output.features)
        print(line + f"{kept:12.0f}%{vote_of_neighbours(output.features, labels):8.1f}%")


def show_cka(table: Sequence[Sequence[float]], names: Sequence[str]) -> None:
    """Show CKA of all pairs of networks, and print the nearest to the first one and the most similar pair."""
    to_first = dict(zip(names[1:], table[0][1:], strict=True))
    values = ", ".join(f"{name} {value:.3f}" for name, value in to_first.items())
    show(
        matrix_heatmap(table, names, title="Linear CKA of features, upright images", form=".2f"),
        alt=f"Linear CKA between the features of {len(names)} networks. With {names[0]}: {values}.",
    )
    pairs = [(table[i][j], names[i], names[j]) for i in range(len(names)) for j in range(i)]
    (best, one, other), nearest = max(pairs), max(to_first, key=to_first.__getitem__)
    print(f"with {names[0]}: {values}; highest: {nearest}")
    print(f"most similar pair of all: {other} and {one}, {best:.3f}")


def bootstrap_resemblance(
    student: Output, teacher: Output, images: int, draws: int = 200, seed: int = 0
) -> np.ndarray:
    """Return the measures of `resemblance` for images drawn again with replacement. float64 [draws, 3].

    All rows of an image are drawn together: rows i, i + images, i + 2 · images, … show image i. One seed
    gives the same draws for every student.
    """
    generator = torch.Generator().manual_seed(seed)
    copies = len(student.logits) // images
    same = (student.logits.argmax(1) == teacher.logits.argmax(1)).double()
    distance = kl_rows(student.logits, teacher.logits, TEMPERATURE).double()
    features = student.features.double(), teacher.features.double()
    results = []
    for _ in range(draws):
        drawn = torch.randint(images, (images,), generator=generator).bincount(minlength=images)
        weights = drawn.double().repeat(copies) / (images * copies)
        cka = _weighted_cka(*features, weights)
        results.append((cka, 100 * float(weights @ same), float(weights @ distance)))
    return np.array(results)


def _weighted_cka(a: Tensor, b: Tensor, weights: Tensor) -> float:
    """Return the linear CKA of images that count with these weights, which sum to 1."""
    a, b = (rows - weights @ rows for rows in (a, b))
    weighted = weights[:, None] * a
    cross, size_a = torch.linalg.norm(weighted.T @ b), torch.linalg.norm(weighted.T @ a)
    return float(cross**2 / (size_a * torch.linalg.norm((weights[:, None] * b).T @ b)))


Gaps = Mapping[tuple[str, str, str], tuple[float, float, str]]


def resemblance_gaps(
    sets: Mapping[str, Mapping[str, Output]], name: str, others: Sequence[str], draws: int = 200
) -> Gaps:
    """Return whether a student is nearer to the teacher than others, with 95 % intervals over the images.

    Where the interval of a difference contains zero, these images show no difference. sets: see
    `print_resemblance`; the first has one row for each image, the others several (`bootstrap_resemblance`).
    Returns (other student, images, measure) → (lower end, upper end, verdict on the first student).
    """
    images = len(next(iter(sets.values()))["teacher"].logits)
    drawn = {
        (which, n): bootstrap_resemblance(outputs[n], outputs["teacher"], images, draws)
        for which, outputs in sets.items()
        for n in (name, *others)
    }
    found = {}
    for other in others:
        for which in sets:
            gaps = (drawn[which, name] - drawn[which, other]).T
            for measure, gap in zip(MEASURES, gaps, strict=True):
                low, high = np.percentile(gap, [2.5, 97.5])
                verdict = _verdict(low, high, smaller_is_nearer=measure == "distance")
                found[other, which, measure] = (float(low), float(high), verdict)
    return found


def print_gaps(gaps: Gaps, name: str) -> None:
    """Print the differences of `resemblance_gaps`. name: of the student that was compared with the others."""
    print(f"{name + ' minus':14}{'images':9}{'measure':11}{'95 % interval':>20}   {name} is")
    verdicts: dict[str, list[str]] = {}
    for (other, which, measure), (low, high, verdict) in gaps.items():
        verdicts.setdefault(other, []).append(verdict)
        interval = f"{low:+.3f} to {high:+.3f}"
        print(f"{other:14}{which:9}{measure:11}{interval:>20}   {verdict}")
    for other, words in verdicts.items():
        counts = ", ".join(f"{words.count(w)} {w}" for w in ("nearer", "farther", "no difference shown"))
        print(f"{name} against {other}: {counts}")


def _verdict(low: float, high: float, smaller_is_nearer: bool) -> str:
    if low <= 0 <= high or math.isnan(low):
        return "no difference shown"
    return "nearer" if (high < 0) == smaller_is_nearer else "farther"
