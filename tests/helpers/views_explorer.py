"""A small views explorer."""

from __future__ import annotations

import torch

from sskd_lib.data.views import Draws, centre, draw
from sskd_lib.lab.explorers import explore_views

BATCH, SIDE, WIDTH = 6, 20, 5
NAMES = [f"thing {k}" for k in "ABCDEF"]
CORNERS = [[0, 0], [8, 8], [2, 5], [5, 2]]  # of the second draw: top and left of each view


def data() -> dict:
    """Six colour images, three draws (the second made by hand) and projections, some right, some wrong."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    upright = torch.randn(3, 1, BATCH, WIDTH, generator=generator)
    noise = torch.randn(3, 4, BATCH, WIDTH, generator=generator)
    noise[:, 0] = 0
    by_hand = Draws(torch.arange(BATCH) % 2 == 0, torch.tensor(CORNERS).repeat(BATCH, 1, 1))
    draws = [centre(BATCH), by_hand, draw(BATCH, generator)]
    return {
        "images": images,
        "projections": (upright + 0.9 * noise).reshape(3, 4 * BATCH, WIDTH),
        "draws": draws,
    }


def explorer(**changed):
    arguments = {**data(), "names": NAMES, **changed}
    return explore_views(arguments.pop("images"), arguments.pop("projections"), **arguments)
