"""Exercise of notebook 02: the four rotated views of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...data.views import rotate
from .cases import generator_of
from .exercise import Exercise, Mistake
from .pictures import views_picture

GLYPHS = ("11110 10000 11100 10000 10000", "11100 10010 11100 10000 10000", "00110 00010 00010 10010 01100")


def glyph(number: int) -> Tensor:
    """Return a letter that no rotation and no mirror maps to itself: float [5, 5] of 0 and 1."""
    return torch.tensor([[float(dot) for dot in row] for row in GLYPHS[number].split()], dtype=torch.float64)


def _batch(seed: int) -> dict[str, Any]:
    size, count, channels = 5 + seed % 3, 2 + seed % 2, (1, 3)[seed % 2]
    images = 0.15 * torch.rand(
        (count, channels, size, size), dtype=torch.float64, generator=generator_of(seed)
    )
    for number in range(count):
        images[number, :, :5, :5] += 0.8 * glyph((seed + number) % 3)
    return {"images": images}


def _views(images: Tensor, turns: tuple[int, ...] = (0, 1, 2, 3)) -> list[Tensor]:
    return [rotate(images, turn) for turn in turns]


FOUR_VIEWS = Exercise(
    name="four_views",
    task="The four views of a batch: four_views(images). images: [B, C, H, W] with H = W. First all B "
    "upright, then all B at 90°, at 180°, at 270°, counter-clockwise. No flip, no crop.",
    returns="views [4B, C, H, W]",
    cases=_batch,
    right=lambda images: torch.cat(_views(images)),
    mistakes=(
        Mistake(
            name="rotation the other way",
            message="Your views at 90° and 270° are exchanged: you turn clockwise. Here a view at 90° is "
            "turned counter-clockwise.",
            answer=lambda images: torch.cat(_views(images, (0, -1, -2, -3))),
        ),
        Mistake(
            name="image by image",
            message="Your rows go image by image: all four views of the first image, then of the second. "
            "Here they go view by view: first every image upright.",
            answer=lambda images: torch.stack(_views(images), 1).flatten(0, 1),
        ),
        Mistake(
            name="image by image, and the other way",
            message="Two things at once: your rows go image by image, and you turn clockwise. Repair the "
            "order of the rows first.",
            answer=lambda images: torch.stack(_views(images, (0, -1, -2, -3)), 1).flatten(0, 1),
        ),
        Mistake(
            name="mirrored, not rotated",
            message="Some of your views are mirror images. A rotation never mirrors: letters stay readable "
            "when you turn the page.",
            answer=lambda images: torch.cat([images, images.flip(3), images.flip(2), images.flip(2, 3)]),
        ),
        Mistake(
            name="transposed, not rotated",
            message="You exchange rows and columns. That mirrors the picture at its diagonal. A quarter turn "
            "needs one more step.",
            answer=lambda images: torch.cat(
                [images, images.mT, images.flip(2, 3), images.mT.flip(2, 3)],
            ),
        ),
        Mistake(
            name="no upright view",
            message="You have the three rotated views. The upright images are missing: they are the first B "
            "rows.",
            answer=lambda images: torch.cat(_views(images, (1, 2, 3))),
        ),
        Mistake(
            name="nothing rotated",
            message="All your four views are upright: you repeat the images, but nothing turns them.",
            answer=lambda images: images.repeat(4, 1, 1, 1),
        ),
        Mistake(
            name="always the same angle",
            message="Your three rotated views are all at 90°. The number of quarter turns must grow from "
            "view to view.",
            answer=lambda images: torch.cat(_views(images, (0, 1, 1, 1))),
        ),
        Mistake(
            name="upright views last",
            message="Your upright views stand at the end. The losses expect them in the first B rows.",
            answer=lambda images: torch.cat(_views(images, (1, 2, 3, 0))),
        ),
        Mistake(
            name="order of the angles",
            message="Your angles are in the order 0°, 180°, 90°, 270°. Here they rise from 0° to 270°.",
            answer=lambda images: torch.cat(_views(images, (0, 2, 1, 3))),
        ),
        Mistake(
            name="an axis too many",
            message="Your result has five axes, [4, B, C, H, W], or is a list of four batches. A network "
            "takes one batch: the four belong one behind the other along the first axis.",
            answer=lambda images: torch.stack(_views(images)),
        ),
        Mistake(
            name="an axis too many, image by image",
            message="Your result has five axes, [B, 4, C, H, W]. A network takes one batch of 4B pictures, "
            "and here the first B of them are all upright.",
            answer=lambda images: torch.stack(_views(images), 1),
        ),
    ),
    hints=(
        "How many pictures come in, how many go out? Write down which picture is in row B.",
        "Turn the whole batch at once. The two axes to turn are the last two, the height and the width.",
        "Make the four batches in a loop over the number of quarter turns, then join them along axis 0.",
    ),
    draw=views_picture,
)

EXERCISES = (FOUR_VIEWS,)
