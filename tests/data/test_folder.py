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
from sskd_lib.data.folder import make_shards
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
    with pytest.warns(UserWarning, match=r"read from train/ and val/ only; those in test/ are left out"):
        assert load_images(f"folder:{folder}", "test").fingerprint() == test
    (folder / "test" / "0.png").unlink()
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


def test_a_corrupt_image_is_left_out_and_named_each_time(folder):
    whole, path = load_images(f"folder:{folder}"), folder / "train" / "dog" / "1.png"
    kept = torch.tensor([0, 1, 2, 3, 5])
    for content in (b"", b"no image", path.read_bytes()[:200]):
        path.write_bytes(content)
        for _ in ("decoded", "from the cache"):
            with pytest.warns(UserWarning, match=r"pets: 1 of 10 images, .* read \(train/dog/1\.png\)\. Rep"):
                rest = load_images(f"folder:{folder}")
            assert torch.equal(rest.images, whole.images[kept])
            assert torch.equal(rest.labels, whole.labels[kept])
        with pytest.warns(UserWarning, match="1 of 10"):
            assert len(load_images(f"folder:{folder}", "test")) == 4
    (folder / "test" / "cat" / "0.png").write_bytes(b"no image either")
    with pytest.raises(ValueError, match=r"2 of 10 images, .*: more than a tenth"):
        load_images(f"folder:{folder}")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read every file")
def test_an_image_that_may_not_be_opened_is_no_broken_one(folder):
    path = folder / "train" / "dog" / "1.png"
    path.chmod(0)
    with pytest.raises(OSError, match=f"cannot open the image {path}: Permission denied"):
        load_images(f"folder:{folder}")
    path.chmod(0o600)
    assert len(load_images(f"folder:{folder}")) == 6


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("training", "testing"), ("TRAIN", "Valid"), ("train", "validation")],
)
def test_splits_are_known_in_other_spellings(folder, train, test):
    expected = [load_images(f"folder:{folder}", split).fingerprint() for split in ("train", "test")]
    (folder / "train").rename(folder / "x")
    (folder / "x").rename(folder / train)
    (folder / "test").rename(folder / "y")
    (folder / "y").rename(folder / test)
    assert [load_images(f"folder:{folder}", split).fingerprint() for split in ("train", "test")] == expected


def test_a_class_may_be_called_train(folder):
    for name in ("bus", "train"):
        for index in range(5):
            save_image(folder / "traffic" / name / f"{index}.png", noise(index))
    assert load_images(f"folder:{folder / 'traffic'}").classes == ("bus", "train")


def test_what_systems_put_into_a_folder_is_passed_over(folder):
    expected = load_images(f"folder:{folder}").fingerprint()
    for place in ("train/cat/@eaDir/0.png", "train/@eaDir", "__MACOSX/train/cat", "$RECYCLE.BIN"):
        save_image(folder / place / "SYNOPHOTO_THUMB_M.jpg", noise(5))
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.png"):
        (folder / "train" / "cat" / name).write_bytes(b"x")
    assert load_images(f"folder:{folder}").fingerprint() == expected


def test_other_files_are_counted_in_a_warning(folder):
    expected = load_images(f"folder:{folder}").fingerprint()
    for name in ("7.heic", "8.HEIC", "notes.txt", "README"):
        (folder / "train" / "cat" / name).write_bytes(b"x")
    save_image(folder / "test" / "9.png", noise(9))
    message = (
        r"pets: 5 files \(2 \.heic, 1 .*1 \.txt.*\)\. The kit reads PNG, .*convert other pictures to PNG"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        assert load_images(f"folder:{folder}").fingerprint() == expected
    assert "1 without a suffix" in str(caught[0].message) and "1 beside the folders" in str(caught[0].message)


def test_more_kinds_of_files_are_read(folder):
    plain = Image.fromarray(noise(3))
    for suffix in ("jfif", "avif"):
        if f".{suffix}" in Image.registered_extensions():
            save_image(folder / "train" / "cat" / f"z.{suffix}", plain)
            assert len(load_images(f"folder:{folder}")) == 7
            (folder / "train" / "cat" / f"z.{suffix}").unlink()


def test_deep_images_are_scaled_by_the_rule_of_their_kind(folder):
    levels = np.arange(256).reshape(16, 16)
    for name, pixels in {
        "y0.tif": (levels / 255).astype(np.float32),
        "y1.png": (257 * levels).astype(np.uint16),
        "y2.tif": (257 * levels).astype(np.int32),
        "y3.tif": np.zeros((16, 16), np.float32),
    }.items():
        save_image(folder / "train" / "cat" / name, pixels)
    images = load_images(f"folder:{folder}", size=16).images[3:7, 0]
    assert all(torch.equal(image, torch.from_numpy(levels).to(torch.uint8)) for image in images[:3])
    assert images[3].max() == 0
    for pixels in (levels.astype(np.float32), levels.astype(np.uint16), levels - 1.0, levels * 999):
        kind = np.float32 if pixels.dtype == np.float64 else pixels.dtype if pixels.itemsize < 8 else np.int32
        save_image(folder / "train" / "cat" / "y4.tif", pixels.astype(kind))
        with pytest.raises(ValueError, match=r"y4\.tif has .* is black and (1|65535) is white\. Bring all"):
            load_images(f"folder:{folder}", size=16)


def test_a_tilde_is_the_home_folder(folder, tmp_path, monkeypatch):
    folder.rename(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    assert len(load_images("folder:~")) == 6
    make_shards("~/", "~/../out", side=8, progress=False)
    assert len(load_images("shards:~/../out")) == 6
    with pytest.raises(ValueError, match=r"write 'folder:~'"):
        load_images("~")
    assert not (tmp_path / "~").exists()


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
    with pytest.raises(ValueError, match=r"emu has no image \(PNG.*\); add some or delete the folder"):
        load_images(f"folder:{folder}")
    (folder / "train").rename(folder / "rest")
    with pytest.raises(ValueError, match="has a test/ level but no train/"):
        load_images(f"folder:{folder}")
