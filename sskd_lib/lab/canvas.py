"""A picture that is redrawn many times a second.

Everything that stays (axes, ticks, labels) is drawn once and kept as a background; for each frame only
the moving artists are drawn over a copy of it, and then the photographs and words that change. A full
redraw of such a figure costs tens of milliseconds, a frame a few. Photographs and words are Pillow's
business, because matplotlib takes milliseconds for each.
"""

from __future__ import annotations

import functools
import io
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

DPI = 100
INK = (26, 26, 26)
# A Jupyter server holds a small message back until the browser has confirmed the one before, which a
# browser does after 40 ms (Nagle's algorithm and the delayed ACK). 65,483 bytes, a full TCP segment on one
# machine, go at once: with pictures of at least that size a move of a slider is seen 40 ms sooner.
PROMPT = 66_000  # bytes


@dataclass
class Words:
    """A text that changes from frame to frame, in the typeface of the rest."""

    x: float  # pixels from the left edge
    y: float  # pixels from the top
    text: str = ""
    points: int = 11
    anchor: str = "lm"  # Pillow's: l, m or r across; a (top), m (middle) or d (bottom) down


@dataclass
class Photo:
    """An image that changes from frame to frame, enlarged pixel by pixel."""

    left: int  # pixels from the left edge
    top: int  # pixels from the top
    size: int  # pixels along each side
    image: np.ndarray | None = None  # uint8 [H, W, 3]; None leaves the place empty


class Canvas:
    """Draws what moves over a kept background and returns PNG bytes.

    width, height: pixels. Axes go to `figure`, artists that change also to `moving`, images to `photo` and
    texts to `words`. Who changes these and then takes the picture holds `lock` meanwhile: newer JupyterLabs
    move sliders in another thread than cells.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self.lock = threading.RLock()
        self.moving: list[Artist] = []
        self._photos: list[Photo] = []
        self._words: list[Words] = []
        self._agg = FigureCanvasAgg(self.figure)
        self._background = None

    def place(self, left: float, top: float, width: float = 0, height: float = 0) -> tuple[float, ...]:
        """Turn pixels from the upper left corner into matplotlib's shares from the lower left one."""
        bottom = self.height - top - height
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def words(self, x: float, y: float, text: str = "", points: int = 11, anchor: str = "lm") -> Words:
        """Add a moving text at pixels (x, y); change its `text`, `x` or `y` before a frame."""
        self._words.append(Words(x, y, text, points, anchor))
        return self._words[-1]

    def photo(self, left: int, top: int, size: int) -> Photo:
        """Add a place for an image; give it its `image` before a frame."""
        self._photos.append(Photo(left, top, size))
        return self._photos[-1]

    def forget(self) -> None:
        """Draw the background anew with the next frame; call this when axes, ticks or labels change."""
        self._background = None

    def array(self) -> np.ndarray:
        """The picture as it stands: uint8 [height, width, 3]."""
        if self._background is None:
            self._background = self._draw_background(self._agg)
        self._agg.restore_region(self._background)
        return np.asarray(self._draw_moving(self._agg, 1))

    def enlarged(self, scale: int) -> Image.Image:
        """The picture as it stands, drawn with `scale` times as many pixels, for print."""
        self.figure.set_dpi(DPI * scale)
        try:
            agg = FigureCanvasAgg(self.figure)
            self._draw_background(agg)
            return self._draw_moving(agg, scale)
        finally:
            self.figure.set_dpi(DPI)
            self.figure.set_canvas(self._agg)

    def _draw_background(self, agg: FigureCanvasAgg) -> Any:
        for artist in self.moving:
            artist.set_animated(True)  # leave it out of the background
        agg.draw()
        return agg.copy_from_bbox(self.figure.bbox)

    def _draw_moving(self, agg: FigureCanvasAgg, scale: int) -> Image.Image:
        for artist in self.moving:
            self.figure.draw_artist(artist)
        image = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
        for p in self._photos:
            if p.image is not None:
                side = p.size * scale
                large = Image.fromarray(p.image).resize((side, side), Image.Resampling.NEAREST)
                image.paste(large, (p.left * scale, p.top * scale))
        pen = ImageDraw.Draw(image)
        for w in self._words:
            place = (w.x * scale, w.y * scale)
            pen.text(place, w.text, fill=INK, font=font(w.points, scale), anchor=w.anchor, align="center")
        return image

    def png(self) -> bytes:
        """The picture as it stands, encoded lightly: speed counts for more than size here."""
        return encode(self.array(), level=1, least=PROMPT)


@functools.cache
def font(points: int, scale: int = 1) -> ImageFont.FreeTypeFont:
    """The typeface of all pictures at so many points."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(
        str(file), round(points * scale * DPI / 72), layout_engine=ImageFont.Layout.BASIC
    )


def encode(array: np.ndarray, level: int, least: int = 0) -> bytes:
    """Encode uint8 [H, W, 3] as PNG at a zlib level from 1 (quick) to 9 (small).

    Rows are stored unfiltered: for flat drawings that is as small as Pillow's trying of all filters, and
    takes half the time. A picture of fewer than `least` bytes is filled up with a chunk that readers skip.
    """
    height, width, _ = array.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = array.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    pixels = zlib.compress(rows.tobytes(), level)
    fill = chunk(b"fiLl", bytes(least - len(pixels))) if least > len(pixels) else b""  # readers skip it
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + fill + chunk(b"IEND", b"")


def filmstrip(frames: Sequence[bytes], gap: int = 14) -> bytes:
    """Stack frames of one size, first on top, into one PNG with a thin grey line between neighbours."""
    arrays = [np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames]
    between = np.full((gap, arrays[0].shape[1], 3), 255, np.uint8)
    between[gap // 2] = 200
    stack = [part for array in arrays for part in (between, array)][1:]
    return encode(np.concatenate(stack), level=9)
