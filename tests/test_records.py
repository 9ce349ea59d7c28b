"""What README and data/README say is what the recorded runs and the shipped weights hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import sskd_lib as sskd
from sskd_lib.data import DATA_FOLDER
from sskd_lib.table import table_bytes, views_an_image

ROOT = DATA_FOLDER.parent
WEIGHTS = sorted((DATA_FOLDER / "weights").rglob("*.safetensors"))
sys.path.insert(0, str(ROOT / "benchmarks"))

import few_labels  # noqa: E402


def test_readme_shows_the_recorded_table(capsys):
    few_labels.table()
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(printed) > 30
    assert [line for line in printed if line not in readme] == []


def test_readme_shows_the_recorded_step_times():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:4]]
        for line in readme.splitlines()
        if line.startswith("| ")
    }
    rows = {
        "published procedure, written out plainly": "published",
        "the same, on views made beforehand": "published, ready",
        "kit, float32 (`--exact`)": "kit, exact",
        "kit, bfloat16 and channels_last": "kit",
        "bare networks, bfloat16 and channels_last": "networks, kit",
    }
    for column, device in enumerate(("cpu", "cuda")):
        record = json.loads((ROOT / "benchmarks" / "results" / f"step_{device}.json").read_text())
        for shown, name in rows.items():
            assert cells[shown][column] == f"{record['seconds a step'][name]['median']:.3g} s"
        share = record["ratios"]["share of views and losses in kit, directly"]["median"]
        assert cells["views and losses, share of the kit's step"][column] == f"{100 * share:.2g} %"


def test_readme_says_what_a_teacher_table_takes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for draws, name in (("all", "`all`"), (8, "K = 8")):
        line = next(line for line in readme.splitlines() if name in line and "GB" in line)
        assert f"{table_bytes(50_000, 100, 128, draws) / 1e9:.1f} GB" in line
        assert f" {views_an_image(draws) * 50_000 / 1e6:g} million" in line
    assert f"asks its teacher {240 * 4 * 50_000 / 1e6:g} million times" in readme


def test_readme_shows_the_imagenet_schedule():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if line.startswith('R="--data shards:'))
    words = line.strip('R="').split()
    cut = words.index("--milestones")
    options = dict(zip(words[2:cut:2], words[3:cut:2], strict=True))
    shown = sskd.Schedule(
        epochs=int(options.pop("--epochs")),
        batch_size=int(options.pop("--batch-size")),
        lr=float(options.pop("--lr")),
        weight_decay=float(options.pop("--weight-decay")),
        milestones=tuple(map(float, words[cut + 1 :])),
    )
    assert options == {} and shown.batch_size == sskd.IMAGENET.batch_size
    assert shown.weight_decay == sskd.IMAGENET.weight_decay and shown.momentum == sskd.IMAGENET.momentum
    rates = [[s.lr_at(epoch) for epoch in range(s.epochs)] for s in (shown, sskd.IMAGENET)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_data_readme_shows_the_shipped_accuracies(path: Path):
    shipped = sskd.read_card(path)["shipped"]
    lines = (DATA_FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if f"`{path.parent.name}/{path.name}`" in line]
    assert f"| {shipped['images']:,} | {shipped['accuracy']:.2f} |" in line
    assert ("contrastive_accuracy" in shipped) == (sskd.load_checkpoint(path).head is not None)
    if "contrastive_accuracy" in shipped:
        assert f"| {shipped['contrastive_accuracy']:.1f} |" in line


def test_a_teacher_and_a_student_of_each_method_are_shipped():
    for folder in ("fashion-mnist", "cifar10"):
        names = {path.stem for path in WEIGHTS if path.parent.name == folder}
        assert names == {"teacher_wrn_16_2", *(f"student_resnet8_{method}" for method in sskd.METHODS)}
    assert sum(path.stat().st_size for path in WEIGHTS) <= 6_000_000


@pytest.mark.parametrize(
    "path", [p for p in WEIGHTS if p.parent.name == "fashion-mnist"], ids=lambda p: p.stem
)
def test_shipped_accuracy_holds_on_the_embedded_test_images(path: Path):
    """The pack has 2,000 of the 10,000 images the card speaks of; 1.5 points are over two deviations."""
    card = sskd.read_card(path)["shipped"]
    pack = sskd.load_images("fashion-mnist-lab", "test")
    assert sskd.evaluate(sskd.load_checkpoint(path), pack)["accuracy"] == pytest.approx(
        card["accuracy"], abs=1.5
    )
    if path.stem.startswith("teacher"):
        assert card["images"] == 10_000 and card["accuracy"] >= 93
