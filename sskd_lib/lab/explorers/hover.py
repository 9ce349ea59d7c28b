"""Places of a picture that answer when pointed at: with HTML and CSS alone, under a kernel and on pages.

The layer covers the picture and scales with it. What it shows is also in an explorer's words, for keyboard
and screen reader.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..canvas import png_bytes

COLUMNS = 20  # cards side by side on their sheet
SIZE = 64  # pixels of a card as it is shown
STYLE = Path(__file__).with_name("hover.css").read_text(encoding="utf-8")


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
