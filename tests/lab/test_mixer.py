"""The term mixer on made-up recordings: gains, parts of the loss, presets, and all zeros."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from helpers.recordings import ARXIV, ECCV, TERMS, USUAL, mixed_recording
from sskd_lib.lab.explorers.mixer import Mixer, explore_mix
from sskd_lib.lab.explorers.page import MOST, page_options
from sskd_lib.lab.time_machine_data import Recording
from sskd_lib.recipes import PRESETS


@pytest.fixture(scope="module")
def mixer() -> Mixer:
    return Mixer(mixed_recording(), "test")


def accuracy_by_hand(recording: Recording, mix: tuple, at: int) -> list[float]:
    """One number a seed, by a search through all runs."""
    return [
        float(recording.accuracy[run, at])
        for run, one in enumerate(recording.settings)
        if tuple(one[name] for name in TERMS) == mix
    ]


@pytest.mark.parametrize(("place", "label"), list(enumerate(["L_ce", "L_kd", "L_T", "L_ss"])))
def test_what_a_term_adds_is_the_paired_difference(mixer: Mixer, place: int, label: str) -> None:
    rest = tuple(0.0 if i == place else weight for i, weight in enumerate(USUAL))
    pairs = zip(*(accuracy_by_hand(mixer.recording, mix, 2) for mix in (USUAL, rest)), strict=True)
    gains = [more - less for more, less in pairs]
    mean = sum(gains) / 3
    low, high = stats.t.interval(0.95, 2, loc=mean, scale=stats.sem(gains))
    words = mixer.describe(trained=100)
    verdict = "contains 0" if low <= 0 <= high else "leaves 0 out"
    assert f"{label} adds {mean:+.2f} points (seeds from {min(gains):+.2f} to {max(gains):+.2f}" in words
    assert f"the 95 % interval {low:+.2f} to {high:+.2f} {verdict}" in words
    mixer.frame(trained=100)
    reach = np.clip(mean, -8, 8)
    assert mixer.gains.bars[TERMS[place]].get_width() == pytest.approx(reach)
    np.testing.assert_allclose(
        mixer.without[TERMS[place]].line.get_ydata()[2],
        np.mean(accuracy_by_hand(mixer.recording, rest, 2)),
        rtol=1e-6,
    )


def test_proportions_are_those_of_weighted_terms(mixer: Mixer) -> None:
    recording = mixer.recording
    weighted = []
    for name, weight in zip(TERMS, USUAL, strict=True):
        values = [
            recording.terms[name][run, 1]
            for run, one in enumerate(recording.settings)
            if tuple(one[n] for n in TERMS) == USUAL
        ]
        weighted.append(weight * sum(map(float, values)) / 3)
    parts = [value / sum(weighted) for value in weighted]
    mixer.frame(trained=50)
    drawn = [mixer.proportions.parts[name].get_width() for name in TERMS]
    np.testing.assert_allclose(drawn, parts, rtol=1e-5)
    assert f"L_ss {100 * parts[3]:.1f} %" in mixer.describe(trained=50).split("Shares of the loss")[1]
    assert "Shares of the loss" not in mixer.describe(trained=0)  # nothing is measured before training


def test_a_preset_overrides_the_sliders(mixer: Mixer) -> None:
    words = mixer.describe(preset="eccv-supp", kd=0.0)
    mean = sum(accuracy_by_hand(mixer.recording, ECCV, 2)) / 3
    assert "eccv-supp (L_ce 0.1, L_kd 0.9, L_T 5, L_ss 3)" in words and f"{mean:.1f} % right" in words
    assert "the sliders do not count" in words and "Against official-code" in words
    assert mixer.frame(preset="eccv-supp", kd=0.0) == mixer.frame(preset="eccv-supp", kd=0.9)
    assert [value for _, value in mixer.controls["ss"].options] == [0.0, 10.0]  # those of the grid alone


def test_a_preset_with_another_ratio_of_rows_is_not_taken_apart(mixer: Mixer) -> None:
    """arxiv keeps 75 % for L_T, so its mix without L_ss differs in two things from the one recorded."""
    assert "L_ss was not recorded switched off" in mixer.describe(preset="arxiv")


def test_terms_that_are_off_or_alone_are_named(mixer: Mixer) -> None:
    words = mixer.describe(ce=0.0, kd=0.9, tf=0.0, ss=0.0)
    assert "L_ce is off." in words and "L_kd is the only term" in words


def test_all_zero_stays_untrained_and_is_not_trained(live) -> None:
    explorer = explore_mix(mixed_recording())
    for name in TERMS:
        explorer.live.controls[name].value = 0.0
    words = explorer.live.words.value
    assert "11.0 % right (3 seeds, 10.0 to 12.0)" in words and "nothing is learned" in words
    assert list(explorer.curve.line.get_ydata()) == [11.0, 11.0, 11.0]
    explorer.live.buttons["Train this mix"].click()
    assert "all four weights are 0" in explorer.live.words.value and not explorer.rerun.busy


def test_a_live_run_of_a_preset_takes_its_whole_recipe(live) -> None:
    explorer = explore_mix(mixed_recording(percent=(0, 100), epochs=1, labels=20))
    explorer.live.controls["preset"].value = "arxiv"
    explorer.live.buttons["Train this mix"].click()
    explorer.rerun.thread.join(600)
    local = explorer.rerun.runs[ARXIV]
    assert local.state == "done" and local.recipe == PRESETS["arxiv"] and local.labels == 20
    np.testing.assert_array_equal(explorer.your_curve.line.get_ydata(), local.accuracy)
    assert f"yours has {local.accuracy[1]:.2f} %" in explorer.live.words.value


def test_pages_hold_few_pictures(mixer: Mixer) -> None:
    assert np.prod([len(options) for options in page_options(mixer).values()]) <= MOST
