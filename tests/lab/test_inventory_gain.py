"""What a class gains between the two inventories: by hand, by scipy, and with files that are not complete."""

from __future__ import annotations

import json
import math
import random
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import special, stats

from sskd_lib import lab
from sskd_lib.lab.course.bank import questions_of
from sskd_lib.lab.course.inventory_gain import ENOUGH, bootstrap_intervals, compute_gain

QUESTIONS = questions_of("inventory", "inventory")


def record(learner, before, after):
    """A learner's file: the first `before` questions right before the course, the first `after` after it."""
    answers = {}
    for moment, right in (("before", before), ("after", after)):
        for i, question in enumerate(QUESTIONS):
            chosen = question.answer if i < right else (question.answer + 1) % len(question.options)
            answers[f"{question.key}-{moment}"] = {
                "first": chosen,
                "last": chosen,
                "right": i < right,
                "tries": 1,
            }
    empty = {"guesses": {}, "checks": {}, "runs": {}}
    return {"kind": "sskd progress", "version": 1, "learner": learner, "answers": answers, **empty}


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def four(tmp_path):
    for i, (before, after) in enumerate([(2, 6), (4, 6), (6, 8), (4, 8)]):
        write(tmp_path, f"{i}.json", record(f"learner{i}", before, after))
    return tmp_path


def test_four_learners_by_hand(four, capsys):
    """Before 2, 4, 6, 4 of 10, after 6, 6, 8, 8: differences 0.4, 0.2, 0.2, 0.4."""
    gain = lab.inventory_gain(four)
    assert gain.learners == 4
    assert (gain.before, gain.after) == (pytest.approx(0.4), pytest.approx(0.7))
    spread = math.sqrt(0.04 / 3)  # four deviations of 0.1
    assert gain.change == (pytest.approx(0.3), pytest.approx(3.1824 * spread / 2, rel=1e-4))
    assert gain.normalised == pytest.approx(0.5)  # 0.3 of 0.6 that were left
    assert gain.d_z == pytest.approx(0.3 / spread)
    average = (math.sqrt(0.08 / 3) + math.sqrt(0.04 / 3)) / 2
    assert gain.d_av == pytest.approx((8 / 11) * 0.3 / average)  # J = 1 - 3 / 11
    fifth = gain.questions[4]  # right before for one learner, after for all
    assert (fifth.before, fifth.after, fifth.to_right, fifth.to_wrong) == (1, 4, 3, 0)
    text = capsys.readouterr().out
    assert "40 % before, 70 % after, +30 points ± 18" in text
    assert "Too few learners" in text and "95 %:" not in text
    assert all(question.source in text for question in QUESTIONS)


def test_a_class_of_thirty_by_scipy():
    generator = np.random.default_rng(1)
    level = generator.uniform(0.2, 0.6, size=(30, 1, 1))
    right = generator.random((30, 2, 10)) < level + np.array([[0.0], [0.25]])
    gain = compute_gain(right, QUESTIONS)
    before, after = right.mean(2).T
    test = stats.ttest_rel(after, before)
    ends = test.confidence_interval(0.95)
    mean, half = gain.change
    assert (mean - half, mean + half) == (pytest.approx(ends.low), pytest.approx(ends.high))
    assert gain.d_z == pytest.approx(test.statistic / math.sqrt(30))
    exact = special.gamma(29 / 2) / (math.sqrt(29 / 2) * special.gamma(28 / 2))  # Hedges' J with 29 degrees
    average = (np.std(before, ddof=1) + np.std(after, ddof=1)) / 2
    assert gain.d_av == pytest.approx(exact * (after - before).mean() / average, rel=1e-3)
    for q, now, then in zip(gain.questions, right[:, 1].T, right[:, 0].T, strict=True):
        assert q.after - q.before == q.to_right - q.to_wrong == int(now.sum()) - int(then.sum())


def test_intervals_are_those_of_a_plain_bootstrap():
    """Learner by learner, with other random numbers: the ends differ by little of the width."""
    generator = np.random.default_rng(2)
    before = generator.uniform(0.1, 0.6, 25)
    after = before + generator.uniform(-0.1, 0.5, 25)
    draw, drawn = random.Random(3), []
    for _ in range(4000):
        pairs = draw.choices(list(zip(before, after, strict=True)), k=25)
        b, a = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        mean = fmean(a) - fmean(b)
        average = (stdev(b) + stdev(a)) / 2
        d_z = mean / stdev([y - x for x, y in pairs])
        drawn.append((mean / (1 - fmean(b)), d_z, (1 - 3 / 95) * mean / average))
    for ends, values in zip(bootstrap_intervals(before, after), zip(*drawn, strict=True), strict=True):
        low, high = np.quantile(values, [0.025, 0.975])
        close = (high - low) / 12
        assert ends == (pytest.approx(low, abs=close), pytest.approx(high, abs=close))


def test_intervals_begin_with_ten_learners():
    right = np.zeros((ENOUGH, 2, 10), dtype=bool)
    for i in range(ENOUGH):
        right[i, 0, : 1 + i % 4] = right[i, 1, : 5 + i % 3] = True
    assert math.isfinite(compute_gain(right, QUESTIONS).d_z_interval[0])
    assert math.isnan(compute_gain(right[1:], QUESTIONS).d_z_interval[0])


def test_without_spread_there_is_no_effect_size():
    right = np.zeros((12, 2, 10), dtype=bool)
    right[:, 1, :3] = True
    gain = compute_gain(right, QUESTIONS)
    assert (
        gain.normalised == pytest.approx(0.3) and math.isnan(gain.d_z) and math.isnan(gain.d_av_interval[0])
    )
    right[:] = True  # all right from the beginning: nothing is left to gain
    assert math.isnan(compute_gain(right, QUESTIONS).normalised)


def test_files_that_cannot_be_compared_are_named(four, capsys):
    (four / "broken.json").write_text("{", encoding="utf-8")
    write(four, "other.json", {"kind": "another"})
    write(four, "strange.json", record("x", 1, 2) | {"answers": [1, 2]})
    half = record("half", 3, 4)
    half["answers"] = {key: value for key, value in half["answers"].items() if key.endswith("-before")}
    write(four, "half.json", half)
    write(four, "9.json", record("learner0", 2, 10))  # the same learner once more
    gain = lab.inventory_gain(four)
    assert gain.learners == 4 and gain.after == pytest.approx(0.8)
    text = capsys.readouterr().out
    assert "half.json was left out: 10 of 20 answers are missing." in text
    assert "9.json replaces another file of the same learner." in text
    for name in ("broken.json", "other.json", "strange.json"):
        assert f"{name} was left out" in text
    assert (four / "broken.json").exists()  # a file that was handed in is never moved


def test_what_is_said_where_nothing_can_be_compared(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*\.json files.*export_progress"):
        lab.inventory_gain(tmp_path)
    with pytest.raises(FileNotFoundError, match="no .* files"):
        lab.inventory_gain(tmp_path / "nowhere")
    empty = record("x", 1, 2) | {"answers": {}}
    write(tmp_path, "empty.json", empty)
    with pytest.raises(ValueError, match=r'lab\.inventory\("before"\).*20 of 20 answers are missing'):
        lab.inventory_gain(tmp_path)
