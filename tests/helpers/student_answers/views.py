"""Answers to four_views, as a student may write them."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.functional import rotate as tv_rotate


def numpy_views(images):
    arrays = [np.rot90(images.numpy(), k, axes=(2, 3)) for k in range(4)]
    return np.concatenate(arrays)


def pixel_loops(images):
    size = images.shape[-1]
    out = torch.empty(4 * len(images), *images.shape[1:], dtype=images.dtype)
    for n in range(len(images)):
        for i in range(size):
            for j in range(size):
                out[n, :, i, j] = images[n, :, i, j]
                out[n + len(images), :, i, j] = images[n, :, j, size - 1 - i]
                out[n + 2 * len(images), :, i, j] = images[n, :, size - 1 - i, size - 1 - j]
                out[n + 3 * len(images), :, i, j] = images[n, :, size - 1 - j, i]
    return out


def image_by_image(images):
    rows = []
    for image in images:
        for k in range(4):
            rows.append(torch.rot90(image, k, (1, 2)))
    return torch.stack(rows)


def image_by_image_clockwise(images):
    return torch.stack([torch.rot90(image, k, (2, 1)) for image in images for k in range(4)])


def flips(images):
    return torch.cat([images, images.flip(-1), images.flip(-2), images.flip(-1).flip(-2)])


def always_once(images):
    views = [images]
    for _ in range(3):
        views.append(torch.rot90(images, dims=[2, 3]))
    return torch.cat(views)


WRONG = {
    "four_views": {
        "rotation the other way": lambda x: np.concatenate([np.rot90(x, k, (3, 2)) for k in range(4)]),
        "image by image": image_by_image,
        "image by image, and the other way": image_by_image_clockwise,
        "mirrored, not rotated": flips,
        "transposed, not rotated": lambda x: torch.cat(
            [x, x.transpose(-1, -2), x.flip(-1, -2), x.flip(-1, -2).permute(0, 1, 3, 2)]
        ),
        "no upright view": lambda x: torch.cat([torch.rot90(x, k + 1, (-2, -1)) for k in range(3)]),
        "nothing rotated": lambda x: torch.cat([x] * 4),
        "always the same angle": always_once,
        "an axis too many": lambda x: [torch.rot90(x, k, (2, 3)) for k in range(4)],
        "an axis too many, image by image": lambda x: torch.stack(
            [torch.stack([torch.rot90(image, k, (1, 2)) for k in range(4)]) for image in x]
        ),
    }
}
RIGHT = {
    "four_views": (
        numpy_views,
        pixel_loops,
        lambda x: torch.cat([x, x.mT.flip(2), x.flip(2, 3), x.flip(2).mT]),
        lambda x: torch.vstack([tv_rotate(x, 90 * k) for k in range(4)]),
    )
}
