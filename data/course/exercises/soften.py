"""soften: scores to probabilities at a temperature, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def soften(logits, tau):
    """Return the probabilities of each row at a temperature. logits [N, K] → [N, K]."""
    probabilities = torch.zeros_like(logits)
    for n in range(len(logits)):
        # 1. Divide each score of this image by the temperature.
        scaled = [score / tau for score in logits[n]]
        # 2. Raise them. Subtracting the largest first changes no probability, but avoids overflow.
        raised = [torch.exp(score - max(scaled)) for score in scaled]
        # 3. Divide each by the sum over the classes of this image.
        for k in range(len(raised)):
            probabilities[n, k] = raised[k] / sum(raised)
    return probabilities


# %% lines
def soften(logits, tau):
    scaled = logits / tau  # blank: / tau
    scaled = scaled - scaled.amax(dim=1, keepdim=True)
    raised = scaled.exp()  # blank: exp()
    return raised / raised.sum(dim=1, keepdim=True)  # blank: dim=1
