"""Predictions, quizzes and checks in a real JupyterLab: by mouse, by keys, and for a screen reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.browser import (
    ask,
    chromium,
    laboratory,
    named,
    notebook_of,
    open_page,
    overflowing,
    own_errors,
    run_cells,
    theme,
)

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
CELLS = (
    f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom sskd_lib import lab",
    'lab.predict("01-tau2")',
    'lab.reveal("01-tau2", 0.25)',
    'lab.predict("01-food")',
    'lab.reveal("01-food", 39.0)',
    'lab.exit_ticket("01")',
    "import torch\nlab.check('soften', lambda logits, tau: torch.softmax(logits / tau, 0))",
    "lab.check('soften', lambda scores, t: torch.softmax(scores / t, 1))",
)


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator:
    """The notebook, opened and run with a record of its own; no widget's error may reach the console."""
    with chromium() as opened:
        page, errors = open_page(opened)
        laboratory_ = laboratory(request.config)
        record = laboratory_.home / "course" / "progress.json"
        cells = (f"import os\nos.environ['SSKD_PROGRESS'] = {str(record)!r}", *CELLS)
        run_cells(page, laboratory_.add("course", notebook_of(cells)))
        page.locator(".sskd-line[role=status]").nth(2).wait_for(state="attached")
        yield page
    assert own_errors(errors) == []


def cell(page, index: int):
    """The cell of CELLS with this index; one comes before them."""
    return page.locator(".jp-Notebook .jp-Cell").nth(index + 1)


def run_again(page, index: int) -> None:
    """Run one cell once more, and wait for its end."""
    page.evaluate(
        """(index) => {
          const panel = jupyterapp.shell.currentWidget;
          panel.content.activeCellIndex = index;
          panel.content.deselectAll();
          return jupyterapp.commands.execute("notebook:run-cell");
        }""",
        index + 1,
    )


def record(page) -> dict:
    """What the kernel's record has."""
    return ask(page, "import json\nprint(json.dumps(lab.read_progress()))")


def test_a_guess_by_mouse_is_kept_and_compared(page) -> None:
    area = cell(page, 1)
    area.get_by_text("(b) about 1/2").click()
    area.get_by_text("fairly sure", exact=True).click()
    area.get_by_role("button", name="Keep my guess").click()
    area.get_by_text("Kept: (b) about 1/2. Now run the next cell.").wait_for()
    assert record(page)["guesses"]["01-tau2"] == {"first": 1, "changes": 0, "last": 1, "sure": "fairly sure"}
    run_again(page, 2)
    cell(page, 2).get_by_text("Your guess is not right.").wait_for()
    assert "You have one of two factors." in cell(page, 2).inner_text()
    assert record(page)["guesses"]["01-tau2"]["right"] is False
    area.get_by_text("(c) about 1/4").click()
    area.get_by_role("button", name="Keep my guess").click()
    area.get_by_text("The answer has been shown already, so this guess is not counted.").wait_for()


def test_a_number_by_keys_is_kept_and_drawn(page) -> None:
    area = cell(page, 3)
    area.get_by_role("slider").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    area.get_by_role("radio", name="a guess").focus()
    page.keyboard.press("ArrowDown")
    area.get_by_role("button", name="Keep my guess").focus()
    page.keyboard.press("Enter")
    area.get_by_text("Kept: 35 %.").wait_for()
    run_again(page, 4)
    cell(page, 4).get_by_text("Your guess is right.").wait_for()
    assert cell(page, 4).get_by_role("img").first.get_attribute("aria-label") == (
        "The answer is 39 %. Your guess was 35 %."
    )


def test_a_quiz_explains_each_choice(page) -> None:
    area = cell(page, 5)
    area.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    area.get_by_role("button", name="Check").click()
    area.get_by_text("Not yet.").wait_for()
    page.keyboard.press("Tab")
    area.get_by_text("(b) Whether the KD term").click()
    area.get_by_role("button", name="Check").click()
    area.get_by_text("Right.").wait_for()
    kept = record(page)["answers"]["01-x"]
    assert (kept["first"], kept["last"], kept["right"], kept["tries"]) == (0, 1, True, 2)


def test_a_check_fails_with_words_and_passes(page) -> None:
    assert "Your columns sum to 1, not your rows." in " ".join(cell(page, 6).inner_text().split())
    assert "soften: right in 5 random cases." in cell(page, 7).inner_text()
    assert record(page)["checks"]["soften"] == {
        "tries": 2,
        "passed": True,
        "mistakes": ["softmax over the wrong axis"],
        "hints": 0,
    }


def test_a_screen_reader_has_a_name_for_everything(page) -> None:
    names = named(page, ("radio", "radiogroup", "slider"))
    assert names
    assert all(name.strip() for _, name in names), names
    groups = [name for role, name in names if role == "radiogroup"]
    assert any("By what factor" in name for name in groups)
    assert any("How sure" in name for name in groups)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 800])
def test_nothing_is_cut_off(page, width, dark) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    theme(page, dark)
    for index in (1, 3, 5):
        assert overflowing(cell(page, index).locator(".sskd-question").first) == []
    page.set_viewport_size({"width": 1440, "height": 1000})
    theme(page, False)


def test_the_record_carries_no_name_and_no_time(page) -> None:
    kept = record(page)
    text = json.dumps(kept)
    assert set(kept) == {"kind", "version", "learner", "guesses", "answers", "checks", "goals", "runs"}
    assert len(kept["learner"]) == 8
    assert "root" not in text and "2026" not in text.replace(kept["learner"], "")
