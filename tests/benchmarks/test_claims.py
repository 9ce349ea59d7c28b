"""The program that trains the claims: what is still to do, what is left out, what waits."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

import claims
import claims_hours
import sskd_lib as sskd
from sskd_lib.lab.claims.plan import read_plan

PLAN = read_plan()


@pytest.fixture
def record(tmp_path):
    """An empty record."""
    return tmp_path / "runs.jsonl"


def options(record, *cells, **changes):
    return claims.Options(cells=cells, rows=record, device="cpu", **changes)


def test_what_is_recorded_is_not_trained_again(record):
    """Of three arms and eleven seeds one student is recorded: its seed has two arms left."""
    first = {"cell": "fashion-noise-50", "seed": 200, "arm": "kd", "accuracy": 70.0, "seconds": 1.0}
    claims.write([first], record)
    todo = list(claims.tasks(options(record, "fashion-noise-50")))
    assert [task.seed for task in todo] == list(range(200, 211))
    assert todo[0].arms == ("kd+rotations", "sskd")
    assert todo[1].arms == ("kd", "kd+rotations", "sskd")


def test_a_finished_cell_trains_nothing(record, capsys):
    cell = PLAN.cells["fashion-noise-50"]
    rows = [
        {"cell": cell.name, "seed": seed, "arm": arm, "accuracy": 70.0, "seconds": 1.0}
        for seed in cell.seeds
        for arm in cell.arms
    ]
    claims.write(rows, record)
    claims.run(options(record, cell.name))
    assert "All is recorded." in capsys.readouterr().out
    assert [json.loads(line) for line in record.read_text().splitlines()] == rows


def test_without_names_the_cells_for_two_cores_are_trained(record):
    todo = list(claims.tasks(options(record)))
    names = {task.cell.name for task in todo}
    assert not any(task.cell.large for task in todo)
    assert {"hundred-50", "fashion-300"} <= names and "hundred-500" not in names


def test_what_needs_the_sweep_waits_for_it(record, capsys):
    assert list(claims.tasks(options(record, "fashion-tuned"))) == []
    assert "fashion-tuned waits" in capsys.readouterr().out
    seeds = len(PLAN.cells["fashion-tuned"].seeds)
    assert len(list(claims.tasks(options(record, "fashion-tuned", dry_run=True)))) == seeds  # its hours count


def test_a_wrong_cell_is_named_with_its_neighbour(record):
    with pytest.raises(ValueError, match="Did you mean 'fashion-300'"):
        list(claims.tasks(options(record, "fashion-30")))


def test_a_part_whose_time_is_up_writes_nothing_and_goes_on(record, tmp_path, monkeypatch):
    """Two real processes' worth of work in this one: the first part ends in time, the second finishes."""
    cell = PLAN.cells["fashion-noise-50"]
    small = replace(cell, labels=20, schedule=replace(cell.schedule, epochs=3), seeds=(200,), arms=("kd",))
    monkeypatch.setattr(claims, "WEIGHTS", tmp_path / "work")
    monkeypatch.setitem(vars(claims.read_plan()), "cells", {**PLAN.cells, cell.name: small})
    (task,) = claims.tasks(options(record, cell.name))
    assert claims.train(replace(task, end=0.0)) == []
    (row,) = claims.train(replace(task, end=math.inf))
    assert (row["arm"], row["seed"], row["labels"]) == ("kd", 200, 20)


def test_hours_are_the_steps_of_all_epochs_times_the_time_of_a_step(monkeypatch):
    """300 labels in batches of 16 are 19 steps, 20 epochs of them, and four times as many for KD x4.

    A step takes a tenth of a second (four in 0.4 s, the faster of two epochs): 19 · 20 · 0.1 · (1 + 4).
    """
    run = SimpleNamespace(history=[{"seconds": 0.9}, {"seconds": 0.4}])
    monkeypatch.setattr(claims_hours.sskd, "distill", lambda *_, **__: [run])
    cell, runtime = PLAN.cells["fashion-300"], sskd.choose_runtime("cpu")
    assert claims_hours.seconds_of(cell, ("kd", "sskd", "kd x4"), runtime) == pytest.approx(190)


def test_the_noise_has_the_shape_of_the_images():
    images = claims_hours.noise_like(PLAN.cells["hundred-50"])
    assert images.images.shape == (128, 3, 32, 32) and images.num_classes == 100
