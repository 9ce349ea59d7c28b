"""Explorers in a real JupyterLab: run, dragged by mouse and keys, and run again, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from helpers import browser
from helpers.browser import (
    CONTROLS,
    ask,
    chromium,
    laboratory,
    named,
    notebook_of,
    open_page,
    overflowing,
    own_errors,
    run_cells,
    tab_through,
    theme,
)
from helpers.colours import contrast
from helpers.explorers import selection_explorer, temperature_explorer
from helpers.pictures import picture

pytestmark = pytest.mark.browser
TESTS = Path(__file__).parents[1]
CELLS = (
    f"import sys\nsys.path[:0] = {[str(TESTS), str(TESTS.parent)]}\n"
    "from helpers.explorers import selection_explorer, temperature_explorer",
    "temperature = temperature_explorer()",
    "selection = selection_explorer()",
)


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator:
    """The notebook, opened and run; no error of a widget or of the kernel may reach the console."""
    with chromium() as opened:
        page, errors = open_page(opened)
        run_cells(page, laboratory(request.config).add("explorers", notebook_of(CELLS)))
        page.locator("[role=status]").nth(1).wait_for()
        yield page
    assert own_errors(errors) == []


def cell(page, name: str):
    """The cell that holds an explorer."""
    return page.locator(".jp-Notebook .jp-Cell").nth({"temperature": 1, "selection": 2}[name])


def assert_shows(explorer_cell, explorer, **state) -> None:
    """Words and picture come to those of the state."""
    browser.assert_shows(explorer_cell, explorer.describe(**state), picture(explorer.frame(**state)))


def drag(page, explorer_cell, fractions: list[float]) -> None:
    """Take the handle along these shares of the slider's way, as fast as the browser takes it."""
    explorer_cell.locator(".widget-slider").scroll_into_view_if_needed()
    way = explorer_cell.locator(".noUi-base").bounding_box()
    handle = explorer_cell.locator(".noUi-handle").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    for fraction in fractions:
        page.mouse.move(way["x"] + fraction * way["width"], way["y"] + way["height"] / 2)
    page.mouse.up()


@pytest.mark.parametrize(
    ("name", "make", "control"),
    [
        ("temperature", temperature_explorer, "temperature"),
        ("selection", selection_explorer, "keep_wrong"),
    ],
)
def test_mouse_and_keys_move_picture_and_words(page, name, make, control) -> None:
    explorer, area = make(), cell(page, name)
    values = [value for _, value in explorer.controls[control].options]
    assert_shows(area, explorer)
    drag(page, area, [0.3, 0.6, 0.9, 1.0])
    assert_shows(area, explorer, **{control: values[-1]})
    area.locator(".noUi-handle").focus()
    for back in (1, 2):
        page.keyboard.press("ArrowLeft")
        assert_shows(area, explorer, **{control: values[-1 - back]})
    page.keyboard.press("Home")
    assert_shows(area, explorer, **{control: values[0]})
    area.locator("button", has_text="Reset").click()
    assert_shows(area, explorer)


# What the browser holds, after a collection: bytes of JavaScript, nodes, and pictures whose address stands.
COUNT_BLOBS = """() => {
  const make = URL.createObjectURL, drop = URL.revokeObjectURL, held = window.held = new Set();
  window.made = 0;
  URL.createObjectURL = (blob) => { const url = make.call(URL, blob); held.add(url); made += 1; return url; };
  URL.revokeObjectURL = (url) => { held.delete(url); drop.call(URL, url); };
}"""
KERNEL_HOLDS = """
import gc, json, psutil
gc.collect()
print(json.dumps([len(gc.get_objects()), psutil.Process().memory_info().rss / 2**20]))
"""


def held(page, tools) -> dict[str, float]:
    """What kernel and browser hold at rest; MB where nothing else is said."""
    page.wait_for_timeout(500)
    for _ in range(2):
        tools.send("HeapProfiler.collectGarbage")
    metrics = {metric["name"]: metric["value"] for metric in tools.send("Performance.getMetrics")["metrics"]}
    objects, resident = ask(page, KERNEL_HOLDS)
    return {
        "kernel objects": objects,
        "kernel": resident,
        "browser": metrics["JSHeapUsedSize"] / 2**20,
        "nodes": metrics["Nodes"],
        "listeners": metrics["JSEventListeners"],
        "pictures": page.evaluate("held.size"),
    }


