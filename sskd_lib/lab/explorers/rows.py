"""Which rows a share keeps, and which rows an explorer shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ...losses import error_rank, transfer_mask


class Selection(NamedTuple):
    """What one share does: row numbers, each list in the order of the error rank."""

    right: np.ndarray
    kept: np.ndarray  # wrong, but kept
    dropped: np.ndarray

    def teaching_share(self) -> float:
        """Share of all rows that teach the student."""
        return (len(self.right) + len(self.kept)) / max(sum(map(len, self)), 1)


def select(scores: torch.Tensor, targets: torch.Tensor, keep_wrong: float) -> Selection:
    """Split rows into right, wrong but kept, and dropped, by `error_rank` and `transfer_mask`.

    scores: float [R, K]; targets: int64 [R]; keep_wrong: share of the wrong rows in [0, 1].
    """
    rank = error_rank(scores, targets).numpy()
    keep = transfer_mask(scores, targets, keep_wrong).numpy()
    order = rank.argsort(kind="stable")
    wrong = order[rank[order] > 0]
    return Selection(order[rank[order] == 0], wrong[keep[wrong]], wrong[~keep[wrong]])


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Pick up to `count` rows evenly, from the first to the last."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def choose_rows(wrong: np.ndarray, count: int) -> np.ndarray:
    """Pick up to `count` rows: a spread of the wrong ones for half of them, a spread of the right ones.

    wrong: bool [R]. Where one kind is too few, the other fills up. Returns row numbers in rising order.
    """
    bad, good = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    bad = spread(bad, max(count // 2, count - len(good)))
    return np.sort(np.concatenate([bad, spread(good, count - len(bad))]))
