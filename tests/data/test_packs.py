"""The embedded packs: what is in them, how they were made, and what is said when they are damaged."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from sskd_lib.data import archives, packs
from sskd_lib.data import load as data
from sskd_lib.data.load import DATA_FOLDER, load_images

DEBIAN = archives.DEBIAN_FASHION_MNIST
OWNERS = {
    "fashion-mnist": "Copyright (c) 2017 Zalando SE, https://tech.zalando.com",
    "grocery": "Copyright (c) 2019 Marcus Klasson",
}


def card_of(name: str) -> dict:
    return json.loads((DATA_FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "limit"), [("fashion-mnist-lab", 6_000_000), ("grocery", 8_000_000)])
def test_a_pack_is_the_file_of_its_card_and_its_licence_is_beside_it(name, limit):
    card = card_of(name)
    content = (DATA_FOLDER / card["file"]).read_bytes()
    assert len(content) == card["bytes"] <= limit
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    licence = card["licence"].split("see ")[1]
    text = " ".join((DATA_FOLDER / licence).read_text(encoding="utf-8").split())
    assert OWNERS[name.removesuffix("-lab")] in text
    assert (
        "Permission is hereby granted, free of charge" in text and 'THE SOFTWARE IS PROVIDED "AS IS"' in text
    )


def test_every_embedded_name_has_a_pack():
    assert {f"{name}.npz" for name in data.PACKS} == {path.name for path in DATA_FOLDER.glob("*.npz")}
    assert set(data.PACKS) < set(data.NAMES)


@pytest.mark.parametrize("name", data.PACKS)
def test_a_damaged_or_missing_pack_says_how_to_repair_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DATA_FOLDER", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=rf"is missing\. .*git checkout -- data/{name}.npz data/{name}.js"
    ):
        load_images(name)
    (tmp_path / f"{name}.npz").write_bytes(b"broken")
    with pytest.raises(FileNotFoundError, match=rf"{name}.json is missing"):
        load_images(name)
    (tmp_path / f"{name}.json").write_text('{"sha256": "1234"}')
    with pytest.raises(ValueError, match=rf"is damaged: .*1234.* git checkout -- data/{name}.npz"):
        load_images(name)


def test_a_pack_with_python_objects_is_not_unpickled(tmp_path):
    """The hash alone protects only from accidents: its card is beside the pack."""
    pack = tmp_path / "trap.npz"
    np.savez(pack, train_images=np.array([Path("a")], dtype=object), train_labels=np.zeros(1, np.uint8))
    card = {"sha256": hashlib.sha256(pack.read_bytes()).hexdigest()}
    pack.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        packs.read_pack(pack, "train")


# Fashion-MNIST


def test_the_lab_pack_has_the_same_number_of_each_class():
    card = card_of("fashion-mnist-lab")
    for split, each in card["images_of_each_class"].items():
        images = load_images("fashion-mnist-lab", split)
        assert images.images.shape == (10 * each, 1, 28, 28) and images.images.is_contiguous()
        assert images.labels.bincount().tolist() == [each] * 10
        assert images.classes == tuple(card["classes"]) == archives.FASHION_CLASSES
        assert images.name == "fashion-mnist-lab" and images.coarse is None
        assert len({row.tobytes() for row in images.images.numpy()}) > 9.9 * each
    assert card["images_of_each_class"] == {"train": 1000, "test": 200}


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
@pytest.mark.usefixtures("own_home")
def test_the_lab_packs_images_are_the_originals_and_the_script_makes_it_again(tmp_path, monkeypatch):
    lab_pack = DATA_FOLDER / "fashion-mnist-lab.npz"
    with np.load(lab_pack, allow_pickle=False) as pack:
        for split, size in (("train", 60_000), ("test", 10_000)):
            everything, index = load_images("fashion-mnist", split), pack[f"{split}_index"]
            assert len(everything) == size and len(np.unique(index)) == len(index)
            ours = load_images("fashion-mnist-lab", split)
            assert torch.equal(ours.images, everything.images[index])
            assert torch.equal(ours.labels, everything.labels[index])
    import make_lab_pack

    monkeypatch.setattr(make_lab_pack, "FOLDER", tmp_path)
    make_lab_pack.main()
    with np.load(lab_pack) as old, np.load(tmp_path / lab_pack.name) as new:
        assert old.files == new.files  # the bytes may differ where zlib does
        assert all(np.array_equal(old[name], new[name]) for name in old.files)


# Grocery


def test_the_grocery_pack_has_the_datasets_own_split():
    for split, (count, fewest, most) in {"train": (2936, 20, 75), "test": (2485, 10, 68)}.items():
        images = load_images("grocery", split)
        assert images.images.shape == (count, 3, 32, 32) and images.images.is_contiguous()
        assert images.name == "grocery" and images.num_classes == 81
        counts = images.labels.bincount(minlength=81)
        assert (int(counts.min()), int(counts.max())) == (fewest, most)
        assert len({row.tobytes() for row in images.images.numpy()}) == count
        assert len(images.labels[:40].unique()) > 20  # in random order: the first ones are of many classes
        assert images.images.unique().tolist() == list(range(0, 256, 5))
    train, test = load_images("grocery"), load_images("grocery", "test")
    assert not {row.tobytes() for row in train.images.numpy()} & {
        row.tobytes() for row in test.images.numpy()
    }


def test_a_granny_smith_is_an_apple():
    images = load_images("grocery", "test")
    above = dict(zip(images.classes, images.coarse, strict=True))
    assert len(above) == 81 and len(set(images.coarse)) == 43
    apples = ["Golden Delicious", "Granny Smith", "Pink Lady", "Red Delicious", "Royal Gala"]
    assert [name for name in images.classes if above[name] == "Apple"] == apples
    assert above["God Morgon Orange Red Grapefruit Juice"] == "Juice"
    assert above["Oatly Oat Milk"] == "Oat Milk" and above["Banana"] == "Banana"
    # the classes of one coarse class are side by side, as in the dataset's own table
    changes = sum(a != b for a, b in zip(images.coarse, images.coarse[1:], strict=False))
    assert changes == 42


@pytest.mark.parametrize("split", ["train", "test"])
def test_green_food_is_greener_than_red_food(split):
    """Images and labels belong together, and the channels are in the order red, green, blue."""
    images = load_images("grocery", split)

    def green_by_red(name):
        red, green, _ = images.images[images.labels == images.classes.index(name)].float().mean((0, 2, 3))
        return float(green / red)

    green = [green_by_red(name) for name in ("Granny Smith", "Lime", "Cucumber")]
    red = [green_by_red(name) for name in ("Red Delicious", "Royal Gala", "Regular Tomato", "Orange")]
    assert min(green) > 1.2 * max(red)


def test_few_labels_of_each_class_can_be_taken():
    train = load_images("grocery")
    assert train.take(810).labels.bincount(minlength=81).tolist() == [10] * 81
    assert train.take(1620, seed=3).labels.bincount(minlength=81).tolist() == [20] * 81
    with pytest.raises(ValueError, match=r"needs 21 images of the class .* at most 1620 images"):
        train.take(1701)
    assert len(load_images("grocery", "test").take(810)) == 810


def test_the_coarse_names_stay_with_every_part():
    train = load_images("grocery")
    kept, held_out = train.split(0.2)
    for part in (train.take(100), kept, held_out, train.with_label_noise(0.1), train.to("cpu")):
        assert part.coarse == train.coarse and part.classes == train.classes


def test_the_page_has_the_figures_of_the_cards():
    text = (DATA_FOLDER / "README.md").read_text(encoding="utf-8")
    for name in data.PACKS:
        card, sets = card_of(name), [load_images(name, split) for split in data.SPLITS]
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{card['file']}`")]
        assert f"| {len(sets[0]):,} train, {len(sets[1]):,} test | {sets[0].num_classes}" in row
        assert f"| {card['bytes'] / 1e6:.1f} MB |" in row
    text, rounding = " ".join(text.split()), card_of("grocery")["rounding"]
    assert f"changes it by {rounding['mean_change_of_a_number']} on average" in text
    assert f"at most {rounding['largest_change_of_a_number']} ({rounding['psnr_db']} dB)" in text
    assert f"would take {rounding['bytes_of_the_images_without_it'] / 1e6:.1f} MB" in text


# How the grocery pack is made


@pytest.fixture
def photographs(tmp_path) -> tuple[Path, Path, dict[tuple[str, str], list[np.ndarray]]]:
    """A small folder of photographs and its table; and what is in it, by split and class."""
    random, content = np.random.RandomState(0), {}
    for split, count in (("train", 40), ("test", 30)):
        for name in ("Royal-Gala", "Anjou"):
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            content[split, name] = []
            for number in range(count):
                coarse = random.randint(0, 256, (8, 8, 3)).astype(np.uint8)
                file = folder / f"{split}_{number:03}.jpg"
                Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(file, quality=95)
                with Image.open(file) as image:
                    content[split, name].append(np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS)))
    table = tmp_path / "classes.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("fine", "coarse"), ("Royal-Gala", "Apple"), ("Anjou", "Pear")])
    return tmp_path / "photographs", table, content


def test_the_script_keeps_every_photograph_its_label_and_its_split(
    photographs, tmp_path, monkeypatch, capsys
):
    import make_grocery_pack

    folder, table, content = photographs
    monkeypatch.setattr(make_grocery_pack, "FOLDER", tmp_path)
    make_grocery_pack.main(folder, table)
    first = (tmp_path / "grocery.npz").read_bytes()
    monkeypatch.setattr(data, "DATA_FOLDER", tmp_path)
    for split, count in (("train", 80), ("test", 60)):
        images = load_images("grocery", split)
        assert len(images) == count
        assert images.classes == ("Royal Gala", "Anjou") and images.coarse == ("Apple", "Pear")
        assert set(images.labels[:20].tolist()) == {0, 1}
        for label, name in enumerate(("Royal-Gala", "Anjou")):
            stored = images.images[images.labels == label].permute(0, 2, 3, 1).numpy().astype(int)
            originals = np.stack(content[split, name]).astype(int)
            assert len(stored) == len(originals)
            largest = abs(stored[:, None] - originals).max((2, 3, 4))  # of each stored one to each original
            assert sorted(largest.argmin(1)) == list(range(len(originals)))
            assert (largest.min(1) <= 2).all()
    card = json.loads((tmp_path / "grocery.json").read_text(encoding="utf-8"))
    assert card["rounding"]["largest_change_of_a_number"] == 2

    packed = tmp_path / "photographs.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for split in ("test", "train"):
            archive.add(folder / split, arcname=split)
    make_grocery_pack.main(packed, table)
    assert (tmp_path / "grocery.npz").read_bytes() == first  # from an archive the same bytes


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_a_sheet_is_cut_into_the_images_it_was_made_of(count):
    import make_grocery_pack

    levels = np.random.RandomState(count).randint(0, 52, (count, 32, 32, 3)).astype(np.uint8)
    sheet = make_grocery_pack.make_sheet(levels)
    images = packs.cut_sheet(sheet.tobytes(), count, side=32, step=5)
    assert images.dtype == np.uint8 and images.flags.c_contiguous
    for image, level in zip(images, levels, strict=True):
        for channel in range(3):
            assert (image[channel] == 5 * level[:, :, channel]).all()


def test_a_photograph_that_is_not_square_is_refused():
    import make_grocery_pack

    content = io.BytesIO()
    Image.new("RGB", (64, 48)).save(content, "JPEG")
    with pytest.raises(SystemExit, match="64 x 48 pixels; each must be square"):
        make_grocery_pack.reduced(content.getvalue())


def test_a_pillow_without_webp_is_named(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != "webp")
    with pytest.raises(
        ValueError, match="stored as WebP, which the installed Pillow cannot read.*pip install"
    ):
        load_images("grocery")
