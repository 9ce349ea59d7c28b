"""kd_term: soft targets on the upright rows, worked through and as lines."""
# ruff: noqa: F811

import torch
import torch.nn.functional as F


# %% worked
def kd_term(student_logits, teacher_logits, tau):
    """Return the KD loss of the upright rows. Both: logits [4B, K]. Returns a scalar."""
    # 1. The upright rows are the first quarter. The teacher must not learn.
    images = len(student_logits) // 4
    teacher_logits = teacher_logits.detach()
    total = 0
    for n in range(images):
        # 2. Soften both rows at the same temperature.
        p = torch.softmax(student_logits[n] / tau, dim=0)
        q = torch.softmax(teacher_logits[n] / tau, dim=0)
        # 3. Add up the classes. The teacher's probabilities are the weights.
        total = total + (q * (q.log() - p.log())).sum()
    # 4. Take the mean over the B images, and make up for the temperature.
    return tau**2 * total / images


# %% lines
def kd_term(student_logits, teacher_logits, tau):
    images = len(student_logits) // 4  # blank: // 4
    log_p = F.log_softmax(student_logits[:images] / tau, dim=1)
    log_q = F.log_softmax(teacher_logits[:images].detach() / tau, dim=1)  # blank: .detach()
    rows = (log_q.exp() * (log_q - log_p)).sum(dim=1)
    return tau**2 * rows.mean()  # blank: tau**2
