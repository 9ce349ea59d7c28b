"""error_rank: how many columns beat the true one, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def error_rank(scores, targets):
    """Return how many columns beat the true one in each row. scores [N, K], targets [N] → int [N]."""
    ranks = []
    for n in range(len(scores)):
        # 1. The score of the true column.
        true_score = scores[n, targets[n]]
        # 2. Count the columns that are larger. An equal one does not beat it.
        larger = 0
        for k in range(scores.shape[1]):
            if scores[n, k] > true_score:
                larger += 1
        ranks.append(larger)
    return torch.tensor(ranks)


# %% lines
def error_rank(scores, targets):
    true_scores = scores.gather(1, targets[:, None])  # blank: targets
    larger = scores > true_scores  # blank: >
    return larger.sum(dim=1)  # blank: dim=1
