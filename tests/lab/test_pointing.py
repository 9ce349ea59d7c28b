"""Pointing at a place of a picture and pressing a button in a real browser, live and on a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.browser import (
    ROOT,
    chromium,
    laboratory,
    notebook_of,
    open_page,
    own_errors,
    run_cells,
)
from helpers.numbers_explorer import Numbers
from sskd_lib.lab.explorers.page import explorer_html

pytestmark = pytest.mark.browser
CELLS = (
    f"import sys\nsys.path[:0] = {[str(ROOT / 'tests'), str(ROOT)]}\n"
    "from helpers.numbers_explorer import Numbers\nfrom sskd_lib.lab.explorers import present",
    "def double():\n"
    "    explorer.live.controls['number'].value = 2 * explorer.live.controls['number'].value\n"
    "def fail():\n"
    "    raise ValueError('no such <teacher>')\n"
    "explorer = present(Numbers({'Double': double, 'Fail': fail}))",
)


@pytest.fixture(params=["live", "page"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator:
    with chromium() as browser:
        page, errors = open_page(browser)
        if request.param == "live":
            run_cells(page, laboratory(request.config).add("pointing", notebook_of(CELLS)))
        else:
            html = f"<!DOCTYPE html><html lang=en><title>t</title>{explorer_html(Numbers())}</html>"
            (tmp_path / "page.html").write_text(html)
            page.goto((tmp_path / "page.html").as_uri())
        page.locator(".sskd-spots").wait_for()
        page.live = request.param == "live"
        yield page
    assert own_errors(errors) == []


def test_a_place_pointed_at_shows_its_words_and_its_card(page) -> None:
    """It lies over the square that `Numbers` draws at (10, 10), 50 pixels wide, of a picture 200 wide."""
    picture = page.locator("img.widget-image" if page.live else ".sskd-explorer img").first
    box, spot = picture.bounding_box(), page.locator(".sskd-spots i").first
    place, scale = spot.bounding_box(), box["width"] / 200
    assert place["x"] - box["x"] == pytest.approx(10 * scale, abs=1.5)
    assert place["y"] - box["y"] == pytest.approx(10 * scale, abs=1.5)
    assert place["width"] == pytest.approx(50 * scale, abs=1.5)
    bubble = spot.locator("b")
    assert not bubble.is_visible()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    bubble.wait_for(state="visible")
    assert bubble.inner_text().strip() == "1 & more"
    card = bubble.locator("s").evaluate("s => getComputedStyle(s).backgroundImage")
    assert card.startswith('url("data:image/png;base64,')
    page.mouse.move(place["x"] + place["width"] + 60 * scale, place["y"] + 80 * scale)
    bubble.wait_for(state="hidden")


@pytest.mark.parametrize("page", ["live"], indirect=True)
def test_a_pressed_button_acts_and_shows_its_error(page) -> None:
    words = page.locator(".widget-html p[role]")
    page.get_by_role("button", name="Double").click()
    page.locator("[role=status]", has_text="The number is 2.").wait_for()
    page.locator(".sskd-spots i").first.locator("b", has_text="2 & more").wait_for(state="attached")
    page.get_by_role("button", name="Fail").click()
    page.locator("[role=alert]").wait_for()
    assert words.inner_text() == "That did not work: ValueError: no such <teacher>"
