"""A small finished table of results: one pair, two seeds, four methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.reproduced import METHODS, OPTIONS, SCHEDULE
from sskd_lib.data.images import ImageSet
from sskd_lib.data.load import load_images
from sskd_lib.reproduce.cells import make_teacher, train_cell
from sskd_lib.reproduce.plan import Cell, plan_cells


@pytest.fixture(scope="session")
def images() -> tuple[ImageSet, ImageSet]:
    train = load_images("fashion-mnist-lab")
    return train.take(40), load_images("fashion-mnist-lab", "test").take(50)


@pytest.fixture(scope="session")
def finished(images, tmp_path_factory) -> tuple[Path, list[Cell]]:
    """A folder with a teacher and two cells of four methods; to be read, not changed."""
    out = tmp_path_factory.mktemp("reproduced")
    train, test = images
    make_teacher("resnet14", train, test, out, 1, **OPTIONS)
    cells = plan_cells("similar", ["resnet14:resnet8"], METHODS, seeds=2, labels=20)
    for cell in cells:
        train_cell(cell, train, test, out, SCHEDULE, **OPTIONS)
    return out, cells
