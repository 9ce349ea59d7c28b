"""data/README.md against the shipped networks, and these against their cards."""

from __future__ import annotations

from pathlib import Path

import pytest

import sskd_lib as sskd
from helpers.documents import page, words
from sskd_lib.data.load import DATA_FOLDER
from sskd_lib.losses import BASES

WEIGHTS = sorted((DATA_FOLDER / "weights").rglob("*.safetensors"))
FASHION = [path for path in WEIGHTS if path.parent.name == "fashion-mnist"]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_page_has_the_accuracy_of_each_card(path: Path):
    shipped = sskd.read_card(path)["shipped"]
    (line,) = [
        row for row in page("data/README.md").splitlines() if f"`{path.parent.name}/{path.name}`" in row
    ]
    assert f"| {shipped['images']:,} | {shipped['accuracy']:.2f} |" in line
    assert ("contrastive_accuracy" in shipped) == (sskd.load_checkpoint(path).head is not None)
    if "contrastive_accuracy" in shipped:
        assert f"| {shipped['contrastive_accuracy']:.1f} |" in line


def test_results_has_the_accuracy_of_the_teachers():
    accuracy = {
        path.parent.name: sskd.read_card(path)["shipped"]["accuracy"]
        for path in WEIGHTS
        if path.stem.startswith("teacher")
    }
    text = words("docs/results.md")
    assert f"35,000 for the teacher ({accuracy['cifar10']:.1f} %" in text
    # a card has 94.45; the pages round it upwards
    assert (
        f"Fashion-MNIST teacher ({accuracy['fashion-mnist'] + 0.001:.1f} % on the 10,000 test images)" in text
    )


def test_a_teacher_and_a_student_of_each_method_are_shipped():
    for folder in ("fashion-mnist", "cifar10", "grocery"):
        names = {path.stem for path in WEIGHTS if path.parent.name == folder}
        assert names == {"teacher_wrn_16_2", *(f"student_resnet8_{method}" for method in BASES)}
    assert sum(path.stat().st_size for path in WEIGHTS) <= 8_000_000


@pytest.mark.parametrize("path", FASHION, ids=lambda p: p.stem)
def test_the_accuracy_holds_on_the_embedded_test_images(path: Path):
    """The pack has 2,000 of the 10,000 images that the card speaks of; 1.5 points are over two deviations."""
    card = sskd.read_card(path)["shipped"]
    pack = sskd.load_images("fashion-mnist-lab", "test")
    accuracy = sskd.evaluate(sskd.load_checkpoint(path), pack)["accuracy"]
    assert accuracy == pytest.approx(card["accuracy"], abs=1.5)
    if path.stem.startswith("teacher"):
        assert card["images"] == 10_000
        assert card["accuracy"] >= 93
