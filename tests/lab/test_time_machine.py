"""The time machine: what it shows of made-up recordings, by plain loops; real trainings laid over them."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math

import numpy as np
import pytest
from PIL import Image

from helpers.documents import RESULTS
from helpers.recordings import CLASSES, made_recording
from sskd_lib.lab.explorers import rerun
from sskd_lib.lab.explorers.page import MOST, page_options
from sskd_lib.lab.explorers.time_machine import TimeMachine, explore_time_machine
from sskd_lib.lab.explorers.time_machine_parts import separation
from sskd_lib.lab.time_machine_data import Recording

POINT = {"temperature": 4.0, "tf_keep": 0.5, "ss_keep": 0.75, "labels": 20}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def runs_by_hand(recording: Recording, **wanted: float) -> list[int]:
    return [
        run
        for run, one in enumerate(recording.settings)
        if all(one[name] == value for name, value in wanted.items())
    ]


def test_accuracy_is_mean_range_and_place_by_a_plain_loop() -> None:
    recording = made_recording()
    explorer = TimeMachine(recording, "test")
    words = explorer.describe(**POINT, trained=50)
    explorer.frame(**POINT, trained=50)
    runs = runs_by_hand(recording, **POINT)
    values = [float(recording.accuracy[run, 1]) for run in runs]
    mean = sum(values) / 3
    assert f"{mean:.1f} % right (mean of 3 seeds, {min(values):.1f} to {max(values):.1f})" in words
    np.testing.assert_allclose(explorer.curve.line.get_ydata()[1], mean, rtol=1e-6)
    others = []
    for temperature, tf, ss in [*itertools.product((1.0, 4.0), (0.0, 0.5, 1.0), (0.75,)), (4.0, 1.0, 0.25)]:
        if (temperature, tf) != (4.0, 0.5):
            same = runs_by_hand(recording, temperature=temperature, tf_keep=tf, ss_keep=ss, labels=20)
            others.append(sum(float(recording.accuracy[run, 1]) for run in same) / len(same))
    place = 1 + sum(other > mean for other in others)
    assert f"place {place} of 7 settings" in words
    assert f"(the others: {min(others):.1f} to {max(others):.1f} %)" in words


def test_the_difference_from_the_usual_setting_is_paired_by_seed() -> None:
    recording = made_recording()
    explorer = TimeMachine(recording, "test")
    gaps = []
    for seed in (0, 1, 2):
        (mine,) = runs_by_hand(recording, **POINT, seed=seed)
        (usual,) = runs_by_hand(recording, **POINT | {"tf_keep": 1.0}, seed=seed)
        gaps.append(float(recording.accuracy[mine, 2]) - float(recording.accuracy[usual, 2]))
    mean = sum(gaps) / 3
    half = 4.302653 * math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / 2 / 3)
    words = explorer.describe(**POINT, trained=100)
    words_of_it = f"Minus the usual setting, paired by seed: {mean:+.2f} ± {half:.2f}  "
    assert words_of_it in words
    side = "above 0." if mean > half else "below 0." if mean < -half else f"contains 0; less than {half:.2f}"
    assert words.split(words_of_it)[1].startswith(side)
    assert "This is the usual setting" in explorer.describe(**POINT | {"tf_keep": 1.0})
    assert "Not recorded: some shares were varied" in explorer.describe(**POINT | {"ss_keep": 0.25})


def test_long_runs_are_drawn_for_their_number_of_labels_only() -> None:
    """The recorded mean by hand, from the rows of benchmarks/few_labels.py."""
    rows = [json.loads(line) for line in (RESULTS / "few_labels.jsonl").read_text().splitlines()]
    last = [row["last"] for row in rows if row["key"][:4] == ["fashion", "test", 240, "sskd"]]
    mean = sum(last) / len(last)
    explorer = TimeMachine(made_recording(labels=(100, 300)), "test")
    words = explorer.describe(labels=300)
    explorer.frame(labels=300)
    np.testing.assert_allclose(explorer.long_runs.line.get_ydata(), [mean, mean])
    assert f"240 epochs, usual setting: {mean:.1f} % ({len(last)} seeds)" in words
    explorer.frame(labels=100)
    assert len(explorer.long_runs.line.get_ydata()) == 0 and "240" not in explorer.describe(labels=100)


def test_one_seed_shows_one_run_and_its_terms() -> None:
    recording = made_recording()
    explorer = TimeMachine(recording, "test")
    (run,) = runs_by_hand(recording, **POINT, seed=2)
    words = explorer.describe(**POINT, seed=2, trained=100)
    explorer.frame(**POINT, seed=2, trained=100)
    assert f"{recording.accuracy[run, 2]:.1f} % right, place" in words and "seed 2" in words
    for name, label in (("ce", "L_ce"), ("kd", "L_kd"), ("tf", "L_T"), ("ss", "L_ss")):
        assert f"{label} {recording.terms[name][run, 2]:.3g}" in words
        np.testing.assert_array_equal(
            explorer.terms[name].line.get_xdata(), [50, 100]
        )  # none before training
    assert not explorer.curve.band.get_visible()  # one run has no range
    assert "Terms are measured in training." in explorer.describe(**POINT, seed=2, trained=0)


def test_answers_are_softened_at_the_settings_temperature() -> None:
    recording = made_recording()
    explorer = TimeMachine(recording, "test")
    explorer.frame(**POINT, seed="mean", trained=50, image=3)
    outputs = []
    for run in runs_by_hand(recording, **POINT):
        grown = [math.exp(float(z) / 4) for z in recording.outputs[run, 1, 3]]
        outputs.append([g / sum(grown) for g in grown])
    by_hand = [sum(column) / 3 for column in zip(*outputs, strict=True)]
    lengths = [bar.get_width() * explorer.bars.scale.reach for bar in explorer.bars.student]
    np.testing.assert_allclose(lengths, by_hand, rtol=1e-5)
    first = max(range(10), key=lambda k: by_hand[k])
    words = explorer.describe(**POINT, seed="mean", trained=50, image=3)
    assert f"student {CLASSES[first]} {100 * by_hand[first]:.1f} %" in words and "Image 4, class D" in words


def test_separation_of_the_classes_of_four_points_by_hand() -> None:
    points = np.array([[0.0, 0], [2, 0], [4, 0], [6, 0]])  # means 1 and 5 around 3: 16 of 20
    assert separation(points, np.array([0, 0, 1, 1])) == pytest.approx(0.8)
    assert separation(points, np.array([0, 1, 1, 0])) == pytest.approx(0)
    assert separation(np.repeat(points[:2], 2, 0), np.array([0, 0, 1, 1])) == pytest.approx(1)


def test_dots_have_the_students_shape_and_the_teachers_middle_and_spread() -> None:
    recording = made_recording()
    explorer = TimeMachine(recording, "test")
    words = explorer.describe(**POINT, seed=1, trained=0)
    explorer.plane.low[:], explorer.plane.high[:] = -99, 99  # no edge
    explorer.frame(**POINT, seed=1, trained=0)
    (run,) = runs_by_hand(recording, **POINT, seed=1)
    student, teacher = recording.features[run, 0], recording.teacher_features
    drawn = np.empty((30, 2))
    for k, dots in enumerate(explorer.plane.dots):
        drawn[recording.dots == k] = dots.get_xydata()
    sizes = [math.sqrt(sum(((a - a.mean(0)) ** 2).sum(1)) / 30) for a in (student, teacher, drawn)]
    assert sizes[2] == pytest.approx(sizes[1], rel=1e-5)
    np.testing.assert_allclose(drawn * sizes[0] / sizes[1], student - student.mean(0), atol=1e-5)
    assert f"it is {sizes[0] / sizes[1]:.2f} times the teacher's spread" in words


def test_every_control_changes_picture_and_words(live) -> None:
    """Also from a setting that was not recorded, to which some of these moves lead."""
    explorer = explore_time_machine(made_recording())
    widgets = explorer.live
    for name, control in explorer.controls.items():
        before = pixels(widgets.picture.value), widgets.words.value
        widgets.controls[name].value = next(v for _, v in control.options if v != control.start)
        assert (pixels(widgets.picture.value) != before[0]).any(), name
        assert widgets.words.value != before[1], name


def test_a_missing_record_is_named() -> None:
    whole = made_recording()
    gone = runs_by_hand(whole, **POINT)
    without_one, without_all = (
        TimeMachine(made_recording(without=runs), "test") for runs in (gone[:1], gone)
    )
    assert "mean of 2 seeds" in without_one.describe(**POINT)
    assert "not recorded" in without_one.describe(**POINT, seed=0)
    assert "not recorded" in without_all.describe(**POINT)
    assert (pixels(without_all.frame(**POINT)) != pixels(without_one.frame(**POINT))).any()


def test_pages_keep_first_and_last_point_and_few_pictures() -> None:
    explorer = TimeMachine(
        made_recording(percent=tuple(range(0, 101, 5)), epochs=60, labels=(100, 300, 1000)), "test"
    )
    options = page_options(explorer)
    assert math.prod(map(len, options.values())) <= MOST
    assert [value for _, value in options["trained"]][:: len(options["trained"]) - 1] == [0, 100]


def press(explorer: TimeMachine, name: str) -> None:
    explorer.live.buttons[name].click()


def test_a_training_here_is_drawn_over_the_recording(live) -> None:
    explorer = explore_time_machine(made_recording())
    for name, value in {**POINT, "seed": 1}.items():
        explorer.live.controls[name].value = value
    press(explorer, "Train this very point")
    press(explorer, "Train this very point")  # too early
    assert "A training is running already" in explorer.describe(**explorer.live.values())
    first = explorer.rerun.thread
    first.join(600)
    local = explorer.rerun.runs[4.0, 0.5, 0.75, 20, 1]
    assert (local.state, local.labels, local.seed) == ("done", 20, 1) and np.isfinite(local.accuracy).all()
    assert local.recipe.kd_temperature == local.recipe.tf_temperature == 4
    assert (local.recipe.tf_keep_wrong, local.recipe.ss_keep_wrong) == (0.5, 0.75)
    np.testing.assert_array_equal(explorer.your_curve.line.get_ydata(), local.accuracy)
    words = explorer.live.words.value
    (run,) = runs_by_hand(explorer.recording, **POINT, seed=1)
    recorded = explorer.recording.accuracy[run]
    assert f"yours has {local.accuracy[2]:.2f} %" in words and f"{recorded[2]:.2f} %" in words
    assert "They differ from epoch 0 on." in words and "rounds the last digits differently" in words
    assert "Recorded with float32, 4 threads, a chip; yours with" in words
    explorer.live.controls["seed"].value = 2
    assert len(explorer.your_curve.line.get_ydata()) == 0 and "yours" not in explorer.live.words.value

    # The same training once more, over a recording that holds what the first gave: no difference to tell.
    accuracy = explorer.recording.accuracy.copy()
    accuracy[run] = local.accuracy
    again = explore_time_machine(dataclasses.replace(explorer.recording, accuracy=accuracy))
    for name, value in {**POINT, "seed": 1}.items():
        again.live.controls[name].value = value
    press(again, "Train this very point")
    again.rerun.thread.join(600)
    assert "So far they agree at every epoch measured" in again.live.words.value


def test_stopping_and_running_the_cell_again_end_a_training(live) -> None:
    explorer = explore_time_machine(made_recording(percent=(0, 100), epochs=5000))
    press(explorer, "Stop training")
    assert "No training is running." in explorer.live.words.value
    press(explorer, "Train this very point")
    press(explorer, "Stop training")
    explorer.rerun.thread.join(600)
    assert not explorer.rerun.busy and "Your training (seed 0) was stopped" in explorer.live.words.value
    press(explorer, "Train this very point")
    training = explorer.rerun.thread
    explore_time_machine(explorer.recording)
    training.join(600)
    assert not training.is_alive()


def test_an_error_of_the_training_is_shown(live, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(rerun, "weights_folder", lambda dataset: tmp_path)  # without a teacher
    explorer = explore_time_machine(made_recording())
    press(explorer, "Train this very point")
    explorer.rerun.thread.join(600)
    assert "Your training ended with an error: FileNotFoundError" in explorer.live.words.value
