"""What the tests of the pages share."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from helpers.documents import ROOT


@pytest.fixture(scope="session")
def make_paper() -> Iterator[ModuleType]:
    """docs/make_paper.py, which finds docs/paper/ beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        import make_paper

        yield make_paper
