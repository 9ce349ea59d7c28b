"""A small similarity explorer."""

from __future__ import annotations

import torch

from sskd_lib.lab.explorers import explore_similarity

IMAGES = 8


def projections(width: int, noise: float, images: int = IMAGES) -> torch.Tensor:
    """Four noisy copies of one vector an image, in the order of `four_views`."""
    generator = torch.Generator().manual_seed(width)
    alike = torch.randn(images, width, generator=generator).repeat(4, 1)
    return alike + noise * torch.randn(4 * images, width, generator=generator)


def make(images: int = IMAGES, **more):
    shown = torch.randint(0, 256, (images, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    pair = projections(12, 1.2, images), projections(5, 1.5, images)
    return explore_similarity(shown.to(torch.uint8), *pair, **more)
