"""A strip of example images inside an explorer's picture."""

from __future__ import annotations

import numpy as np

from ..canvas import Canvas
from ..style import FONT

SHOWN = 5  # images side by side


class Strip:
    """Up to five images with captions; in pairs, with the image that the teacher took each for below it.

    left, top, pitch: pixels, of the first image's place and from one image to the next.
    """

    def __init__(self, canvas: Canvas, left: int, top: int, pitch: int, pairs: bool) -> None:
        size = 70
        self.title = canvas.words(left, top - 14)
        starts = [left + i * pitch + (pitch - size) // 2 for i in range(SHOWN)]
        self.photos = [canvas.photo(start, top, size) for start in starts]
        self.below = [canvas.photo(start, top + size + 3, size) for start in starts] if pairs else []
        under = top + (2 * size + 3 if pairs else size) + 4
        self.captions = [canvas.words(start + size / 2, under, anchor="ma") for start in starts]
        for row, name in enumerate(("view", "taken for") if pairs else ()):
            x, y = canvas.place(left - 3, top + (size + 3) * row + size / 2)[:2]
            canvas.figure.text(x, y, name, rotation=90, ha="center", va="center", **FONT)

    def fill(self, title: str, images: np.ndarray, below: np.ndarray, captions: list[str]) -> None:
        """Show up to five images uint8 [n, H, W, 3] with their captions and, in pairs, those below them."""
        self.title.text = title
        for places, shown in ((self.photos, images), (self.below, below)):
            for i, place in enumerate(places):
                place.image = shown[i] if i < len(shown) else None
        for i, words in enumerate(self.captions):
            words.text = captions[i] if i < len(captions) else ""
