"""Explorers on a page without a kernel: the same pictures and words, moved in a real browser."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.browser import CONTROLS, chromium, named, open_page, overflowing, tab_through
from helpers.explorers import selection_explorer, temperature_explorer
from helpers.pages import Reader
from helpers.pictures import picture
from helpers.recordings import mixed_recording
from sskd_lib.lab.explorers import Control, explore_mix
from sskd_lib.lab.explorers.page import MOST, explorer_html, page_options


@pytest.fixture
def explorers(static) -> dict:
    return {"temperature": temperature_explorer(), "selection": selection_explorer()}


@pytest.mark.parametrize("name", ["temperature", "selection"])
def test_a_page_holds_the_pictures_and_words_of_every_state(name, explorers):
    explorer = explorers[name]
    reader = Reader(explorer_html(explorer))
    data, options = json.loads(reader.data), page_options(explorer)
    states = list(itertools.product(*options.values()))
    assert len(data["frames"]) == len(data["words"]) == len(states) > 20
    for number in range(0, len(states), 7):
        state = {key: value for key, (_, value) in zip(options, states[number], strict=True)}
        assert data["words"][number] == explorer.describe(**state)
        parts = picture(base64.b64decode(data["frames"][number])).astype(int)
        exact = picture(explorer.frame(**state)).astype(int)
        # The same drawing in few colours: only photographs (here of coloured noise, the worst case) differ.
        assert parts.shape == exact.shape
        assert np.median(np.abs(parts - exact)) == 0 and np.abs(parts - exact).mean() < 6
    (image,) = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert image["alt"] == explorer.describe()
    assert not any("http" in str(value) for _, attributes in reader.tags for value in attributes.values())


def test_too_many_pictures_are_thinned_but_not_ends_and_start(explorers):
    explorer = explorers["temperature"]
    images = tuple((f"image {i}", i) for i in range(40))
    explorer.controls = explorer.controls | {"image": Control(label="Image", options=images, start=7)}
    options = page_options(explorer)
    counts = {name: len(kept) for name, kept in options.items()}
    assert counts["image"] * counts["temperature"] <= MOST
    for name, control in explorer.controls.items():
        values = [value for _, value in options[name]]
        assert control.start in values
        assert values[0] == control.options[0][1] and values[-1] == control.options[-1][1]


def test_words_cannot_break_out_of_their_place(explorers):
    explorer = explorers["selection"]
    explorer.describe = lambda **state: "</script><u>&\"'"
    reader = Reader(explorer_html(explorer))
    assert set(json.loads(reader.data)["words"]) == {"</script><u>&\"'"}
    assert not any(tag == "u" for tag, _ in reader.tags)


@pytest.fixture
def page(explorers, tmp_path: Path) -> Iterator:
    """Both explorers on one page, opened from the disk; no error may reach the console."""
    body = "".join(explorer_html(explorer) for explorer in explorers.values())
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><html lang=en><title>t</title>{body}</html>")
    with chromium() as browser:
        page, errors = open_page(browser, width=1280, height=720)
        page.goto((tmp_path / "page.html").as_uri())
        yield page
    assert errors == []


@pytest.mark.browser
def test_keys_and_lists_and_reset_move_the_picture_and_the_words(page, explorers):
    explorer, box = explorers["temperature"], page.locator("#sskd-temperature")
    words, shown = box.locator("[role=status]"), box.locator("img")
    assert words.inner_text() == explorer.describe()
    before = shown.get_attribute("src")
    box.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert words.inner_text() == shown.get_attribute("alt") == explorer.describe(temperature=20.0)
    assert shown.get_attribute("src") != before
    assert box.locator("input").get_attribute("aria-valuetext") == box.locator("output").inner_text() == "20"
    box.locator("select").select_option("3")
    assert words.inner_text() == explorer.describe(temperature=20.0, image=3)
    assert page.locator("#sskd-selection [role=status]").inner_text() == explorers["selection"].describe()
    box.locator("button").click()
    assert words.inner_text() == explorer.describe() and shown.get_attribute("src") == before


@pytest.mark.browser
def test_a_dragged_slider_shows_each_place_it_passes(page):
    slider = page.locator("#sskd-temperature input[type=range]")
    place = slider.bounding_box()
    page.evaluate(
        """() => {
          const picture = document.querySelector('#sskd-temperature img'); window.shown = [];
          new MutationObserver(() => window.shown.push(picture.src))
            .observe(picture, {attributes: true, attributeFilter: ['src']});
        }"""
    )
    y = place["y"] + place["height"] / 2
    page.mouse.move(place["x"] + 8, y)
    page.mouse.down()
    for step in range(120):
        across = abs((step % 60) - 30) / 30  # to and fro
        page.mouse.move(place["x"] + 8 + across * (place["width"] - 16), y)
    page.mouse.up()
    assert len(page.evaluate("window.shown")) >= 60  # of 120 moves, some of which stay on one place


@pytest.mark.browser
def test_a_page_is_read_at_200_percent_by_keys_and_by_name(page, explorers):
    for name, explorer in explorers.items():
        box = page.locator(f"#sskd-{name}")
        count = len(explorer.controls) + 1  # and the button
        assert tab_through(page, box)[:count] == list(range(count)) and box.locator(CONTROLS).count() == count
        for control in explorer.controls.values():
            assert ("slider" if control.slider else "combobox", control.label) in named(page)
        slider = box.locator("input[type=range]")
        slider.focus()
        for key, value in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
            page.keyboard.press(key)
            assert slider.input_value() == str(value)
        assert box.locator("p[role=status]").get_attribute("aria-live") == "polite"
        page.set_viewport_size({"width": 640, "height": 360})  # the layout of 1280 x 720 at 200 %
        assert overflowing(box) == []
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 640
        words = box.locator("p[role=status]").evaluate("p => getComputedStyle(p)['font-size']")
        assert float(words.removesuffix("px")) >= 14


@pytest.mark.browser
def test_controls_stand_in_two_columns_and_on_one_screen_with_the_picture(static, tmp_path: Path) -> None:
    explorer = explore_mix(mixed_recording())
    explorer.on_pages = ("ce", "kd", "tf", "ss")
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><html lang=en>{explorer_html(explorer)}</html>")
    with chromium() as browser:
        page, _ = open_page(browser, width=1366, height=768)
        page.goto((tmp_path / "page.html").as_uri())
        places = {
            name: [part.bounding_box() for part in page.locator(name).all()]
            for name in (".sskd-controls span", "input", ".sskd-explorer img")
        }
    (picture,) = places.pop(".sskd-explorer img")
    assert (
        picture["width"] == pytest.approx(explorer.canvas.width) and picture["y"] + picture["height"] <= 768
    )
    for parts in places.values():
        assert len(parts) == 4
        assert [len({round(part[side]) for part in parts}) for side in ("x", "y", "width")] == [2, 2, 1]


def test_on_a_page_the_explorer_is_its_twin(static, monkeypatch):
    from IPython.utils.capture import capture_output

    monkeypatch.setenv("SSKD_STATIC", "page")
    with capture_output() as captured:
        explorer = selection_explorer()
    (output,) = captured.outputs
    assert output.data["text/plain"] == explorer.describe() and 'type="range"' in output.data["text/html"]
    assert explorer.live is None and torch.is_tensor(explorer.scores)
