"""ss_term: selected similarities, worked through and as lines."""
# ruff: noqa: F811

import torch

from sskd_lib.losses import error_rank, kd_loss, similarity_matrix, transfer_mask


# %% worked
def ss_term(student_z, teacher_z, tau, share):
    """Return the KD loss of the kept rows of the similarity matrices. [4B, D] each. Returns a scalar."""
    # 1. Rotated views against upright ones, for each network. The teacher must not learn.
    images = len(student_z) // 4
    matrix_s = similarity_matrix(student_z[images:], student_z[:images])
    matrix_t = similarity_matrix(teacher_z[images:], teacher_z[:images]).detach()
    # 2. Row r shows the image r mod B.
    image = torch.tensor([r % images for r in range(3 * images)])
    # 3. Sort the rows by the teacher's rank; keep the right ones and a share of the others.
    rank = error_rank(matrix_t, image).tolist()
    right = rank.count(0)
    keep = right + int(share * (len(rank) - right))
    kept = sorted(range(len(rank)), key=rank.__getitem__)[:keep]
    # 4. Take the mean over the kept rows.
    total = 0
    for r in kept:
        p, q = torch.softmax(matrix_s[r] / tau, dim=0), torch.softmax(matrix_t[r] / tau, dim=0)
        total = total + tau**2 * (q * (q.log() - p.log())).sum()
    return total / len(kept)


# %% lines
def ss_term(student_z, teacher_z, tau, share):
    images = len(student_z) // 4
    matrix_s = similarity_matrix(student_z[images:], student_z[:images])
    matrix_t = similarity_matrix(teacher_z[images:], teacher_z[:images]).detach()  # blank: .detach()
    image = torch.arange(3 * images) % images  # blank: % images
    keep = transfer_mask(matrix_t, image, share)  # blank: matrix_t
    return kd_loss(matrix_s[keep], matrix_t[keep], tau)
