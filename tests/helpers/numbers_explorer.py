"""An explorer of one number."""

from __future__ import annotations

import numpy as np

from sskd_lib.lab.canvas import Canvas
from sskd_lib.lab.explorers import Control, Explorer
from sskd_lib.lab.explorers.hover import Spot


class Numbers(Explorer):
    """One number, in the words and as the shade of a square."""

    def __init__(self, actions: dict | None = None) -> None:
        self.key = "numbers"
        options = tuple((str(i), i) for i in range(4))
        self.controls = {"number": Control(label="Number", options=options, start=1)}
        self.film, self.canvas, self.actions = ({},), Canvas(200, 100), actions or {}
        self.place, self.closed = self.canvas.photo(10, 10, 50), False
        self.cards = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)

    def update(self, number: int) -> None:
        self.place.image = np.full((1, 1, 3), 60 * number, np.uint8)

    def sentences(self, number: int) -> list[str]:
        return [f"The number is {number}."]

    def find_spots(self, number: int) -> list[Spot]:
        return [Spot(10, 10, 50, 50, f"{number} & more", (number,)), Spot(150, 60, 10, 10, "right")]

    def close(self) -> None:
        self.closed = True
