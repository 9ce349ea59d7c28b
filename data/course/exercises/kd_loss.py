"""kd_loss: the student imitates the teacher's softened outputs, worked through and as lines."""
# ruff: noqa: F811

import torch
import torch.nn.functional as F


# %% worked
def kd_loss(student, teacher, tau):
    """Return the mean over images of τ² KL(teacher ‖ student). Both: scores [N, K]. Returns a scalar."""
    # 1. The teacher must not learn.
    teacher = teacher.detach()
    total = 0
    for n in range(len(student)):
        # 2. Soften both rows at the same temperature.
        p = torch.softmax(student[n] / tau, dim=0)
        q = torch.softmax(teacher[n] / tau, dim=0)
        # 3. Add up the classes. The teacher's probabilities are the weights.
        for k in range(len(p)):
            total = total + q[k] * (q[k].log() - p[k].log())
    # 4. Take the mean over the images, and make up for the temperature.
    return tau**2 * total / len(student)


# %% lines
def kd_loss(student, teacher, tau):
    log_p = F.log_softmax(student / tau, dim=1)
    log_q = F.log_softmax(teacher.detach() / tau, dim=1)  # blank: .detach()
    rows = (log_q.exp() * (log_q - log_p)).sum(dim=1)  # blank: log_q - log_p
    return tau**2 * rows.mean()  # blank: tau**2
