"""Soft targets, similarities and selection as loops, and what the tests of them draw.

The loops are written from the paper's formulas in plain Python; they share nothing with the library.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from sskd_lib.models.network import Output
from sskd_lib.recipes import Recipe

QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 10_000)
SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.29, 0.5, 0.57, 0.75, 1.0]))
TEMPERATURES = st.floats(0.3, 12)
Rows = list[list[float]]


def normal(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def close(value: Tensor | float, expected: object) -> None:
    """Equal in float64, up to the rounding of sums taken in another order."""
    torch.testing.assert_close(
        torch.as_tensor(value), torch.as_tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-11
    )


def loop_softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    powers = [math.exp((z - top) / temperature) for z in row]
    return [p / sum(powers) for p in powers]


def loop_kl(student: list[float], teacher: list[float], temperature: float) -> float:
    """τ² KL(teacher ‖ student) of one row."""
    p, q = loop_softmax(student, temperature), loop_softmax(teacher, temperature)
    return temperature**2 * sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))


def loop_kl_gradient(student: list[float], teacher: list[float], temperature: float) -> list[float]:
    p, q = loop_softmax(student, temperature), loop_softmax(teacher, temperature)
    return [temperature * (a - b) for a, b in zip(p, q, strict=True)]


def loop_cosine(a: Rows, b: Rows) -> Rows:
    def unit(v: list[float]) -> list[float]:
        length = math.sqrt(sum(x * x for x in v))
        return [x / length for x in v]

    return [[sum(x * y for x, y in zip(unit(u), unit(v), strict=True)) for v in b] for u in a]


def loop_rank(scores: Rows, targets: list[int]) -> list[int]:
    ranks = []
    for row, target in zip(scores, targets, strict=True):
        ranks.append(0)
        for score in row:
            if score > row[target]:
                ranks[-1] += 1
    return ranks


def loop_mask(scores: Rows, targets: list[int], keep_wrong: float) -> list[bool]:
    """All right rows, then one wrong row after another: the lowest rank first, the earliest among equals."""
    ranks = loop_rank(scores, targets)
    kept = [rank == 0 for rank in ranks]
    for _ in range(int(kept.count(False) * keep_wrong)):
        best = min((rank, i) for i, rank in enumerate(ranks) if not kept[i])
        kept[best[1]] = True
    return kept


def published_procedure(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> dict[str, float]:
    """The published step after July 2020: sort the rows by rank, keep the first ones, take the mean."""

    def place_of_target(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        order = np.argsort(-scores, axis=1)  # best column first
        return np.argmax(order == targets[:, None], axis=1)

    def kept_rows(scores: np.ndarray, targets: np.ndarray, ratio: float) -> np.ndarray:
        place = place_of_target(scores, targets)
        correct = np.count_nonzero(place == 0)
        wrong = np.count_nonzero(place > 0)
        return np.argsort(place, kind="stable")[: correct + int(wrong * ratio)]

    def divergence(s: np.ndarray, t: np.ndarray, temperature: float) -> float:
        rows = [loop_kl(a, b, temperature) for a, b in zip(s.tolist(), t.tolist(), strict=True)]
        return sum(rows) / len(rows) if rows else 0.0

    y, b = labels.numpy(), len(labels)
    upright, rotated = np.arange(4 * b) < b, np.arange(4 * b) >= b  # boolean row indices
    s_logits, t_logits = student.logits.detach().numpy(), teacher.logits.numpy()
    s_z, t_z = student.projection.detach().numpy(), teacher.projection.numpy()
    ce = (
        sum(-math.log(loop_softmax(row)[c]) for row, c in zip(s_logits[upright].tolist(), y, strict=True)) / b
    )
    kd = divergence(s_logits[upright], t_logits[upright], recipe.kd_temperature)
    keep = kept_rows(t_logits[rotated], np.tile(y, 3), recipe.tf_keep_wrong)
    tf = divergence(s_logits[rotated][keep], t_logits[rotated][keep], recipe.tf_temperature)
    s_matrix = np.array(loop_cosine(s_z[rotated].tolist(), s_z[upright].tolist()))
    t_matrix = np.array(loop_cosine(t_z[rotated].tolist(), t_z[upright].tolist()))
    keep = kept_rows(t_matrix, np.tile(np.arange(b), 3), recipe.ss_keep_wrong)
    ss = divergence(s_matrix[keep], t_matrix[keep], recipe.ss_temperature)
    total = recipe.ce * ce + recipe.kd * kd + recipe.tf * tf + recipe.ss * ss
    return {"ce": ce, "kd": kd, "tf": tf, "ss": ss, "total": total}


def loop_gradients(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> tuple[Rows, Rows]:
    """d total / d student logits [4B, K] and d total / d student projections [4B, D], derived by hand."""
    b, y = len(labels), labels.tolist()
    s, t = student.logits.tolist(), teacher.logits.tolist()
    logits = [[0.0] * len(s[0]) for _ in s]
    for i in range(b):
        soft = loop_kl_gradient(s[i], t[i], recipe.kd_temperature)
        for k, p in enumerate(loop_softmax(s[i])):
            logits[i][k] = (recipe.ce * (p - (k == y[i])) + recipe.kd * soft[k]) / b
    kept = loop_mask(t[b:], y * 3, recipe.tf_keep_wrong)
    for r in range(3 * b):
        if kept[r]:
            row = loop_kl_gradient(s[b + r], t[b + r], recipe.tf_temperature)
            logits[b + r] = [recipe.tf * g / kept.count(True) for g in row]

    z = np.array(student.projection.tolist())
    matrix = loop_cosine(z[b:].tolist(), z[:b].tolist())
    target = loop_cosine(teacher.projection[b:].tolist(), teacher.projection[:b].tolist())
    kept = loop_mask(target, [r % b for r in range(3 * b)], recipe.ss_keep_wrong)
    projections = np.zeros_like(z)
    for r in range(3 * b):
        slope = loop_kl_gradient(matrix[r], target[r], recipe.ss_temperature)
        for j in range(b):
            if kept[r]:  # A = ⟨u, v⟩ / (|u| |v|)  →  dA/du = (v/|v| - A u/|u|) / |u|
                u, v, a = z[b + r], z[j], matrix[r][j]
                size_u, size_v = np.linalg.norm(u), np.linalg.norm(v)
                weight = recipe.ss * slope[j] / kept.count(True)
                projections[b + r] += weight * (v / size_v - a * u / size_u) / size_u
                projections[j] += weight * (u / size_u - a * v / size_v) / size_v
    return logits, projections.tolist()
