"""Every notebook of the kit, run once from its first cell to its last, and all that is checked of that run.

With a browser it runs in a real JupyterLab: its explorers are moved by mouse and by keys, compared with what
the kernel says and draws for each setting, and then presented as the still pictures of a page. Pictures of
all explorers, in the light and the dark theme, are left in build/screenshots. Without a browser it runs as
`notebooks/build.py` runs it, and explorers are still pictures from the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

import build
import kernels
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
SCREENSHOTS = ROOT / "build" / "screenshots"
LIMIT = 1200  # seconds a notebook, against hanging
CALL = re.compile(r"\bexplore_(?!clinic)\w+\(")  # the clinic has widgets of its own
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


@dataclass(kw_only=True)
class Executed:
    """A notebook after its one run. page: where it is open in JupyterLab; None without a browser."""

    cells: list[str]
    notebook: NotebookNode
    page: Any = None
    errors: Sequence[str] = ()
    left_behind: set[str] = field(default_factory=set)


@contextmanager
def in_jupyterlab(source: Path, browser, lab) -> Iterator[Executed]:
    """Run a notebook in JupyterLab, and save it; it stays open during the block."""
    name, cells = source.stem, code_cells(source)
    page, errors = open_page(browser, height=1400)
    try_cells(page, lab.add(name, notebook_of(cells)), LIMIT)
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    notebook = nbformat.read(lab.file(name), as_version=4)
    kernels.clean(notebook)
    left = {p.name for p in lab.file(name).parent.iterdir()} - {f"{name}.ipynb", ".ipynb_checkpoints"}
    yield Executed(cells=cells, notebook=notebook, page=page, errors=errors, left_behind=left)
    page.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
    page.close()


@contextmanager
def by_the_builder(source: Path) -> Iterator[Executed]:
    """Run a notebook as `notebooks/build.py` does."""
    notebook = build.read_source(source)
    kernels.execute(notebook, source.stem, build.NOTEBOOKS, limit=LIMIT)
    yield Executed(cells=code_cells(source), notebook=notebook)


def code_cells(source: Path) -> list[str]:
    return [cell.source for cell in build.read_source(source).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium, or None where there is none."""
    if BROWSER_LACKS:
        yield None
        return
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize("source", build.find_sources(), ids=lambda source: source.stem)
def test_notebook(source: Path, browser, request: pytest.FixtureRequest) -> None:
    """Run it once; check its outputs, what it leaves on the disk, and each of its explorers."""
    before = snapshot()
    run = in_jupyterlab(source, browser, laboratory(request.config)) if browser else by_the_builder(source)
    with run as executed:
        assert build.find_faults(executed.notebook) == []
        assert snapshot() == before
        assert executed.left_behind == set()
        if executed.page:
            check_explorers(executed, source.stem)
            assert own_errors(executed.errors) == []


def check_explorers(executed: Executed, name: str) -> None:
    """Every explorer moves, is drawn in both themes, and has still pictures with words."""
    page, boxes = executed.page, executed.page.locator(BOX)
    expected = sum(len(CALL.findall(cell)) for cell in executed.cells)
    assert boxes.count() == expected
    if not expected:
        return
    listed = ask(page, LIST)
    assert len(listed) == expected
    for number, (key, controls) in enumerate(listed):
        check_moves(OnPage(page, boxes.nth(number), key), controls)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for shade in ("dark", "light"):  # the server keeps the last one for the notebooks that follow
        theme(page, shade == "dark")
        for number, (key, _) in enumerate(listed):
            file = SCREENSHOTS / f"{name}-{key}-{shade}.png".replace(" ", "-")
            boxes.nth(number).screenshot(path=file)
    for (key, _), (still, kinds, alts) in zip(listed, ask(page, STILL), strict=True):
        assert still == key
        assert kinds == [["image/png", "text/plain"]]
        assert "Picture 1: " in alts[0]


def check_moves(explorer: OnPage, controls: list) -> None:
    """Each control, [label, number of options], moves by mouse and by keys, and Reset takes all back."""
    assert [control["label"] for control in explorer.controls()] == [label for label, _ in controls]
    assert explorer.check(), f"{explorer.key}: does not begin at its start"
    for place, (_, options) in enumerate(controls):
        if options > 1:
            explorer.move(place, options - 1)
    explorer.reset()
