"""The steps before an exercise: order of lines, blanks, and what is said to a wrong one."""

from __future__ import annotations

import math

import pytest

from sskd_lib.lab.exercises.practise import order_remark, practise, shuffled, try_code, with_blanks
from sskd_lib.lab.exercises.registry import EXERCISES
from sskd_lib.lab.exercises.texts import exercise_text


@pytest.mark.parametrize("name", EXERCISES)
def test_the_lines_in_their_order_are_right_and_shuffled_ones_are_told_where_to_look(name) -> None:
    text = exercise_text(name)
    assert order_remark(name, text, text.lines) == (True, "Right: this order works.")
    mixed = shuffled(text)
    assert sorted(mixed) == sorted(text.lines)
    right, words = order_remark(name, text, mixed)
    assert not right
    assert words.startswith("Not yet.")


@pytest.mark.parametrize("name", EXERCISES)
def test_the_blanks_take_the_right_parts_and_refuse_others(name) -> None:
    text = exercise_text(name)
    parts = [part for _, part in text.blanks]
    assert parts
    assert with_blanks(text, parts) == list(text.lines)
    assert try_code(name, with_blanks(text, parts))[0]
    right, words = try_code(name, with_blanks(text, ["1 +"] * len(parts)))
    assert not right
    assert "Python cannot read line" in words


def test_a_wrong_blank_is_named() -> None:
    text = exercise_text("kd_loss")
    parts = [{"tau**2": "1"}.get(part, part) for _, part in text.blanks]
    right, words = try_code("kd_loss", with_blanks(text, parts))
    assert not right
    assert "the factor τ² is missing" in words


def test_blanks_that_are_wrong_in_an_unknown_way_come_with_both_values() -> None:
    """The message points to two values below it, so they have to be there: these by math.exp."""
    parts = {"/ tau": "* tau", "dim=1": "dim=0"}
    text = exercise_text("soften")
    lines = with_blanks(text, [parts.get(part, part) for _, part in text.blanks])
    right, words = try_code("soften", lines)
    assert not right
    case = EXERCISES["soften"].cases(1)
    row, tau = case["logits"][0].tolist(), case["tau"]
    raised = [math.exp(score / tau) for score in row]
    assert "Compare the two values below" in words and "  yours: [[" in words
    assert f"  right: [{[round(value / sum(raised), 4) for value in raised]}" in words


def test_two_lines_that_may_change_places_are_both_right() -> None:
    text = exercise_text("kd_loss")
    lines = list(text.lines)
    lines[1], lines[2] = lines[2], lines[1]
    assert lines != list(text.lines)
    assert order_remark("kd_loss", text, lines)[0]


def test_without_a_kernel_only_the_worked_example_is_shown(capsys) -> None:
    practise("kd_loss")
    shown = capsys.readouterr().out
    assert "in plain loops" in shown
    assert "for n in range(len(student))" in shown
    assert "F.log_softmax" not in shown


def test_an_unknown_exercise_is_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'kd_loss'"):
        practise("kd_los")
