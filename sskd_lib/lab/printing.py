"""An explorer's picture on paper: enlarged, with its words below."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from ..files import write_atomically
from .canvas import DPI, INK, Canvas, font

SCALE = 3  # 100 dots an inch on the screen, 300 on paper
MARGIN, POINTS, LETTERS = 40, 10, 132  # pixels on paper; size and length of a line of words
ENDINGS = {".png": "PNG", ".pdf": "PDF"}


def save_print(path: Path, canvas: Canvas, words: str) -> Path:
    """Write a canvas as it stands, and words below it, as PNG or PDF at 300 dots an inch.

    Raises ValueError for another ending, OSError if the file cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(
            f"{path.name!r} must end in {' or '.join(ENDINGS)}: that says what is to be written."
        )
    picture = canvas.enlarged(SCALE)
    text, letters = "\n".join(textwrap.wrap(words, LETTERS)), font(POINTS, SCALE)
    box = ImageDraw.Draw(picture).multiline_textbbox((0, 0), text, font=letters)
    page = Image.new("RGB", (picture.width, int(picture.height + box[3] + 2 * MARGIN)), "white")
    page.paste(picture)
    ImageDraw.Draw(page).multiline_text((MARGIN, picture.height + MARGIN), text, fill=INK, font=letters)
    out = io.BytesIO()
    page.save(out, ENDINGS[path.suffix.lower()], dpi=(SCALE * DPI,) * 2, resolution=SCALE * DPI)
    write_atomically(path, out.getvalue())
    return path
