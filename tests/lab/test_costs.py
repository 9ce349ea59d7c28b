"""What notebook 06 prints: counted costs, recorded steps, published figures."""

from __future__ import annotations

import json

import pytest
from torch import nn

import sskd_lib as sskd
from sskd_lib.lab import costs


def test_multiply_adds_are_those_counted_by_hand() -> None:
    one = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    assert costs.multiply_adds(one) == 32 * 32 * 16 * (3 * 3 * 3)
    grouped = nn.Sequential(
        nn.Conv2d(4, 8, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    assert costs.multiply_adds(grouped, channels=4, side=6) == 6 * 6 * 8 * 2 + 8 * 5
    # wrn_16_2, as HSAKD's authors and others count it: 0.10 billion for an image of CIFAR
    assert round(costs.multiply_adds(sskd.create_model("wrn_16_2")) / 1e9, 2) == 0.10


def test_sskd_costs_four_times_kd_and_as_much_as_its_control() -> None:
    stages = costs.stage_costs(teacher=30, student=10)
    assert stages["sskd"] == stages["kd+rotations"] == 4 * stages["kd"]
    assert stages["kd"] == 240 * 50_000 * (30 + 30)
    assert stages["head"] == 60 * 50_000 * 4 * 30


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_recorded_steps_are_the_medians_of_the_record(device) -> None:
    record = json.loads((costs.RESULTS / f"step_{device}.json").read_text(encoding="utf-8"))
    times = record["pairs"]["wrn_40_2→wrn_16_2"]["seconds a step"]
    assert costs.recorded_steps(device) == {row: time["median"] for row, time in times.items()}
    assert costs.full_hours(times["kit"]["median"]) == pytest.approx(
        times["kit"]["median"] * 782 * 240 / 3600
    )


def test_tables_are_printed(capsys) -> None:
    costs.print_costs()
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[-4:]] == [
        "0.5",
        "1.0",
        "4.0",
        "4.0",
    ]
    costs.print_recorded_steps()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(costs.ROWS) + 5
    timed = set(costs.recorded_steps("cpu")) & set(costs.recorded_steps("cuda"))
    assert sum("not timed" in line for line in lines) == len(costs.ROWS.keys() - timed)
    costs.print_published()
    assert capsys.readouterr().out.splitlines()[-1].endswith("11 of 11")
    costs.print_best_minus_last()
    assert len(capsys.readouterr().out.splitlines()) == 2
