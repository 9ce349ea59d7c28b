"""The record of methods.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_cost_of_methods_is_that_of_their_terms(tmp_path: Path) -> None:
    command = ["methods.py", "--pair", "resnet14", "resnet8", "--images", "64", "--rounds", "1"]
    names = ["dkd", "fitnet", "simkd", "sskd-jigsaw", "hsakd"]
    options = ["--methods", *names, "--device", "cpu", "--out", str(tmp_path / "found.json")]
    environment = dict(os.environ) | {"SSKD_RUNTIME": "default"}
    done = subprocess.run(
        [sys.executable, *command, *options], capture_output=True, text=True, cwd=BENCHMARKS, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["methods"]
    assert list(found) == names and all(name in done.stdout for name in found)
    for figures in found.values():
        assert 0 < figures["own, s"] < figures["step, s"]
        assert figures["share"]["min"] <= figures["share"]["median"] <= figures["share"]["max"]
    assert found["fitnet"]["largest tensor"] >= 64 * 32 * 16 * 16  # the regressed maps of the second stage
