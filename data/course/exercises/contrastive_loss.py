"""contrastive_loss: the loss of the teacher's head, worked through and as lines."""
# ruff: noqa: F811

import torch
import torch.nn.functional as F


# %% worked
def contrastive_loss(A, tau):
    """Return the mean over rows of -log softmax at the row's image. A: cosines [3B, B]. Returns a scalar."""
    images = A.shape[1]
    total = 0
    for r in range(len(A)):
        # 1. Row r shows this image: the rows go angle by angle.
        image = r % images
        # 2. The probability of this image among all B.
        raised = [torch.exp(A[r, b] / tau) for b in range(images)]
        probability = raised[image] / sum(raised)
        # 3. A small probability costs much.
        total = total - torch.log(probability)
    # 4. Take the mean over all 3B rows.
    return total / len(A)


# %% lines
def contrastive_loss(A, tau):
    rows = torch.arange(len(A))
    image = rows % A.shape[1]  # blank: % A.shape[1]
    log_p = F.log_softmax(A / tau, dim=1)  # blank: dim=1
    return -log_p[rows, image].mean()  # blank: mean()
