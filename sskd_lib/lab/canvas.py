"""A picture that is redrawn many times a second.

Axes, ticks and labels are drawn once and kept as a background. For each frame only the moving artists are
drawn over a copy of it, and then the photographs and words that change. A full redraw of such a figure costs
tens of milliseconds, a frame a few. Pillow draws photographs and words, because matplotlib takes
milliseconds for each.
"""

from __future__ import annotations

import functools
import io
import threading
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

from .style import INK

DPI = 100
# A Jupyter server keeps a message shorter than a TCP segment (65,483 bytes on localhost) until the browser
# has acknowledged the one before. Measured there while a slider is dragged (benchmarks/explorers.py --drag):
# 13 to 16 pictures of 50 kB a second, 18 to 23 of 66 kB.
PROMPT = 66_000  # bytes
NIGHT = 17  # grey of the ground in the dark: that of JupyterLab's dark theme


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
    image: np.ndarray | None = None  # uint8 [H, W, 3], or 4 with alpha; None leaves the place empty


class Canvas:
    """A figure with a kept background, over which the moving parts of each frame are drawn.

    width, height: pixels. Axes go to `figure`, artists that change also to `moving`, images to `photo` and
    texts to `words`. Take `lock` to change these and then take the picture: newer JupyterLabs move sliders
    in another thread than cells. In a page's dark theme set `dark`: then all but the images is drawn dark.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self.lock, self.dark = threading.RLock(), False
        self.moving: list[Artist] = []
        self._photos: list[Photo] = []
        self._words: list[Words] = []
        self._images: list[tuple[int, int, int, int]] = []
        self._agg = FigureCanvasAgg(self.figure)
        self._background = None

    def place(self, left: float, top: float, width: float = 0, height: float = 0) -> tuple[float, ...]:
        """Turn pixels from the upper left corner into matplotlib's fractions from the lower left one."""
        bottom = self.height - top - height
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def sheet(self) -> Any:
        """Add invisible axes over the whole picture, in pixels from its upper left corner."""
        axes = self.figure.add_axes((0, 0, 1, 1), facecolor="none")
        axes.set(xlim=(0, self.width), ylim=(self.height, 0), autoscale_on=False)
        axes.set_axis_off()
        return axes

    def words(self, x: float, y: float, text: str = "", points: int = 11, anchor: str = "lm") -> Words:
        """Add a moving text at pixels (x, y); change its `text`, `x` or `y` before a frame."""
        self._words.append(Words(x, y, text, points, anchor))
        return self._words[-1]

    def photo(self, left: int, top: int, size: int) -> Photo:
        """Add a place for an image; give it its `image` before a frame."""
        self._photos.append(Photo(left, top, size))
        return self._photos[-1]

    def keep(self, left: int, top: int, width: int, height: int) -> None:
        """Mark a place, in pixels, in which matplotlib draws an image: it stays as it is in the dark."""
        self._images.append((left, top, left + width, top + height))

    def image(self) -> Image.Image:
        """Draw the present state as a picture of the canvas's size."""
        if self._background is None:
            self._background = self._draw_background(self._agg)
        self._agg.restore_region(self._background)
        return self._draw_moving(self._agg, 1)

    def enlarged(self, scale: int) -> Image.Image:
        """Draw the present state with `scale` times as many pixels on each side, for print: never dark."""
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
        ink = INK
        if self.dark and scale == 1:
            image, ink = self._in_the_dark(image), flipped(Image.new("RGB", (1, 1), INK)).getpixel((0, 0))
        for p in self._photos:
            if p.image is not None:
                side = p.size * scale
                large = Image.fromarray(p.image).resize((side, side), Image.Resampling.NEAREST)
                image.paste(large, (p.left * scale, p.top * scale), large if large.mode == "RGBA" else None)
        pen = ImageDraw.Draw(image)
        for w in self._words:
            place = (w.x * scale, w.y * scale)
            pen.text(place, w.text, fill=ink, font=font(w.points, scale), anchor=w.anchor, align="center")
        return image

    def _in_the_dark(self, bright: Image.Image) -> Image.Image:
        night = flipped(bright)
        for box in self._images:
            night.paste(bright.crop(box), box)
        return night

    def png(self) -> bytes:
        """Draw the present state as PNG, compressed lightly: speed counts more than size here.

        Zeros behind its end, which readers skip, make it `PROMPT` bytes long.
        """
        return png_bytes(self.image(), compress_level=1).ljust(PROMPT, b"\0")


def flipped(picture: Image.Image) -> Image.Image:
    """Return a picture with light and dark exchanged; hues stay.

    Red, green and blue get 255 + `NIGHT` - 2 Y each, with the luma Y = 0.2126 R + 0.7152 G + 0.0722 B.
    So white becomes `NIGHT`, and black becomes white.
    """
    luma = np.array([0.2126, 0.7152, 0.0722])
    rows = [[*part, 255 + NIGHT] for part in np.eye(3) - 2 * luma]
    return picture.convert("RGB", tuple(np.ravel(rows).tolist()))


@functools.cache
def font(points: int, scale: int = 1) -> ImageFont.FreeTypeFont:
    """Return the typeface of all pictures in this size."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(
        str(file), round(points * scale * DPI / 72), layout_engine=ImageFont.Layout.BASIC
    )


def png_bytes(image: Image.Image, **options: Any) -> bytes:
    """Encode a picture as PNG. options: Pillow's, such as compress_level or optimize."""
    file = io.BytesIO()
    image.save(file, "png", **options)
    return file.getvalue()


def filmstrip(frames: Sequence[bytes], gap: int = 14) -> bytes:
    """Stack frames of one size, first on top, into one PNG with a thin grey line between neighbours.

    It has at most 256 colours, like the pictures of pages without a kernel. In full colours a notebook would
    be too large to commit.
    """
    arrays = [np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in frames]
    between = np.full((gap, arrays[0].shape[1], 3), 255, np.uint8)
    between[gap // 2] = 200
    stack = [part for array in arrays for part in (between, array)][1:]
    picture = Image.fromarray(np.concatenate(stack))
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    return png_bytes(few, optimize=True)
