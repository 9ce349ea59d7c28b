"""The benchmark of conversion and reading from disk runs, and counts what it says."""

from __future__ import annotations

import sys

import pytest

import streaming

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="drops files from Linux's memory"
)


def test_photographs_are_converted_and_read(tmp_path, capsys):
    streaming.make_photographs(tmp_path / "photographs", 60)
    assert len(list((tmp_path / "photographs" / "train").rglob("*.jpg"))) == 50
    streaming.convert(tmp_path / "photographs", tmp_path / "out", side=16)
    assert float(capsys.readouterr().out) > 0
    for warm in (False, True):
        streaming.read(tmp_path / "out", 8, warm)
        assert float(capsys.readouterr().out) > 0
