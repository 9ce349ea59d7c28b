"""similarity_matrix: cosines of rotated and upright views, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def similarity_matrix(rotated, upright):
    """Return the cosine of each rotated view with each upright one. [R, D], [B, D] → [R, B]."""
    matrix = torch.zeros((len(rotated), len(upright)), dtype=rotated.dtype)
    for r in range(len(rotated)):
        for b in range(len(upright)):
            # 1. The scalar product of the two vectors.
            product = (rotated[r] * upright[b]).sum()
            # 2. The length of each vector, as in Pythagoras.
            length_r = (rotated[r] ** 2).sum() ** 0.5
            length_b = (upright[b] ** 2).sum() ** 0.5
            # 3. What is left depends on the angle only.
            matrix[r, b] = product / (length_r * length_b)
    return matrix


# %% lines
def similarity_matrix(rotated, upright):
    rotated = rotated / rotated.norm(dim=1, keepdim=True)  # blank: dim=1
    upright = upright / upright.norm(dim=1, keepdim=True)  # blank: norm
    return rotated @ upright.T  # blank: .T
