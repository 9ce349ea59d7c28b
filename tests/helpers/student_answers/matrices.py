"""Answers to similarity_matrix and contrastive_loss, as a student may write them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity


def cosine_loops(rotated, upright):
    rows = []
    for z in rotated.tolist():
        row = []
        for w in upright.tolist():
            dot = sum(a * b for a, b in zip(z, w))  # noqa: B905
            row.append(dot / (sum(a * a for a in z) * sum(b * b for b in w)) ** 0.5)
        rows.append(row)
    return rows


def columns_normalised(rotated, upright):
    r, u = rotated.numpy(), upright.numpy()
    return (r / np.linalg.norm(r, axis=0)) @ (u / np.linalg.norm(u, axis=0)).T


def negative_log(A, tau, target):
    e = torch.exp(A / tau)
    rows = torch.arange(len(A))
    return -torch.log(e[rows, target] / e.sum(dim=1))


def image(A):
    return torch.arange(A.size(1)).repeat(3)


def blocks(A, tau):
    total = 0
    for block in A.chunk(3):
        total = total + F.cross_entropy(block / tau, torch.arange(A.shape[1]))
    return total / 3


def down_the_columns(A, tau):
    e = (A / tau).exp()
    p = e / e.sum(dim=0)
    return -p[range(len(A)), image(A)].log().mean()


def no_positive(A, tau):
    total = 0
    for r in range(len(A)):
        b = r % A.shape[1]
        others = sum(torch.exp(A[r, j] / tau) for j in range(A.shape[1]) if j != b)
        total = total - torch.log(torch.exp(A[r, b] / tau) / others)
    return total / len(A)


WRONG = {
    "similarity_matrix": {
        "not normalised": lambda r, u: torch.einsum("rd,bd->rb", r, u),
        "normalised along the wrong axis": columns_normalised,
        "matrix transposed": lambda r, u: cosine_similarity(u, r),
        "only the rotated views normalised": lambda r, u: (r / r.norm(dim=1, keepdim=True)) @ u.T,
        "only the upright views normalised": lambda r, u: np.inner(r, u) / np.linalg.norm(u, axis=1),
        "squared lengths": lambda r, u: (r @ u.T) / torch.outer((r * r).sum(1), (u * u).sum(1)),
        "distances": lambda r, u: cdist(r, u),
        "one minus the cosine": lambda r, u: cdist(r, u, "cosine"),
        "rotated with rotated": lambda r, u: cosine_similarity(r),
        "centred first": lambda r, u: np.corrcoef(r, u)[: len(r), len(r) :],
    },
    "contrastive_loss": {
        "positives at r // 3": lambda A, tau: negative_log(
            A, tau, torch.arange(A.shape[1]).repeat_interleave(3)
        ).mean(),
        "first block only": lambda A, tau: -torch.log_softmax(A / tau, 1).diagonal().mean(),
        "temperature left out": lambda A, tau: F.cross_entropy(A, image(A)),
        "multiplied by the temperature": lambda A, tau: negative_log(A, 1 / tau, image(A)).mean(),
        "softmax over the wrong axis": down_the_columns,
        "sum over rows": lambda A, tau: F.cross_entropy(A / tau, image(A), reduction="sum"),
        "divided by B": lambda A, tau: negative_log(A, tau, image(A)).sum() / A.size(1),
        "wrong sign": lambda A, tau: F.nll_loss(-F.log_softmax(A / tau, 1), image(A)),
        "positive left out of the denominator": no_positive,
        "no logarithm": lambda A, tau: F.nll_loss(F.softmax(A / tau, dim=1), image(A)),
        "no gradient": lambda A, tau: float(F.cross_entropy(A / tau, image(A))),
    },
}
RIGHT = {
    "similarity_matrix": (
        cosine_loops,
        cosine_similarity,
        lambda r, u: 1 - cdist(r, u, "cosine"),
        lambda r, u: F.cosine_similarity(r[:, None], u[None], dim=2),
        lambda r, u: torch.einsum("rd,bd->rb", F.normalize(r), F.normalize(u)),
    ),
    "contrastive_loss": (
        blocks,
        lambda A, tau: F.cross_entropy(A / tau, image(A)),
        lambda A, tau: negative_log(A, tau, image(A)).mean(),
        lambda A, tau: (torch.logsumexp(A / tau, 1) - A[torch.arange(len(A)), image(A)] / tau).mean(),
    ),
}
