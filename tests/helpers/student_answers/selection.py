"""Answers to error_rank and transfer_mask, as a student may write them."""

from __future__ import annotations

import math

import numpy as np
import torch


def rank_loops(scores, targets):
    ranks = []
    for row, k in zip(scores.tolist(), targets.tolist()):  # noqa: B905
        ranks.append(sum(1 for score in row if score > row[k]))
    return ranks


def rank_numpy(scores, targets):
    s, t = scores.numpy(), targets.numpy()
    return np.count_nonzero(s > np.take_along_axis(s, t[:, None], 1), axis=1)


def rank_by_sorting(scores, targets):
    """Equal scores share the best place, so a search in the sorted row gives the rank."""
    ranks = [
        int(torch.searchsorted(torch.sort(-row).values, -row[k]))
        for row, k in zip(scores, targets)  # noqa: B905
    ]
    return torch.tensor(ranks)


def own_counted(scores, targets):
    return [sum(score >= row[k] for score in row) for row, k in zip(scores.tolist(), targets.tolist())]  # noqa: B905


def place_in_sorted(scores, targets):
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    return (order == targets[:, None]).nonzero()[:, 1]


def by_order(rank, keep):
    mask = [False] * len(rank)
    for row in sorted(range(len(rank)), key=lambda row: int(rank[row]))[:keep]:
        mask[row] = True
    return mask


def counts(rank):
    right = sum(int(r) == 0 for r in rank)
    return right, len(rank) - right


def worst_wrong(rank, share):
    wrong = counts(rank)[1]
    rows = [row for row in range(len(rank)) if rank[row] > 0]
    rows.sort(key=lambda row: -int(rank[row]))
    chosen = rows[: int(wrong * share)]
    return [rank[row] == 0 or row in chosen for row in range(len(rank))]


def first_wrong(rank, share):
    places = int(counts(rank)[1] * share)
    mask = rank == 0
    for row in range(len(rank)):
        if rank[row] > 0 and places:
            mask[row], places = True, places - 1
    return mask


def two_steps(rank, share):
    """The mask of the right rows, or the mask of the chosen wrong ones."""
    wrong = np.flatnonzero(rank.numpy() > 0)
    order = wrong[np.argsort(rank.numpy()[wrong], kind="stable")]
    mask = rank.numpy() == 0
    mask[order[: math.floor(share * len(wrong))]] = True
    return mask


def ties_kept(rank, share):
    right, wrong = counts(rank)
    limit = sorted(rank.tolist())[right + int(share * wrong) - 1]
    return [r <= limit for r in rank.tolist()]


def sorted_mask(rank, share):
    right, wrong = counts(rank)
    keep = right + int(share * wrong)
    return [True] * keep + [False] * (len(rank) - keep)


WRONG = {
    "error_rank": {
        "own column counted": own_counted,
        "begins at 1": lambda s, t: [rank + 1 for rank in rank_loops(s, t)],
        "equal scores counted": lambda s, t: [count - 1 for count in own_counted(s, t)],
        "counted from the wrong end": lambda s, t: (s < s[torch.arange(len(s)), t].unsqueeze(1)).sum(-1),
        "only right or wrong": lambda s, t: [int(row.argmax() != k) for row, k in zip(s, t)],  # noqa: B905
        "amounts instead of a count": lambda s, t: torch.relu(s - s.gather(1, t.view(-1, 1))).sum(dim=1),
        "along the wrong axis": lambda s, t: (s > s.gather(1, t.view(-1, 1))).sum(dim=0),
        "place in a sorted row": place_in_sorted,
        "counted over all rows": lambda s, t: sum(rank_loops(s, t)),
        "another kind of number": lambda s, t: (s > s.gather(1, t[:, None])).double().sum(1),
    },
    "transfer_mask": {
        "ratio as a share of all rows": lambda r, share: by_order(r, int(len(r) * share)),
        "right rows and a share of all": lambda r, share: by_order(r, counts(r)[0] + int(len(r) * share)),
        "keeps the worst": worst_wrong,
        "first rows instead of the least wrong": first_wrong,
        "rounded up": lambda r, share: by_order(r, counts(r)[0] + int(np.ceil(counts(r)[1] * share))),
        "rounded to the nearest": lambda r, share: by_order(r, counts(r)[0] + round(counts(r)[1] * share)),
        "all rows of equal rank kept": ties_kept,
        "right rows only": lambda r, share: torch.logical_not(r.bool()),
        "right rows left out": lambda r, share: two_steps(r, share) & (r.numpy() != 0),
        "turned round": lambda r, share: ~two_steps(r, share),
        "mask of the sorted rows": sorted_mask,
        "numbers of rows": lambda r, share: r.sort(stable=True).indices[: sum(sorted_mask(r, share))],
        "another kind of number": lambda r, share: two_steps(r, share).astype(float),
    },
}
RIGHT = {
    "error_rank": (
        rank_loops,
        rank_numpy,
        rank_by_sorting,
        lambda s, t: (s - s.gather(1, t[:, None]) > 0).sum(1),
    ),
    "transfer_mask": (
        two_steps,
        lambda r, share: by_order(r, counts(r)[0] + int(counts(r)[1] * share)),
        lambda r, share: r.argsort(stable=True).argsort() < counts(r)[0] + int(counts(r)[1] * share),
    ),
}
