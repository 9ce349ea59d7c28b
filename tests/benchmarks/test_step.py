"""The record of step.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import memory
import rows
import sskd_lib as sskd
import step
import timing


def test_ratios_are_taken_round_by_round() -> None:
    times = {
        "published": [8.0, 30.0],
        "kit, exact": [4.0, 10.0],
        "kit": [2.0, 10.0],
        "networks, exact": [3.0, 8.0],
        "three students": [5.0, 20.0],
    }
    phases = {
        "loader": [0.5, 0.5],
        "views": [0.5, 0.5],
        "teacher": [6.0, 5.0],
        "losses": [2.0, 1.0],
        "losses backward": [1.0, 3.0],
    }
    assert step.ratios(times, phases) == {
        "published / kit, exact": [2.0, 3.0],
        "published / kit": [4.0, 3.0],
        "kit, exact / networks, exact": pytest.approx([4 / 3, 1.25]),
        "three students / kit": [2.5, 2.0],
        "own work of the kit, share of its step": pytest.approx([0.4, 0.5]),
    }


def test_every_ratio_is_of_rows_that_there_are(setting: rows.Setting) -> None:
    known = set(rows.builders(setting))
    assert {name for pair in step.RATIOS for name in pair} <= known
    assert set(rows.SHORT) <= known
    assert set(memory.ROWS) <= known


def test_step_records_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LEAST", 0.01)
    out = tmp_path / "new" / "step.json"
    names = ("published", "kit, exact", "kit", "kit, table", "networks, exact", "student alone")
    pairs = (("resnet8", "resnet8"), ("no_such_net", "resnet8"))
    sizes = {"batch": 4, "classes": 3, "rounds": 2}
    step.main(
        step.Options(pairs=pairs, rows=names, device="cpu", memory=False, name="test", out=out, **sizes)
    )
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["machine"]["name"] == "test"
    assert record["versions"]["torch"] == torch.__version__
    assert record["settings"] == {"batch": 4, "classes": 3, "rounds": 2, "cudnn_search": False}
    assert record["runtime"] == sskd.choose_runtime("cpu").describe()
    assert list(record["pairs"]) == ["resnet8→resnet8"]
    pair, printed = record["pairs"]["resnet8→resnet8"], capsys.readouterr().out
    assert list(pair["seconds a step"]) == list(names)
    for title in ("seconds a step", "seconds a phase of the kit's step", "ratios", "utilisation"):
        for row in pair[title]:
            assert row in printed
    seconds = pair["seconds a step"]["kit"]["median"]
    epoch = pair["seconds an epoch of 50,000 images"]["kit"]["median"]
    assert epoch == pytest.approx(12_500 * seconds, rel=1e-3)
    assert pair["hours of 240 epochs"]["kit"]["median"] == pytest.approx(240 * epoch / 3600, rel=1e-3)
    assert ("not idle" in pair["warning"]) == any(
        figure["high"] > 1.25 * figure["low"] for figure in pair["seconds a step"].values()
    )


def test_memory_ratios_by_hand() -> None:
    held = {"kit, exact": 4, "networks, exact": 4, "kit": 3, "networks, kit": 2, "three students": 5}
    ratios = step.memory_ratios({name: {"resident": value} for name, value in held.items()})
    assert [figure["resident"] for figure in ratios.values()] == [1.0, 1.5, 2.5]
