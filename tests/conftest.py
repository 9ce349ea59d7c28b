"""What every test file shares."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from helpers.browser import BROWSER_LACKS


def pytest_configure() -> None:
    """Give each process one thread: small networks gain nothing from a second, and tests run side by side."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` or `browser` on a machine without one."""
    lacks = {"gpu": "" if torch.cuda.is_available() else "a CUDA device", "browser": BROWSER_LACKS}
    for item in items:
        for marker, missing in lacks.items():
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"needs {missing}"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Every test begins with one thread, whatever the one before it set: rounding depends on their number."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """No test sees the user's cache folder, data folder or proxy."""
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("SSKD_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
