"""Figures of benchmarks/README.md on number formats and on reading large folders, against their records."""

from __future__ import annotations

import json

from helpers.documents import RESULTS, words

TEXT = words("benchmarks/README.md")


def load(name: str) -> dict:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def test_the_rule_against_the_other_formats():
    races = load("format_rule_cpu.json")["races"].values()
    plain, measured = (
        [race["over the rule"][name]["median"] for race in races]
        for name in ("plain float32", "float32, channels_last")
    )
    assert f"Plain float32 takes {min(plain):.2f} to {max(plain):.2f} times as long" in TEXT
    assert f"it takes {min(measured):.2f} to {max(measured):.2f} times as long" in TEXT


def test_reading_large_folders():
    ratios = load("streaming_cpu.json")["now over before, round by round"]
    cold, warm = ratios["read, cold"], ratios["read, warm"]
    assert f"reads {cold['median']:.2f} times as fast" in TEXT
    assert f"({cold['low']:.2f} to {cold['high']:.2f} in five rounds)" in TEXT
    assert f"{warm['median']:.2f} times from memory ({warm['low']:.2f} to {warm['high']:.2f})" in TEXT
    assert 0.95 < ratios["converted"]["median"] < 1.05


def test_the_step_over_the_bare_networks():
    (pair,) = load("step_restructured_cpu.json")["pairs"].values()
    ratio = pair["ratios"]["kit / networks, kit"]
    span = f"({ratio['low']:.2f} to {ratio['high']:.2f}"
    assert f"{ratio['median']:.2f} times as long as the bare networks {span} in five" in words(
        "docs/speed.md"
    )
    assert f"| {ratio['median']:.2f} {span}), float32" in words("docs/architecture.md")
