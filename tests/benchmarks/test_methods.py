"""The record of methods.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import methods


def test_the_cost_of_methods_is_that_of_their_terms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, out = ("dkd", "fitnet", "simkd", "sskd-jigsaw", "hsakd"), tmp_path / "methods.json"
    methods.main(("resnet14", "resnet8"), names, images=64, rounds=1, device="cpu", out=out)
    record, printed = json.loads(out.read_text(encoding="utf-8"))["methods"], capsys.readouterr().out
    assert list(record) == list(names)
    for name, figures in record.items():
        assert name in printed
        assert min(figures["own, s"], figures["step, s"], figures["share"]["min"]) > 0
        assert figures["share"]["min"] <= figures["share"]["median"] <= figures["share"]["max"]
    assert record["fitnet"]["largest tensor"] >= 64 * 32 * 16 * 16  # the regressed maps of the second stage