def test_a_thousand_moves_leave_nothing_behind(page, capsys) -> None:
    area, tools = cell(page, "temperature"), page.context.new_cdp_session(page)
    tools.send("Performance.enable")
    page.evaluate(COUNT_BLOBS)
    handle, readings = area.locator(".noUi-handle"), []
    for moves in (200, 500, 500):
        handle.focus()
        for step in range(moves):
            page.keyboard.press("ArrowRight" if step % 40 < 20 else "ArrowLeft")
            if step % 20 == 19:  # no further ahead of the pictures than a person
                option = int(float(handle.get_attribute("aria-valuenow")))
                value = temperature_values()[option]
                shown_words = re.compile(f"at temperature {value:g}\\.")
                area.locator("[role=status]", has_text=shown_words).wait_for()
        readings.append(held(page, tools))
    # JupyterLab makes some parts once, at some time of its own: they come in one stretch, a leak in both.
    stretches = [{name: b[name] - a[name] for name in a} for a, b in pairwise(readings)]
    grown = {name: min(stretch[name] for stretch in stretches) for name in readings[0]}
    with capsys.disabled():
        changes = ", ".join(f"{n} {stretches[0][n]:+.1f} and {stretches[1][n]:+.1f}" for n in grown)
        print(f"\ntwice 500 moves more, {page.evaluate('made')} pictures in all: {changes}")
    assert page.evaluate("made") >= 60
    most = {"kernel objects": 300, "kernel": 12, "browser": 4, "nodes": 100, "listeners": 50, "pictures": 2}
    assert {name: amount for name, amount in grown.items() if amount > most[name]} == {}


def temperature_values() -> list[float]:
    from sskd_lib.lab.explorers.temperature import TEMPERATURES

    return list(TEMPERATURES)


@pytest.mark.parametrize("name", ["temperature", "selection"])
def test_at_200_percent_everything_is_reached_and_read(page, name) -> None:
    """A window of half the size has the layout of a window at 200 %."""
    area = cell(page, name).locator(".jp-OutputArea-output")
    size = page.viewport_size
    page.set_viewport_size({side: length // 2 for side, length in size.items()})
    try:
        page.wait_for_timeout(300)
        assert overflowing(area) == []
        controls = area.locator(CONTROLS)
        for number in range(controls.count()):
            controls.nth(number).scroll_into_view_if_needed()
            place = controls.nth(number).bounding_box()
            assert place["x"] >= 0 and place["x"] + place["width"] <= size["width"] // 2
        words = area.locator("[role=status]")
        assert float(words.evaluate("p => parseFloat(getComputedStyle(p).fontSize)")) >= 12
    finally:
        page.set_viewport_size(size)


@pytest.mark.parametrize("name", ["temperature", "selection"])
def test_tab_reaches_every_control_in_order(page, name) -> None:
    area = cell(page, name).locator(".jp-OutputArea-output")
    count = area.locator(CONTROLS).count()
    assert count >= 2 and tab_through(page, area)[:count] == list(range(count))


def test_arrows_move_a_list_and_not_the_cells(page) -> None:
    """JupyterLab would take the arrow keys from a list, to move between cells."""
    explorer, area = temperature_explorer(), cell(page, "temperature")
    area.locator("button", has_text="Reset").click()
    assert_shows(area, explorer)
    area.locator("select").focus()
    for key, image in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 5), ("Home", 0)):
        page.keyboard.press(key)
        assert_shows(area, explorer, image=image)


def sliders(explorer) -> list:
    return [control for control in explorer.controls.values() if control.slider]


def test_a_screen_reader_finds_names_and_values(page) -> None:
    explorers = temperature_explorer(), selection_explorer()
    for name, explorer in zip(("temperature", "selection"), explorers, strict=True):
        cell(page, name).locator("button", has_text="Reset").click()
        assert_shows(cell(page, name), explorer)
    metrics = named(page)
    for explorer in explorers:
        for control in explorer.controls.values():
            assert ("slider" if control.slider else "combobox", control.label) in metrics
    for name, explorer in zip(("temperature", "selection"), explorers, strict=True):
        area = cell(page, name)
        for slider, control in zip(area.locator("[role=slider]").all(), sliders(explorer), strict=True):
            text = {value: text for text, value in control.options}[control.start]
            assert slider.get_attribute("aria-valuetext") == text
        assert area.locator("img.widget-image").get_attribute("alt") == explorer.describe()
        assert area.get_by_role("status").inner_text() == explorer.describe()


