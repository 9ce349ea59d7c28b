"""Settings of an explorer by name, the note about a key that is taken, and the sliders of ipywidgets 7."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.browser import chromium, open_page
from helpers.every_explorer import MAKERS
from helpers.explorers import temperature_explorer
from sskd_lib.lab.display import Cell
from sskd_lib.lab.explorers import OPEN
from sskd_lib.lab.explorers.accessibility import RUN


@pytest.mark.parametrize("name", MAKERS)
def test_every_value_of_every_control_is_taken_and_others_are_refused(live, name) -> None:
    explorer = MAKERS[name]()
    assert explorer.complete({}) == explorer.start()
    for control, one in explorer.controls.items():
        for _, value in one.options:
            assert explorer.complete({control: value})[control] == value
        for wrong in (float("nan"), None, True, [value], "nothing", object()):
            with pytest.raises(ValueError, match="is not a value of the control"):
                explorer.complete({control: wrong})
    with pytest.raises(ValueError, match="The controls of this explorer are"):
        explorer.complete({"nothing": 1})


def test_numbers_of_numpy_are_taken_as_the_values_they_equal(live) -> None:
    explorer = temperature_explorer()
    taken = explorer.complete({"temperature": np.float64(4), "image": np.int64(2)})
    assert taken == {"temperature": 4.0, "image": 2}
    assert {type(value) for value in taken.values()} == {float, int}


@pytest.mark.parametrize("method", ["save", "frame", "describe", "spots"])
def test_a_wrong_setting_changes_nothing(live, method, tmp_path) -> None:
    explorer, path = temperature_explorer(), tmp_path / "x.png"
    before, place = explorer.canvas.png(), (path,) if method == "save" else ()
    for wrong in ({"temprature": 4.0}, {"temperature": 0}, {"temperature": float("nan")}, {"image": "first"}):
        with pytest.raises(ValueError, match="control"):
            getattr(explorer, method)(*place, **wrong)
    assert explorer.canvas.png() == before
    assert not path.exists()


def test_a_picture_is_saved_in_the_home_folder(live, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert temperature_explorer().save("~/x.png", temperature=4.0) == Path(tmp_path, "x.png")
    assert Path(tmp_path, "x.png").is_file()


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (Cell("a", "1"), Cell("a", "2"), False),  # the cell is run again
        (Cell("a", "1"), Cell("b", "2"), True),  # another cell
        (Cell("a", "1"), Cell("a", "1"), True),  # twice in one cell
        (Cell(None, "1"), Cell(None, "2"), True),  # a front end that does not number its cells
    ],
)
def test_an_explorer_that_closes_another_says_so(live, monkeypatch, capsys, first, second, says) -> None:
    for module in ("presentation", "live"):
        monkeypatch.setattr(f"sskd_lib.lab.explorers.{module}.running_cell", lambda: first)
    temperature_explorer()
    assert capsys.readouterr().out == ""
    for module in ("presentation", "live"):
        monkeypatch.setattr(f"sskd_lib.lab.explorers.{module}.running_cell", lambda: second)
    temperature_explorer()
    printed = capsys.readouterr().out
    assert ("This closes the earlier explorer with the key 'temperature'." in printed) == says
    assert ("key='temperature 2'" in printed) == says
    temperature_explorer(key="temperature 2")
    assert set(OPEN) == {"temperature", "temperature 2"}
    assert capsys.readouterr().out == ""


# As ipywidgets 7 draws it, with the slider of jquery-ui.
OLD_SLIDER = """<div class="sskd-live">
<div class="widget-slider"><label class="widget-label">Temperature</label>
<div class="slider ui-slider"><span tabindex="0" class="ui-slider-handle">.</span></div>
<div class="widget-readout">4</div></div>
<p role="status">Words.</p>RUN</div>"""


@pytest.mark.browser
def test_a_slider_of_ipywidgets_7_has_a_name_and_its_option() -> None:
    with chromium() as browser:
        page, errors = open_page(browser)
        page.set_content(OLD_SLIDER.replace("RUN", RUN))
        handle = page.get_by_role("slider", name="Temperature")
        handle.wait_for()
        assert handle.get_attribute("aria-valuetext") == "4"
        assert handle.get_attribute("data-lm-suppress-shortcuts") == "true"
        page.evaluate("document.querySelector('.widget-readout').textContent = '8'")
        page.wait_for_function(
            "document.querySelector('[role=slider]').getAttribute('aria-valuetext') === '8'"
        )
        assert errors == []
