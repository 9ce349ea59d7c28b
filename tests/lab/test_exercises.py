"""Exercises: every known mistake gets its own words, right answers pass, and no code breaks the check."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from helpers.student_answers import RIGHT, WRONG
from sskd_lib import lab
from sskd_lib.lab.course.progress import read_progress
from sskd_lib.lab.exercises.check import case_words
from sskd_lib.lab.exercises.guard import copied
from sskd_lib.lab.exercises.judge import judge
from sskd_lib.lab.exercises.registry import EXERCISES

NAMES = tuple(EXERCISES)
WRONG_ONES = [(name, mistake) for name in WRONG for mistake in WRONG[name]]
RIGHT_ONES = [(name, number) for name in RIGHT for number in range(len(RIGHT[name]))]
SECONDS = 0.5


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("SSKD_PROGRESS", str(tmp_path / "progress.json"))


def words_of(name: str) -> list[str]:
    """All that an exercise says about mistakes."""
    exercise = EXERCISES[name]
    return [part.message for part in (*exercise.mistakes, *exercise.demands)]


# ---- answers -------------------------------------------------------------------------------------


def test_there_are_enough_answers():
    assert len(NAMES) == 15 and set(NAMES) == set(WRONG) == set(RIGHT)
    assert min(len(WRONG[name]) for name in NAMES) >= 6
    assert min(len(RIGHT[name]) for name in NAMES) >= 3


@pytest.mark.parametrize(("name", "mistake"), WRONG_ONES)
def test_a_wrong_answer_is_recognised(name, mistake):
    verdict = judge(EXERCISES[name], WRONG[name][mistake])
    assert (verdict.right, verdict.mistake) == (False, mistake)
    assert words_of(name).count(verdict.message) == 1


@pytest.mark.parametrize(("name", "number"), RIGHT_ONES)
def test_a_right_answer_passes(name, number):
    verdict = judge(EXERCISES[name], RIGHT[name][number])
    assert verdict.right, verdict.message


@pytest.mark.parametrize("name", NAMES)
def test_each_mistake_differs_from_the_others(name):
    exercise = EXERCISES[name]
    assert [judge(exercise, known.answer).mistake for known in exercise.mistakes] == [
        known.name for known in exercise.mistakes
    ]
    assert len(set(words_of(name))) == len(words_of(name)) >= 6


@pytest.mark.parametrize("name", ["kd_loss", "kd_term", "ss_term", "contrastive_loss"])
def test_numpy_has_no_gradient(name):
    def answer(*arguments):
        return float(
            RIGHT[name][0](*(torch.tensor(a.numpy()) if torch.is_tensor(a) else a for a in arguments))
        )

    assert judge(EXERCISES[name], answer).mistake == "no gradient"


# ---- what else a function can do -----------------------------------------------------------------


def forever(*arguments):
    while True:
        pass


def forever_and_careful(*arguments):
    while True:
        try:  # noqa: SIM105
            pass
        except Exception:
            pass


@pytest.mark.parametrize("name", ["soften", "transfer_mask", "train_step"])
@pytest.mark.parametrize("answer", [forever, forever_and_careful])
def test_a_loop_without_an_end_is_stopped(name, answer):
    verdict = judge(EXERCISES[name], answer, seconds=SECONDS)
    assert verdict.mistake == "never ends" and "0.5 seconds" in verdict.message
    assert judge(EXERCISES[name], RIGHT[name][0]).right  # what was raised there does not arrive here


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_argument_is_noticed(name):
    def answer(*arguments):
        for value in arguments:
            if isinstance(value, dict):
                value.pop("ce")
            elif torch.is_tensor(value):
                value[0] = ~value[0] if value.dtype == torch.bool else value[0] + 1
        return 0.0

    verdict = judge(EXERCISES[name], answer, seconds=SECONDS)
    assert verdict.mistake == "changes its input"
    names = [
        key
        for key, value in EXERCISES[name].cases(1).items()
        if torch.is_tensor(value) or type(value) is dict
    ]
    assert repr(names[0]) in verdict.message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("value", "mistake", "words"),
    [
        (None, "returns nothing", "returns nothing"),
        ("0.5", "returns no numbers", "'0.5'"),
        (object(), "returns no numbers", "object"),
        (["a", "b"], "returns no numbers", "list"),
        (forever, "returns no numbers", "function"),
        (..., "returns no numbers", "Ellipsis"),
    ],
)
def test_a_value_of_another_kind_is_named(name, value, mistake, words):
    verdict = judge(EXERCISES[name], lambda *arguments: value, seconds=SECONDS)
    assert verdict.mistake == mistake and words in verdict.message
    assert EXERCISES[name].returns in verdict.message


def test_an_error_is_told_with_its_line():
    def answer(logits, tau):
        scaled = logits / tau
        return scaled @ scaled @ scaled @ torch.ones(99)

    verdict = judge(EXERCISES["soften"], answer)
    assert verdict.mistake == "an error" and "RuntimeError in line 3 of your function" in verdict.message
    crash = judge(EXERCISES["four_views"], lambda: None)
    assert crash.mistake == "an error" and "TypeError" in crash.message
    assert judge(EXERCISES["soften"], lambda z, tau: exit()).mistake == "an error"


def test_another_shape_a_factor_and_an_order_have_words():
    soften = RIGHT["soften"][1]
    assert judge(EXERCISES["soften"], lambda z, tau: soften(z, tau)[:1]).mistake == "another shape"
    factor = judge(EXERCISES["soften"], lambda z, tau: 7 * soften(z, tau))
    assert factor.mistake == "a constant factor" and "7 times" in factor.message
    assert judge(EXERCISES["soften"], lambda z, tau: soften(z, tau).flip(1)).mistake == "another order"
    assert judge(EXERCISES["soften"], lambda z, tau: soften(z, tau) ** 2).mistake == "unknown"
    assert judge(EXERCISES["soften"], soften(torch.ones(1, 2), 1.0)).mistake == "not a function"


def test_a_step_that_is_wrong_in_an_unknown_way_says_in_what():
    def answer(student, teacher, optimizer, *more):
        value = RIGHT["train_step"][0](student, teacher, optimizer, *more)
        with torch.no_grad():
            teacher[1].weight += 1
        return value

    verdict = judge(EXERCISES["train_step"], answer)
    assert verdict.message == "These are not right: the teacher's weights."
    assert "not right: the teacher's weights" in case_words(verdict)


def test_copies_of_networks_keep_gradients_and_their_optimizer():
    case = EXERCISES["train_step"].cases(1)
    new = copied(case)
    pairs = list(zip(case["student"].parameters(), new["student"].parameters(), strict=True))
    assert all(torch.equal(a.grad, b.grad) and a.grad is not b.grad and a is not b for a, b in pairs)
    assert all(a is b for (_, a), b in zip(pairs, new["optimizer"].param_groups[0]["params"], strict=True))


# ---- what a learner sees -------------------------------------------------------------------------


def test_a_check_prints_and_keeps_what_happened(capsys):
    def talks(z, tau):
        print("half way")
        return torch.softmax(z, 1)

    lab.check("soften", talks)
    shown = capsys.readouterr().out
    assert "✗ soften: Your result is the same at every temperature" in shown
    assert "Your function printed: half way" in shown and "Case 1 of 5:" in shown and "  right: [[" in shown
    lab.check("soften", lambda z, tau: print("done") or torch.softmax(z / tau, 1))
    assert capsys.readouterr().out == "✓ soften: right in 5 random cases.\n"
    kept = read_progress()["checks"]["soften"]
    assert kept == {"tries": 2, "passed": True, "mistakes": ["temperature left out"], "hints": 0}


def test_hints_come_one_by_one(capsys):
    for count in (1, 2, 3, 3):
        lab.hint("transfer_mask")
        shown = capsys.readouterr().out
        assert [f"Hint {i} of 3" in shown for i in (1, 2, 3)] == [i <= count for i in (1, 2, 3)]
    with pytest.raises(ValueError, match="no exercise 'four_view'. Did you mean 'four_views'"):
        lab.hint("four_view")


def test_a_wrong_function_is_replaced_and_refused_in_grading(capsys):
    wrong, right = WRONG["error_rank"]["begins at 1"], RIGHT["error_rank"][0]
    assert lab.checked("error_rank", right) is right
    chosen = lab.checked("error_rank", wrong)
    assert judge(EXERCISES["error_rank"], chosen).right
    assert "the cells below use the kit's error_rank" in capsys.readouterr().out
    lab.require("error_rank", right)
    with pytest.raises(AssertionError, match="error_rank: Your ranks begin at 1"):
        lab.require("error_rank", wrong)
    assert read_progress()["checks"]["error_rank"]["tries"] == 1


PROFILED = """
import subprocess
import sys
from sskd_lib.lab.exercises.guard import time_limit

with time_limit(5.0):
    pass
events = []
sys.setprofile(lambda frame, event, argument: events.append(event))
try:
    total = sum(2 * i for i in range(3))
finally:
    sys.setprofile(None)
print(total, "call" in events)
"""


def test_a_profiler_works_after_a_check():
    """Python 3.11 went on for ever here, once an exception had been taken back (in a process of its own)."""
    done = subprocess.run([sys.executable, "-c", PROFILED], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["6", "True"], done.stderr
