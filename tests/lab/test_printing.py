"""Explorers on paper, places that answer when pointed at, and buttons that do something."""

from __future__ import annotations

import base64
import io
import re
import threading
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from helpers.explorers import temperature_explorer
from helpers.numbers_explorer import Numbers
from helpers.pictures import picture
from sskd_lib.lab.explorers import present
from sskd_lib.lab.explorers.hover import COLUMNS, Spot, layer, sheet_css


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_a_printed_picture_has_three_times_the_pixels_and_its_words_below(ending, tmp_path) -> None:
    explorer = temperature_explorer()
    before = explorer.frame(temperature=4.0)
    path = explorer.save(tmp_path / f"page.{ending}", temperature=4.0)
    assert explorer.frame(temperature=4.0) == before  # the picture on the screen is as it was
    if ending == "pdf":
        size = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", path.read_bytes())
        assert float(size[1]) == pytest.approx(explorer.canvas.width / 100 * 72, rel=0.01)
        return
    page = Image.open(path)
    assert page.width == 3 * explorer.canvas.width and page.info["dpi"][0] == pytest.approx(300, abs=0.1)
    drawn, words = (
        np.asarray(page)[: 3 * explorer.canvas.height],
        np.asarray(page)[3 * explorer.canvas.height :],
    )
    small = np.asarray(Image.fromarray(drawn).reduce(3)).astype(int)
    on_screen = picture(before).astype(int)
    # The same drawing, finer: seen from afar (each 8 x 8 pixels as one) they differ little.
    afar = [np.asarray(Image.fromarray(a.astype(np.uint8)).reduce(8)).astype(int) for a in (small, on_screen)]
    assert np.abs(afar[0] - afar[1]).mean() < 2 and np.abs(afar[0] - afar[1]).max() < 60
    assert (words < 100).any() and (words[-20:] == 255).all()  # letters, and a margin below them
    assert (words[:, :20] == 255).all() and (words[:, -20:] == 255).all()  # and at both sides


def test_a_printed_picture_needs_an_ending_it_knows(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"'page.gif' must end in .png or .pdf"):
        temperature_explorer().save(tmp_path / "page.gif")
    assert list(tmp_path.iterdir()) == []


class Places(HTMLParser):
    """Style and text of every place of a layer."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.places, self.texts, self.cards = [], [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        style = {
            k.strip(): v.strip()
            for k, v in (p.split(":") for p in dict(attributes).get("style", "").split(";") if p)
        }
        if tag == "i":
            self.places.append({k: float(v.rstrip("%")) for k, v in style.items()})
        if tag == "s":
            self.cards.append(style["background-position"])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_spots_lie_where_the_picture_has_them_and_say_their_words() -> None:
    parsed = Places(layer("m", Numbers().spots(number=3), 200, 100))
    assert parsed.places == [
        {"left": 5, "top": 10, "width": 25, "height": 50},
        {"left": 75, "top": 60, "width": 5, "height": 10},
    ]
    assert parsed.texts == ["3 & more", "right"]
    assert layer("m", [], 200, 100) == ""


def test_a_card_is_on_the_sheet_at_its_place() -> None:
    cards = np.random.default_rng(0).integers(0, 256, (COLUMNS + 3, 2, 2, 3), dtype=np.uint8)
    url = re.search(r"base64,([^)]+)\)", sheet_css("m", cards))[1]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(url))))
    card = COLUMNS + 1
    (place,) = Places(layer("m", [Spot(0, 0, 1, 1, "", (card,))], 10, 10)).cards
    left, top = (-int(part.removesuffix("px")) * 2 // 64 for part in place.split())
    assert (sheet[top : top + 2, left : left + 2] == cards[card]).all()


def test_the_live_layer_follows_the_controls(live) -> None:
    widgets = present(Numbers()).live
    assert "1 &amp; more" in widgets.layer.value and "background-image" in widgets.style.value
    widgets.controls["number"].value = 2
    assert "2 &amp; more" in widgets.layer.value


def test_a_button_acts_and_draws_anew_and_its_error_is_shown(live) -> None:
    def shrink() -> None:
        explorer.update = lambda number: setattr(explorer.place, "image", None)

    def fail() -> None:
        raise RuntimeError("no teacher <here>")

    explorer = Numbers({"Shrink": shrink, "Fail": fail})
    widgets = present(explorer).live
    before = widgets.picture.value
    widgets.buttons["Fail"].click()
    assert "RuntimeError: no teacher &lt;here&gt;" in widgets.words.value and widgets.picture.value == before
    widgets.buttons["Shrink"].click()
    assert widgets.picture.value != before and 'role="status"' in widgets.words.value


def test_another_thread_may_ask_for_a_drawing_and_closing_ends_it(live) -> None:
    explorer = Numbers()
    widgets = present(explorer).live
    explorer.describe = lambda **state: "news"
    thread = threading.Thread(target=widgets.redraw)
    thread.start()
    thread.join()
    assert "news" in widgets.words.value and not explorer.closed
    present(Numbers())
    assert explorer.closed


def test_a_page_without_widgets_gets_a_picture_and_the_reason(live) -> None:
    explorer = present(Numbers())
    bundle = explorer.live.bundle()
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.live.box.model_id
    page = bundle["text/html"]
    parsed = picture(base64.b64decode(re.search(r'base64,([^"]+)"', page)[1]))
    assert (parsed == picture(explorer.frame())).all()
    assert 'alt="The number is 1."' in page and "because the page has no widgets" in page
    assert bundle["text/plain"].startswith("The number is 1. This picture does not move")


def test_two_threads_that_draw_get_each_the_right_picture() -> None:
    explorer, values = temperature_explorer(), (0.5, 20.0)
    expected, parsed = {value: explorer.frame(temperature=value) for value in values}, {}

    def draw(value: float) -> None:
        parsed[value] = {explorer.frame(temperature=value) for _ in range(20)}

    threads = [threading.Thread(target=draw, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parsed == {value: {expected[value]} for value in values}
