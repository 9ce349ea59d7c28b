"""Texts of the exercises: they pass their own check, and no message or hint gives them away."""

from __future__ import annotations

import re

import pytest

from sskd_lib.lab.exercises.judge import judge
from sskd_lib.lab.exercises.registry import EXERCISES
from sskd_lib.lab.exercises.texts import exercise_text

NAMES = tuple(EXERCISES)


def words_of(name: str) -> list[str]:
    """All that an exercise says about mistakes."""
    exercise = EXERCISES[name]
    return [part.message for part in (*exercise.mistakes, *exercise.demands)]


def run_text(name: str, code: str):
    """Return the function of an exercise's text."""
    space: dict = {}
    exec(exercise_text(name).imports, space)
    exec(code, space)
    return space[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_texts_pass_the_check(name):
    text = exercise_text(name)
    for code in (text.worked, "\n".join(text.lines)):
        verdict = judge(EXERCISES[name], run_text(name, code))
        assert verdict.right, verdict.message
    assert 3 <= len(text.lines) <= 8 and 2 <= len(text.blanks) <= 3
    assert len(set(text.lines)) == len(text.lines)  # equal lines could not be put in order
    assert all(text.lines[place].count(blank) == 1 for place, blank in text.blanks)
    assert "blank:" not in "".join(text.lines) and "    # 1. " in text.worked


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_is_a_function_without_a_body(name):
    text = exercise_text(name)
    assert text.stub.splitlines()[0] == text.lines[0] and len(text.stub.splitlines()) == 3
    verdict = judge(EXERCISES[name], run_text(name, text.stub))
    assert verdict.mistake == "returns nothing" and EXERCISES[name].returns in verdict.message


def test_an_unknown_text_names_the_others():
    with pytest.raises(ValueError, match="Did you mean 'soften'.*transfer_mask"):
        exercise_text("softn")


@pytest.mark.parametrize("name", NAMES)
def test_no_words_give_the_solution(name):
    lines = [re.sub(r"\s", "", line) for line in exercise_text(name).lines[1:]]
    said = [re.sub(r"\s", "", words) for words in (*words_of(name), *EXERCISES[name].hints)]
    code = [line for line in lines if line not in ("total=0", "returntotal", "returnmask")]
    assert [line for line in code for words in said if line in words] == []
    assert len(set(EXERCISES[name].hints)) == 3
