"""four_views: the four rotated views of a batch, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def four_views(images):
    """Return the views of a batch: upright, 90°, 180°, 270°. images [B, C, H, W] → [4B, C, H, W]."""
    count, channels, size, _ = images.shape
    views = torch.zeros((4 * count, channels, size, size), dtype=images.dtype)
    # 1. The first B rows are the upright images.
    views[:count] = images
    for turn in (1, 2, 3):
        for n in range(count):
            # 2. Take the same image, turned once less.
            before = views[(turn - 1) * count + n]
            # 3. Counter-clockwise, the LAST column becomes the first row.
            for i in range(size):
                views[turn * count + n, :, i, :] = before[:, :, size - 1 - i]
    return views


# %% lines
def four_views(images):
    views = []
    for turns in range(4):  # blank: 4
        views.append(torch.rot90(images, turns, dims=(2, 3)))  # blank: dims=(2, 3)
    return torch.cat(views)  # blank: cat
