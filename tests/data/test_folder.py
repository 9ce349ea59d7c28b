"""Folders of images read into memory: layouts, sizes and modes, the held-out fifth, the cache, errors."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from helpers.image_folders import noise, save_image
from sskd_lib.data import convert
from sskd_lib.data.load import load_images
from sskd_lib.files import cache_folder

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def folder(tmp_path):
    """train/ and test/ of two classes, three and two 32 x 32 PNG images each."""
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(count):
                save_image(
                    tmp_path / "pets" / split / name / f"{index}.png",
                    noise(100 * count + 10 * label + index),
                )
    return tmp_path / "pets"


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded rather than taken from the cache."""
    seen, decode = [], convert.decode_image

    def watched(file, size):
        seen.append(file.name)
        return decode(file, size)

    monkeypatch.setattr(convert, "decode_image", watched)
    return seen


def test_a_folder_with_train_and_test(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    save_image(folder / "train" / "cat" / ".ipynb_checkpoints" / "0.png", noise(0))
    train, test = load_images(f"folder:{folder}"), load_images(f"folder:{folder}", "test")
    assert train.classes == test.classes == ("cat", "dog") and train.name == "folder:pets"
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1] and test.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(train.images[4], torch.from_numpy(noise(311)).permute(2, 0, 1))
    assert torch.equal(test.images[1], torch.from_numpy(noise(201)).permute(2, 0, 1))


def test_val_is_another_name_of_test_as_imagenet_has_it(folder):
    test = load_images(f"folder:{folder}", "test").fingerprint()
    (folder / "test").rename(folder / "val")
    assert len(load_images(f"folder:{folder}")) == 6
    assert load_images(f"folder:{folder}", "test").fingerprint() == test
    save_image(folder / "test" / "0.png", noise(0))  # ImageNet's test images have no labels
    assert load_images(f"folder:{folder}", "test").fingerprint() == test
    for name in ("cat", "dog"):
        save_image(folder / "test" / name / "0.png", noise(1))
    assert len(load_images(f"folder:{folder}", "test")) == 2  # test/ comes first, val/ is left alone


def test_a_val_level_without_classes_is_no_reason_to_hold_out_training_images(folder):
    (folder / "test").rename(folder / "val")
    for file in (folder / "val").rglob("*.png"):
        file.rename(folder / "val" / f"{file.parent.name}{file.name}")
    for name in ("cat", "dog"):
        (folder / "val" / name).rmdir()
    with pytest.raises(ValueError, match=r"val has images, but not in one sub-folder per class\. Sort"):
        load_images(f"folder:{folder}")


