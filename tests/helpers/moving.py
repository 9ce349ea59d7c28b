"""An explorer in JupyterLab, moved by mouse and by keys, and compared with the same one in its kernel."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.browser import PATIENCE, ask, assert_shows
from helpers.pictures import picture

BOX = ".jp-OutputArea-output:has(.sskd-live:not(.sskd-clinic) [role=status])"
# The label of each control and the option it stands at, as the page has them.
CONTROLS = """box => [...box.querySelectorAll(".widget-slider, .widget-dropdown")].map(control => {
  const label = control.querySelector("label").textContent, list = control.querySelector("select");
  const at = () => Number(control.querySelector("[role=slider]").getAttribute("aria-valuenow"));
  return {label, kind: list ? "list" : "slider", at: list ? list.selectedIndex : at()};
})"""
SAY = """
import base64, json
from sskd_lib.lab.explorers import OPEN
explorer = OPEN[{key!r}].explorer
state = {{n: c.options[i][1] for (n, c), i in zip(explorer.controls.items(), {places!r}, strict=True)}}
png = base64.b64encode(explorer.frame(**state)).decode()
print(json.dumps([explorer.describe(**state), explorer.start() == state, png]))
"""


class OnPage:
    """One explorer on the page, and the same explorer in the kernel."""

    def __init__(self, page, box, key: str) -> None:
        self.page, self.box, self.key = page, box, key
        self.last: tuple[str, np.ndarray] | None = None
        self.first = self.controls()

    def controls(self) -> list[dict[str, Any]]:
        return self.box.evaluate(CONTROLS)

    def check(self, moved: bool = True) -> bool:
        """Words and picture are those of the controls, and others than before; whether that is the start."""
        places = [control["at"] for control in self.controls()]
        words, at_start, png = ask(self.page, SAY.format(key=self.key, places=places))
        expected = picture(base64.b64decode(png))
        assert_shows(self.box, words, expected)
        if moved and self.last is not None:
            assert words != self.last[0], f"{self.key}: a move to {places} left the words as they were"
            assert (expected != self.last[1]).any(), f"{self.key}: a move to {places} left the picture"
        self.last = (words, expected)
        return at_start

    def move(self, number: int, last: int) -> None:
        """Move one control by mouse, then by keys, and see each time that words and picture follow."""
        control = self.controls()[number]
        widget = self.box.locator(".widget-slider, .widget-dropdown").nth(number)
        widget.scroll_into_view_if_needed()
        far = 0 if control["at"] > last / 2 else last
        (drag if control["kind"] == "slider" else choose)(self.page, widget, far, last)
        self._arrived(number, far)
        widget.locator("[role=slider], select").focus()
        back, on = ("ArrowUp", "ArrowDown") if control["kind"] == "list" else ("ArrowLeft", "ArrowRight")
        keys = [(on, 1), ("Home", 0), ("End", last)] if far == 0 else [(back, last - 1), ("Home", 0)]
        for key, place in keys:
            if self.controls()[number]["at"] != place:
                self.page.keyboard.press(key)
                self._arrived(number, place)

    def reset(self) -> None:
        """Go back to the start by the button, and see that all is as it was."""
        self.box.get_by_role("button", name="Reset").click()
        self._wait_for(lambda controls: controls == self.first)
        self.check(moved=False)

    def _arrived(self, number: int, place: int) -> None:
        self._wait_for(lambda controls: controls[number]["at"] == place)
        self.check()

    def _wait_for(self, reached: Callable[[list[dict[str, Any]]], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not reached(found := self.controls()):
            assert time.monotonic() < end, f"{self.key}: a control did not move as expected: {found}"
            time.sleep(0.02)


def drag(page, widget, far: int, last: int) -> None:
    """Take the handle with the mouse to an option."""
    way, handle = (widget.locator(name).bounding_box() for name in (".noUi-base", ".noUi-handle"))
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    for share in (0.5, far / last):
        page.mouse.move(way["x"] + share * way["width"], way["y"] + way["height"] / 2)
    page.mouse.up()


def choose(page, widget, far: int, last: int) -> None:
    """Open the list with the mouse and take an entry of it."""
    widget.locator("select").click()
    page.keyboard.press("Home" if far == 0 else "End")
    page.keyboard.press("Enter")
