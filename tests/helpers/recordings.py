"""Recordings of random numbers."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from sskd_lib.lab.time_machine_data import Recording
from sskd_lib.recipes import SHORT

RUNTIME = {"dtype": "float32", "threads": 4, "device_name": "a chip"}
CLASSES = tuple(f"class {k}" for k in "ABCDEFGHIJ")


def made_recording(percent=(0, 50, 100), epochs=2, seeds=(0, 1, 2), labels=(20, 40), without=()) -> Recording:
    """Random numbers in the shape of a recording; `without`: numbers of runs to leave out."""
    random = np.random.default_rng(0)
    points = [(t, share, 0.75) for t in (1.0, 4.0) for share in (0.0, 0.5, 1.0)] + [(4.0, 1.0, 0.25)]
    names = ("temperature", "tf_keep", "ss_keep", "labels", "seed")
    product = itertools.product(points, labels, seeds)
    settings = [dict(zip(names, (*point, count, seed), strict=True)) for point, count, seed in product]
    settings = tuple(one for run, one in enumerate(settings) if run not in without)
    runs, length = len(settings), len(percent)
    terms = {
        name: random.uniform(0.1, 9, (runs, length)).astype(np.float32) for name in ["ce", "kd", "tf", "ss"]
    }
    for term in terms.values():
        term[:, 0] = np.nan
    dots = np.arange(30) % 10
    return Recording(
        settings=settings,
        percent=np.array(percent),
        schedules={count: dataclasses.replace(SHORT, epochs=epochs) for count in labels},
        accuracy=random.uniform(40, 80, (runs, length)).astype(np.float32),
        terms=terms,
        outputs=random.normal(0, 3, (runs, length, 4, 10)).astype(np.float32),
        features=random.normal(0, 1, (runs, length, 30, 2)).astype(np.float32),
        images=random.integers(0, 256, (4, 1, 28, 28)).astype(np.uint8),
        labels=np.arange(4),
        dots=dots,
        teacher_outputs=random.normal(0, 3, (4, 10)).astype(np.float32),
        teacher_features=random.normal(0, 1, (30, 2)).astype(np.float32),
        teacher_accuracy=90.0,
        classes=CLASSES,
        card={"machines": [{"runtime": RUNTIME}]},
    )


TERMS = ("ce", "kd", "tf", "ss")
USUAL, ARXIV, ECCV = (0.1, 0.9, 2.7, 10.0), (0.1, 0.9, 10.0, 2.7), (0.1, 0.9, 5.0, 3.0)


def mixed_recording(seeds=(0, 1, 2), percent=(0, 50, 100), epochs=2, labels=300) -> Recording:
    """Random numbers for all mixes of two weights a term and the presets, in the shape of a recording."""
    random = np.random.default_rng(1)
    mixes = [mix for mix in itertools.product((0.0, 0.1), (0.0, 0.9), (0.0, 2.7), (0.0, 10.0)) if any(mix)]
    mixes += [ARXIV, ECCV]
    settings = tuple(dict(zip(TERMS, mix, strict=True)) | {"seed": seed} for seed in seeds for mix in mixes)
    runs, length = len(settings), len(percent)
    accuracy = random.uniform(60, 70, (runs, length)).astype(np.float32)
    accuracy[:, 0] = [10 + one["seed"] for one in settings]  # the same untrained student for all mixes
    terms = {name: random.uniform(0.1, 9, (runs, length)).astype(np.float32) for name in TERMS}
    for name, values in terms.items():
        values[:, 0] = np.nan
        values[[one[name] == 0 for one in settings]] = np.nan  # a term of weight 0 is not computed
    return Recording(
        settings=settings,
        percent=np.array(percent),
        schedules={labels: dataclasses.replace(SHORT, epochs=epochs)},
        accuracy=accuracy,
        terms=terms,
        outputs=np.zeros((runs, length, 4, 10), np.float32),
        features=np.zeros((runs, length, 10, 2), np.float32),
        images=np.zeros((4, 1, 28, 28), np.uint8),
        labels=np.arange(4),
        dots=np.arange(10),
        teacher_outputs=np.zeros((4, 10), np.float32),
        teacher_features=np.zeros((10, 2), np.float32),
        teacher_accuracy=90.0,
        classes=tuple("ABCDEFGHIJ"),
        card={},
    )
