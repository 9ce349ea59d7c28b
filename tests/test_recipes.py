"""Recipes and schedules: the published numbers, and clear errors for others."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import pytest

from sskd_lib.recipes import HEAD, PRESETS, SCHEDULES, SHORT, STUDENT, Recipe, Schedule, make_recipe
from sskd_lib.training.options import ScheduleOptions

# ---- published numbers ---------------------------------------------------------------------------

PUBLISHED = {  # weights ce, kd, tf, ss; temperatures kd, tf, ss; shares of the wrong rows tf, ss
    "official-code": (0.1, 0.9, 2.7, 10.0, 4.0, 4.0, 0.5, 1.0, 0.75),
    "arxiv": (0.1, 0.9, 10.0, 2.7, 4.0, 4.0, 0.5, 0.75, 0.75),
    "eccv-supp": (0.1, 0.9, 5.0, 3.0, 4.0, 4.0, 0.5, 1.0, 0.75),
}


def test_presets_are_the_published_ones():
    assert {name: dataclasses.astuple(recipe) for name, recipe in PRESETS.items()} == PUBLISHED
    names = "ce kd tf ss kd_temperature tf_temperature ss_temperature tf_keep_wrong ss_keep_wrong"
    assert [field.name for field in dataclasses.fields(Recipe)] == names.split()
    assert Recipe() == PRESETS["official-code"]


def test_recipes_are_frozen_and_taken_by_name():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().ss = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schedule().lr = 1.0
    with pytest.raises(TypeError):
        Recipe(0.1)


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.05), (149, 0.05), (150, 5e-3), (180, 5e-4), (210, 5e-5), (239, 5e-5)]
)
def test_student_schedule_cuts_at_150_180_and_210(epoch, lr):
    assert STUDENT.lr_at(epoch) == pytest.approx(lr)
    if epoch in (150, 180, 210):
        assert STUDENT.lr_at(epoch - 1) == pytest.approx(10 * lr)


def test_student_schedule_is_the_published_one():
    assert dataclasses.astuple(STUDENT) == (240, 64, 0.05, 0.9, 5e-4, (0.625, 0.75, 0.875), 0.1, "steps", 0.2)
    assert Schedule() == STUDENT


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.05), (29, 0.05), (30, 5e-3), (44, 5e-3), (45, 5e-4), (59, 5e-4)]
)
def test_head_schedule_cuts_at_30_and_45(epoch, lr):
    assert replace(HEAD, epochs=240, milestones=STUDENT.milestones) == STUDENT  # the rest is the student's
    assert HEAD.epochs == 60
    assert HEAD.lr_at(epoch) == pytest.approx(lr)


def test_short_schedules_keep_the_shape():
    assert [round(Schedule(epochs=8).lr_at(e), 9) for e in range(8)] == [0.05] * 5 + [5e-3, 5e-4, 5e-5]
    assert Schedule(epochs=1).lr_at(0) == 0.05  # int(0.625 · 1) = 0, but the first epoch is never cut
    assert Schedule(epochs=50, milestones=(0.58,)).lr_at(28) == 0.05  # 0.58 · 50 is 28.999… in binary
    constant = Schedule(epochs=5, milestones=())
    assert {constant.lr_at(e) for e in range(5)} == {0.05}
    halved = Schedule(epochs=4, milestones=(0.5,), decay=0.5)
    assert [halved.lr_at(e) for e in range(4)] == [0.05, 0.05, 0.025, 0.025]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kd_temperature": 0}, "kd_temperature must be above 0, not 0"),
        ({"tf_temperature": -4.0}, "tf_temperature must be above 0, not -4.0"),
        ({"ss_temperature": math.nan}, "ss_temperature must be above 0, not nan"),
        ({"tf_keep_wrong": 1.5}, "tf_keep_wrong is a share of the wrong rows, between 0 and 1, not 1.5"),
        ({"ss_keep_wrong": 75}, "ss_keep_wrong is a share of the wrong rows, between 0 and 1, not 75"),
        ({"ss_keep_wrong": math.nan}, "ss_keep_wrong is a share"),
        ({"ce": -0.1}, "weight ce must be 0 or above, not -0.1"),
        ({"ss": math.nan}, "weight ss must be 0 or above, not nan"),
        ({"tf": math.inf}, "weight tf must be 0 or above, not inf"),
        ({"kd": "0.9"}, "kd is a number, not '0.9'"),
        ({"kd_temperature": 1e7}, "must be from 0.001 to 100,000, not 1e.07"),
        ({"kd_temperature": 1e-40}, "must be from 0.001 to 100,000, not 1e-40"),
        ({"ce": 0, "kd": 0, "tf": 0, "ss": 0}, "all four weights are 0.*Give at least one"),
    ],
)
def test_wrong_recipes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 16.0}, {"epochs": True}])
def test_wrong_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="epochs and batch_size must be at least 1, and whole numbers"):
        Schedule(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"lr": lr} for lr in (0, -0.1, math.nan, math.inf, "0.1")),
        *({"momentum": momentum} for momentum in (-0.1, 1.0, math.nan)),
        *({"weight_decay": decay} for decay in (-1e-4, math.inf)),
        *({"decay": decay} for decay in (0, -0.1, 10)),
    ],
)
def test_numbers_out_of_their_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"{name} is .*, not {wrong[name]!r}"):
        Schedule(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [(150, 180, 210), (0.0, 0.5), (0.5, 1.0), (0.75, 0.5), (0.5, 0.5), (math.nan,), 0.5, "0.5", (300,)],
)
def test_milestones_that_never_cut_the_rate_are_refused(wrong):
    with pytest.raises(ValueError, match="fractions of the epochs, each between 0 and 1") as error:
        Schedule(milestones=wrong)
    suggested = "150, 180, 210 are the fractions 0.625, 0.75, 0.875" in str(error.value)
    assert suggested == (wrong == (150, 180, 210))
    with pytest.raises(ValueError, match="Of 20 epochs, 10, 15 are the fractions 0.5, 0.75"):
        Schedule(epochs=20, milestones=(10, 15))


def test_a_schedule_may_come_from_json():
    assert Schedule(**json.loads(json.dumps(dataclasses.asdict(HEAD)))) == HEAD


def test_a_recipe_is_a_preset_with_changes():
    assert make_recipe() == PRESETS["official-code"]
    assert make_recipe("arxiv", {"tf": 5.0, "ss_keep_wrong": 0.5}) == replace(
        PRESETS["arxiv"], tf=5.0, ss_keep_wrong=0.5
    )
    with pytest.raises(ValueError, match="the presets are: official-code, arxiv, eccv-supp"):
        make_recipe("paper")
    with pytest.raises(ValueError, match="a recipe has no number sss; it has: ce, kd.*Did you mean 'ss'"):
        make_recipe(changes={"sss": 1.0})
    with pytest.raises(ValueError, match="must be above 0"):
        make_recipe(changes={"kd_temperature": 0.0})


def test_one_cycle_rises_and_falls_in_lines_through_the_middle_of_each_epoch() -> None:
    """Ten epochs, peak 1, a fifth of warm-up: 2 epochs up (slope 0.5), 8 down (slope 1/8), by hand."""
    schedule = Schedule(epochs=10, lr=1.0, shape="one-cycle")
    by_hand = [0.25, 0.75, *(1 - (i + 0.5) / 8 for i in range(8))]
    assert [schedule.lr_at(epoch) for epoch in range(10)] == pytest.approx(by_hand)
    area = sum(by_hand) / 10
    assert area == pytest.approx(0.5)  # the triangle's, whatever the warm-up
    for warmup in (0.0, 1.0):
        rates = [replace(schedule, warmup=warmup).lr_at(epoch) for epoch in range(10)]
        assert all(rate > 0 for rate in rates) and sum(rates) / 10 == pytest.approx(0.5)
    assert Schedule(epochs=1, shape="one-cycle").lr_at(0) > 0


def test_a_wrong_shape_or_warmup_is_refused() -> None:
    with pytest.raises(ValueError, match="the shapes are 'steps' and 'one-cycle'"):
        Schedule(shape="cosine")
    with pytest.raises(ValueError, match="warmup is a fraction of the epochs"):
        Schedule(warmup=1.5)


def test_a_schedule_is_chosen_by_name_and_changed_by_numbers() -> None:
    assert ScheduleOptions().chosen(HEAD) == HEAD
    assert ScheduleOptions(schedule="short").chosen(STUDENT) == SHORT
    assert ScheduleOptions(schedule="short", epochs=3, lr=0.1).chosen(STUDENT) == replace(
        SHORT, epochs=3, lr=0.1
    )
    numbers = {field.name for field in fields(ScheduleOptions)} - {"schedule"}
    assert numbers == {field.name for field in fields(Schedule)}
    assert set(get_args(get_args(get_type_hints(ScheduleOptions)["schedule"])[0])) == set(SCHEDULES)
