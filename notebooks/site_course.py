"""What the notebooks' sources say about the course: titles, minutes, and the first sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HEADING = re.compile(r"^# (?:\d\d · )?(.+)$", re.MULTILINE)
MINUTES = re.compile(r"(?:\bAbout|\bTime:\*\*)\s+(\d+)\s+minutes\b")


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A notebook in the course. opening: its first sentences in Markdown; minutes: None where nobody says."""

    source: Path
    title: str
    opening: str
    minutes: int | None

    @property
    def number(self) -> str:
        """The two digits of its file."""
        return self.source.stem[:2]

    @property
    def name(self) -> str:
        """Number and title."""
        return f"{self.number} · {self.title}"

    @property
    def page(self) -> str:
        """The name of its page in the site."""
        return f"{self.source.stem}.html"

    @property
    def notebook(self) -> Path:
        """The built notebook, to which other texts link."""
        return self.source.parents[1] / f"{self.source.stem}.ipynb"


def read_chapters(sources: Sequence[Path]) -> list[Chapter]:
    """Return the chapters of these sources, in their order."""
    return [read_chapter(source) for source in sources]


def read_chapter(source: Path) -> Chapter:
    """Return what one source says, and its guide in data/course.

    A notebook that opens with a picture has no paragraph below its title: then its first objective is taken.
    Minutes are those of the guide, else those of the text.
    """
    text = source.read_text(encoding="utf-8")
    cells = [_markdown(cell) for cell in re.split(r"^# %%", text, flags=re.MULTILINE) if "[markdown]" in cell]
    guide, first = read_guide(source), cells[0] if cells else ""
    heading, stated = HEADING.search(first), MINUTES.search("\n".join(cells))
    opening = HEADING.sub("", first, count=1).strip().split("\n\n")[0]
    if not opening and guide.get("objectives"):
        opening = guide["objectives"][0]["text"]
    minutes = guide.get("minutes") or (stated and stated[1])
    return Chapter(
        source=source,
        title=heading[1] if heading else source.stem,
        opening=" ".join(opening.split()),
        minutes=int(minutes) if minutes else None,
    )


def read_guide(source: Path) -> dict[str, Any]:
    """Return the guide to a notebook, with its minutes and objectives; an empty one where there is none."""
    file = source.parents[2] / "data" / "course" / f"{source.stem[:2]}.yaml"
    if not file.is_file():
        return {}
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("guide") or {}


def _markdown(cell: str) -> str:
    """Return the text of a Markdown cell of jupytext's percent format, without the signs of comments."""
    lines = cell.splitlines()[1:]
    return "\n".join(re.sub(r"^# ?", "", line) for line in lines)
