"""Views explained pixel by pixel, with numpy alone."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from torch import Tensor

from sskd_lib.data.views import PADDING

OFFSETS = 2 * PADDING + 1  # a window's offset is one of 0 .. 8 in each direction


def random_images(count: int, channels: int = 1, size: int = 12, seed: int = 0) -> Tensor:
    """uint8 noise without a zero pixel: black can only be padding, and no two windows look alike."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def all_windows(image: np.ndarray) -> np.ndarray:
    """Every window of the padded image: [C, H, W] -> [9, 9, C, H, W], indexed by (top, left)."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2 * PADDING, width + 2 * PADDING), image.dtype)
    padded[:, PADDING : PADDING + height, PADDING : PADDING + width] = image
    return np.stack(
        [
            np.stack([padded[:, top : top + height, left : left + width] for left in range(OFFSETS)])
            for top in range(OFFSETS)
        ]
    )


def explanations(view: Tensor, image: Tensor, turns: int) -> list[tuple[bool, int, int]]:
    """All (flipped, top, left) whose window of the image, turned `turns` quarters, is exactly the view."""
    pixels = np.rint(view.cpu().numpy() * 255).astype(np.uint8)
    upright = np.rot90(pixels, -turns, axes=(1, 2))
    found = []
    for flipped in (False, True):
        source = image.cpu().numpy()[:, :, ::-1] if flipped else image.cpu().numpy()
        same = (all_windows(source) == upright).all(axis=(2, 3, 4))
        found += [(flipped, int(top), int(left)) for top, left in np.argwhere(same)]
    return found


def explain_batch(views: Tensor, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(flips [4, B], offsets [4, B, 2]) of `four_views`; fails unless each view has just one explanation."""
    count = len(images)
    assert views.shape == (4 * count, *images.shape[1:])
    rows = [explanations(views[t * count + i], images[i], t) for t in range(4) for i in range(count)]
    assert [len(row) for row in rows] == [1] * (4 * count)
    columns = zip(*chain.from_iterable(rows), strict=True)
    flips, tops, lefts = (np.array(column).reshape(4, count) for column in columns)
    return flips, np.stack([tops, lefts], axis=-1)
