"""Every notebook of the kit, run once from its first cell to its last, and all that is checked of that run.

With a browser it runs in a real JupyterLab: its explorers are moved by mouse and by keys, compared with what
the kernel says and draws for each setting, and then presented as the still pictures of a page. Pictures of
all explorers, in the light and the dark theme, are left in build/screenshots. Without a browser it runs as
`notebooks/build.py` runs it, and explorers are still pictures from the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build
import kernels
import nbformat
import pytest
from helpers.browser import (
    BROWSER_LACKS,
    ROOT,
    ask,
    chromium,
    laboratory,
    notebook_of,
    open_page,
    own_errors,
    theme,
    try_cells,
)
from helpers.moving import BOX, OnPage

pytestmark = pytest.mark.notebook
SOURCES = [pytest.param(s, marks=pytest.mark.xdist_group(s.stem), id=s.stem) for s in build.find_sources()]
SCREENSHOTS = ROOT / "build" / "screenshots"
LIMIT = 1200  # seconds a notebook, against hanging
CALL = re.compile(r"\bexplore_\w+\(")
LIST = """
import json
from sskd_lib.lab.explorers import OPEN
print(json.dumps([[k, [[c.label, len(c.options)] for c in live.explorer.controls.values()]]
                  for k, live in OPEN.items()]))
"""
# Presents every open explorer as a page without a kernel gets it: [[key, kinds of its outputs, alt text]].
STILL = """
import json, os
from IPython.utils.capture import capture_output
from sskd_lib.lab.explorers import OPEN, present
os.environ["SSKD_STATIC"], found = "1", []
try:
    for key, live in OPEN.items():
        with capture_output() as captured:
            present(live.explorer)
        alt = [output.metadata.get("image/png", {}).get("alt", "") for output in captured.outputs]
        found.append([key, [sorted(output.data) for output in captured.outputs], alt])
finally:
    del os.environ["SSKD_STATIC"]
print(json.dumps(found))
"""


def snapshot() -> dict[Path, tuple[int, int]]:
    """Size and time of every file that a notebook could spoil."""
    folders = (build.NOTEBOOKS, ROOT / "data")
    files = [
        p for folder in folders for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    ]
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


class Executed:
    """A notebook after its one run: as saved, the page it is open on, and the files there were before."""

    def __init__(self, source: Path) -> None:
        self.source, self.before = source, snapshot()
        self.notebook = build.read_source(source)
        self.page: Any = None
        self.errors: list[str] = []
        self.left_behind: set[str] = set()

    @property
    def cells(self) -> list[str]:
        return [cell.source for cell in build.read_source(self.source).cells if cell.cell_type == "code"]

    def run_in(self, browser, lab) -> None:
        """Run it in JupyterLab, save it, and read what was saved."""
        name = self.source.stem
        self.page, self.errors = open_page(browser, height=1400)
        try_cells(self.page, lab.add(name, notebook_of(self.cells)), LIMIT)
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.notebook = nbformat.read(lab.file(name), as_version=4)
        self.left_behind = {p.name for p in lab.file(name).parent.iterdir()} - {f"{name}.ipynb"}
        kernels.clean(self.notebook)

    def close(self) -> None:
        self.page.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
        self.page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium, or None where there is none."""
    if BROWSER_LACKS:
        yield None
        return
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module", params=SOURCES)
def executed(request: pytest.FixtureRequest, browser) -> Iterator[Executed]:
    """Each notebook, run once for all tests of this file."""
    run = Executed(request.param)
    if browser is None:
        kernels.execute(run.notebook, run.source.stem, build.NOTEBOOKS, limit=LIMIT)
        yield run
        return
    run.run_in(browser, laboratory(request.config))
    yield run
    run.close()


def test_it_runs_to_the_end_and_is_fit_to_read(executed: Executed) -> None:
    assert build.find_faults(executed.notebook) == []


def test_it_leaves_no_file_behind(executed: Executed) -> None:
    assert snapshot() == executed.before
    assert executed.left_behind <= {".ipynb_checkpoints"}


def explorers(executed: Executed) -> list[tuple[str, list, Any]]:
    """(key, [label and number of options of each control], box on the page) of a notebook's explorers."""
    if not any(map(CALL.search, executed.cells)):
        pytest.skip("has no explorer")
    if executed.page is None:
        pytest.skip(f"needs {BROWSER_LACKS}")
    listed, boxes = ask(executed.page, LIST), executed.page.locator(BOX)
    assert len(listed) == boxes.count() == sum(len(CALL.findall(cell)) for cell in executed.cells)
    return [(key, controls, boxes.nth(number)) for number, (key, controls) in enumerate(listed)]


def test_every_explorer_moves(executed: Executed) -> None:
    for key, controls, box in explorers(executed):
        explorer = OnPage(executed.page, box, key)
        assert [c["label"] for c in explorer.controls()] == [label for label, _ in controls]
        assert explorer.check(), f"{key}: does not begin at its start"
        for place, (_, options) in enumerate(controls):
            if options > 1:
                explorer.move(place, options - 1)
        explorer.reset()
    assert own_errors(executed.errors) == []


def test_every_explorer_is_drawn_in_both_themes(executed: Executed) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name in ("dark", "light"):  # the server keeps the last one for the notebooks that follow
        for key, _, box in explorers(executed):
            theme(executed.page, name == "dark")
            file = f"{executed.source.stem}-{key}-{name}.png".replace(" ", "-")
            assert len(box.screenshot(path=SCREENSHOTS / file)) > 5_000  # bytes
    assert own_errors(executed.errors) == []


def test_every_explorer_has_still_pictures_with_words(executed: Executed) -> None:
    keys = [key for key, _, _ in explorers(executed)]
    for key, (found, kinds, alts) in zip(keys, ask(executed.page, STILL), strict=True):
        assert found == key
        assert kinds == [["image/png", "text/plain"]]
        assert "Picture 1: " in alts[0]
