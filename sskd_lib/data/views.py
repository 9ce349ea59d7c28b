"""Views of an image: flip, crop, rotate. Pixels only; each network normalises for itself.

There are two halves: `draw` makes the random choices, and `cut` gathers the chosen pixels for all views at
once. A training draws once per epoch and cuts at every step, so its randomness is the same on every device.

Symbols: B images per batch, C channels, V views per image (1 or 4), P pixels per side of a framed image and S
of a window.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import describe

PADDING = 4  # pixels of black on each side before a crop, as in the CIFAR literature


class Draws(NamedTuple):
    """Random choices for B images: flip, bool [B]; corner, int64 [B, 4, 2], top and left of each window."""

    flip: Tensor
    corner: Tensor


def rotate(images: Tensor, quarter_turns: int) -> Tensor:
    """Turn images counter-clockwise by quarter turns, in the sense of `np.rot90`.

    images: [..., H, W]. Returns the same shape when H = W.
    """
    return torch.rot90(images, quarter_turns, dims=(-2, -1))


def frame(images: Tensor, window: int | None = None) -> Tensor:
    """Pad images with black, ready for windows to be cut; where a window is smaller, leave them as they are.

    images: uint8 [B, C, H, W]. Returns [B, C, H + 8, W + 8] where `window` is None.
    """
    return F.pad(images, (PADDING,) * 4) if window is None else images


def draw(count: int, generator: torch.Generator | None = None, slack: int = 2 * PADDING) -> Draws:
    """Draw the flip of each image and the corners of its four windows.

    flip: 1 with probability 1/2, shared by the four views. corner: uniform on {0, ..., slack}², for each
    view. A method with one view takes the first of the four, so it sees the same upright images under one
    seed.
    """
    device = generator.device if generator is not None else "cpu"
    flip = torch.rand(count, generator=generator, device=device) < 0.5
    corner = torch.randint(0, slack + 1, (count, 4, 2), generator=generator, device=device)
    return Draws(flip, corner)


def centre(count: int, slack: int = 2 * PADDING) -> Draws:
    """Return draws without chance: no image mirrored, every window in the middle."""
    return Draws(torch.zeros(count, dtype=torch.bool), torch.full((count, 4, 2), slack // 2))


def cut(
    framed: Tensor, draws: Draws, size: tuple[int, int], views: int, permutation: Tensor | None = None
) -> Tensor:
    """Cut the views that were drawn: mirror, take a window, turn it, all in one gather of pixel numbers.

    The published code turns first and crops afterwards. With square images, black around them and uniform
    corners, the two orders have the same distribution.

    framed: uint8 [B, C, P, P']; draws: on its device; size: height and width of a window.
    permutation: int64 [B, 3] of a jigsaw with four views: the quarters of the last three views are shuffled,
    and these views are not turned. Each entry numbers one of the 24 of `itertools.permutations`; 0 leaves the
    quarters in their places. Source of the puzzle: Noroozi and Favaro 2016, here with 2 x 2 pieces.
    Returns float32 [V·B, C, *size] in [0, 1], first all upright views, then all at 90°, 180°, 270°.
    Raises ValueError for a jigsaw whose windows have an odd side, because they have no quarters.
    """
    if permutation is None:
        rows, columns = _turned_pixels(size, views, framed.device)  # [V, 1, S·S]
    else:
        rows, columns = _shuffled_pixels(size, framed.device)  # [24, S·S]
        number = torch.cat([torch.zeros_like(permutation[:, :1]), permutation], 1).T  # [4, B]
        rows, columns = rows[number], columns[number]  # [4, B, S·S]
    count, channels, _, width = framed.shape
    top, left = draws.corner[:, :views].permute(2, 1, 0)[..., None]  # [V, B, 1]
    columns = left + columns
    columns = torch.where(draws.flip[:, None], width - 1 - columns, columns)
    pixel = ((top + rows) * width + columns)[:, :, None].expand(-1, -1, channels, -1)  # [V, B, C, S·S]
    taken = framed.flatten(2).expand(views, -1, -1, -1).gather(3, pixel)
    return taken.view(views * count, channels, *size).float().div_(255)


@functools.cache
def _turned_pixels(size: tuple[int, int], views: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return row and column, in the upright window, of each pixel of a turned one: two int64 [V, 1, S·S]."""
    number = torch.arange(size[0] * size[1], device=device).view(size)
    turned = torch.stack([rotate(number, quarter_turns).flatten() for quarter_turns in range(views)])[:, None]
    return turned // size[1], turned % size[1]


@functools.cache
def _shuffled_pixels(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return row and column, in the upright window, of each pixel of a shuffled one: two int64 [24, S·S]."""
    if size[0] % 2 or size[1] % 2:
        raise ValueError(
            f"a jigsaw needs windows with even sides, but these are {size[0]} x {size[1]} pixels. Resize the "
            "images first."
        )
    number = torch.arange(size[0] * size[1], device=device).view(size)
    quarters = [half for rows in number.chunk(2, 0) for half in rows.chunk(2, 1)]
    pictures = [
        torch.cat([torch.cat([quarters[a], quarters[b]], 1), torch.cat([quarters[c], quarters[d]], 1)])
        for a, b, c, d in itertools.permutations(range(4))
    ]
    shuffled = torch.stack([picture.flatten() for picture in pictures])
    return shuffled // size[1], shuffled % size[1]


def one_view(
    images: Tensor, generator: torch.Generator | None = None, augment: bool = True, window: int | None = None
) -> Tensor:
    """Make the single upright view that plain training sees: a flip, then a crop.

    images: uint8 [B, C, H, W]; window: side of the view where that is less than H. Returns float32 [B, C, H,
    W] in [0, 1]; `augment=False` only rescales, and cuts the middle where there is a window.
    """
    return _views(images, generator, augment, window, views=1)


def four_views(
    images: Tensor,
    generator: torch.Generator | None = None,
    augment: bool = True,
    window: int | None = None,
    permutation: Tensor | None = None,
) -> Tensor:
    """Make the four rotated views of SSKD: B upright, then B at 90°, B at 180°, B at 270°.

    Each image has one flip, shared by its four views, and one crop per view. Padding happens on the pixels,
    before any normalisation, so the border is true black.

    images: uint8 [B, C, H, H]; window: side of a view where that is less than H; permutation: int64 [B, 3],
    shuffle the quarters of the last three views instead of turning them (see `cut`).
    Returns float32 [4B, C, H, H] in [0, 1]. Raises ValueError for images that are not square or not uint8.
    Source: Xu et al. 2020, section 3.2; flip and crop as in the published code.
    """
    if isinstance(images, Tensor) and images.dim() == 4 and images.shape[-1] != images.shape[-2]:
        raise ValueError(
            f"four_views needs square images, but these are {images.shape[-2]} x {images.shape[-1]} pixels: "
            "a quarter turn would change their shape. Crop or resize them to a square first."
        )
    return _views(images, generator, augment, window, views=4, permutation=permutation)


def _views(
    images: Tensor,
    generator: torch.Generator | None,
    augment: bool,
    window: int | None,
    views: int,
    permutation: Tensor | None = None,
) -> Tensor:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.dim() != 4:
        error = ValueError if isinstance(images, Tensor) else TypeError
        raise error(
            "views are made from uint8 images [B, C, H, W] (0 = black, 255 = white), but these are "
            f"{describe(images)}. Pass ImageSet.images, or convert with (255 * x).round().to(torch.uint8)."
        )
    framed = frame(images, window)
    size = (window, window) if window else (images.shape[2], images.shape[3])
    slack = framed.shape[-1] - size[1]
    draws = draw(len(images), generator, slack) if augment else centre(len(images), slack)
    draws = Draws(*(part.to(images.device) for part in draws))
    return cut(framed, draws, size, views, permutation)
