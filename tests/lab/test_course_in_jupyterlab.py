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
from helpers.explorers import selection_explorer
from sskd_lib.lab.exercises.texts import exercise_text

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
    'lab.practise("kd_loss")',
    f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
    "from helpers.explorers import selection_explorer\nselection = selection_explorer()",
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


def test_lines_are_ordered_by_keys(page) -> None:
    area = cell(page, 8)
    area.get_by_role("radio", name="2. Order the lines").focus()
    page.keyboard.press("Space")
    lines = area.get_by_role("listbox", name="Lines of code")
    lines.wait_for()
    area.get_by_role("button", name="Check the order").click()
    area.get_by_text("Not yet.").wait_for()
    wanted = exercise_text("kd_loss").lines
    for place, line in enumerate(wanted):  # bring each line up to its place
        shown = [text.replace("\u00a0", " ") for text in lines.locator("option").all_inner_texts()]
        lines.select_option(index=shown.index(line))
        for _ in range(shown.index(line) - place):
            area.get_by_role("button", name="Move up").focus()
            page.keyboard.press("Enter")
        page.wait_for_function(
            "([list, place, line]) => list.options[place].textContent.replaceAll('\\u00a0', ' ') === line",
            arg=[lines.element_handle(), place, line],
        )
    area.get_by_role("button", name="Check the order").click()
    area.get_by_text("Right: this order works.").wait_for()


def test_a_wrong_blank_is_named(page) -> None:
    area = cell(page, 8)
    area.get_by_text("3. Fill in the blanks").click()
    fields = area.locator(".sskd-question input[type=text]")
    fields.nth(2).wait_for()
    for place, text in enumerate((".detach()", "log_q - log_p", "1")):
        fields.nth(place).fill(text)
        fields.nth(place).press("Tab")
    area.get_by_role("button", name="Check the blanks").click()
    area.get_by_text("the factor τ² is missing").wait_for()


def test_a_slider_s_goal_is_reached_by_keys(page) -> None:
    area, explorer = cell(page, 9), selection_explorer()
    options = [value for _, value in explorer.controls["keep_wrong"].options]
    goal = next(value for value in options if explorer.goal.judge({"keep_wrong": value})[0])
    start = explorer.controls["keep_wrong"].start
    assert "Not yet:" in area.locator(".sskd-task").inner_text()
    area.get_by_role("slider").focus()
    steps = options.index(goal) - options.index(start)
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    area.get_by_text("✓ Reached:").wait_for()
    assert record(page)["goals"] == {explorer.key: True}


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
