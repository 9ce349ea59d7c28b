"""The recorded runs come back as histories, in the order of methods and seeds."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from sskd_lib import lab

module = importlib.import_module("sskd_lib.lab.few_labels")


def write(path: Path, *keys: list) -> None:
    """Records whose accuracy tells method and seed apart; sskd has a term that kd has not."""
    lines = []
    for key in keys:
        curve = {"epoch": [5, 10], "test_accuracy": [50 + key[4], 60 + key[4]], "kd": [2.0, 1.0], "ss": []}
        if key[3] == "sskd":
            curve["ss"] = [0.2, 0.1]
        lines.append(json.dumps({"key": key, "last": 60 + key[4], "curve": curve}))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A results file of its own instead of the kit's."""
    monkeypatch.setattr(module, "RESULTS", tmp_path / "few_labels.jsonl")
    return module.RESULTS


def test_methods_and_seeds_come_in_order_and_terms_only_where_they_are(results) -> None:
    runs = [["fashion", "test", 10, method, seed] for method in ("sskd", "kd") for seed in (2, 0, 1)]
    write(results, *runs, ["fashion", "validation", 10, "ce", 0], ["cifar10", "test", 10, "ce", 0])
    by_method = lab.recorded("fashion", 10)
    assert list(by_method) == ["kd", "sskd"]
    assert [history[-1]["test_accuracy"] for history in by_method["sskd"]] == [60, 61, 62]
    assert by_method["kd"][0] == [
        {"epoch": 5, "test_accuracy": 50, "kd": 2.0},
        {"epoch": 10, "test_accuracy": 60, "kd": 1.0},
    ]
    assert by_method["sskd"][0][1]["ss"] == 0.1
    assert list(lab.recorded("fashion", 10, "validation")) == ["ce"]


def test_only_seeds_that_all_methods_have_are_compared(results) -> None:
    write(results, *(["fashion", "test", 10, "kd", s] for s in (0, 1, 2)), ["fashion", "test", 10, "sskd", 1])
    by_method = lab.recorded("fashion", 10)
    accuracies = {
        name: [history[-1]["test_accuracy"] for history in runs] for name, runs in by_method.items()
    }
    assert accuracies == {"kd": [61], "sskd": [61]}


def test_unknown_setting_names_what_is_recorded(results) -> None:
    write(results, ["fashion", "test", 60, "kd", 0], ["cifar10", "validation", 240, "kd", 0])
    with pytest.raises(ValueError, match="fashion, 60 epochs, test") as error:
        lab.recorded("fashion", 61)
    assert "cifar10, 240 epochs, validation" in str(error.value)


def test_missing_file_says_how_to_get_it_back(results) -> None:
    with pytest.raises(FileNotFoundError, match="git checkout"):
        lab.recorded("fashion", 240)


@pytest.mark.parametrize("setting", ["fashion", "cifar10"])
def test_the_kit_records_at_least_five_seeds_of_each_method_to_the_last_epoch(setting) -> None:
    last = {
        tuple(record["key"][3:]): record["last"]
        for record in map(json.loads, module.RESULTS.read_text().splitlines())
        if record["key"][:3] == [setting, "test", 240]
    }
    by_method = lab.recorded(setting, 240)
    assert list(by_method) == ["ce", "kd", "kd+rotations", "sskd"]
    for method, histories in by_method.items():
        assert len(histories) >= 5
        for seed, history in enumerate(histories):
            assert history[-1]["epoch"] == 240
            assert history[-1]["test_accuracy"] == pytest.approx(last[method, seed], abs=1e-3)
