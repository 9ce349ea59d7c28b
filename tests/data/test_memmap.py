"""Sets of images on disk: what reading gives, what damage says, and how little memory it takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap

from helpers.image_folders import shaded_folder
from sskd_lib.data.folder import make_shards
from sskd_lib.data.load import load_images
from sskd_lib.data.memmap import FORMAT, FORMER, chain_sha256, open_images

pytestmark = pytest.mark.usefixtures("own_home")
SIDE = 8


@pytest.fixture
def folder(tmp_path):
    return shaded_folder(tmp_path / "set")


@pytest.fixture
def out(folder, tmp_path):
    make_shards(folder, tmp_path / "shards", side=SIDE, progress=False)
    return tmp_path / "shards"


def test_the_images_are_those_of_the_file_and_writing_to_them_leaves_it_alone(out):
    pixels = np.load(out / "train.npy")
    images, labels, classes, sha256 = open_images(out, "train")
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert classes == ("a", "b", "c")
    assert np.array_equal(images.numpy(), pixels)
    rows = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(images[rows].numpy(), pixels[rows.numpy()])
    assert sha256 == chain_sha256("", pixels)
    images.zero_()
    assert np.array_equal(np.load(out / "train.npy"), pixels)


def test_the_hash_is_chained_and_can_go_on(out):
    pixels = np.load(out / "train.npy")
    for first in (0, 1, 17, 30):
        assert chain_sha256(chain_sha256("", pixels[:first]), pixels[first:]) == chain_sha256("", pixels)
    assert chain_sha256("", pixels[::-1]) != chain_sha256("", pixels)


def test_load_images_maps_them_with_a_window(out):
    train, test = (load_images(f"shards:{out}", split) for split in ("train", "test"))
    assert repr(train) == "ImageSet(shards:shards: 30 images 3x8x8, 3 classes)"
    assert (train.on_disk, train.window, len(test)) == (True, 7, 12)
    assert train.fingerprint() != test.fingerprint()
    assert train.fingerprint() == load_images(f"shards:{out}").fingerprint()
    with pytest.raises(ValueError, match="size=16 is for folder:PATH only"):
        load_images(f"shards:{out}", size=16)


def other_array(path: Path) -> None:
    np.save(path, np.zeros((30, 3, SIDE // 2, SIDE * 2), np.uint8))


DAMAGE = {
    "missing": (Path.unlink, FileNotFoundError, r"train\.npy is missing"),
    "empty": (lambda path: path.write_bytes(b""), ValueError, r"train\.npy is damaged"),
    "rubbish": (lambda path: path.write_bytes(b"rubbish" * 300), ValueError, r"train\.npy is damaged"),
    "truncated": (lambda path: os.truncate(path, 900), ValueError, r"train\.npy is damaged"),
    "foreign": (other_array, ValueError, r"train\.npy has uint8 \[30, 3, 4, 16\], but its card says"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_array_is_named_and_made_again(name, folder, out):
    damage, error, words = DAMAGE[name]
    before, other = (out / "train.npy").read_bytes(), (out / "test.npy").stat().st_mtime_ns
    damage(out / "train.npy")
    with pytest.raises(error, match=f"{words}.*python -m sskd_lib shards` again"):
        open_images(out, "train")
    assert len(open_images(out, "test")[0]) == 12
    make_shards(folder, out, side=SIDE, progress=False)
    assert (out / "train.npy").read_bytes() == before
    assert (out / "test.npy").stat().st_mtime_ns == other


def test_damaged_labels_are_named_and_made_again(folder, out):
    path = out / "train-labels.npy"
    good = path.read_bytes()
    for damage in (
        lambda: path.write_bytes(good[:-1]),
        lambda: path.write_bytes(b""),
        lambda: np.save(path, np.zeros(29, np.int64)),
        lambda: np.save(path, np.zeros(30)),
        path.unlink,
    ):
        damage()
        with pytest.raises(ValueError, match=r"train-labels\.npy .* again"):
            open_images(out, "train")
        make_shards(folder, out, side=SIDE, progress=False)
        assert path.read_bytes() == good


def test_a_folder_that_is_no_set_of_this_format_is_refused(folder, out, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no card\.json\. Make one first: python -m sskd_lib shards --folder FOLDER"
    ):
        open_images(tmp_path / "set", "train")
    path = out / "card.json"
    card = json.loads(path.read_text())
    assert card["format"] == FORMAT
    for text, message in (
        ('{"format": ', "is not the card of a set of images"),
        ("[]", "is not the card of a set of images"),
        ("{}", "is not the card of a set of images"),
        (json.dumps(card | {"format": "of tomorrow"}), "has the format 'of tomorrow'"),
        (json.dumps({"format": FORMER}), r"by an earlier version .*\(train-00000\.npy and so on\).* Choose"),
    ):
        path.write_text(text)
        for ask in (
            lambda: load_images(f"shards:{out}"),
            lambda: make_shards(folder, out, side=SIDE, progress=False),
        ):
            with pytest.raises(ValueError, match=message):
                ask()
        assert path.read_text() == text


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_reading_300_megabytes_takes_hardly_any_memory(tmp_path):
    def anonymous() -> int:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024

    open_memmap(
        tmp_path / "train.npy", "w+", np.uint8, (1600, 3, 256, 256)
    )  # a hole: it takes no room on disk
    np.save(tmp_path / "train-labels.npy", np.zeros(1600, np.int64))
    part = {"images": 1600, "done": 1600, "left_out": [], "sha256": "", "source": "", "grey": False}
    card = {"format": FORMAT, "side": 256, "classes": ["a"], "train": part, "test": part}
    (tmp_path / "card.json").write_text(json.dumps(card))
    images, before, read = open_images(tmp_path, "train")[0], anonymous(), 0
    for rows in torch.randperm(1600, generator=torch.Generator().manual_seed(0)).split(64):
        read += images.index_select(0, rows).nbytes
        assert anonymous() - before < 150  # MB; read as a whole the set would take 314
    assert read > 300e6
