"""Views whose quarters are shuffled, against slices of numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sskd_lib.data.views import Draws, centre, cut, four_views, frame


def test_a_jigsaw_puts_the_quarters_in_the_drawn_order():
    """The n-th quarter of the view is the quarter that the permutation names."""
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 3, 12, 12), generator=g, dtype=torch.uint8)
    permutation = torch.randint(0, 24, (5, 3), generator=g)
    draws = Draws(
        torch.tensor([True, False, True, False, False]), torch.randint(0, 9, (5, 4, 2), generator=g)
    )
    views = cut(frame(pixels), draws, (12, 12), 4, permutation).view(4, 5, 3, 12, 12)
    for b, v in itertools.product(range(5), range(4)):
        image = np.pad(pixels[b].numpy(), ((0, 0), (4, 4), (4, 4)))
        image = image[:, :, ::-1] if draws.flip[b] else image
        top, left = draws.corner[b, v]
        window = image[:, top : top + 12, left : left + 12] / np.float32(255)
        if v > 0:
            quarters = [window[:, y : y + 6, x : x + 6] for y in (0, 6) for x in (0, 6)]
            a, b_, c, d = (quarters[q] for q in list(itertools.permutations(range(4)))[permutation[b, v - 1]])
            window = np.concatenate([np.concatenate([a, b_], 2), np.concatenate([c, d], 2)], 1)
        np.testing.assert_array_equal(views[v, b].numpy(), window)


def test_permutation_0_leaves_an_image_as_it_is_and_odd_sides_are_refused():
    pixels = torch.randint(
        0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    views = four_views(pixels, augment=False, permutation=torch.zeros(2, 3, dtype=torch.int64))
    torch.testing.assert_close(views, (pixels / 255).repeat(4, 1, 1, 1), rtol=0, atol=0)
    with pytest.raises(ValueError, match="even sides, but these are 7 x 7"):
        cut(frame(pixels[..., :7, :7]), centre(2), (7, 7), 4, torch.zeros(2, 3, dtype=torch.int64))
