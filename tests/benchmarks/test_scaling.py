"""The record of scaling.py."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

import scaling
from sskd_lib import Runtime


@pytest.mark.skipif(sys.platform != "linux", reason="two processes over gloo are tried on Linux")
def test_scaling_records_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "CYCLE", 2)
    monkeypatch.setattr(scaling, "usable_cores", lambda: 1)
    out = tmp_path / "scaling.json"
    sizes = {"images": (12, 16), "batches": (2, 4), "classes": (2, 3), "students": (1, 2), "processes": (2,)}
    options = {"batch": 4, "rounds": 1, "least": 0.01, "device": "cpu", "out": out}
    scaling.main(scaling.Options(pair=("resnet8", "resnet8"), **sizes, **options))
    record = json.loads(out.read_text(encoding="utf-8"))
    tables = {title: list(record[title]) for title in record if title.startswith(("sec", "time", "images"))}
    assert tables == {
        "seconds a step, by images": ["images: 12", "images: 16"],
        "seconds a step, by batch": ["batch: 2", "batch: 4"],
        "seconds an image": ["batch: 2", "batch: 4"],
        "seconds a step, by classes": ["classes: 2", "classes: 3"],
        "seconds a step, by students": ["students: 1", "students: 2"],
        "time of students together, over that of one": ["students: 1", "students: 2"],
        "seconds of the loader for a step": ["images: 12", "images: 16"],
        "images a second": ["processes: 2"],
    }
    assert all(figure["low"] > 0 for title in tables for figure in record[title].values())


def test_growth_by_hand() -> None:
    times = {("batch", 4): [2.0, 4.0], ("students", 1): [1.0, 2.0], ("students", 3): [2.0, 5.0]}
    assert scaling.growth(times) == {
        "seconds a step, by batch": {"batch: 4": [2.0, 4.0]},
        "seconds an image": {"batch: 4": [0.5, 1.0]},
        "seconds a step, by students": {"students: 1": [1.0, 2.0], "students: 3": [2.0, 5.0]},
        "time of students together, over that of one": {"students: 1": [1.0, 1.0], "students: 3": [2.0, 2.5]},
    }


def test_the_steps_that_scaling_times_have_the_size_it_says() -> None:
    pair = ("resnet8", "resnet8")
    kit, row = scaling.new_step(pair, Runtime(), images=24, batch=4, classes=7, students=2)
    loader = kit.training.loader
    sizes = [len(batch.labels) for batch in itertools.islice(loader.epoch(0), 10)]
    assert sizes == [4] * 6
    assert len(kit.training.states) == 2
    assert loader.train.num_classes == 7
    assert [len(terms) for terms in row.take()] == [6, 6]  # four terms, their sum, hits: of each student
    assert scaling.time_loader(kit, epoch=1) > 0
