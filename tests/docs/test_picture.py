"""docs/idea.png: its numbers are those in README's words, and it stays small and opaque."""

from __future__ import annotations

import importlib.util
import io
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

from helpers.documents import ROOT, words

ALT = re.search(r"!\[(.*?)\]\(docs/idea\.png\)", words("README.md"))[1]


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("make_picture", ROOT / "docs" / "make_picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def numbers(program):
    return program.numbers()


def test_readme_has_the_softened_outputs(program, numbers):
    probabilities = numbers.probabilities[program.COAT]
    order = probabilities.argsort()[::-1][:4]
    shown = [f"{100 * probabilities[k]:.0f} % {numbers.classes[k].lower()}" for k in order]
    rest = f"{100 * (1 - probabilities[order].sum()):.0f} % six others"
    assert numbers.classes[order[0]] == "Coat"
    assert f"Its soft answer for a coat is {', '.join([*shown, rest])}." in ALT


def test_readme_counts_the_rows(numbers):
    rows, columns = numbers.matrix.shape
    assert f"matrix of {rows} rows" in ALT
    assert f"{columns} columns" in ALT
    assert f"In {numbers.wrong.sum()} rows another image" in ALT
    assert f"the {(~numbers.kept).sum()} worst of these rows are crossed out" in ALT


def test_the_rows_left_out_are_worse_than_all_others(numbers):
    """No tie decides: in these rows two images beat the row's own, in all others one or none."""
    rows, columns = numbers.matrix.shape
    own = numbers.matrix[np.arange(rows), np.arange(rows) % columns]
    beaten = (numbers.matrix > own[:, None]).sum(1)
    assert beaten[~numbers.kept].min() > beaten[numbers.kept].max()


@pytest.mark.skipif(
    tuple(map(int, matplotlib.__version__.split(".")[:2])) < (3, 10),
    reason="an older Matplotlib sets words apart",
)
def test_the_shipped_picture_is_the_program_s(program, numbers, tmp_path):
    """But for the rendering of letters, which differs a little between versions."""
    program.save(program.picture(numbers), tmp_path / "idea.png")
    new, old = (
        np.asarray(Image.open(path).convert("L").resize((440, 240)), dtype=float)
        for path in (tmp_path / "idea.png", ROOT / "docs" / "idea.png")
    )
    assert np.abs(new - old).mean() < 2


def test_it_is_small_and_opaque():
    content = (ROOT / "docs" / "idea.png").read_bytes()
    assert len(content) <= 200_000
    picture = Image.open(io.BytesIO(content))
    assert "transparency" not in picture.info
    assert picture.convert("RGBA").getchannel("A").getextrema() == (255, 255)
