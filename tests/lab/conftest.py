"""Explorers without a browser: as widgets, or as the pictures of a static page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from sskd_lib.lab.course import progress
from sskd_lib.lab.explorers import OPEN


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's file of its own."""
    file = tmp_path / "progress.json"
    monkeypatch.setenv("SSKD_PROGRESS", str(file))
    monkeypatch.setattr(progress, "_memory", {})
    return file


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Explorers come as widgets, although no browser listens; afterwards none is left open."""
    monkeypatch.setattr("sskd_lib.lab.explorers.presentation.static_reason", lambda: None)
    monkeypatch.setattr("IPython.display.display", lambda *shown, **more: None)
    yield
    while OPEN:
        left = OPEN.popitem()[1]
        left.close()
        rerun = getattr(left.explorer, "rerun", None)
        if rerun is not None and rerun.thread is not None:
            rerun.thread.join(600)


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell of IPython in this process, and pictures without sliders."""
    monkeypatch.setenv("SSKD_STATIC", "1")
    shell = InteractiveShell.instance()
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()
