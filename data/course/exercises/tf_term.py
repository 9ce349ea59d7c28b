"""tf_term: selected soft targets on the rotated rows, worked through and as lines."""
# ruff: noqa: F811

import torch

from sskd_lib.losses import error_rank, kd_loss, transfer_mask


# %% worked
def tf_term(student_logits, teacher_logits, labels, tau, share):
    """Return the KD loss of the kept rotated rows. Logits [4B, K], labels [B]. Returns a scalar."""
    # 1. The rotated rows are the last 3B. The teacher must not learn.
    images = len(labels)
    student, teacher = student_logits[images:], teacher_logits[images:].detach()
    # 2. Which class has each row? The images come round again at each angle.
    classes = torch.tensor([int(labels[r % images]) for r in range(len(teacher))])
    # 3. Sort the rows by the teacher's rank; keep the right ones and a share of the others.
    rank = error_rank(teacher, classes).tolist()
    right = rank.count(0)
    keep = right + int(share * (len(rank) - right))
    kept = sorted(range(len(rank)), key=rank.__getitem__)[:keep]
    # 4. Take the mean over the kept rows.
    total = 0
    for r in kept:
        p, q = torch.softmax(student[r] / tau, dim=0), torch.softmax(teacher[r] / tau, dim=0)
        total = total + tau**2 * (q * (q.log() - p.log())).sum()
    return total / len(kept)


# %% lines
def tf_term(student_logits, teacher_logits, labels, tau, share):
    images = len(labels)
    student = student_logits[images:]  # blank: images:
    teacher = teacher_logits[images:].detach()
    keep = transfer_mask(teacher, labels.repeat(3), share)  # blank: labels.repeat(3)
    return kd_loss(student[keep], teacher[keep], tau)  # blank: teacher[keep]
