"""The site in a real browser, opened from the disk: by mouse, by keys, narrow, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from helpers.browser import chromium, open_page
from helpers.site import ALT, NUMBER, write_kit, write_site
from site_landing import CLASSES, temperature_data
from sskd_lib.losses import soften

pytestmark = pytest.mark.browser
NAMES = ("index.html", "01_first.html", "02_second.html", "results.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kit = write_kit(tmp_path_factory.mktemp("kit"))
    write_site(kit, kit / "site")
    return kit / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser, site) -> Iterator:
    """A page of 1280 x 800 in the light theme, at the first notebook; it asks for nothing but files."""
    page, errors = open_page(browser, 1280, 800, color_scheme="light")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    visit(page, site, "01_first.html")
    yield page
    page.close()
    assert errors == []
    assert [url for url in requests if not url.startswith((site.as_uri(), "data:"))] == []


def visit(page, site: Path, name: str) -> None:
    page.goto((site / name).as_uri())


def ground(page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_follows_the_system_until_the_button_is_pressed(page, site):
    button = page.locator("#theme")
    light = ground(page)
    assert light == "rgb(255, 255, 255)" and button.get_attribute("aria-pressed") == "false"
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    page.locator("#theme[aria-pressed=true]").wait_for()
    assert dark != light
    button.focus()
    page.keyboard.press("Enter")
    assert ground(page) == light and button.get_attribute("aria-pressed") == "false"
    visit(page, site, "index.html")  # it is kept, on every page
    assert ground(page) == light
    page.emulate_media(color_scheme="light")
    page.locator("#theme").click()
    assert ground(page) == dark
    visit(page, site, "01_first.html")
    assert page.evaluate("getComputedStyle(document.querySelector('figure img')).backgroundColor") == light
    stack = "getComputedStyle(document.querySelector('.sskd-stack img')).backgroundColor"
    assert page.evaluate(stack) == light  # pictures stand on a white card


def test_code_opens_in_one_cell_or_in_all_but_not_the_solutions(page):
    code, solution = page.locator("details.code:not(.solution):not(.asks)"), page.locator("details.solution")
    assert not any(code.nth(i).evaluate("fold => fold.open") for i in range(code.count()))
    one = code.nth(1)
    one.locator("summary").focus()
    page.keyboard.press("Enter")
    assert one.get_by_text("of them").is_visible() and not code.nth(0).evaluate("fold => fold.open")
    asks, button = page.locator("details.asks"), page.locator("#all-code")
    assert not asks.is_visible()
    button.click()
    assert all(code.nth(i).evaluate("fold => fold.open") for i in range(code.count())) and asks.is_visible()
    assert not solution.evaluate("fold => fold.open")
    assert button.inner_text() == "Hide code"
    button.click()
    assert not any(code.nth(i).evaluate("fold => fold.open") for i in range(code.count()))
    solution.locator("summary").click()
    assert solution.get_by_text("logits").first.is_visible()


def test_an_answer_opens_by_keyboard_with_its_figure_and_numbers(page):
    answer = page.locator("details.answer")
    parts = [page.get_by_alt_text(ALT), page.get_by_text(NUMBER), page.get_by_text("because it was measured")]
    assert page.get_by_text("Which one is it?").is_visible()
    assert not any(part.is_visible() for part in parts)
    answer.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert all(part.is_visible() for part in parts)
    figure, text = parts[0].bounding_box(), answer.bounding_box()
    assert figure["width"] == pytest.approx(text["width"], abs=40)  # as wide as the text in its fold
    answer.get_by_role("button", name="Enlarge").focus()
    page.keyboard.press("Enter")
    large = page.get_by_role("dialog")
    assert large.get_by_alt_text(ALT).is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").evaluate("dialog => dialog.open")
    assert page.evaluate("document.activeElement.textContent") == "Enlarge"


@pytest.mark.parametrize("width", [390, 320, 1280])
def test_no_page_scrolls_sideways(page, site, width):
    page.set_viewport_size({"width": width, "height": 844})
    for name in NAMES:
        visit(page, site, name)
        page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        menu = page.locator("header nav ol").bounding_box()
        assert menu["x"] >= 0 and menu["x"] + menu["width"] <= width, name
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width, name
        size = page.evaluate(
            "parseFloat(getComputedStyle(document.querySelector('main p:not([class])')).fontSize)"
        )
        assert size >= 16, name


def test_paper_has_no_code_and_no_tools_and_answers_on_request(page):
    page.evaluate(
        "window.print = () => { window.printed = [...document.querySelectorAll('details[open]')].length; }"
    )
    page.locator("#all-code").click()
    page.emulate_media(media="print")
    for tool in ("body > header", ".contents", "#print", "details.code >> nth=1", ".sskd-controls", ".steps"):
        assert not page.locator(tool).is_visible(), tool
    assert not page.get_by_text(NUMBER).is_visible() and page.get_by_text("Which one is it?").is_visible()
    page.emulate_media(media="screen")
    page.locator("#print").click()
    page.emulate_media(media="print")
    assert page.get_by_text(NUMBER).is_visible() and page.get_by_text("forty-two").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.get_by_text(NUMBER).is_visible() and not page.get_by_text("forty-two").is_visible()
    assert len(page.pdf(format="A4")) > 5_000


def test_links_lead_from_page_to_page_and_to_places(page, site):
    page.get_by_role("link", name="Next 02 · A second idea & more").click()
    assert page.url.endswith("02_second.html")
    page.locator("header summary").click()
    menu = page.get_by_role("navigation", name="Course")
    assert menu.locator("[aria-current=page]").inner_text() == "02 · A second idea & more"
    menu.locator("summary").focus()
    page.keyboard.press("Escape")
    assert not menu.locator("ol").is_visible()
    visit(page, site, "results.html")
    page.get_by_role("link", name="a section").click()
    assert page.locator("h2").first.bounding_box()["y"] < 800
    assert page.evaluate("document.querySelector(':target').textContent") == "1 · A section, with τ"
    visit(page, site, "index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "text"


def test_the_explorer_of_the_first_page_moves_and_computes_what_the_library_does(page, site):
    visit(page, site, "index.html")
    box, data = page.locator(".softening"), temperature_data()
    assert box.bounding_box()["y"] + 300 < 800  # above the fold
    slider = box.get_by_role("slider", name="Temperature")
    before = box.locator("p[role=status]").inner_text()
    slider.focus()
    page.keyboard.press("End")
    assert box.locator("p[role=status]").inner_text() != before
    assert slider.get_attribute("aria-valuetext") == "temperature 20.0"
    rows = box.locator("ol").first.locator("li")
    p = 100 * soften(torch.tensor([data["answers"][0]["logits"]], dtype=torch.float64), 20.0)[0]
    expected = [*p[:CLASSES].tolist(), p[CLASSES:].sum().item()]
    assert [rows.nth(i).locator("b").inner_text() for i in range(rows.count())] == [
        f"{v:.1f} %" for v in expected
    ]
    bar, room = (rows.first.locator(part).bounding_box()["width"] for part in ("u", "i"))
    assert bar / room == pytest.approx(expected[0] / 100, abs=0.02)


def test_an_explorer_of_a_notebook_moves_with_its_pictures_at_the_end_of_the_page(page):
    box = page.locator("#sskd-temperature")
    picture, words = box.locator("img").get_attribute("src"), box.locator("[role=status]").inner_text()
    box.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert box.locator("img").get_attribute("src") != picture
    assert box.locator("[role=status]").inner_text() != words
