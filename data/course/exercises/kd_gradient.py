"""kd_gradient: the gradient of the KD loss, by hand, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def kd_gradient(student, teacher, tau):
    """Return the gradient of the KD loss by the student's scores. Both: scores [N, K] → [N, K]."""
    gradient = torch.zeros_like(student)
    for n in range(len(student)):
        # 1. Soften both rows at the same temperature.
        p = torch.softmax(student[n] / tau, dim=0)
        q = torch.softmax(teacher[n] / tau, dim=0)
        for k in range(len(p)):
            # 2. Where the student gives too much, the loss grows with the score.
            difference = p[k] - q[k]
            # 3. τ² from the loss, 1/τ from the derivative of score / τ, 1/N from the mean.
            gradient[n, k] = tau**2 * (1 / tau) * difference / len(student)
    return gradient


# %% lines
def kd_gradient(student, teacher, tau):
    p = torch.softmax(student / tau, dim=1)
    q = torch.softmax(teacher / tau, dim=1)  # blank: dim=1
    return tau * (p - q) / len(student)  # blank: p - q
