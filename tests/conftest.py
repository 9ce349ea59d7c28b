"""What every test file shares."""

from __future__ import annotations

import os

import pytest
import torch


def pytest_configure() -> None:
    """No test, nor any process it starts, measures the machine, unless it asks (test_runtime.py does)."""
    os.environ["SSKD_RUNTIME"] = "default"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` on a machine without a CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """No test sees the user's cache folder, data folder or proxy."""
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("SSKD_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
