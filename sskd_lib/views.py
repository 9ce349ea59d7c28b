"""Views of an image: flip, crop, rotate. Pixels only; each network normalises for itself.

B images a batch, C channels, H = W pixels. Every random draw comes from the generator passed in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels of black on each side before a crop, as in the CIFAR literature


def rotate(images: Tensor, quarter_turns: int) -> Tensor:
    """Turn images counter-clockwise by quarter turns, in the sense of `np.rot90`.

    images: [..., H, W]. Returns the same shape when H = W.
    """
    return torch.rot90(images, quarter_turns, dims=(-2, -1))


def random_flip(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each image left to right with probability 1/2. images: [B, C, H, W], any dtype."""
    flip = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, generator: torch.Generator | None = None, padding: int = PADDING) -> Tensor:
    """Pad each image with black, then cut a window of the old size at an offset of its own.

    The offsets are uniform on {0, ..., 2·padding}² and differ from image to image.
    images: [B, C, H, W], black = 0. Returns the same shape and dtype.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (padding, padding, padding, padding))
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator, device=images.device)
    rows = top + torch.arange(height, device=images.device)  # [B, H]
    columns = left + torch.arange(width, device=images.device)  # [B, W]
    # One flat gather of whole windows: index [B, 1, H·W] into [B, C, padded pixels].
    window = (rows[:, :, None] * padded.shape[-1] + columns[:, None, :]).reshape(count, 1, -1)
    pixels = padded.flatten(2).gather(2, window.expand(count, channels, -1))
    return pixels.view(count, channels, height, width)


def one_view(images: Tensor, generator: torch.Generator | None = None, augment: bool = True) -> Tensor:
    """Make the single upright view that plain training sees: a flip, then a crop.

    images: uint8 [B, C, H, W]. Returns float32 [B, C, H, W] in [0, 1]; `augment=False` only rescales.
    """
    _check(images)
    if augment:
        images = random_crop(random_flip(images, generator), generator)
    return images.float().div_(255)


def four_views(images: Tensor, generator: torch.Generator | None = None, augment: bool = True) -> Tensor:
    """Make the four rotated views of SSKD: B upright, then B at 90°, B at 180°, B at 270°.

    One flip an image, shared by its four views, and then a crop for each view. The published code
    rotates first and crops afterwards; with square images, black padding and uniform offsets the
    two orders draw from the same distribution, and cropping first lets all four be cut in one gather.
    Padding happens on the pixels, before any normalisation, so the border is true black.

    images: uint8 [B, C, H, H]. Returns float32 [4B, C, H, H] in [0, 1].
    Raises ValueError for images that are not square or not uint8.
    Source: Xu et al. 2020, section 3.2; flip and crop as in the published code.
    """
    _check(images)
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(
            f"four_views needs square images, but these are {images.shape[-2]} x {images.shape[-1]} pixels: "
            "a quarter turn would change their shape. Crop or resize them to a square first."
        )
    count = len(images)
    views = images.repeat(4, 1, 1, 1)
    if augment:
        views = random_crop(random_flip(images, generator).repeat(4, 1, 1, 1), generator)
    for quarter_turns in (1, 2, 3):
        rows = slice(quarter_turns * count, (quarter_turns + 1) * count)
        views[rows] = rotate(views[rows], quarter_turns)
    return views.float().div_(255)


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.dim() != 4:
        raise ValueError(
            "views are made from uint8 images [B, C, H, W] (0 = black, 255 = white), but these are "
            f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}. "
            "Pass ImageSet.images, or convert with (255 * x).to(torch.uint8)."
        )
