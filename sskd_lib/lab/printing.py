"""Print an explorer's picture: enlarged, with its words below."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..files import write_atomically
from .canvas import DPI, Canvas, font
from .style import INK

SCALE = 3  # 100 dots an inch on the screen, 300 on paper
MARGIN, POINTS = 40, 10  # pixels on paper; size of the words
FORMATS = {".png": "PNG", ".pdf": "PDF"}


def save_print(path: Path, canvas: Canvas, words: str) -> Path:
    """Write the present state of a canvas, and words below it, as PNG or PDF at 300 dots an inch.

    Raises ValueError for another ending, OSError if the file cannot be written.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path.name!r} must end in {' or '.join(FORMATS)}: the ending is the format.")
    picture = canvas.enlarged(SCALE)
    letters = font(POINTS, SCALE)
    text = wrap(words, letters, picture.width - 2 * MARGIN)
    box = ImageDraw.Draw(picture).multiline_textbbox((0, 0), text, font=letters)
    page = Image.new("RGB", (picture.width, int(picture.height + box[3] + 2 * MARGIN)), "white")
    page.paste(picture)
    ImageDraw.Draw(page).multiline_text((MARGIN, picture.height + MARGIN), text, fill=INK, font=letters)
    out = io.BytesIO()
    page.save(out, kind, dpi=(SCALE * DPI,) * 2, resolution=SCALE * DPI)
    write_atomically(path, out.getvalue())
    return path


def wrap(words: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """Return words in lines of at most so many pixels; a longer word has a line of its own."""
    lines: list[str] = []
    for word in words.split():
        if lines and letters.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
