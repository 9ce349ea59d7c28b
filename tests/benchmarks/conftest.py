"""A pair of small networks to time."""

from __future__ import annotations

from pathlib import Path

import pytest

import rows
from sskd_lib import Runtime


@pytest.fixture
def setting(tmp_path: Path) -> rows.Setting:
    """A pair of small networks, two batches of 8 images."""
    data = rows.random_images(16, classes=4)
    return rows.Setting(
        pair=("resnet8", "resnet8"), batch=8, data=data, kit=Runtime(channels_last=True), folder=tmp_path
    )
