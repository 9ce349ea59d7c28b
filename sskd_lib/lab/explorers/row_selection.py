"""Selection of rows: those that a ratio keeps, and those that an explorer shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ...losses import error_rank, transfer_mask


class Selection(NamedTuple):
    """The rows of one ratio by their numbers, each list in the order of the error rank."""

    right: np.ndarray
    kept: np.ndarray  # wrong, but kept
    dropped: np.ndarray

    def used_fraction(self) -> float:
        """Return the fraction of all rows that enter the loss."""
        return (len(self.right) + len(self.kept)) / max(sum(map(len, self)), 1)


def select(scores: torch.Tensor, targets: torch.Tensor, keep_wrong: float) -> Selection:
    """Split rows into right, wrong but kept, and dropped, by `error_rank` and `transfer_mask`.

    scores: float [R, K]; targets: int64 [R]; keep_wrong: ratio of the wrong rows in [0, 1].
    """
    rank = error_rank(scores, targets).numpy()
    keep = transfer_mask(scores, targets, keep_wrong).numpy()
    order = rank.argsort(kind="stable")
    wrong = order[rank[order] > 0]
    return Selection(order[rank[order] == 0], wrong[keep[wrong]], wrong[~keep[wrong]])


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """Choose up to `count` rows evenly, from the first to the last."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def choose_rows(wrong: np.ndarray, count: int) -> np.ndarray:
    """Choose up to `count` rows: half of them spread over the wrong ones, half over the right ones.

    wrong: bool [R]. Where there are too few of one kind, the other fills up. Returns rising row numbers.
    """
    bad, good = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    bad = spread(bad, max(count // 2, count - len(good)))
    return np.sort(np.concatenate([bad, spread(good, count - len(bad))]))
