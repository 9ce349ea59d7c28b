"""Exercises of notebook 04: how wrong a row of the teacher is, and which rows are kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...losses import error_rank, transfer_mask
from .cases import first_of, generator_of, normal, ratio_of_all, worst_rows
from .demands import kind_needed
from .exercise import Exercise, Mistake
from .pictures import mask_picture

COUNTS = ((3, 5, 0.5), (2, 5, 0.75), (3, 5, 0.25), (1, 6, 0.25), (4, 3, 0.75))  # right, wrong, share


def _with_ties(seed: int) -> dict[str, Any]:
    """Return scores with some equal values in a row, so that > and ≥ differ."""
    generator = generator_of(seed)
    scores = normal(generator, 6 + seed % 2, 5).mul(2).round() / 2
    targets = torch.randint(0, 5, (len(scores),), generator=generator)
    scores[1, (targets[1] + 1) % 5] = scores[1, targets[1]]
    scores[2, targets[2]] = 9.0
    return {"scores": scores, "targets": targets}


def _ranks(seed: int) -> dict[str, Any]:
    generator = generator_of(seed)
    right, wrong, share = COUNTS[seed % len(COUNTS)]
    rank = torch.cat(
        [torch.zeros(right, dtype=torch.long), torch.randint(1, 4, (wrong,), generator=generator)]
    )
    return {"rank": rank[torch.randperm(right + wrong, generator=generator)], "share": share}


def _mask(rank: Tensor, ratio: float) -> Tensor:
    """Return the library's mask, from scores that have these ranks."""
    scores = torch.cat(
        [torch.full((len(rank), 1), 0.5), (torch.arange(1, 9) <= rank[:, None]).float()], 1
    )  # column 0 is the true one
    return transfer_mask(scores, torch.zeros_like(rank), ratio)


def _places(rank: Tensor, keep: int) -> Tensor:
    return first_of(rank.argsort(stable=True), keep)


def _count(rank: Tensor, ratio: float) -> int:
    return int((rank == 0).sum()) + int(ratio * int((rank > 0).sum()))


def _true(scores: Tensor, targets: Tensor) -> Tensor:
    return scores.gather(1, targets[:, None])


def _first_wrong(rank: Tensor, ratio: float) -> Tensor:
    return first_of((rank > 0).long().argsort(stable=True), _count(rank, ratio))


def _ties_kept(rank: Tensor, ratio: float) -> Tensor:
    return rank <= rank.sort().values[_count(rank, ratio) - 1]


def _ties_reversed(rank: Tensor, ratio: float) -> Tensor:
    order = len(rank) - 1 - rank.flip(0).argsort(stable=True)
    return first_of(order, _count(rank, ratio))


ERROR_RANK = Exercise(
    name="error_rank",
    task="How many columns beat the true one in each row: error_rank(scores, targets). scores: [N, K]; "
    "targets: the number of the true column, int [N]. 0 means that the row is right.",
    returns="ranks [N], integers",
    cases=_with_ties,
    right=lambda scores, targets: error_rank(scores, targets),
    mistakes=(
        Mistake(
            name="own column counted",
            message="No row of yours can have the rank 0: the true column is counted as one that beats "
            "itself. Look at your comparison.",
            answer=lambda scores, targets: (scores >= _true(scores, targets)).sum(1),
        ),
        Mistake(
            name="begins at 1",
            message="Your ranks begin at 1. A row whose true column is the largest has the rank 0: nothing "
            "beats it.",
            answer=lambda scores, targets: error_rank(scores, targets) + 1,
        ),
        Mistake(
            name="equal scores counted",
            message="You also count columns that are EQUAL to the true one. An equal score does not beat it.",
            answer=lambda scores, targets: (scores >= _true(scores, targets)).sum(1) - 1,
        ),
        Mistake(
            name="counted from the wrong end",
            message="You count the columns BELOW the true one. The rank counts those above it.",
            answer=lambda scores, targets: (scores < _true(scores, targets)).sum(1),
        ),
        Mistake(
            name="only right or wrong",
            message="You only say whether a row is right or wrong. The rank also says HOW wrong it is: by "
            "how many columns.",
            answer=lambda scores, targets: (scores.argmax(1) != targets).long(),
        ),
        Mistake(
            name="amounts instead of a count",
            message="You add up by how much other columns are larger. The rank counts them; the size of the "
            "difference plays no part.",
            answer=lambda scores, targets: (scores - _true(scores, targets)).clamp(min=0).sum(1),
        ),
        Mistake(
            name="along the wrong axis",
            message="You count down the columns: over the images. The columns of one row compete with each "
            "other.",
            answer=lambda scores, targets: (scores > _true(scores, targets)).sum(0),
        ),
        Mistake(
            name="place in a sorted row",
            message="Your ranks are places in a sorted row. Columns with EQUAL scores get different places "
            "there, and one of them then seems to beat the other.",
            answer=lambda scores, targets: _true(
                scores.argsort(dim=1, descending=True, stable=True).argsort(1), targets
            )[:, 0],
        ),
        Mistake(
            name="order instead of place",
            message="argsort gives the column at each place. You need the opposite: the place of "
            "the true column.",
            answer=lambda scores, targets: _true(
                scores.argsort(dim=1, descending=True, stable=True), targets
            )[:, 0],
        ),
        Mistake(
            name="counted over all rows",
            message="Your result is one number for all rows together. Each row has its own rank.",
            answer=lambda scores, targets: (scores > _true(scores, targets)).sum(),
        ),
    ),
    demands=(
        kind_needed(
            "iu", "The values are right. But a rank is a count: return integers, not floating numbers."
        ),
    ),
    hints=(
        "Take one row. What is the score of its true column? Which other columns are larger?",
        "The scores of the true columns are needed as a column [N, 1], so that each row is compared with its "
        "own.",
        "A comparison gives True and False. Their sum along a row is a count.",
    ),
)