# Text and ground as the browser has computed them: the first ground behind the text that is not transparent.
COLOURS = """(part) => {
  let ground = part;
  while (ground.parentElement && /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor))
    ground = ground.parentElement;
  return [part, ground].map((p, i) => getComputedStyle(p)[i ? "backgroundColor" : "color"]
    .match(/[\\d.]+/g).slice(0, 3).map(Number));
}"""


EDGE = '"borderTopColor"'
READ = "[role=status], label:visible, .widget-readout, select, button"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_and_controls_are_read_in_both_themes(page, dark) -> None:
    theme(page, dark)
    try:
        for name in ("temperature", "selection"):
            area = cell(page, name).locator(".jp-OutputArea-output")
            for part in area.locator(READ).all():
                ink, ground = part.evaluate(COLOURS)
                assert contrast(ink, ground) >= 4.5, (part.inner_text()[:30], ink, ground)
            edge, _ = area.locator(".noUi-handle").evaluate(COLOURS.replace('"color"', EDGE))
            _, ground = area.locator(".slider-container").evaluate(COLOURS)
            assert contrast(edge, ground) >= 3, ("a slider's handle", edge, ground)
    finally:
        theme(page, dark=False)


def test_the_picture_follows_the_theme(page) -> None:
    explorer, area = temperature_explorer(), cell(page, "temperature")
    area.locator("button", has_text="Reset").click()
    assert_shows(area, explorer)
    theme(page, dark=True)
    try:
        explorer.canvas.dark = True
        assert_shows(area, explorer)
        _, ground = area.locator("[role=status]").evaluate(COLOURS)
        assert picture(explorer.frame())[-1, -1].tolist() == ground
    finally:
        theme(page, dark=False)
    explorer.canvas.dark = False
    assert_shows(area, explorer)


# Of each control the left edge and the width of its label and of the field beside it.
PLACES = """box => [...box.querySelectorAll(".widget-slider, .widget-dropdown")].map(control => {
  const edge = control.getBoundingClientRect().x;
  return [...control.children].slice(0, 2).map(part => {
    const place = part.getBoundingClientRect();
    return [Math.round(place.x - edge), Math.round(place.width)];
  });
})"""
HIGH = """box => {
  const panel = box.closest(".jp-NotebookPanel").querySelector(".jp-WindowedPanel-outer");
  const place = box.querySelector("img.widget-image").getBoundingClientRect();
  return [place.bottom - box.querySelector(".sskd-live").getBoundingClientRect().top, panel.clientHeight];
}"""


@pytest.mark.parametrize("name", ["temperature", "selection"])
def test_on_a_small_screen_controls_and_picture_are_seen_together(page, name) -> None:
    size, area = page.viewport_size, cell(page, name).locator(".jp-OutputArea-output")
    page.set_viewport_size({"width": 1366, "height": 768})
    try:
        page.wait_for_timeout(300)
        high, room = area.evaluate(HIGH)
        assert high <= room
        labels, fields = zip(*area.evaluate(PLACES), strict=True)
        assert len({tuple(place) for place in labels}) == 1
        lefts = [left for left, _ in fields]
        assert max(lefts) - min(lefts) <= 8  # a slider leaves room for its handle
    finally:
        page.set_viewport_size(size)


def test_running_a_cell_again_leaves_one_explorer(page) -> None:
    explorer, area = temperature_explorer(), cell(page, "temperature")
    area.locator(".noUi-handle").focus()
    page.keyboard.press("End")
    assert_shows(area, explorer, temperature=20.0)
    for _ in range(2):
        area.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        assert_shows(area, explorer)
    assert page.locator(".jp-Notebook [role=status]").count() == 2  # one of each
    assert area.locator("img.widget-image").count() == area.locator(".widget-slider").count() == 1
