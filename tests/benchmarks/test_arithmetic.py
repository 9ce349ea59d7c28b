"""Multiply-accumulates and memory of a row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import arithmetic
import memory
import rows
import sskd_lib as sskd
from sskd_lib import Runtime


def test_macs_and_gflop_by_hand() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),  # 16·16 pixels · 8 channels · 27 weights
        torch.nn.BatchNorm2d(8),
        torch.nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=4),  # 8·8 · 8 · (2 · 9)
        torch.nn.Flatten(),
        torch.nn.Linear(512, 5),
    )
    assert arithmetic.count_macs(layers, torch.zeros(2, 3, 16, 16)) == 55296 + 9216 + 2560
    data = rows.random_images(2, classes=100)
    net = sskd.create_network("resnet8", data, projection=True)
    macs = arithmetic.count_macs(net, torch.zeros(1, 3, 32, 32))
    assert macs == 12_507_392 + 64 * 64 + 64 * 64  # backbone with classifier, and the two layers of the head
    pair = ("resnet8", "resnet8")
    assert arithmetic.gflop(pair, 64, data) == pytest.approx(256 * 8 * macs / 1e9)
    assert arithmetic.gflop(pair, 64, data, teachers=0, students=3) == pytest.approx(256 * 18 * macs / 1e9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="elsewhere the parent's memory counts")
def test_peak_memory_is_that_of_the_row_alone(setting: rows.Setting) -> None:
    mine = torch.ones(3 * 2**29, dtype=torch.uint8)  # what this process holds is not counted
    kit = Runtime(channels_last=True, threads=1)
    zero = memory.peak_in_own_process(memory.NOTHING, replace(setting, kit=kit))["resident"]
    step_ = memory.peak_in_own_process("kit", replace(setting, kit=kit, batch=32))["resident"]
    assert zero < mine.nbytes
    # what must be alive at once, at the least: inputs of the first convolutions of 128 views, float32
    assert step_ - zero > 128 * 32 * 32 * (3 + 3 * 16) * 4


def test_a_failed_memory_measurement_says_why(setting: rows.Setting) -> None:
    with pytest.raises(RuntimeError, match=r"memory of 'no row' failed:(.|\n)*KeyError: 'no row'"):
        memory.peak_in_own_process("no row", setting)
