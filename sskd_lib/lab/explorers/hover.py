"""Places of a picture that answer when pointed at: with HTML and CSS alone, under a kernel and on pages.

The layer covers the picture and scales with it. What it shows is also in an explorer's words, for keyboard
and screen reader.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..canvas import png_bytes

COLUMNS = 20  # cards side by side on their sheet
SIZE = 64  # pixels of a card as it is shown
STYLE = """
.sskd-spots { position: relative; width: 100%; line-height: 1.35; }
.sskd-spots i { position: absolute; font-style: normal; cursor: crosshair; }
.sskd-spots i:hover { outline: 2px solid #C95300; z-index: 9; }
.sskd-spots b { display: none; position: absolute; width: max-content; max-width: 19rem; padding: .5rem;
  font: .875rem/1.35 sans-serif; color: #1A1A1A; background: white; border: 1px solid #5F5F5F;
  pointer-events: none; }
.sskd-spots i:hover b { display: block; }
.sskd-spots s { display: inline-block; width: 64px; height: 64px; margin: 4px 4px 0 0;
  image-rendering: pixelated; }
"""


class Spot(NamedTuple):
    """A place to point at: pixels of the picture, plain words, and the numbers of the cards to show."""

    left: float
    top: float
    width: float
    height: float
    words: str
    cards: tuple[int, ...] = ()


def sheet_css(mark: str, cards: np.ndarray | None) -> str:
    """Return the CSS of the layer, with all cards on one sheet. cards: uint8 [n, H, W, 3] or None."""
    if cards is None:
        return STYLE
    rows = -(-len(cards) // COLUMNS)
    sheet = np.zeros((rows * COLUMNS, *cards.shape[1:]), np.uint8)
    sheet[: len(cards)] = cards
    high, wide = cards.shape[1:3]
    sheet = sheet.reshape(rows, COLUMNS, high, wide, 3).swapaxes(1, 2).reshape(rows * high, COLUMNS * wide, 3)
    png = png_bytes(Image.fromarray(sheet), optimize=True)
    url = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return (
        f"{STYLE}.{mark} s {{ background-image: url({url}); "
        f"background-size: {COLUMNS * SIZE}px {rows * SIZE}px; }}"
    )


def layer(mark: str, spots: Sequence[Spot], width: int, height: int) -> str:
    """Return the HTML of the layer over a picture of that many pixels; empty without spots."""
    if not spots:
        return ""
    inner = "".join(_place(spot, width, height) for spot in spots)
    return (
        f'<div class="sskd-spots {mark}" aria-hidden="true" '
        f'style="max-width: {width}px; aspect-ratio: {width} / {height}">{inner}</div>'
    )


def _place(spot: Spot, width: int, height: int) -> str:
    left, top = 100 * spot.left / width, 100 * spot.top / height
    side = "right" if left > 50 else "left"
    edge = "bottom" if top > 50 else "top"
    cards = "".join(f'<s style="background-position: {_corner(card)}"></s>' for card in spot.cards)
    return (
        f'<i style="left: {left:.2f}%; top: {top:.2f}%; width: {100 * spot.width / width:.2f}%; '
        f'height: {100 * spot.height / height:.2f}%"><b style="{side}: 100%; {edge}: 100%">'
        f"{escape(spot.words)}{'<br>' if cards else ''}{cards}</b></i>"
    )


def _corner(card: int) -> str:
    row, column = divmod(card, COLUMNS)
    return f"-{column * SIZE}px -{row * SIZE}px"