@pytest.mark.parametrize("level", ["", "train"])
def test_without_test_a_fixed_stratified_fifth_is_held_out(tmp_path, level):
    for label, name in enumerate("abc"):
        for index in range(10):
            save_image(
                tmp_path / "set" / level / name / f"{index}.png",
                np.full((8, 8), 10 * label + index, np.uint8),
            )
    train, test = (load_images(f"folder:{tmp_path / 'set'}", split, size=8) for split in ("train", "test"))
    assert train.labels.bincount().tolist() == [8] * 3 and test.labels.bincount().tolist() == [2] * 3
    shades = [images.images[:, 0, 0, 0].tolist() for images in (train, test)]
    assert sorted(shades[0] + shades[1]) == list(range(30))
    assert all(shade // 10 == label for shade, label in zip(shades[1], test.labels.tolist(), strict=True))
    torch.manual_seed(7)
    assert load_images(f"folder:{tmp_path / 'set'}", "test", size=8).fingerprint() == test.fingerprint()


def test_any_size_and_mode_becomes_a_square_of_the_middle(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    corner = np.zeros((8, 8, 3), np.uint8)
    corner[0, 0] = 255
    orientation = Image.Exif()
    orientation[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[4:, :, 3] = 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([9, 8, 7] * 256)
    for name, pixels, options in (
        ("0wide", wide, {}),
        ("1turned", corner, {"exif": orientation}),
        ("2sixteen", np.full((8, 8), 0x8123, np.uint16), {}),
        ("3clear", clear, {}),
        ("4palette", palette, {"transparency": 3}),
        ("5bits", Image.new("1", (8, 8), 1), {}),
        ("6grey", Image.new("LA", (8, 8), (77, 255)), {}),
    ):
        save_image(tmp_path / "set" / "train" / "a" / f"{name}.png", pixels, **options)
    for name in ("train/b", "test/a", "test/b"):
        save_image(tmp_path / "set" / name / "0.png", np.zeros((8, 8), np.uint8))
    images = load_images(f"folder:{tmp_path / 'set'}", size=8)
    wide, turned, sixteen, clear, palette, bits, grey, _ = images.images
    assert wide[:, :, 2:6].float().mean((1, 2)).tolist() == [
        0,
        255,
        0,
    ]  # the edges blend with what is cut off
    assert np.array_equal(turned[0], np.rot90(corner[..., 0], -1)) and turned[0, 0, 7] == 255
    assert sixteen.unique().tolist() == [0x81] and grey.unique().tolist() == [77]
    assert clear[:, :4].unique().tolist() == [255] and clear[:, 4:].unique().tolist() == [0]
    assert palette[:, 3, 3].tolist() == [9, 8, 7] and bits.unique().tolist() == [255]


def test_all_grey_images_have_one_channel_and_a_colour_anywhere_makes_three(folder):
    for file in folder.rglob("*.png"):
        save_image(file, Image.fromarray(noise(1)).convert("L").convert("RGB"))
    grey = load_images(f"folder:{folder}")
    expected = np.asarray(Image.fromarray(noise(1)).convert("L"))
    assert grey.in_channels == 1 and np.array_equal(grey.images[0, 0], expected)
    save_image(folder / "test" / "dog" / "1.png", noise(2))
    assert (
        load_images(f"folder:{folder}").in_channels
        == load_images(f"folder:{folder}", "test").in_channels
        == 3
    )


def test_a_large_photo_is_resized(folder):
    flat = np.zeros((600, 900, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    save_image(folder / "train" / "cat" / "3.jpg", flat, quality=95)
    image = load_images(f"folder:{folder}", size=16).images[3]
    assert image.shape == (3, 16, 16)
    assert (image.float().mean((1, 2)) - torch.tensor([200.0, 100.0, 50.0])).abs().max() < 3


def test_the_cache_spares_decoding_until_something_changes(folder, decoded):
    first = load_images(f"folder:{folder}")
    assert len(decoded) == 10
    assert load_images(f"folder:{folder}").fingerprint() == first.fingerprint() and len(decoded) == 10
    load_images(f"folder:{folder}", "test")
    assert len(decoded) == 10 and len(list(cache_folder().iterdir())) == 1
    load_images(f"folder:{folder}", size=16)
    assert len(decoded) == 20
    save_image(folder / "train" / "cat" / "1.png", noise(999))
    os.utime(folder / "train" / "cat" / "1.png", ns=(1, 1))
    changed = load_images(f"folder:{folder}")
    assert len(decoded) == 30 and changed.fingerprint() != first.fingerprint()
    assert len(list(cache_folder().iterdir())) == 2  # one for each size, none left over


def test_a_damaged_cache_is_made_again_without_a_word(folder, decoded, capsys):
    expected = load_images(f"folder:{folder}").fingerprint()
    (cached,) = cache_folder().iterdir()
    good = {path.name: path.read_bytes() for path in cached.glob("*.*")}
    assert {"card.json", "train.npy", "test.npy", "train-labels.npy", "test-labels.npy"} <= set(good)
    pixels = good["train.npy"]
    flipped = bytearray(pixels)
    flipped[len(pixels) // 2] ^= 1
    other = pixels.replace(b"(6, 3, 32, 32)", b"(6, 3, 16, 64)")
    for damaged in (b"", b"rubbish", pixels[: len(pixels) // 2], bytes(flipped), other):
        (cached / "train.npy").write_bytes(damaged)
        assert load_images(f"folder:{folder}").fingerprint() == expected
        assert {path.name: path.read_bytes() for path in cached.glob("*.*")} == good
    for name in ("card.json", "train-labels.npy"):
        for damage in (lambda path: path.write_bytes(b"{}"), lambda path: path.unlink()):
            damage(cached / name)
            assert load_images(f"folder:{folder}").fingerprint() == expected
            assert {path.name: path.read_bytes() for path in cached.glob("*.*")} == good
    assert capsys.readouterr() == ("", "")


def test_reading_from_the_cache_writes_nothing(folder):
    load_images(f"folder:{folder}")
    times = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.*") if path.suffix}
    load_images(f"folder:{folder}")
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_cache_folder_that_cannot_be_written_is_no_error(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load_images(f"folder:{folder}")) == 6


def test_images_that_the_memory_cannot_take_are_refused(folder, monkeypatch, decoded):
    memory = psutil.virtual_memory()._replace(available=30_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(ValueError, match=r"pets at 32 x 32 pixels needs 1\.84e-05 GB of memory"):
        load_images(f"folder:{folder}")
    assert decoded == []
    assert len(load_images(f"folder:{folder}", "test")) == 4


def test_a_corrupt_image_is_named(folder):
    path = folder / "train" / "dog" / "1.png"
    for content in (b"", b"no image", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"cannot read the image {path} .*Delete it or replace it"):
            load_images(f"folder:{folder}")


def test_what_a_folder_can_lack(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing\. Expected: one sub-folder"):
        load_images(f"folder:{tmp_path / 'missing'}")
    with pytest.raises(ValueError, match="has 0 sub-folders; at least two classes"):
        load_images(f"folder:{folder / 'train' / 'cat'}")
    with pytest.raises(ValueError, match=r"cat has 3 images; every class needs at least 5"):
        load_images(f"folder:{folder / 'train'}")
    with pytest.raises(ValueError, match="size=0"):
        load_images(f"folder:{folder}", size=0)
    (folder / "train" / "emu").mkdir()
    with pytest.raises(ValueError, match=r"different classes: only in train/: emu; only in test/: none"):
        load_images(f"folder:{folder}")
    (folder / "test" / "emu").mkdir()
    with pytest.raises(ValueError, match=r"emu has no image \(.*png.*\); add some or delete the folder"):
        load_images(f"folder:{folder}")
    (folder / "train").rename(folder / "rest")
    with pytest.raises(ValueError, match="has a test/ level but no train/"):
        load_images(f"folder:{folder}")
