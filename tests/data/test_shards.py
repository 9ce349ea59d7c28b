"""Shards: pixels and order, writers that are killed or find the disk full, damage, reading, prefetch."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.killing import die_while_writing
from PIL import Image

from sskd_lib.data import sharding
from sskd_lib.data.load import load_images
from sskd_lib.data.sharding import estimate_shards, make_shards
from sskd_lib.data.shards import Shards, npy_header, open_shards
from sskd_lib.training.loader import prefetch

pytestmark = pytest.mark.usefixtures("own_home")
unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, a fork server or limits of unix")
SIDE, STEP = 8, 6  # as small as shows everything: 30 training images in five shards, 12 test images in two


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def shade(label: int, index: int, test: bool = False) -> int:
    """A grey level that no other image has."""
    return 80 * label + index + 40 * test


@pytest.fixture
def folder(tmp_path):
    """train/ with ten, val/ with four images of each of three classes, all of one shade each."""
    for label, name in enumerate("abc"):
        for level, count in (("train", 10), ("val", 4)):
            for index in range(count):
                pixels = np.full((9, 11), shade(label, index, level == "val"), np.uint8)
                save(tmp_path / "set" / level / name / f"{index}.png", pixels)
    return tmp_path / "set"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "shards"


def make(folder: Path, out: Path, **options):
    return make_shards(folder, out, **{"side": SIDE, "images_a_shard": STEP, "progress": False} | options)


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def shades(images) -> list[int]:
    return images[:][:, 0, 0, 0].tolist()


# ---- pixels, order, splits -----------------------------------------------------------------------


def test_the_pixels_are_those_of_a_plain_resize(tmp_path, out):
    rng = np.random.RandomState(0)
    sizes = [(375, 500), (500, 375), (61, 60), (48, 48), (200, 90), (30, 31)]
    for number, size in enumerate(sizes):
        rough = rng.randint(0, 256, (6, 6, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(rough).resize(size[::-1], Image.Resampling.BICUBIC))
        for level in ("train", "test"):
            save(tmp_path / "set" / level / "ab"[number % 2] / f"{number}.jpg", pixels, quality=95)
    make(tmp_path / "set", out, side=48)
    expected = {}
    for file in (tmp_path / "set" / "train").rglob("*.jpg"):
        image = Image.open(file).convert("RGB")
        (w, h), m = image.size, min(image.size)
        middle = ((w - m) / 2, (h - m) / 2, (w + m) / 2, (h + m) / 2)
        pixels = np.asarray(image.resize((48, 48), Image.Resampling.BICUBIC, box=middle))
        expected[np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()] = "ab".index(file.parent.name)
    images, labels, classes = open_shards(out, "train")
    assert classes == ("a", "b") and images.shape == (6, 3, 48, 48)
    found = {image.numpy().tobytes(): label for image, label in zip(images[:], labels.tolist(), strict=True)}
    assert found == expected


def test_every_image_once_with_its_label_mixed_and_always_in_one_order(folder, out, tmp_path):
    card = make(folder, out, workers=1)
    assert card == json.loads((out / "card.json").read_text()) and card["classes"] == ["a", "b", "c"]
    for split, count in (("train", 10), ("test", 4)):
        images, labels, _ = open_shards(out, split)
        every = {shade(label, i, split == "test"): label for label in range(3) for i in range(count)}
        found = dict(zip(shades(images), labels.tolist(), strict=True))
        assert len(labels) == 3 * count and labels.dtype == torch.int64 and found == every
        assert labels.tolist() != sorted(labels.tolist())
    files = content(out)
    assert [np.load(out / f"train-{i:05}.npy", mmap_mode="r").shape[0] for i in range(5)] == [6] * 5
    for name, entry in card["shards"].items():
        assert hashlib.sha256(files[name]).hexdigest() == entry["sha256"]
    torch.manual_seed(3)
    make(folder, tmp_path / "again", workers=4)
    assert content(tmp_path / "again") == files
    assert set(files) == {*card["shards"], "card.json", "train-labels.npy", "test-labels.npy"}


def test_without_test_images_the_same_fifth_as_of_the_folder_is_held_out(folder, out):
    shutil.rmtree(folder / "val")
    make(folder, out)
    for split, count in (("train", 24), ("test", 6)):
        images, labels, _ = open_shards(out, split)
        expected = load_images(f"folder:{folder}", split, size=SIDE)
        assert len(images) == count
        pairs = zip(expected.images[:, 0, 0, 0].tolist(), expected.labels.tolist(), strict=True)
        assert sorted(zip(shades(images), labels.tolist(), strict=True)) == sorted(pairs)


def test_the_estimate_names_the_bytes_and_writes_nothing(folder, out):
    estimate = estimate_shards(folder, out, side=SIDE, images_a_shard=STEP)
    assert (estimate.images, estimate.left) == (42, 42) and estimate.seconds > 0 and not out.exists()
    assert "42 of 42 images" in str(estimate) and "are free" in str(estimate)
    make(folder, out)
    assert estimate.bytes == sum(path.stat().st_size for path in out.glob("t*-0*.npy"))
    (out / "train-00001.npy").unlink()
    estimate = estimate_shards(folder, out, side=SIDE, images_a_shard=STEP)
    assert estimate.left == 6 and estimate.bytes == 128 + 6 * 3 * SIDE * SIDE


def test_asked_again_it_writes_nothing_and_says_how_far_it_is(folder, out, capsys):
    make(folder, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    make(folder, out, progress=True)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert "0 of 42 images are left" in capsys.readouterr().err


# ---- killed, full, unreadable --------------------------------------------------------------------


def run_here(folder: Path, out: Path, fault: tuple[str, int] | None, pause: float) -> None:
    """What a killed process does."""
    if fault:
        die_while_writing(*fault)
    decode = sharding.decode_image

    def slow(*arguments):
        time.sleep(pause)
        return decode(*arguments)

    sharding.decode_image = slow
    make(folder, out, workers=2)


def start(*arguments):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sskd_lib", "pytest", "torch._dynamo"])
    process = context.Process(target=run_here, args=arguments)
    process.start()
    return process


def check_nothing_is_corrupt(out: Path) -> None:
    """Every file under its final name is whole, and those in the card are what it says."""
    for path in out.glob("*.npy"):
        np.load(path, mmap_mode="r")
    if (out / "card.json").exists():
        for name, entry in json.loads((out / "card.json").read_text())["shards"].items():
            assert hashlib.sha256((out / name).read_bytes()).hexdigest() == entry["sha256"]


# The number of the file at which each life of the writer ends: card, two files of labels, then shard, card, …
LIVES = {"half": (1, 2, 4, 4, 5), "unnamed": (1, 3, 5, 2, 3), "named": (1, 2, 2, 1, 6)}


@unix
@pytest.mark.parametrize("moment", LIVES)
def test_killed_while_it_writes_any_file_it_ends_with_the_same_bytes(moment, folder, out, tmp_path):
    for number in LIVES[moment]:
        process = start(folder, out, (moment, number), 0)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert any(path.suffix == ".part" for path in out.iterdir()) == (moment != "named")
        check_nothing_is_corrupt(out)
        with pytest.raises((ValueError, FileNotFoundError), match="python -m sskd_lib shards"):
            open_shards(out, "test")
    make(folder, out)
    make(folder, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


@unix
def test_killed_at_random_moments_it_goes_on_with_the_first_missing_shard(folder, out, tmp_path):
    rng, done = random.Random(0), 0
    for goal in (1, 3, 4, 6):
        process = start(folder, out, None, 0.01)  # a shard takes about 30 ms
        deadline = time.monotonic() + 60
        while process.is_alive() and len(list(out.glob("t*-0*.npy"))) < goal and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        check_nothing_is_corrupt(out)
        shards = json.loads((out / "card.json").read_text())["shards"]
        assert len(shards) >= max(goal - 1, done)
        done = len(shards)
    written = {path: path.stat().st_mtime_ns for path in out.glob("t*-0*.npy") if path.name in shards}
    make(folder, out)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    make(folder, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def test_a_disk_that_is_too_small_is_refused_before_the_first_write(folder, out, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="too small: 42 of 42 .*Nothing was written. Free some space.* side"):
        make(folder, out)
    assert not out.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_leaves_no_half_shard(folder, small_disk, tmp_path, monkeypatch):
    out, ballast, decode, calls = small_disk / "shards", small_disk / "ballast", sharding.decode_image, []

    def filling(*arguments):
        calls.append(arguments)
        if len(calls) == 33 + 15:  # after the estimate and two shards, somebody else fills the disk
            with pytest.raises(OSError, match="No space left"), open(ballast, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))
        return decode(*arguments)

    monkeypatch.setattr(sharding, "decode_image", filling)
    with pytest.raises(OSError, match="cannot write .*: No space left.*Free some space or choose another"):
        make(folder, out, workers=1)
    monkeypatch.undo()
    check_nothing_is_corrupt(out)
    assert {path.name for path in out.iterdir()} >= {"train-00000.npy", "train-00001.npy", "card.json"}
    assert not [path for path in out.iterdir() if path.suffix == ".part"]
    ballast.unlink()
    make(folder, out)
    make(folder, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


@unix
def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(folder, out):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # a shard of 16 x 16 has 4.7 kB
    try:
        with pytest.raises(OSError, match="cannot write .*train-00000.npy: .*Free some space or choose"):
            make(folder, out, side=16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in out.iterdir()} == {"card.json", "train-labels.npy", "test-labels.npy"}
    make(folder, out, side=16)
    assert len(open_shards(out, "train")[0]) == 30


def test_an_unreadable_image_is_named_and_what_is_finished_is_kept(folder, out):
    make(folder, out)
    whole = content(out)
    broken = folder / "train" / "b" / "4.png"
    good, times = broken.read_bytes(), broken.stat()
    row = shades(open_shards(out, "train")[0]).index(shade(1, 4))
    shutil.rmtree(out)
    broken.write_bytes(good[:40])
    with pytest.raises(ValueError) as caught:
        make(folder, out)
    for part in (f"cannot read the image {broken} (", "Put a readable copy", "skip_unreadable", "is kept"):
        assert part in str(caught.value)
    kept = [f"train-{i:05}.npy" for i in range(row // STEP)]
    assert all((out / name).read_bytes() == whole[name] for name in kept)
    assert sorted(path.name for path in out.glob("t*-0*.npy")) == kept
    with pytest.raises(ValueError, match=f"is unfinished: {5 - len(kept)} of 5 train shards"):
        open_shards(out, "train")

    card = make(folder, out, skip_unreadable=True)
    images, labels, _ = open_shards(out, "train")
    assert card["shards"][f"train-{row // STEP:05}.npy"]["left_out"] == [[row % STEP, "train/b/4.png"]]
    assert len(images) == len(labels) == 29 and shade(1, 4) not in shades(images)
    assert all(grey // 80 == label for grey, label in zip(shades(images), labels.tolist(), strict=True))

    broken.write_bytes(good)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    make(folder, out)
    assert content(out) == whole


def test_a_changed_image_changes_its_own_shard_only(folder, out):
    make(folder, out)
    before = content(out)
    save(folder / "val" / "c" / "2.png", np.full((9, 11), 7, np.uint8))
    os.utime(folder / "val" / "c" / "2.png", ns=(1, 1))
    make(folder, out)
    after = content(out)
    changed = {name for name in before if before[name] != after[name]}
    assert len(changed) == 2 and "card.json" in changed and 7 in shades(open_shards(out, "test")[0])


def test_two_writers_do_not_meet(folder, out):
    pytest.importorskip("fcntl")
    with sharding._alone(out), pytest.raises(OSError, match="another process is making shards in"):
        make(folder, out)
    assert not list(out.iterdir())
    make(folder, out)


# ---- another set, damage -------------------------------------------------------------------------


def test_another_set_in_the_same_folder_is_refused_and_nothing_touched(folder, out, tmp_path):
    make(folder, out)
    before = content(out)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "train" / "a" / "0.png").rename(other / "train" / "a" / "00.png")
    shutil.copytree(folder, tmp_path / "fewer")
    (tmp_path / "fewer" / "val" / "a" / "0.png").unlink()
    for asked, options, differs in (
        (folder, {"side": 9}, r"side \(8 there, 9 asked for\)\. Choose another output folder, or delete"),
        (folder, {"images_a_shard": 7}, r"images_a_shard \(6 there, 7 asked for\)\."),
        (other, {}, r"train.file_names\."),
        (tmp_path / "fewer", {}, r"test.images \(12 there, 11 asked for\)"),
    ):
        for ask in (make, lambda f, o, **k: estimate_shards(f, o, **{"side": 8, "images_a_shard": 6} | k)):
            with pytest.raises(ValueError, match=f"holds another set; what differs: .*{differs}"):
                ask(asked, out, **options)
    assert content(out) == before
    (out / "card.json").unlink()
    with pytest.raises(ValueError, match="holds test-00000.npy, but no card.json"):
        make(folder, out)
    (out / "card.json").write_text('{"format": ')
    with pytest.raises(ValueError, match="card.json is not the card of a set of shards"):
        make(folder, out)
    assert content(out) == before | {"card.json": b'{"format": '}


def other_array(path: Path) -> None:
    np.save(path, np.zeros((STEP, 3, SIDE // 2, SIDE * 2), np.uint8))


DAMAGE = {
    "missing": (Path.unlink, FileNotFoundError, "is missing"),
    "empty": (lambda path: path.write_bytes(b""), ValueError, "is damaged or no shard at all"),
    "rubbish": (lambda path: path.write_bytes(b"rubbish" * 300), ValueError, "is damaged or no shard at all"),
    "truncated": (lambda path: os.truncate(path, 900), ValueError, "it has 900 bytes instead of 1280"),
    "too long": (lambda path: os.truncate(path, 2000), ValueError, "it has 2000 bytes instead of 1280"),
    "foreign": (other_array, ValueError, r"holds uint8 \[6, 3, 4, 16\], but its card says"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_shard_is_named_and_made_again(name, folder, out):
    damage, error, words = DAMAGE[name]
    make(folder, out)
    before = content(out)
    opened = open_shards(out, "train")[0]
    damage(out / "train-00002.npy")
    for read in (lambda: open_shards(out, "train"), lambda: opened[13]):
        with pytest.raises(error, match=f"train-00002.npy .*{words}.*python -m sskd_lib shards` again"):
            read()
    assert opened[11].shape == (3, SIDE, SIDE) and len(open_shards(out, "test")[0]) == 12
    make(folder, out)
    assert content(out) == before and opened[13].shape == (3, SIDE, SIDE)


def test_damaged_labels_are_named_and_made_again(folder, out):
    make(folder, out)
    path = out / "train-labels.npy"
    good = path.read_bytes()
    for wrong in (
        good[:-1],
        good[:-8] + b"\1" + good[-7:] if good[-8] != 1 else good[:-8] + b"\0" + good[-7:],
    ):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="train-labels.npy is damaged: its sha256 .* again"):
            open_shards(out, "train")
        make(folder, out)
        assert path.read_bytes() == good
    path.unlink()
    with pytest.raises(FileNotFoundError, match="train-labels.npy are missing"):
        open_shards(out, "train")


def test_what_can_be_wrong_with_the_arguments(folder, out):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        make(folder / "nowhere", out)
    with pytest.raises(ValueError, match="lies within the folder of images"):
        make(folder, folder / "train" / "shards")
    for options in ({"side": 0}, {"side": 2.5}, {"images_a_shard": 0}):
        with pytest.raises(ValueError, match="must be a whole number, at least 1"):
            make(folder, out, **options)
    with pytest.raises(
        FileNotFoundError, match="holds no shards.*python -m sskd_lib shards --folder FOLDER --out"
    ):
        open_shards(out, "train")
    with pytest.raises(ValueError, match="no split 'val'; the splits are 'train' and 'test'"):
        open_shards(out, "val")
    assert not out.exists()


# ---- reading -------------------------------------------------------------------------------------


@pytest.fixture
def whole(folder, out):
    """(Shards of 30 images, the same as one Tensor)."""
    make(folder, out)
    pixels = [np.load(out / f"train-{i:05}.npy") for i in range(5)]
    return open_shards(out, "train")[0], torch.from_numpy(np.concatenate(pixels))


def test_an_index_gives_what_it_gives_of_a_tensor(whole):
    shards, tensor = whole
    assert (shards.shape, shards.dtype, shards.device) == (tensor.shape, tensor.dtype, tensor.device)
    assert shards.dim() == 4 and len(shards) == 30 and shards.to("meta") is shards
    generator = torch.Generator().manual_seed(0)
    indices = [torch.randint(30, (64,), generator=generator), torch.randperm(30, generator=generator)]
    indices += [torch.tensor([-1, 0, -30]), torch.tensor([], dtype=torch.int64), torch.arange(30) % 4 == 1]
    for index in [*indices, slice(None), slice(5, 13), slice(40, 50), slice(None, None, 7), 0, 29, -2]:
        found = shards[index]
        assert torch.equal(found, tensor[index]) and found.dtype == torch.uint8 and found.is_contiguous()
    assert torch.equal(shards[indices[0]], torch.stack([shards[i] for i in indices[0].tolist()]))
    for index in (30, torch.tensor([3, -31])):
        with pytest.raises(IndexError):
            shards[index]
    for size in (1, 7, 30, 64):
        parts, expected = list(shards.split(size)), tensor.split(size)
        assert len(parts) == len(expected) and all(map(torch.equal, parts, expected))
    shards[:].zero_()  # a copy: the files stay as they are
    assert torch.equal(shards[:], tensor)


def test_a_selection_reads_nothing_and_has_its_own_hash(whole, folder, out, tmp_path):
    shards, tensor = whole
    index, other = torch.tensor([3, 29, 3, 14]), torch.tensor([1, 2, 2])
    hidden = out.with_name("hidden")
    out.rename(hidden)
    chosen = shards.select(index).select(other)
    hashes = [s.sha256() for s in (shards, shards.select(index), chosen, shards.select(torch.arange(29)))]
    hidden.rename(out)
    assert torch.equal(chosen[:], tensor[index[other]]) and chosen.shape == (3, 3, SIDE, SIDE)
    assert len(set(hashes)) == 4 and shards.select(torch.arange(30)).sha256() == hashes[0]
    make(folder, tmp_path / "copy")
    assert open_shards(tmp_path / "copy", "train")[0].sha256() == hashes[0]
    assert open_shards(tmp_path / "copy", "test")[0].sha256() != hashes[0]


def big_set(out: Path, shards: int, images: int, side: int) -> Shards:
    """Shards that take no room on disk: all their pixels are a hole of the file."""
    files = []
    for number in range(shards):
        path = out / f"{number}.npy"
        path.write_bytes(npy_header(images, side))
        os.truncate(path, path.stat().st_size + images * 3 * side * side)
        files.append((path, images, ""))
    return Shards(files, side)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_reading_300_megabytes_takes_hardly_any_memory(tmp_path):
    def anonymous() -> int:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024

    shards = big_set(tmp_path, shards=4, images=400, side=256)
    before, read = anonymous(), 0
    for index in torch.randperm(len(shards), generator=torch.Generator().manual_seed(0)).split(64):
        read += shards[index].nbytes
        assert anonymous() - before < 50
    assert read > 300e6


@unix
def test_more_shards_than_files_may_be_open(tmp_path):
    import resource

    shards = big_set(tmp_path, shards=80, images=2, side=4)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, limits[1]))
    try:
        assert shards[:].shape == (160, 3, 4, 4)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# ---- prefetch ------------------------------------------------------------------------------------


def prefetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def wait_for(condition) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch_keeps_the_items_and_runs_so_many_ahead(depth):
    made = []

    def batches():
        for number in range(8):
            made.append(threading.current_thread().name)
            yield number

    seen = []
    for item in prefetch(batches(), depth):
        seen.append(item)
        goal = min(len(seen) + depth, 8)
        assert wait_for(lambda goal=goal: len(made) == goal)
        time.sleep(0.002)
        assert len(made) == goal  # and no further
    assert seen == list(range(8)) and not prefetching()
    assert all(name.startswith("prefetch") for name in made)
    assert list(prefetch([], depth)) == [] and list(prefetch(iter([None, None]), depth)) == [None, None]


def test_prefetch_hands_on_the_exception_after_the_items_before_it():
    def batches():
        yield 1
        yield 2
        raise OSError("the disk was pulled out")

    seen = []
    with pytest.raises(OSError, match="pulled out"):
        for item in prefetch(batches()):
            seen.append(item)
    assert seen == [1, 2] and not prefetching()
    with pytest.raises(ValueError, match=r"prefetch\(depth=0\)"):
        prefetch([1], 0)


def test_a_consumer_that_stops_early_stops_the_thread():
    made, closed = [], []

    def endless():
        try:
            while True:
                made.append(1)
                yield len(made)
        finally:
            closed.append(True)

    for item in prefetch(endless(), depth=3):
        if item == 4:
            break
    assert wait_for(lambda: not prefetching()) and len(made) <= 4 + 3 and wait_for(lambda: closed)
    with pytest.raises(KeyError):
        for item in prefetch(endless()):
            raise KeyError(item)
    assert wait_for(lambda: not prefetching())


def test_a_closed_prefetch_makes_no_more_than_it_has_begun():
    made = []

    def slow():
        while True:
            made.append(1)
            time.sleep(0.02)
            yield len(made)

    stopped = prefetch(slow(), depth=8)
    assert next(stopped) == 1
    stopped.close()
    assert not prefetching() and len(made) <= 3
