"""What notebooks 04 and 08 say of recorded runs, against plain loops over made-up recordings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from helpers.recordings import TERMS, USUAL, made_recording, mixed_recording
from sskd_lib.lab import recorded_tables as tables
from sskd_lib.lab.comparison.statistics import verdict


def ends(recording, **wanted) -> dict[int, float]:
    return {
        one["seed"]: float(recording.accuracy[run, -1])
        for run, one in enumerate(recording.settings)
        if all(one[name] == value for name, value in wanted.items())
    }


def test_contrasts_are_paired_by_seed_with_all_else_as_usual() -> None:
    recording = made_recording()
    found = tables.contrasts(recording, "tf_keep", 20)
    assert list(found) == ["L_T keeps 0%", "L_T keeps 50%"]
    usual = ends(recording, temperature=4.0, tf_keep=1.0, ss_keep=0.75, labels=20)
    mine = ends(recording, temperature=4.0, tf_keep=0.5, ss_keep=0.75, labels=20)
    assert found["L_T keeps 50%"] == pytest.approx([mine[seed] - usual[seed] for seed in (0, 1, 2)])
    assert list(tables.contrasts(recording, "ss_keep", 40)) == ["L_ss keeps 25%"]
    assert list(tables.contrasts(recording, "temperature", 40)) == ["τ = 1"]


def test_a_verdict_says_what_the_seeds_could_have_shown() -> None:
    pairs = [0.2, 0.9, 0.4]
    half = stats.sem(pairs) * stats.t.ppf(0.975, 2)
    words = f"{sum(pairs) / 3:+6.2f} ± {half:.2f}  contains 0; less than {half:.2f} cannot show"
    assert verdict(pairs) == words
    assert verdict([1.0, 1.1, 1.2]).endswith("above 0")
    assert verdict([-1.0, -1.1, -1.2]).endswith("below 0")
    assert "one seed: no verdict" in verdict([3.0])


def test_the_best_of_many_is_measured_on_the_seed_left_out() -> None:
    recording = made_recording()
    points = [(t, share, 0.75) for t in (1.0, 4.0) for share in (0.0, 0.5, 1.0)] + [(4.0, 1.0, 0.25)]
    table = np.array(
        [
            [ends(recording, temperature=t, tf_keep=tf, ss_keep=ss, labels=20)[seed] for seed in (0, 1, 2)]
            for t, tf, ss in points
        ]
    )
    gain = table - table[points.index((4.0, 1.0, 0.75))]
    chosen, fresh = [], []
    for out in range(3):
        rest = [seed for seed in range(3) if seed != out]
        best = int(gain[:, rest].mean(1).argmax())
        chosen.append(gain[best, rest].mean())
        fresh.append(gain[best, out])
    words = tables.best_of_many(recording, 20)
    assert f"best of 7 settings, 20 labels: gain on the seeds that chose it {np.mean(chosen):+.2f}" in words
    assert f"on the seed left out {np.mean(fresh):+.2f} points" in words


def test_what_a_term_adds_in_each_mix() -> None:
    recording = mixed_recording()
    whole = ends(recording, **dict(zip(TERMS, USUAL, strict=True)))
    bare = ends(recording, ce=0.1, kd=0.9, tf=2.7, ss=0.0)
    gain = [whole[seed] - bare[seed] for seed in (0, 1, 2)]
    assert tables.term_gains(recording)["L_ss"] == pytest.approx(gain)
    words = tables.gains_in_every_mix(recording, "ss")
    assert f"{'L_ce + L_kd + L_T':>20}: {sum(bare.values()) / 3:5.1f} %, {sum(gain) / 3:+6.2f}" in words
    assert len(words.splitlines()) == 1 + 7  # every mix of the three others but the empty one
    assert [line.split(":")[0].strip() for line in tables.weight_words(recording).splitlines()[1:]] == [
        "arxiv",
        "eccv-supp",
    ]


def test_the_worth_of_wrong_answers_in_words() -> None:
    recording = made_recording()
    usual = {"temperature": 4.0, "ss_keep": 0.75, "labels": 20}
    every, none = (ends(recording, **usual, tf_keep=share) for share in (1.0, 0.0))
    gain = [every[seed] - none[seed] for seed in (0, 1, 2)]
    half = stats.sem(gain) * stats.t.ppf(0.975, 2)
    words = tables.kept_share_words(recording, 20)
    assert f"worth {sum(gain) / 3:+.1f} ± {half:.1f} points" in words and "3 seeds" in words
    assert (
        f"{sum(every.values()) / 3:.1f} % right; no wrong row kept: {sum(none.values()) / 3:.1f} %" in words
    )


def test_the_way_of_a_training_and_its_term() -> None:
    recording = made_recording()
    words = tables.way_words(recording).splitlines()
    assert len(words) == 2 and all("90 % of the way after epoch" in line for line in words)
    usual = [
        run
        for run, one in enumerate(recording.settings)
        if (one["temperature"], one["tf_keep"], one["ss_keep"], one["labels"]) == (4.0, 1.0, 0.75, 20)
    ]
    curve = [
        sum(float(recording.accuracy[run, at]) for run in usual) / 3 for at in range(len(recording.percent))
    ]
    there = next(at for at, a in enumerate(curve) if a - curve[0] >= 0.5 * (curve[-1] - curve[0]))
    epoch, reached, end = tables.way_gone(recording, 20, part=0.5)
    assert epoch == recording.epochs(20)[there]
    assert (reached, end) == pytest.approx((curve[there], curve[-1]), rel=1e-5)
    runs = [
        i
        for i, one in enumerate(recording.settings)
        if (one["temperature"], one["tf_keep"], one["ss_keep"], one["labels"]) == (4.0, 0.0, 0.75, 20)
    ]
    mean = math.fsum(float(recording.terms["tf"][run, -1]) for run in runs) / 3
    assert f"  0 % kept: L_T {mean:.3f}" in tables.term_at_end(recording, "tf", 20)
