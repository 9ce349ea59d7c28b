"""The kit's notebooks in a real JupyterLab and a real Chromium: every explorer, moved by mouse and by keys.

Of a notebook those cells are run that bring an explorer, or make what they use; they stand as they are. What
the page then shows for each setting is compared with what the explorer says and draws for it. Pictures of all
explorers, in the light and the dark theme, are left in build/screenshots.
"""

from __future__ import annotations

import ast
import base64
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import (
    ROOT,
    ask,
    browser_needed,
    chromium,
    laboratory,
    notebook_of,
    open_page,
    own_errors,
    picture,
    run_cells,
    shown,
    theme,
)

sys.path.insert(0, str(ROOT / "notebooks"))

import build  # noqa: E402

pytestmark = [browser_needed, pytest.mark.slow]
SCREENSHOTS = ROOT / "build" / "screenshots"
PATIENCE = 20  # seconds, for a machine that is busy with other things
CALL = re.compile(r"\bexplore_\w+\(")
BOX = ".jp-OutputArea-output:has([role=status])"
# The label of each control and the option it stands at, as the page has them.
CONTROLS = """box => [...box.querySelectorAll(".widget-slider, .widget-dropdown")].map(control => {
  const label = control.querySelector("label").textContent, list = control.querySelector("select");
  const at = () => Number(control.querySelector("[role=slider]").getAttribute("aria-valuenow"));
  return {label, kind: list ? "list" : "slider", at: list ? list.selectedIndex : at()};
})"""
LIST = """
import json
from sskd_lib.lab.explorers import OPEN
print(json.dumps([[k, [[c.label, len(c.options)] for c in live.explorer.controls.values()]]
                  for k, live in OPEN.items()]))
"""
SAY = """
import base64, json
from sskd_lib.lab.explorers import OPEN
explorer = OPEN[{key!r}].explorer
state = {{n: c.options[i][1] for (n, c), i in zip(explorer.controls.items(), {places!r}, strict=True)}}
png = base64.b64encode(explorer.frame(**state)).decode()
print(json.dumps([explorer.describe(**state), explorer.start() == state, png]))
"""


def code_cells(source: Path) -> list[str]:
    return [cell.source for cell in build.read_source(source).cells if cell.cell_type == "code"]


def needed(cells: list[str]) -> list[str]:
    """The cells that bring an explorer, and those that make or change what the others use."""
    kept, wanted = [], set()
    for cell in reversed(cells):
        tree = ast.parse(re.sub(r"^[%!].*$", "", cell, flags=re.MULTILINE))
        nodes = list(ast.walk(tree))
        inner = {n.arg for n in nodes if isinstance(n, ast.arg)}
        for loop in (n for n in nodes if isinstance(n, ast.comprehension)):
            inner |= {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
        names = [n for n in nodes if isinstance(n, ast.Name) and n.id not in inner]
        parts = [n for n in nodes if isinstance(n, ast.Subscript | ast.Attribute)]
        made = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        made |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        made |= {(n.asname or n.name).split(".")[0] for n in nodes if isinstance(n, ast.alias)}
        changed = {
            n.value.id for n in parts if isinstance(n.ctx, ast.Store) and isinstance(n.value, ast.Name)
        }
        if CALL.search(cell) or (made | changed) & wanted:
            kept.append(cell)
            lines = [line for line in tree.body if isinstance(line, ast.Assign)]
            anew = {n.id for line in lines for n in line.targets if isinstance(n, ast.Name)}
            wanted = (wanted - anew) | {n.id for n in names if isinstance(n.ctx, ast.Load)}
    return kept[::-1]


EXPLORING = [s for s in build.find_sources() if any(map(CALL.search, code_cells(s)))]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


class Shown:
    """One explorer on the page, and the same explorer asked in the kernel."""

    def __init__(self, page, box, key: str) -> None:
        self.page, self.box, self.key = page, box, key
        self.told: tuple[str, np.ndarray] | None = None
        self.first = self.controls()

    def controls(self) -> list[dict[str, Any]]:
        return self.box.evaluate(CONTROLS)

    def check(self, moved: bool = True) -> bool:
        """Words and picture are those of the controls, and others than before; whether that is the start."""
        from playwright.sync_api import expect

        places = [control["at"] for control in self.controls()]
        words, at_start, png = ask(self.page, SAY.format(key=self.key, places=places))
        expect(self.box.locator("[role=status]")).to_have_text(words, timeout=1000 * PATIENCE)
        expected, end = picture(base64.b64decode(png)), time.monotonic() + PATIENCE
        while not np.array_equal(shown(self.box), expected):
            assert time.monotonic() < end, f"{self.key}: the words are those of {places}, the picture is not"
            time.sleep(0.03)
        if moved and self.told is not None:
            assert words != self.told[0], f"{self.key}: a move to {places} left the words as they were"
            assert (expected != self.told[1]).any(), f"{self.key}: a move to {places} left the picture"
        self.told = (words, expected)
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
            assert time.monotonic() < end, f"{self.key}: a control did not move as asked: {found}"
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


def photograph(box, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    box.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.mark.parametrize("source", EXPLORING, ids=lambda source: source.stem)
def test_every_explorer_of_a_notebook_moves(source: Path, browser, request, capsys) -> None:
    start, cells = time.monotonic(), needed(code_cells(source))
    page, errors = open_page(browser, height=1400)
    run_cells(page, laboratory(request.config).add(source.stem, notebook_of(cells)))
    ready, listed, boxes = time.monotonic(), ask(page, LIST), page.locator(BOX)
    assert 0 < len(listed) == boxes.count() == sum(len(CALL.findall(cell)) for cell in cells)
    for number, (key, controls) in enumerate(listed):
        explorer = Shown(page, boxes.nth(number), key)
        assert [c["label"] for c in explorer.controls()] == [label for label, _ in controls]
        assert explorer.check(), f"{key}: does not begin at its start"
        for place, (_, options) in enumerate(controls):
            if options > 1:
                explorer.move(place, options - 1)
        explorer.reset()
    for name in ("dark", "light"):  # the server keeps the last one for the notebooks that follow
        theme(page, name == "dark")
        for number, (key, _) in enumerate(listed):
            photograph(boxes.nth(number), f"{source.stem}-{key}-{name}".replace(" ", "-"))
    page.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
    page.close()
    assert own_errors(errors) == []
    with capsys.disabled():
        print(f"\n  {source.stem}: {ready - start:.0f} s to run, {time.monotonic() - ready:.0f} s to move")
