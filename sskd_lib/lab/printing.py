"""Print an explorer's picture: enlarged, with its words below."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from ..files import write_atomically
from .canvas import DPI, Canvas, font
from .style import INK

SCALE = 3  # 100 dots an inch on the screen, 300 on paper
MARGIN, POINTS, LETTERS = 40, 10, 132  # pixels on paper; size and length of a line of words
FORMATS = {".png": "PNG", ".pdf": "PDF"}


def save_print(path: Path, canvas: Canvas, words: str) -> Path:
    """Write the present state of a canvas, and words below it, as PNG or PDF at 300 dots an inch.

    Raises ValueError for another ending, OSError if the file cannot be written.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path.name!r} must end in {' or '.join(FORMATS)}: the ending is the format.")
    picture = canvas.enlarged(SCALE)
    text, letters = "\n".join(textwrap.wrap(words, LETTERS)), font(POINTS, SCALE)
    box = ImageDraw.Draw(picture).multiline_textbbox((0, 0), text, font=letters)
    page = Image.new("RGB", (picture.width, int(picture.height + box[3] + 2 * MARGIN)), "white")
    page.paste(picture)
    ImageDraw.Draw(page).multiline_text((MARGIN, picture.height + MARGIN), text, fill=INK, font=letters)
    out = io.BytesIO()
    page.save(out, kind, dpi=(SCALE * DPI,) * 2, resolution=SCALE * DPI)
    write_atomically(path, out.getvalue())
    return path
