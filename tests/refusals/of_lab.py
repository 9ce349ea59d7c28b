"""Bad settings of explorers, bad arguments of lab.explore_*, and bad names in the lab."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from helpers import atlas_explorer, explorers, missing_class, similarity_explorer, views_explorer
from helpers.every_explorer import MAKERS
from helpers.refusals import tried
from sskd_lib import lab
from sskd_lib.lab import explore_mix, explore_selection, explore_temperature, explore_time_machine


@cache
def made(kind: str):
    """A good explorer, whose settings are then wrong."""
    return MAKERS[kind]()


def temperature():
    return made("explore_temperature")


IMAGES = torch.zeros(6, 1, 28, 28, dtype=torch.uint8)
LOGITS = torch.zeros(6, 10)


def explore(images=IMAGES, logits=LOGITS, classes=explorers.CLASSES, **more):
    """The explorer of temperature with one argument changed."""
    return explore_temperature(images, logits, classes=classes, **more)


def select(scores=LOGITS, targets=(0,) * 6, columns=explorers.CLASSES, **more):
    """The explorer of selection with one argument changed."""
    return explore_selection(IMAGES, scores, targets, columns=columns, **more)


# ---- settings of an explorer ---------------------------------------------------------------------


@tried("`explorer.save` with a control that is misspelt: temprature=4.0")
def misspelt_control(folder: Path) -> None:
    temperature().save("x.png", temprature=4.0)


@tried("`explorer.save(T=0)`")
def short_name(folder: Path) -> None:
    temperature().save("x.png", T=0)


@tried("`explorer.save(temperature=0)`")
def temperature_0(folder: Path) -> None:
    temperature().save("x.png", temperature=0)


@tried("`explorer.frame` at a temperature between two steps of the slider")
def between_steps(folder: Path) -> None:
    temperature().frame(temperature=4.2)


@tried("`explorer.describe(temperature=nan)`")
def temperature_nan(folder: Path) -> None:
    temperature().describe(temperature=float("nan"))


@tried('`explorer.describe(temperature="4")`')
def temperature_in_letters(folder: Path) -> None:
    temperature().describe(temperature="4")


@tried("`explorer.describe(temperature=True)`")
def temperature_true(folder: Path) -> None:
    temperature().describe(temperature=True)


@tried("`explorer.describe(temperature=None)`")
def temperature_none(folder: Path) -> None:
    temperature().describe(temperature=None)


@tried("`explorer.describe(temperature=[1, 4])`, two at once")
def two_temperatures(folder: Path) -> None:
    temperature().describe(temperature=[1.0, 4.0])


@tried("`explorer.describe(image=99)`, of six images")
def image_99(folder: Path) -> None:
    temperature().describe(image=99)


@tried('`explorer.spots(image="first")`')
def first_image(folder: Path) -> None:
    temperature().spots(image="first")


@tried("`explorer.frame(keep_wrong=75)`, percent for a fraction")
def percent_kept(folder: Path) -> None:
    made("explore_selection").frame(keep_wrong=75)


@tried('`explorer.frame(view="teacher")`, which is the left-hand map')
def view_of_the_teacher(folder: Path) -> None:
    made("explore_similarity").frame(view="teacher")


@tried('`explorer.frame(mapped="Features")`')
def mapped_in_capitals(folder: Path) -> None:
    made("explore_atlas").frame(mapped="Features")


@tried('`explorer.describe(preset="official")`')
def part_of_a_preset(folder: Path) -> None:
    made("explore_mix").describe(preset="official")


@tried("`explorer.describe(tf_keep=0.33)`, which was not recorded")
def share_not_recorded(folder: Path) -> None:
    made("explore_time_machine").describe(tf_keep=0.33)


@tried('`explorer.save("x.gif")`')
def gif(folder: Path) -> None:
    temperature().save("x.gif")


@tried('`explorer.save("picture")`, without an ending')
def no_ending(folder: Path) -> None:
    temperature().save("picture")


@tried("`explorer.save` below a file")
def saved_below_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    temperature().save("notes.txt/x.png")


# ---- what explorers are made from ----------------------------------------------------------------


@tried("`explore_temperature` with images that were normalised")
def normalised_images(folder: Path) -> None:
    explore(images=torch.linspace(-2, 2, 6 * 784).reshape(6, 1, 28, 28))


@tried("`explore_temperature` with images that have NaN")
def nan_images(folder: Path) -> None:
    explore(images=torch.full((6, 1, 28, 28), float("nan")))


@tried("`explore_temperature` with images of whole numbers, int64")
def int64_images(folder: Path) -> None:
    explore(images=IMAGES.long())


@tried("`explore_temperature` with images [M, H, W, C]")
def channels_last(folder: Path) -> None:
    explore(images=np.zeros((6, 28, 28, 3), np.uint8))


@tried("`explore_temperature` with a path for images")
def path_for_images(folder: Path) -> None:
    explore(images="images/cat")


@tried("`explore_temperature` with logits that have NaN")
def nan_logits(folder: Path) -> None:
    explore(logits=LOGITS * float("nan"))


@tried("`explore_temperature` with names for logits")
def names_for_logits(folder: Path) -> None:
    explore(logits=["a"] * 6)


@tried("`explore_temperature` with logits of other images")
def other_logits(folder: Path) -> None:
    explore(logits=torch.zeros(5, 10))


@tried("`explore_temperature` without logits")
def no_logits(folder: Path) -> None:
    explore(logits=None)


@tried("`explore_temperature` with a word of ten letters for ten classes")
def word_for_classes(folder: Path) -> None:
    explore(classes="ABCDEFGHIJ")


@tried("`explore_temperature` with numbers for the names of classes")
def numbers_for_classes(folder: Path) -> None:
    explore(classes=range(10))


@tried("`explore_temperature` with labels from 1 to 10")
def labels_from_1(folder: Path) -> None:
    explore(labels=[1, 2, 3, 4, 5, 10])


@tried("`explore_temperature` with probabilities for labels")
def fractions_for_labels(folder: Path) -> None:
    explore(labels=[0.1, 0.9, 0.5, 0.5, 0.2, 0.3])


@tried("`explore_temperature(per_class=2)`, with one image of a class")
def too_many_of_a_class(folder: Path) -> None:
    explore(labels=range(6), per_class=2)


@tried("`explore_temperature(per_class=1.5)`")
def part_of_an_image(folder: Path) -> None:
    explore(labels=range(6), per_class=1.5)


@tried("`explore_temperature(key=None)`")
def no_key(folder: Path) -> None:
    explore(key=None)


@tried('`explore_temperature(key="")`')
def empty_key(folder: Path) -> None:
    explore(key="")


@tried("`explore_selection(keep_wrong=75)`")
def start_in_percent(folder: Path) -> None:
    select(keep_wrong=75)


@tried('`explore_selection(keep_wrong="0.5")`')
def start_in_letters(folder: Path) -> None:
    select(keep_wrong="0.5")


@tried("`explore_selection(keep_wrong=nan)`")
def start_nan(folder: Path) -> None:
    select(keep_wrong=float("nan"))


@tried("`explore_selection(film=(0.33,))`, between two steps of the slider")
def film_between_steps(folder: Path) -> None:
    select(film=(0.33,))


@tried("`explore_selection` with the student's scores alone, without τ")
def no_temperature(folder: Path) -> None:
    select(student=LOGITS)


@tried("`explore_selection` with τ = 0")
def tau_0(folder: Path) -> None:
    select(student=(LOGITS, 0))


@tried("`explore_selection` with one row of scores")
def one_row(folder: Path) -> None:
    select(scores=LOGITS[0])


@tried("`explore_selection` with targets beyond the columns")
def far_targets(folder: Path) -> None:
    select(targets=[0, 1, 2, 3, 4, 10])


@tried('`explore_similarity(temperature="warm")`')
def warm(folder: Path) -> None:
    similarity_explorer.make(temperature="warm")


@tried("`explore_similarity(temperature=inf)`")
def endless_temperature(folder: Path) -> None:
    similarity_explorer.make(temperature=float("inf"))


@tried("`explore_similarity(batch=4.5)`")
def half_a_batch(folder: Path) -> None:
    similarity_explorer.make(batch=4.5)


@tried("`explore_similarity(batch=64)`, of eight images")
def large_batch(folder: Path) -> None:
    similarity_explorer.make(batch=64)


@tried("`explore_views` with a path for images")
def path_for_views(folder: Path) -> None:
    views_explorer.explorer(images="images/cat")


@tried("`explore_views(draws=8)`, a number for the draws")
def number_of_draws(folder: Path) -> None:
    views_explorer.explorer(draws=8)


@tried("`explore_views(shown=[6])`, of six images")
def image_behind_the_last(folder: Path) -> None:
    views_explorer.explorer(shown=[6])


@tried("`explore_atlas` with a dict for the maps")
def dict_for_maps(folder: Path) -> None:
    atlas_explorer.explorer(maps={"teacher": torch.zeros(60, 2)})


@tried('`explore_atlas(shown="first")`')
def word_for_shown(folder: Path) -> None:
    atlas_explorer.explorer(shown="first")


@tried('`explore_missing_class(missing="coat")`')
def name_of_the_missing(folder: Path) -> None:
    images, labels, logits = missing_class.made()
    lab.explore_missing_class(images, labels, logits, classes=missing_class.CLASSES, missing="coat")


@tried("`explore_missing_class` with the logits of one student, without its name")
def logits_without_name(folder: Path) -> None:
    images, labels, logits = missing_class.made()
    lab.explore_missing_class(images, labels, logits["kd"], classes=missing_class.CLASSES, missing=2)


@tried('`explore_time_machine("grid")`')
def name_for_recording(folder: Path) -> None:
    explore_time_machine("grid")


@tried("`explore_mix` with a path")
def path_for_recording(folder: Path) -> None:
    explore_mix("data/recordings")


@tried("`explore_mix` with the recording of the time machine")
def other_recording(folder: Path) -> None:
    explore_mix(made("explore_time_machine").recording)


# ---- names in the lab ----------------------------------------------------------------------------


@tried("`SSKD_DATASET=Cifar10` and `lab.start()`")
def data_set_in_capitals(folder: Path) -> None:
    before = os.environ.get("SSKD_DATASET")
    os.environ["SSKD_DATASET"] = "Cifar10"
    try:
        lab.start()
    finally:
        os.environ.pop("SSKD_DATASET")
        if before is not None:
            os.environ["SSKD_DATASET"] = before


@tried('`lab.start().student("SSKD")`')
def student_in_capitals(folder: Path) -> None:
    lab.start().student("SSKD")
