"""Questions, guesses and the learner's record: what is kept, what is said, and what is never lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sskd_lib.lab.course import calibration, predictions, progress
from sskd_lib.lab.course.bank import Scale, find_question, make_question, questions_of
from sskd_lib.lab.course.predictions import is_right, predict, reveal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def live(monkeypatch) -> None:
    """As under a kernel: `reveal` compares, and does not fold."""
    monkeypatch.setattr(predictions, "is_static", lambda: False)


# ---- questions ------------------------------------------------------------------------------------


def test_a_truth_is_an_option_by_letter_text_place_or_nearest_number() -> None:
    question = find_question("01-tau2")  # its options stand for 1, 0.5 and 0.25
    assert [question.option_of(truth) for truth in ("c", "about 1/2", 0.31, 0.9)] == [2, 1, 2, 0]
    words = find_question("01-columns")
    assert words.option_of(1) == 1
    with pytest.raises(ValueError, match="is no answer to '01-columns'. Its options are: \\(a\\)"):
        words.option_of("the weather")


def test_a_number_is_right_within_its_margin() -> None:
    question = find_question("01-food")
    assert question.scale.close == 10
    assert is_right(question, 30, 40) and is_right(question, 50, 40)
    assert not is_right(question, 51, 40)


def test_a_scale_writes_as_many_digits_as_its_step_has() -> None:
    assert Scale(low=0, high=1, step=0.05, close=0.1).text(0.123) == "0.12"
    assert Scale(low=0, high=100, step=5, close=10, unit="%").text(38.6) == "39 %"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"ask": "?", "options": [{"text": "a", "because": "b"}], "anser": "a"}, "Did you mean 'answer'"),
        ({"ask": "?", "answer": "a"}, "needs either options or a number"),
        ({"ask": "?", "options": [{"text": "a", "because": "b"}]}, "every other question has"),
        ({"ask": "?", "options": [{"text": "a", "because": "b"}], "answer": "c"}, "'c' is not the letter"),
    ],
)
def test_a_question_that_is_written_wrongly_is_refused(entry, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_question("x", "recall", entry)


def test_an_unknown_question_or_notebook_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="Did you mean '01-tau2'"):
        find_question("01-tau")
    with pytest.raises(ValueError, match="no recall question for notebook '99'"):
        questions_of("99", "recall")


# ---- guesses --------------------------------------------------------------------------------------


def test_a_guess_is_compared_once_and_later_ones_do_not_count(record, live, capsys) -> None:
    question = find_question("01-tau2")
    predictions._keep(question, 1, "sure")
    predictions._keep(question, 2, "fairly sure")
    kept = progress.read_progress()["guesses"]["01-tau2"]
    assert kept == {"first": 1, "changes": 1, "last": 2, "sure": "fairly sure"}
    reveal("01-tau2", 0.3)
    assert "The answer: (c) about 1/4." in capsys.readouterr().out
    assert "not counted" in predictions._keep(question, 0, "sure")
    kept = progress.read_progress()["guesses"]["01-tau2"]
    assert (kept["last"], kept["truth"], kept["right"]) == (2, 2, True)


def test_a_wrong_guess_is_told_why(record, live) -> None:
    question = find_question("01-food")
    page = predictions._compared(question, 40.0, 10.0, "")
    assert "Your guess is not right." in page
    assert question.scale.below[:40] in page
    assert question.scale.above[:40] not in page


def test_reveal_without_a_guess_shows_the_answer_and_keeps_nothing(record, live, capsys) -> None:
    reveal("01-tau2", 0.25)
    assert "about 1/4" in capsys.readouterr().out
    assert progress.read_progress()["guesses"] == {}


def test_without_a_kernel_the_answer_is_folded(record, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(predictions, "show_html", lambda html, text: shown.append(html))
    predict("01-tau2")
    reveal("01-tau2", 0.25, "Measured: 0.25.")
    question, answer = shown
    assert "because" not in question and "One comes from the derivative" not in question
    assert re.match(r"<details class=\"sskd-question\"><summary>The answer</summary>", answer)
    assert "Measured: 0.25." in answer


def test_a_lecturer_s_question_needs_a_reason_for_each_option(record, capsys) -> None:
    with pytest.raises(ValueError, match="2 options and 1 reasons"):
        predict("mine", "Which?", options=["a", "b"], because=["only one"])
    predict("mine", "Which one?", options=["this", "that"], because=["no", "yes"])
    reveal("mine", "that")
    assert "The answer: (b) that." in capsys.readouterr().out


# ---- the record -----------------------------------------------------------------------------------


def test_a_broken_record_is_put_aside_and_a_new_one_begins(record, capsys) -> None:
    record.write_text('{"kind": "sskd pro')
    progress.keep_goal("temperature")
    assert progress.read_progress()["goals"] == {"temperature": True}
    assert record.with_suffix(".broken").read_text() == '{"kind": "sskd pro'
    assert "a new one begins" in capsys.readouterr().out


def test_where_nothing_can_be_written_it_is_kept_in_memory(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("SSKD_PROGRESS", str(tmp_path / "a file" / "progress.json"))
    monkeypatch.setattr(progress, "_memory", {})
    monkeypatch.setattr(progress, "_warned", set())
    progress.keep_goal("one")
    progress.keep_goal("two")
    assert progress.read_progress()["goals"] == {"one": True, "two": True}
    assert capsys.readouterr().out.count("is kept until the kernel stops") == 1


def test_off_writes_no_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SSKD_PROGRESS", "off")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(progress, "_memory", {})
    progress.keep_goal("one")
    assert progress.read_progress()["goals"] == {"one": True}
    assert list(tmp_path.iterdir()) == []


def test_two_kernels_lose_nothing_of_each_other(record) -> None:
    code = "import sys; from sskd_lib.lab.course.progress import keep_goal\n"
    code += "for i in range(40): keep_goal(f'{sys.argv[1]} {i}')"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in "ab"]
    assert [process.wait(300) for process in both] == [0, 0]
    assert len(progress.read_progress()["goals"]) == 80


def test_an_exported_record_has_a_random_name_and_no_other_mark(record, tmp_path) -> None:
    progress.keep_goal("one")
    file = progress.export_progress(tmp_path / "hand in é" / "mine.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert set(content) == {"kind", "version", "learner", "guesses", "answers", "checks", "goals", "runs"}
    assert re.fullmatch(r"[0-9a-f]{8}", content["learner"])


# ---- calibration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 7), (10, 10)])
def test_the_interval_is_wilson_s(right, n) -> None:
    from scipy import stats

    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert calibration.wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_the_counts_are_of_guesses_that_were_compared() -> None:
    guesses = {
        "a": {"sure": "sure", "right": True},
        "b": {"sure": "sure", "right": False},
        "c": {"sure": "a guess", "right": True},
        "d": {"sure": "sure"},  # not compared yet
    }
    counts = calibration.calibration_counts({"guesses": guesses})
    assert counts == {"a guess": (1, 1), "fairly sure": (0, 0), "sure": (1, 2)}
    assert "chance alone" in calibration.calibration_words(counts)
    assert "know what you know" in calibration.calibration_words({"a guess": (2, 20), "sure": (19, 20)})