TRANSFER_MASK = Exercise(
    name="transfer_mask",
    task="The rows worth imitating: transfer_mask(rank, share). rank: int [N], 0 is right. Keep all right "
    "rows, and of the wrong ones the ⌊share · wrong⌋ with the lowest rank; of equal ranks the first ones.",
    returns="a mask [N] of True (kept) and False",
    cases=_ranks,
    right=_mask,
    mistakes=(
        Mistake(
            name="ratio as a share of all rows",
            message="You keep a share of ALL rows. The share is of the wrong rows; the right ones are kept "
            "anyway.",
            answer=ratio_of_all,
        ),
        Mistake(
            name="right rows and a share of all",
            message="You keep the right rows, and as many more as a share of ALL rows. The share is of the "
            "wrong rows only.",
            answer=lambda rank, ratio: _places(rank, int((rank == 0).sum()) + int(ratio * len(rank))),
        ),
        Mistake(
            name="keeps the worst",
            message="Of the wrong rows you keep those with the HIGHEST rank. The teacher is most wrong "
            "there.",
            answer=worst_rows,
        ),
        Mistake(
            name="first rows instead of the least wrong",
            message="Of the wrong rows you keep the first ones, whatever their rank. The rank must decide.",
            answer=_first_wrong,
        ),
        Mistake(
            name="rounded up",
            message="You keep one row too many where share · wrong is no whole number: you round up.",
            answer=lambda rank, ratio: _places(
                rank, int((rank == 0).sum()) + math.ceil(ratio * int((rank > 0).sum()))
            ),
        ),
        Mistake(
            name="rounded to the nearest",
            message="You round share · wrong to the nearest number. So sometimes there is one row too many.",
            answer=lambda rank, ratio: _places(
                rank, int((rank == 0).sum()) + round(ratio * int((rank > 0).sum()))
            ),
        ),
        Mistake(
            name="all rows of equal rank kept",
            message="You keep every row that has the rank of the last kept one. The number of rows is fixed: "
            "where ranks are equal, the first rows come first.",
            answer=_ties_kept,
        ),
        Mistake(
            name="equal ranks from behind",
            message="Where ranks are equal, you keep the later row. The earlier one comes first.",
            answer=_ties_reversed,
        ),
        Mistake(
            name="right rows only",
            message="You keep the right rows and no wrong one. A wrong row can still teach something, where "
            "it is only a little wrong.",
            answer=lambda rank, ratio: rank == 0,
        ),
        Mistake(
            name="right rows left out",
            message="You keep only wrong rows. The rows on which the teacher is right are the best ones.",
            answer=lambda rank, ratio: _mask(rank, ratio) & (rank > 0),
        ),
        Mistake(
            name="turned round",
            message="Your mask is True where a row is left out, and False where it is kept.",
            answer=lambda rank, ratio: ~_mask(rank, ratio),
        ),
        Mistake(
            name="mask of the sorted rows",
            message="Your mask belongs to the SORTED rows: it is True at the front. It has to say True at "
            "the place of each kept row in the batch.",
            answer=lambda rank, ratio: torch.arange(len(rank)) < _count(rank, ratio),
        ),
        Mistake(
            name="order instead of place",
            message="argsort gives the row at each place of the sorted order. You compare it "
            "with the number to keep, but you need the opposite: the place of each row.",
            answer=lambda rank, ratio: rank.argsort(stable=True) < _count(rank, ratio),
        ),
        Mistake(
            name="numbers of rows",
            message="You return the numbers of the kept rows. A mask has one True or False for EACH row.",
            answer=lambda rank, ratio: rank.argsort(stable=True)[: _count(rank, ratio)],
        ),
    ),
    demands=(kind_needed("b", "The values are right. But a mask holds True and False, not numbers."),),
    hints=(
        "Count first: how many rows are right, how many are wrong, and how many are kept in all?",
        "Put the rows in the order of their rank, with a sort that leaves equal ranks in their order.",
        "Begin with a mask of False. Which rows of the batch are the first ones in the sorted order?",
    ),
    draw=mask_picture,
)

EXERCISES = (ERROR_RANK, TRANSFER_MASK)
