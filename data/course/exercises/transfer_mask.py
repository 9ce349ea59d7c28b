"""transfer_mask: the rows worth imitating, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def transfer_mask(rank, share):
    """Return which rows are kept: all right ones, a share of the least wrong. rank [N] → bool [N]."""
    # 1. The right rows are kept, all of them.
    mask = [int(r) == 0 for r in rank]
    # 2. How many of the wrong rows? A part of a row is no row: round down.
    wrong = mask.count(False)
    places = int(share * wrong)
    # 3. Go through the ranks from 1 upwards, and in each rank through the rows in order.
    for r in range(1, int(rank.max()) + 1):
        for n in range(len(rank)):
            if int(rank[n]) == r and places > 0:
                mask[n] = True
                places -= 1
    return torch.tensor(mask)


# %% lines
def transfer_mask(rank, share):
    right = int((rank == 0).sum())
    wrong = len(rank) - right
    keep = right + int(share * wrong)  # blank: share * wrong
    order = rank.argsort(stable=True)  # blank: stable=True
    mask = torch.zeros(len(rank), dtype=torch.bool)
    mask[order[:keep]] = True  # blank: order[:keep]
    return mask
