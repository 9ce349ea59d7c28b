"""Conversion of folders to arrays on disk: pixels, order, splits; writers that are killed or lack space."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.image_folders import save_image, shade, shaded_folder
from helpers.killing import die_while_writing, in_own_process
from sskd_lib.data import convert
from sskd_lib.data.folder import estimate_shards, make_shards
from sskd_lib.data.load import load_images
from sskd_lib.data.memmap import open_images
from sskd_lib.files import locked

pytestmark = pytest.mark.usefixtures("own_home")
unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, a fork server or limits of unix")
SIDE, STEP = (
    8,
    6,
)  # as small as shows everything: 30 training images are saved five times, 12 test images twice
FILES = {"train.npy", "test.npy", "train-labels.npy", "test-labels.npy", "card.json"}


@pytest.fixture
def folder(tmp_path):
    """train/ with ten, val/ with four images of each of three classes, all of one shade each."""
    return shaded_folder(tmp_path / "set")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "shards"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """The card is saved every few images."""
    monkeypatch.setattr(convert, "SAVE_EVERY", STEP)


def make(folder: Path, out: Path, **options):
    return make_shards(folder, out, **{"side": SIDE, "progress": False} | options)


def content(out: Path) -> dict[str, bytes]:
    """All files but those of the lock."""
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".lock")}


def shades(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


# ---- pixels, order, splits -----------------------------------------------------------------------


def test_the_pixels_are_those_of_a_plain_resize(tmp_path, out):
    rng = np.random.RandomState(0)
    sizes = [(375, 500), (500, 375), (61, 60), (48, 48), (200, 90), (30, 31)]
    for number, size in enumerate(sizes):
        rough = rng.randint(0, 256, (6, 6, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(rough).resize(size[::-1], Image.Resampling.BICUBIC))
        for level in ("train", "test"):
            save_image(tmp_path / "set" / level / "ab"[number % 2] / f"{number}.jpg", pixels, quality=95)
    make(tmp_path / "set", out, side=48)
    expected = {}
    for file in (tmp_path / "set" / "train").rglob("*.jpg"):
        image = Image.open(file).convert("RGB")
        (w, h), m = image.size, min(image.size)
        middle = ((w - m) / 2, (h - m) / 2, (w + m) / 2, (h + m) / 2)
        pixels = np.asarray(image.resize((48, 48), Image.Resampling.BICUBIC, box=middle))
        expected[np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()] = "ab".index(file.parent.name)
    images, labels, classes, _ = open_images(out, "train")
    assert classes == ("a", "b")
    assert images.shape == (6, 3, 48, 48)
    pairs = zip(images, labels.tolist(), strict=True)
    assert {image.numpy().tobytes(): label for image, label in pairs} == expected


def test_every_image_once_with_its_label_mixed_and_always_in_one_order(folder, out, tmp_path, monkeypatch):
    card = make(folder, out, workers=1)
    assert card == json.loads((out / "card.json").read_text())
    assert card["classes"] == ["a", "b", "c"]
    for split, count in (("train", 10), ("test", 4)):
        images, labels, _, _ = open_images(out, split)
        every = {shade(label, i, split == "test"): label for label in range(3) for i in range(count)}
        assert len(labels) == 3 * count
        assert dict(zip(shades(images), labels.tolist(), strict=True)) == every
        assert labels.tolist() != sorted(labels.tolist())
    assert set(content(out)) == FILES
    torch.manual_seed(3)
    monkeypatch.setattr(convert, "SAVE_EVERY", 1000)
    make(folder, tmp_path / "again", workers=4)
    assert content(tmp_path / "again") == content(out)


def test_without_test_images_the_same_fifth_as_of_the_folder_is_held_out(folder, out):
    shutil.rmtree(folder / "val")
    make(folder, out)
    for split, count in (("train", 24), ("test", 6)):
        images, labels, _, _ = open_images(out, split)
        expected = load_images(f"folder:{folder}", split, size=SIDE)
        assert len(images) == count
        pairs = zip(shades(expected.images), expected.labels.tolist(), strict=True)
        assert sorted(zip(shades(images), labels.tolist(), strict=True)) == sorted(pairs)


def test_the_estimate_names_the_bytes_and_writes_nothing(folder, out):
    estimate = estimate_shards(folder, out, side=SIDE)
    assert (estimate.images, estimate.left) == (42, 42)
    assert estimate.seconds > 0
    assert not out.exists()
    assert "42 of 42 images" in str(estimate)
    assert "are free" in str(estimate)
    assert estimate.bytes == 42 * 3 * SIDE * SIDE
    make(folder, out)
    (out / "test.npy").unlink()
    estimate = estimate_shards(folder, out, side=SIDE)
    assert (estimate.left, estimate.bytes) == (12, 12 * 3 * SIDE * SIDE)


def test_a_second_call_writes_nothing_and_says_how_far_it_is(folder, out, capsys):
    make(folder, out)
    before = {name: (out / name).stat().st_mtime_ns for name in FILES}
    make(folder, out, progress=True)
    assert {name: (out / name).stat().st_mtime_ns for name in FILES} == before
    assert "0 of 42 images are left" in capsys.readouterr().err


# ---- killed, full, unreadable --------------------------------------------------------------------


def convert_slowly(folder: Path, out: Path, fault: tuple[str, int] | None, pause: float) -> None:
    """What a killed process does."""
    if fault:
        die_while_writing(*fault)
    decode, convert.SAVE_EVERY = convert.decode_image, STEP

    def slow(*arguments):
        time.sleep(pause)
        return decode(*arguments)

    convert.decode_image = slow
    make(folder, out, workers=2)


# The number of the file at which each life of the writer ends. It writes a card, then rows and card in turn.
LIVES = {"half": (1, 2, 3, 4, 7), "unnamed": (1, 2, 3, 2, 3), "named": (1, 2, 2, 1, 3)}


@unix
@pytest.mark.parametrize("moment", LIVES)
def test_killed_while_it_writes_any_file_it_ends_with_the_same_bytes(moment, folder, out, tmp_path):
    for number in LIVES[moment]:
        process = in_own_process(convert_slowly, folder, out, (moment, number), 0)
        process.join(600)
        assert process.exitcode == -signal.SIGKILL
        with pytest.raises((ValueError, FileNotFoundError), match="python -m sskd_lib shards"):
            open_images(out, "test")
    make(folder, out)
    make(folder, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


@unix
@pytest.mark.kill
def test_killed_at_random_moments_it_goes_on_where_the_card_says(folder, out, tmp_path):
    rng, done = random.Random(0), 0
    for goal in (6, 12, 24, 36):
        process = in_own_process(convert_slowly, folder, out, None, 0.01)
        while process.is_alive() and done_by(out) < goal:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert done_by(out) >= max(goal, done)
        done = done_by(out)
    decoded = []
    convert_watched(folder, out, decoded)
    assert len(decoded) == 42 - done
    make(folder, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def done_by(out: Path) -> int:
    """The number of images that the card says are done."""
    if not (out / "card.json").exists():
        return 0
    card = json.loads((out / "card.json").read_text())
    return card["train"]["done"] + card["test"]["done"]


def convert_watched(folder: Path, out: Path, decoded: list[Path]) -> None:
    """Convert, and list the files that are decoded."""
    with pytest.MonkeyPatch.context() as patch:
        decode = convert.decode_image
        patch.setattr(convert, "decode_image", lambda file, side: decoded.append(file) or decode(file, side))
        make(folder, out)


def test_a_disk_that_is_too_small_is_refused_before_the_first_write(folder, out, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"too small: 42 of 42 .*Nothing was written\. Free some space.* side"):
        make(folder, out)
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 160 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with open(ballast, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


def test_a_disk_that_fills_up_is_told_and_what_is_done_is_kept(folder, small_disk, tmp_path, monkeypatch):
    out, ballast, decode, calls = small_disk / "shards", small_disk / "ballast", convert.decode_image, []

    def filling(*arguments):
        calls.append(arguments)
        if len(calls) == 2 * STEP + 3:  # after two saves, somebody else fills the disk
            fill(ballast)
        return decode(*arguments)

    monkeypatch.setattr(convert, "decode_image", filling)
    with pytest.raises(OSError, match=r"cannot write .*: No space left.*Free some space or choose another"):
        make(folder, out, side=24, workers=1)
    monkeypatch.undo()
    assert done_by(out) == 2 * STEP
    ballast.unlink()
    decoded = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "decode_image", lambda *arguments: decoded.append(1) or decode(*arguments))
        make(folder, out, side=24)
    assert len(decoded) == 42 - 2 * STEP
    make(folder, tmp_path / "whole", side=24)
    assert content(out) == content(tmp_path / "whole")


@unix
def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(folder, out):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # the training images have 5.8 kB
    try:
        with pytest.raises(OSError, match=r"cannot write .*train\.npy: .*Free some space or choose"):
            make(folder, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    make(folder, out)
    assert len(open_images(out, "train")[0]) == 30


def test_an_unreadable_image_is_named_and_what_is_done_is_kept(folder, out):
    make(folder, out)
    whole = content(out)
    broken = folder / "train" / "b" / "4.png"
    good, times = broken.read_bytes(), broken.stat()
    row = shades(open_images(out, "train")[0]).index(shade(1, 4))
    shutil.rmtree(out)
    broken.write_bytes(good[:40])
    message = rf"cannot read the image {broken} \(.*\)\. Put a readable copy .* skip_unreadable.* is kept"
    with pytest.raises(ValueError, match=message):
        make(folder, out)
    assert done_by(out) == row // STEP * STEP
    with pytest.raises(ValueError, match=f"is unfinished: {row // STEP * STEP} of 30 train images are done"):
        open_images(out, "train")

    broken.write_bytes(good)  # repaired
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    make(folder, out)
    assert content(out) == whole


def test_unreadable_images_can_be_left_out(folder, out, tmp_path):
    for name in ("train/b/4.png", "train/c/0.png", "val/a/1.png"):
        (folder / name).write_bytes(b"broken")
    card = make(folder, out, skip_unreadable=True)
    assert sorted(name for _, name in card["train"]["left_out"]) == ["train/b/4.png", "train/c/0.png"]
    assert [name for _, name in card["test"]["left_out"]] == ["val/a/1.png"]
    for split, count in (("train", 28), ("test", 11)):
        images, labels, _, _ = open_images(out, split)
        assert len(images) == len(labels) == count
        greys = shades(images)
        assert [grey // 80 for grey in greys] == labels.tolist()
        assert len(set(greys)) == count
    assert make(folder, out) == card  # what was left out is done
    if sys.platform != "win32":
        process = in_own_process(convert_slowly, folder, tmp_path / "cut", ("half", 9), 0)
        process.join(600)
    with pytest.raises(ValueError, match="Put a readable copy"):
        make(folder, tmp_path / "cut")
    make(folder, tmp_path / "cut", skip_unreadable=True)
    assert content(tmp_path / "cut") == content(out)


def test_two_writers_do_not_meet(folder, out):
    with (
        locked(out / ".lock"),
        pytest.raises(OSError, match=rf"shards is in use by process {os.getpid()} on .*; wait for its end"),
    ):
        make(folder, out)
    assert content(out) == {}
    make(folder, out)


# ---- another set ---------------------------------------------------------------------------------


def test_another_set_in_the_same_folder_is_refused_and_nothing_touched(folder, out, tmp_path):
    make(folder, out)
    before = content(out)
    for name in ("renamed", "fewer", "touched", "classes"):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "renamed" / "train" / "a" / "0.png").rename(tmp_path / "renamed" / "train" / "a" / "00.png")
    (tmp_path / "fewer" / "val" / "a" / "0.png").unlink()
    os.utime(tmp_path / "touched" / "val" / "a" / "0.png", ns=(1, 1))
    for level in ("train", "val"):
        (tmp_path / "classes" / level / "c").rename(tmp_path / "classes" / level / "d")
    for source, options, message in (
        (folder, {"side": 9}, r"what differs: side \(8 there, 9 wanted\)\. Choose another output folder, or"),
        (tmp_path / "fewer", {}, r"what differs: test.images \(12 there, 11 wanted\)"),
        (tmp_path / "classes", {}, r"what differs: classes"),
        (tmp_path / "renamed", {}, "was made from other images"),
        (tmp_path / "touched", {}, "was made from other images"),
    ):
        for ask in (make, lambda f, o, **k: estimate_shards(f, o, **{"side": SIDE} | k)):
            with pytest.raises(ValueError, match=message):
                ask(source, out, **options)
    assert content(out) == before
    make(tmp_path / "set", out)
    (out / "card.json").unlink()
    with pytest.raises(ValueError, match=r"has test-labels\.npy, but no card\.json"):
        make(folder, out)


def test_wrong_arguments_are_refused(folder, out):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        make(folder / "nowhere", out)
    with pytest.raises(ValueError, match="is inside the folder of images"):
        make(folder, folder / "train" / "shards")
    for side in (0, 2.5):
        with pytest.raises(ValueError, match="is a whole number of pixels, at least 1"):
            make(folder, out, side=side)
    assert not out.exists()
