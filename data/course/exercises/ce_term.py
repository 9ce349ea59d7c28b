"""ce_term: cross-entropy of the upright rows, worked through and as lines."""
# ruff: noqa: F811

import torch
import torch.nn.functional as F


# %% worked
def ce_term(logits, labels):
    """Return the cross-entropy of the upright rows. logits [4B, K], labels [B]. Returns a scalar."""
    total = 0
    # 1. The upright rows are the first B; there are as many labels.
    for n in range(len(labels)):
        # 2. The probability of the label.
        p = torch.softmax(logits[n], dim=0)[labels[n]]
        # 3. A small probability costs much.
        total = total - torch.log(p)
    # 4. Take the mean over the B images.
    return total / len(labels)


# %% lines
def ce_term(logits, labels):
    images = len(labels)
    upright = logits[:images]  # blank: :images
    log_p = F.log_softmax(upright, dim=1)  # blank: dim=1
    return -log_p[torch.arange(images), labels].mean()  # blank: -
