"""The form of the notebooks: short, one style of headings, three lines at the end."""

from __future__ import annotations

import re

import pytest

import build
import colab

SOURCES = build.find_sources()
WORDS, LINES = 1300, 110  # of prose (1,200 and a little), of visible code
NUMBERED = re.compile(r"## \d+ · [A-Z\dτ]")
PLAIN = ["## Check yourself", "## What is claimed, what was measured", "## Three lines to keep"]


def cells(source, kind: str) -> list[str]:
    """The sources of a notebook's cells of one kind, without those for Colab above its title."""
    inside = colab.without_cells(build.read_source(source))
    return [cell.source for cell in inside if cell.cell_type == kind]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_notebook_is_short_and_has_one_shape(source) -> None:
    prose, code = cells(source, "markdown"), cells(source, "code")
    words = sum(len(re.findall(r"\S*[A-Za-z0-9]\S*", text)) for text in prose)
    lines = sum(1 for text in code for line in text.splitlines() if line.strip())
    assert words <= WORDS and lines <= LINES
    headings = [line for text in prose for line in text.splitlines() if line.startswith("#")]
    assert headings[0].startswith(f"# {source.stem[:2]} · ")
    numbered = [heading for heading in headings if NUMBERED.match(heading)]
    assert [int(h.split()[1]) for h in numbered] == list(range(1, len(numbered) + 1))
    others = [h for h in headings[1:] if h.startswith("## ") and h not in numbered]
    assert others == PLAIN
    assert not any(heading.endswith((".", "?!")) for heading in headings)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_notebook_ends_with_three_lines_and_the_way_on(source) -> None:
    end = cells(source, "markdown")[-1].split("## Three lines to keep")[-1].strip().splitlines()
    assert [line[:3] for line in end if line[:1].isdigit()] == ["1. ", "2. ", "3. "]
    target = re.match(r"Next: \[.+\]\((\d\d_\w+)\.ipynb\)", end[-1]).group(1)
    assert target in {other.stem for other in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_link_to_a_notebook_leads_to_one(source) -> None:
    for text in cells(source, "markdown"):
        for name in re.findall(r"\((\d\d_\w+)\.ipynb\)", text):
            assert name in {other.stem for other in SOURCES}, name


def test_the_titles_of_the_mission_can_be_found() -> None:
    titles = "\n".join(cells(source, "markdown")[0].splitlines()[0] for source in SOURCES).lower()
    for title in ("vanilla kd", "rotation self-supervision", "teacher similarity matrices"):
        assert title in titles
    for title in ("selective transfer", "t-sne of dark knowledge", "training on a gpu"):
        assert title in titles


def test_temperature_is_never_called_t() -> None:
    for source in SOURCES:
        for text in [*cells(source, "markdown"), *cells(source, "code")]:
            assert not re.search(r"\$T\b|\bT = \d|temperature T\b", text), source.stem
