"""The tables of few_labels.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import few_labels


def test_interval_by_hand() -> None:
    # t(0.975) for 2, 1 and 4 degrees of freedom, from a printed table: 4.303, 12.706, 2.776
    assert few_labels.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3**0.5), abs=1e-3)
    assert few_labels.interval([0.0, 2.0]) == pytest.approx((1.0, 12.706), abs=1e-3)
    assert few_labels.interval([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((3.0, 2.776 / 2**0.5), abs=1e-3)
    mean, half = few_labels.interval([7.0])
    assert mean == 7.0
    assert np.isnan(half)


def test_table_pairs_runs_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def record(method: str, seed: int, last: float, split: str = "test") -> str:
        return json.dumps({"key": ["fashion", split, 60, method, seed], "last": last, "best": last + 1})

    lines = [
        record("kd", 0, 70.0),
        record("kd", 1, 72.0),
        record("sskd", 1, 75.0),  # seeds come in any order
        record("sskd", 0, 74.0),
        record("sskd", 0, 10.0, split="validation"),
        record("ce", 5, 60.0),  # no other run has this seed: nothing to pair it with
    ]
    results = tmp_path / "runs.jsonl"
    results.write_text("\n".join(lines) + "\n")
    few_labels.table(results)
    printed = capsys.readouterr().out.splitlines()
    # two values a and b: mean ± 12.706 · |a - b| / 2
    assert "**fashion, 300 labels, 60 epochs** (test images)" in printed
    assert "| kd | 2 | 71.00 ± 12.71 |  |  | 72.00 |" in printed
    assert "| sskd | 2 | 74.50 ± 6.35 | +3.50 ± 6.35 |  | 75.50 |" in printed
    assert "| ce | 1 | 60.00 ± nan |  |  | 61.00 |" in printed
    few_labels.table(results, split="validation")
    assert "| sskd | 1 | 10.00 ± nan |  |  | 11.00 |" in capsys.readouterr().out


def test_recorded_runs_are_found_again(tmp_path: Path) -> None:
    assert few_labels.read(tmp_path / "nothing.jsonl") == []
    plan = few_labels.Plan(
        setting="fashion", method="kd", epochs=1, seed=0, split="test", folder="", device="cpu", out=tmp_path
    )
    results = tmp_path / "runs.jsonl"
    results.write_text(json.dumps({"key": plan.key, "last": 1.0, "best": 1.0, "seconds": 1.0}) + "\n")
    few_labels.train_all([plan], processes=1, results=results)  # recorded already: nothing is trained
    assert len(few_labels.read(results)) == 1


def write_runs(path: Path, exact: bool, last: dict[tuple[str, int], float]) -> Path:
    """A results file. last: accuracy by method and seed."""
    runs = [
        {"key": ["fashion", "test", 60, method, seed], "last": value, "best": value, "exact": exact}
        for (method, seed), value in last.items()
    ]
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return path


def test_compare_pairs_fast_and_exact_runs_by_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = write_runs(
        tmp_path / "fast.jsonl", False, {("kd", 1): 72.0, ("kd", 0): 70.0, ("kd", 2): 0.0, ("ce", 0): 60.0}
    )
    exact = write_runs(tmp_path / "exact.jsonl", True, {("kd", 0): 71.0, ("kd", 1): 71.0, ("sskd", 0): 80.0})
    few_labels.compare(fast, exact)
    printed = capsys.readouterr().out.splitlines()
    # differences -1 and 1: 0 ± 12.706 · 2 / 2; seed 2, ce and sskd have no partner
    assert [line for line in printed if line.startswith("| ")][1:] == [
        "| kd | 2 | 71.00 ± 12.71 | 71.00 ± 0.00 | +0.00 ± 12.71 |"
    ]
    with pytest.raises(ValueError, match=r"exact.jsonl has runs of the exact kind.*where the fast kind"):
        few_labels.compare(exact, fast)
    with pytest.raises(ValueError, match="no run in common"):
        few_labels.compare(fast, exact, split="validation")


def test_fast_and_exact_runs_are_kept_apart(tmp_path: Path) -> None:
    plan = few_labels.Plan(
        setting="fashion", method="ce", epochs=1, seed=0, split="test", folder="", device="cpu", out=tmp_path
    )
    exact = replace(plan, exact=True)
    assert plan.key == exact.key
    assert plan.run_folder != exact.run_folder
    results = write_runs(tmp_path / "fast.jsonl", False, {("ce", 0): 60.0})
    before = results.read_bytes()
    with pytest.raises(ValueError, match=r"fast.jsonl has runs of the fast kind.*--results FILE"):
        few_labels.train_all([exact], processes=1, results=results)
    assert results.read_bytes() == before
    assert list(tmp_path.iterdir()) == [results]


def test_an_exact_run_is_trained_in_plain_float32(tmp_path: Path) -> None:
    plan = few_labels.Plan(
        setting="fashion", method="ce", epochs=1, seed=0, split="test", folder="", device="cpu", out=tmp_path,
        exact=True,
    )  # fmt: skip
    record = few_labels.train_one(plan)
    assert record["exact"]
    assert record["runtime"]["dtype"] == "float32"
    assert not record["runtime"]["channels_last"]
    assert 0 <= record["last"] <= record["best"] <= 100
