"""Image sets, their seeded subsets, the embedded pack, the published formats and folders of images."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import warnings
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sskd_lib import archives, data, image_folder
from sskd_lib.archives import CifarArchive, parse_batch, parse_idx
from sskd_lib.data import ImageSet, load_images
from sskd_lib.downloads import DownloadError, RemoteFile, cache_folder

CLOSED = "http://127.0.0.1:9"  # nobody listens there
DEBIAN = archives.DEBIAN_FASHION_MNIST


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No test sees the user's cache folder, data folder or proxy."""
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("SSKD_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def image_set(labels, num_classes: int | None = None, side: int = 2, channels: int = 1) -> ImageSet:
    """Images whose pixels hold their own number, so that every subset tells where it comes from."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    number = torch.arange(len(labels)).reshape(-1, 1, 1, 1)
    digits = torch.cat([number // 256, number % 256], dim=3).to(torch.uint8)
    images = digits.expand(-1, channels, side, 2).contiguous()
    count = int(labels.max()) + 1 if num_classes is None else num_classes
    return ImageSet(
        images=images, labels=labels, classes=tuple(f"class {k}" for k in range(count)), name="toy"
    )


def numbers(images: ImageSet) -> list[int]:
    pixels = images.images[:, 0, 0].long()
    return (256 * pixels[:, 0] + pixels[:, 1]).tolist()


TOY = image_set([k % 5 for k in range(500)])


# ImageSet


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(4, 1, 2, 2)}, "must be uint8 .* torch.float32"),
        ({"images": torch.zeros(4, 2, 2, dtype=torch.uint8)}, r"must be uint8 \[M, C, H, W\].*\[4, 2, 2\]"),
        ({"images": torch.zeros(4, 2, 2, 2, dtype=torch.uint8)}, "1 or 3 channels"),
        ({"images": torch.zeros(4, 1, 2, 3, dtype=torch.uint8)}, "must be square"),
        ({"labels": torch.zeros(4)}, "labels must be int64"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"int64 \[4\], one for each image"),
        ({"labels": torch.tensor([0, 1, 2, 3])}, "labels run from 0 to 3, but 3 classes"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, "labels run from -1 to 2"),
        ({"labels": torch.zeros(4, dtype=torch.int64, device="meta")}, "put both on one device"),
        ({"classes": ["a", "b", "c"]}, "tuple of names"),
        ({"classes": (0, 1, 2)}, "tuple of names"),
        (
            {
                "images": torch.zeros(0, 1, 2, 2, dtype=torch.uint8),
                "labels": torch.zeros(0, dtype=torch.int64),
            },
            "is empty",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(image_set([0, 1, 2, 0]), **change)


def test_facts_of_a_set():
    images = image_set([0, 1, 1], num_classes=7, channels=3)
    assert (len(images), images.num_classes, images.in_channels) == (3, 7, 3)
    assert repr(images) == "ImageSet(toy: 3 images 3x2x2, 7 classes)"
    assert images.to("cpu").fingerprint() == images.fingerprint()
    assert images.to("meta").images.device.type == "meta" if torch.__version__ < "0" else True
    with pytest.raises(FrozenInstanceError):
        images.name = "other"


def test_fingerprint_is_the_hash_of_shape_images_and_labels():
    images = image_set([0, 1, 1, 0])
    digest = hashlib.sha256(b"(4, 1, 2, 2)")
    digest.update(bytes(images.images.flatten().tolist()))
    digest.update(struct.pack("<4q", 0, 1, 1, 0))
    assert images.fingerprint() == digest.hexdigest()
    other_pixel = images.images.clone()
    other_pixel[3, 0, 1, 1] += 1
    others = [
        replace(images, images=other_pixel),
        replace(images, labels=images.labels.flip(0).roll(1)),
        replace(images, images=images.images.reshape(4, 1, 2, 2).transpose(2, 3)),
    ]
    assert len({images.fingerprint(), *(other.fingerprint() for other in others)}) == 4
    assert replace(images, name="renamed").fingerprint() == images.fingerprint()


def test_channel_statistics_are_numpys():
    pixels = torch.randint(
        0, 256, (50, 3, 5, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    images = ImageSet(images=pixels, labels=torch.zeros(50, dtype=torch.int64), classes=("a",), name="noise")
    scaled = pixels.numpy().astype(np.float64) / 255
    mean, std = images.channel_statistics()
    assert isinstance(mean[0], float) and len(mean) == len(std) == 3
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-12)


# take


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_take_is_balanced_and_keeps_order(n, seed, random):
    labels = [k for k in range(4) for _ in range(10 + k)]
    random.shuffle(labels)
    images = image_set(labels)
    taken = images.take(n, seed=seed)
    counts = taken.labels.bincount(minlength=4)
    assert len(taken) == n and counts.max() - counts.min() <= 1
    chosen = numbers(taken)
    assert chosen == sorted(set(chosen))
    assert taken.labels.tolist() == [labels[index] for index in chosen]


def test_take_spreads_the_remainder_over_random_classes_and_nests():
    extras = {tuple(TOY.take(7, seed=seed).labels.bincount().tolist()) for seed in range(30)}
    assert len(extras) > 5 and all(sorted(extra) == [1, 1, 1, 2, 2] for extra in extras)
    sizes = [3, 5, 7, 50, 52, 500]
    subsets = [set(numbers(TOY.take(n, seed=9))) for n in sizes]
    assert all(small < large for small, large in zip(subsets, subsets[1:], strict=False))
    assert numbers(TOY.take(50, seed=1)) != numbers(TOY.take(50, seed=2))


def test_take_says_what_is_missing():
    images = image_set([0] * 9 + [1] * 3 + [2] * 9)
    with pytest.raises(ValueError, match=r"needs 4 images of the class 'class 1', but toy has 3.* at most 9"):
        images.take(12)
    with pytest.raises(ValueError, match="n must be at least 1"):
        images.take(0)
    with pytest.raises(TypeError):
        images.take(2.5)


# with_label_noise


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.2, 0.333, 0.5, 1.0])
def test_label_noise_changes_exactly_the_share(rate):
    noisy = TOY.with_label_noise(rate, seed=3)
    assert int((noisy.labels != TOY.labels).sum()) == round(rate * 500)
    assert torch.equal(noisy.images, TOY.images) and int(TOY.labels.sum()) == 1000
    assert noisy.labels.min() >= 0 and noisy.labels.max() < 5


def test_label_noise_draws_the_other_classes_uniformly():
    images = image_set([k % 4 for k in range(12_000)])
    noisy = images.with_label_noise(1.0)
    pairs = torch.bincount(4 * images.labels + noisy.labels, minlength=16).reshape(4, 4)
    assert pairs.diagonal().sum() == 0
    off = pairs[~torch.eye(4, dtype=torch.bool)].float()
    assert ((off - 1000) / 1000**0.5).abs().max() < 4.5


def test_label_noise_refuses_nonsense():
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="fraction from 0 to 1"):
            TOY.with_label_noise(rate)
    with pytest.raises(ValueError, match="at least two classes"):
        image_set([0, 0]).with_label_noise(0.5)


# split


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=80), st.floats(0.2, 0.8), st.integers(0, 99))
def test_split_is_disjoint_complete_and_stratified(labels, fraction, seed):
    images = image_set(labels, num_classes=4)
    kept, held_out = images.split(fraction, seed=seed)
    assert sorted(numbers(kept) + numbers(held_out)) == list(range(len(labels)))
    assert len(held_out) == round(fraction * len(labels))
    for part in (kept, held_out):
        assert part.labels.tolist() == [labels[index] for index in numbers(part)]
    share = fraction * images.labels.bincount(minlength=4)
    assert (held_out.labels.bincount(minlength=4) - share).abs().max() < 1


def test_split_refuses_an_empty_side():
    for fraction in (0.0, 1.0, -1, 2):
        with pytest.raises(ValueError, match="lies between 0 and 1"):
            TOY.split(fraction)
    with pytest.raises(ValueError, match="leaves one side empty; load more images"):
        image_set([0, 1, 0]).split(0.1)


# batches


def test_batches_give_every_image_once_in_the_generators_order():
    order = torch.randperm(500, generator=torch.Generator().manual_seed(4))
    batches = list(TOY.batches(64, torch.Generator().manual_seed(4)))
    assert [len(x) for x, _ in batches] == [64] * 7 + [52]
    assert torch.equal(torch.cat([x for x, _ in batches]), TOY.images[order])
    assert torch.equal(torch.cat([y for _, y in batches]), TOY.labels[order])
    assert batches[0][0].dtype == torch.uint8 and batches[0][1].dtype == torch.int64


def test_batches_without_a_generator_keep_the_order():
    batches = list(TOY.batches(300))
    assert torch.equal(torch.cat([x for x, _ in batches]), TOY.images)
    assert torch.equal(torch.cat([y for _, y in batches]), TOY.labels)


def test_batches_refuse_at_the_call():
    with pytest.raises(ValueError, match="at least one image"):
        TOY.batches(0)


def test_two_epochs_differ_and_resume():
    generator = torch.Generator().manual_seed(0)
    first, second = ([y.tolist() for _, y in TOY.batches(100, generator)] for _ in range(2))
    assert first != second


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gets_the_same_images():
    there = TOY.to("cuda")
    for method in (lambda s: s.take(52), lambda s: s.split(0.3)[1], lambda s: s.with_label_noise(0.4)):
        assert method(there).images.is_cuda
        assert method(there).fingerprint() == method(TOY).fingerprint()
    assert there.channel_statistics() == TOY.channel_statistics()
    for device in ("cpu", "cuda"):
        batches = list(there.batches(64, torch.Generator(device).manual_seed(1)))
        assert batches[0][0].is_cuda and sum(len(x) for x, _ in batches) == 500


def test_seeds_decide_and_the_global_state_does_not():
    def all_of_them(seed):
        kept, held_out = TOY.split(0.3, seed=seed)
        sets = [kept, held_out, TOY.take(33, seed=seed), TOY.with_label_noise(0.3, seed=seed)]
        return [images.fingerprint() for images in sets]

    torch.manual_seed(1)
    np.random.seed(1)
    first, state = all_of_them(5), torch.get_rng_state()
    assert torch.equal(state, torch.manual_seed(1).get_state())  # nothing was drawn from it
    torch.manual_seed(2)
    np.random.seed(2)
    assert all_of_them(5) == first
    assert not set(all_of_them(6)) & set(first)


# The embedded pack


def test_the_lab_pack_is_what_its_card_says():
    card = json.loads((data.DATA_FOLDER / "fashion-mnist-lab.json").read_text(encoding="utf-8"))
    content = (data.DATA_FOLDER / card["file"]).read_bytes()
    assert len(content) == card["bytes"] < 6_000_000
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    for split, each in card["images_of_each_class"].items():
        images = load_images("fashion-mnist-lab", split)
        assert images.images.shape == (10 * each, 1, 28, 28) and images.images.is_contiguous()
        assert images.labels.bincount().tolist() == [each] * 10
        assert images.classes == tuple(card["classes"]) and images.name == "fashion-mnist-lab"
        assert len({row.tobytes() for row in images.images.numpy()}) > 9.9 * each
    assert card["images_of_each_class"] == {"train": 1000, "test": 200}
    text = " ".join((data.DATA_FOLDER / "LICENSE-fashion-mnist.txt").read_text(encoding="utf-8").split())
    assert "Copyright (c) 2017 Zalando SE, https://tech.zalando.com" in text
    assert (
        "Permission is hereby granted, free of charge" in text and 'THE SOFTWARE IS PROVIDED "AS IS"' in text
    )


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_lab_packs_images_are_the_originals_and_the_script_makes_it_again(tmp_path, monkeypatch):
    with np.load(data.LAB_PACK, allow_pickle=False) as pack:
        for split, size in (("train", 60_000), ("test", 10_000)):
            everything, index = load_images("fashion-mnist", split), pack[f"{split}_index"]
            assert len(everything) == size and len(np.unique(index)) == len(index)
            ours = load_images("fashion-mnist-lab", split)
            assert torch.equal(ours.images, everything.images[index])
            assert torch.equal(ours.labels, everything.labels[index])
    monkeypatch.syspath_prepend(str(data.DATA_FOLDER))
    import make_lab_pack

    monkeypatch.setattr(make_lab_pack, "HERE", tmp_path)
    make_lab_pack.main()
    with np.load(data.LAB_PACK) as old, np.load(tmp_path / data.LAB_PACK.name) as new:
        assert old.files == new.files  # the bytes may differ where zlib does
        assert all(np.array_equal(old[name], new[name]) for name in old.files)


def test_a_damaged_or_missing_lab_pack_says_how_to_repair_it(tmp_path, monkeypatch):
    pack = tmp_path / data.LAB_PACK.name
    monkeypatch.setattr(data, "LAB_PACK", pack)
    with pytest.raises(FileNotFoundError, match="is missing. .*git checkout -- data/fashion-mnist-lab.npz"):
        load_images("fashion-mnist-lab")
    pack.write_bytes(b"broken")
    pack.with_suffix(".json").write_text('{"sha256": "1234"}')
    with pytest.raises(ValueError, match="is damaged: .*1234.* git checkout"):
        load_images("fashion-mnist-lab")


# Names and splits


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar", r"no data set 'cifar'\. Did you mean 'cifar10'\?.*cifar100, folder:PATH"),
        ("fashion_mnist", "Did you mean 'fashion-mnist'"),
        ("zzz", "no data set 'zzz'. The names are: fashion-mnist-lab, fashion-mnist, cifar10, cifar100"),
        (".", "is a folder; to load the images in it write 'folder:.'"),
    ],
)
def test_a_wrong_name_lists_the_right_ones(name, message):
    with pytest.raises(ValueError, match=message):
        load_images(name)


def test_a_wrong_split_or_a_size_in_the_wrong_place():
    with pytest.raises(ValueError, match="no split 'val'; the splits are 'train' and 'test'"):
        load_images("fashion-mnist-lab", "val")
    with pytest.raises(ValueError, match="size=64 is for folder:PATH only"):
        load_images("cifar10", size=64)


def test_importing_the_data_room_is_light():
    code = (
        "import sys, sskd_lib.data; print([m for m in ('PIL', 'torchvision', 'matplotlib', 'sklearn', "
        "'ipywidgets', 'pandas') if m in sys.modules])"
    )
    root = Path(data.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


# Fashion-MNIST's idx files


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


@pytest.fixture
def tiny_fashion(monkeypatch):
    """Six training and four test images stand for Fashion-MNIST; returns their idx files by name."""
    files = {}
    for split, count in (("train", 6), ("test", 4)):
        images, labels = archives.FASHION_FILES[split]
        files[images] = idx(np.arange(count * 784, dtype=np.uint8).reshape(count, 28, 28))
        files[labels] = idx(np.arange(count, dtype=np.uint8))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(archives, "FASHION_SHA256", digests)
    monkeypatch.setattr(archives, "DEBIAN_FASHION_MNIST", Path("/nowhere"))
    for name in files:
        file = RemoteFile(name=f"{name}.gz", size=1, sha256="0", urls=(f"{CLOSED}/{name}.gz",))
        monkeypatch.setitem(archives.FILES, f"fashion-mnist/{name}", file)
    return files


@pytest.mark.parametrize("place", ["", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_found_packed_or_not(tiny_fashion, tmp_path, monkeypatch, place, packed):
    folder = tmp_path / "mine" / place
    folder.mkdir(parents=True)
    for name, content in tiny_fashion.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )
    images = load_images("fashion-mnist", "train", root=tmp_path / "mine")
    assert images.images.shape == (6, 1, 28, 28) and images.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert images.images.flatten().tolist() == [k % 256 for k in range(6 * 784)]
    monkeypatch.setenv("SSKD_DATA", str(tmp_path / "mine"))
    assert len(load_images("fashion-mnist", "test")) == 4


def test_damaged_or_missing_fashion_files(tiny_fashion, tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    packed = gzip.compress(tiny_fashion[path.stem])
    path.write_bytes(packed[:-20])
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte.gz is damaged .*cannot be unpacked.*Delete"
    ):
        load_images("fashion-mnist", root=tmp_path)
    path.write_bytes(gzip.compress(b"MNIST's file has the same name"))
    with pytest.raises(ValueError, match="damaged or belongs to another data set"):
        load_images("fashion-mnist", root=tmp_path)
    path.unlink()
    with pytest.raises(DownloadError, match=f"{CLOSED}/train-images.*refused[^$]*fashion-mnist-lab"):
        load_images("fashion-mnist", root=tmp_path)


def test_idx_headers_are_checked():
    content = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert parse_idx(content).tolist() == [[0, 1, 2], [3, 4, 5]] and parse_idx(content).flags.writeable
    for wrong in (b"", b"\x00\x00\x08", b"\x00\x00\x0d\x01\x00\x00\x00\x01\x07", b"PK\x03\x04 and more"):
        with pytest.raises(ValueError, match="not an idx file"):
            parse_idx(wrong)
    with pytest.raises(ValueError, match="announces"):
        parse_idx(content + b"more")


# CIFAR's archives


def python2_pickle(value) -> bytes:
    """What Python 2's cPickle (protocol 2) and numpy of 2009 wrote, opcode by opcode, as in CIFAR's archives."""

    def emit(item) -> bytes:
        if isinstance(item, dict):
            return b"}(" + b"".join(emit(part) for pair in item.items() for part in pair) + b"u"
        if isinstance(item, list):
            return b"](" + b"".join(emit(part) for part in item) + b"e"
        if isinstance(item, int):
            return b"J" + struct.pack("<i", item)
        if isinstance(item, np.ndarray):
            fortran = item.flags.f_contiguous and not item.flags.c_contiguous
            shape = b"".join(emit(size) for size in item.shape)
            dtype = b"cnumpy\ndtype\n" + emit("u1") + b"K\x00K\x01\x87R(K\x03" + emit("|") + b"NNN"
            dtype += (b"J" + struct.pack("<i", -1)) * 2 + b"K\x00tb"
            start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + emit("b") + b"\x87R"
            raw = item.tobytes("F" if fortran else "C").decode("latin1")
            return (
                start
                + b"(K\x01("
                + shape
                + b"t"
                + dtype
                + (b"\x88" if fortran else b"\x89")
                + emit(raw)
                + b"tb"
            )
        raw = item.encode("latin1")
        return (b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))) + raw

    return b"\x80\x02" + emit(value) + b"."


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, 3072), dtype=np.uint8)


CIFAR_BATCHES = {
    "data_batch_1": {"data": pixels(4, 1), "labels": [0, 1, 2, 0], "batch_label": "training batch 1 of 2"},
    "data_batch_2": {
        "data": np.asfortranarray(pixels(3, 2)),
        "labels": [1, 2, 1],
        "filenames": ["a.png"] * 3,
    },
    "test_batch": {"data": pixels(2, 3), "labels": [2, 0]},
    "batches.meta": {"label_names": ["airplane", "cat", "ship"], "num_cases_per_batch": 4},
}


def tar_gz(folder: str, files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, file in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(file)
            archive.addfile(member, io.BytesIO(file))
    return content.getvalue()


def small_cifar(files: dict[str, bytes]) -> tuple[CifarArchive, bytes]:
    content = tar_gz("cifar-10-batches-py", {"readme.html": b"<html>", **files})
    name = "cifar-10-python.tar.gz"
    urls = (f"{CLOSED}/first/{name}", f"{CLOSED}/second/{name}")
    remote = RemoteFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest(), urls=urls)
    md5 = {name: hashlib.md5(file).hexdigest() for name, file in files.items()}
    archive = CifarArchive(
        file=remote,
        folder="cifar-10-batches-py",
        batches={
            "train": {name: md5[name] for name in ("data_batch_1", "data_batch_2")},
            "test": {"test_batch": md5["test_batch"]},
        },
        meta={"batches.meta": md5["batches.meta"]},
        label_key="labels",
        class_key="label_names",
    )
    return archive, content


@pytest.fixture
def cifar(monkeypatch):
    """A CIFAR-10 of nine images; returns (its batch files, its archive's bytes)."""
    files = {name: python2_pickle(batch) for name, batch in CIFAR_BATCHES.items()}
    archive, content = small_cifar(files)
    monkeypatch.setitem(data.CIFAR, "cifar10", archive)
    return files, content


def assert_small_cifar(root: Path | None = None) -> None:
    train, test = load_images("cifar10", "train", root), load_images("cifar10", "test", root)
    expected = np.concatenate([CIFAR_BATCHES["data_batch_1"]["data"], CIFAR_BATCHES["data_batch_2"]["data"]])
    assert train.images.numpy().tobytes() == np.ascontiguousarray(expected).tobytes()
    assert train.images.shape == (7, 3, 32, 32) and train.labels.tolist() == [0, 1, 2, 0, 1, 2, 1]
    assert test.images.shape == (2, 3, 32, 32) and test.labels.tolist() == [2, 0]
    assert train.classes == test.classes == ("airplane", "cat", "ship") and train.name == "cifar10"
    train.images += 1  # writable, owned by no file


def test_our_pickles_of_python_2_are_pickles_and_are_read_as_pickle_reads_them():
    for name, batch in CIFAR_BATCHES.items():
        content = python2_pickle(batch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy 2 has moved numpy.core
            by_pickle = pickle.loads(content, encoding="latin1")
        ours = parse_batch(content, name)
        assert by_pickle.keys() == ours.keys() == batch.keys()
        for key, value in batch.items():
            np.testing.assert_array_equal(by_pickle[key], value)
            np.testing.assert_array_equal(ours[key], value)


@pytest.mark.parametrize("by", ["root", "environment", "cache"])
@pytest.mark.parametrize("form", ["archive", "folder", "bare folder"])
def test_cifar_is_found_without_network(cifar, tmp_path, monkeypatch, by, form):
    files, content = cifar
    root = cache_folder() if by == "cache" else tmp_path / "mine"
    root.mkdir(parents=True)
    if form == "archive":
        (root / "cifar-10-python.tar.gz").write_bytes(content)
    else:
        folder = root if form == "bare folder" else root / "cifar-10-batches-py"
        folder.mkdir(exist_ok=True)
        for name, file in files.items():
            (folder / name).write_bytes(file)
    if by == "environment":
        monkeypatch.setenv("SSKD_DATA", str(root))
    assert_small_cifar(root if by == "root" else None)


def test_cifar_without_network_says_what_was_tried_and_what_to_do(cifar, tmp_path):
    with pytest.raises(DownloadError) as caught:
        load_images("cifar10", root=tmp_path)
    text = str(caught.value)
    assert f"{CLOSED}/first/" in text and f"{CLOSED}/second/" in text and text.count("refused") == 2
    assert str(tmp_path / "cifar-10-python.tar.gz") in text and "fashion-mnist-lab" in text
    with pytest.raises(FileNotFoundError, match="root names .* which is no folder"):
        load_images("cifar10", root=tmp_path / "missing")


def test_a_damaged_cifar_is_refused(cifar, tmp_path):
    files, content = cifar
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"cifar-10-python.tar.gz is damaged .*Delete it"):
        load_images("cifar10", root=tmp_path)
    archive.write_bytes(content)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(files["data_batch_1"])
    assert_small_cifar(tmp_path)  # an incomplete folder does not count
    for name, file in files.items():
        (folder / name).write_bytes(file)
    (folder / "data_batch_2").write_bytes(files["data_batch_2"][:-1] + b"!")
    with pytest.raises(ValueError, match=r"data_batch_2 is damaged: its md5 .*Delete the folder"):
        load_images("cifar10", root=tmp_path)
    assert len(load_images("cifar10", "test", root=tmp_path)) == 2  # which needs another file only


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_batch_2": {"labels": [1, 2, 1]}}, "does not hold CIFAR images and labels: KeyError"),
        ({"data_batch_2": {"data": pixels(3, 2)[:, :99], "labels": [1]}}, "does not hold CIFAR images"),
        ({"data_batch_2": {"data": pixels(3, 2), "labels": [1]}}, "one for each image"),
        ({"data_batch_2": {"data": pixels(1, 2), "labels": [3]}}, "labels run from 0 to 3, but 3 classes"),
    ],
)
def test_an_archive_with_other_contents_is_refused(tmp_path, monkeypatch, changes, message):
    files = {name: python2_pickle(batch) for name, batch in (CIFAR_BATCHES | changes).items()}
    archive, content = small_cifar(files)
    monkeypatch.setitem(data.CIFAR, "cifar10", archive)
    (tmp_path / archive.file.name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_images("cifar10", root=tmp_path)


def test_an_archive_without_a_batch_is_refused(tmp_path, monkeypatch):
    files = {name: python2_pickle(batch) for name, batch in CIFAR_BATCHES.items()}
    archive, _ = small_cifar(files)
    content = tar_gz(
        "cifar-10-batches-py", {name: file for name, file in files.items() if name != "test_batch"}
    )
    remote = replace(archive.file, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(data.CIFAR, "cifar10", replace(archive, file=remote))
    (tmp_path / remote.name).write_bytes(content)
    with pytest.raises(ValueError, match="holds no test_batch in cifar-10-batches-py/"):
        load_images("cifar10", "test", root=tmp_path)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_runs_nothing(tmp_path, monkeypatch, protocol):
    evil = pickle.dumps({"data": Evil(tmp_path / "hit"), "labels": [0]}, protocol=protocol)
    with pytest.raises(ValueError, match=r"not a CIFAR batch file: it asks for \w+\.mkdir, which is refused"):
        parse_batch(evil, "data_batch_1")
    files = {name: python2_pickle(batch) for name, batch in CIFAR_BATCHES.items()} | {"data_batch_1": evil}
    archive, content = small_cifar(files)  # even with the right hashes
    monkeypatch.setitem(data.CIFAR, "cifar10", archive)
    (tmp_path / archive.file.name).write_bytes(content)
    with pytest.raises(ValueError, match="which is refused"):
        load_images("cifar10", root=tmp_path)
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x02}.more"[:2],
        b"\x80\x02K\x01.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"cnumpy.core.multiarray\n_reconstruct\n}S'x'\nS'y'\nsb.",
        b"cnumpy\nndarray\n(K\x01tR.",
        b"\x80\x02P1\n.",
        python2_pickle({"data": pixels(2, 1)}).replace(b"U\x02u1", b"U\x02f8"),
        python2_pickle({"data": pixels(2, 1)}).replace(struct.pack("<i", 3072), struct.pack("<i", 3073), 1),
        pickle.dumps({"data": np.zeros(3, np.uint8)}, protocol=4),
    ],
)
def test_other_pickles_are_refused(content):
    with pytest.raises(ValueError, match="data_batch_1 is not a CIFAR batch file"):
        parse_batch(content, "data_batch_1")


# Folders of images


def save(path: Path, pixels: np.ndarray | Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def colour(seed: int, side: int = 32) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """train/ and test/ of two classes, three and two 32 x 32 PNG images each."""
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(count):
                save(
                    tmp_path / "pets" / split / name / f"{index}.png",
                    colour(100 * count + 10 * label + index),
                )
    return tmp_path / "pets"


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded rather than taken from the cache."""
    seen, decode = [], image_folder._decode

    def watched(file, size):
        seen.append(file.name)
        return decode(file, size)

    monkeypatch.setattr(image_folder, "_decode", watched)
    return seen


def test_a_folder_with_train_and_test(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    save(folder / "train" / "cat" / ".ipynb_checkpoints" / "0.png", colour(0))
    train, test = load_images(f"folder:{folder}"), load_images(f"folder:{folder}", "test")
    assert train.classes == test.classes == ("cat", "dog") and train.name == "folder:pets"
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1] and test.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(train.images[4], torch.from_numpy(colour(311)).permute(2, 0, 1))
    assert torch.equal(test.images[1], torch.from_numpy(colour(201)).permute(2, 0, 1))


@pytest.mark.parametrize("level", ["", "train"])
def test_without_test_a_fixed_stratified_fifth_is_held_out(tmp_path, level):
    for label, name in enumerate("abc"):
        for index in range(10):
            save(
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
        save(tmp_path / "set" / "train" / "a" / f"{name}.png", pixels, **options)
    for name in ("train/b", "test/a", "test/b"):
        save(tmp_path / "set" / name / "0.png", np.zeros((8, 8), np.uint8))
    images = load_images(f"folder:{tmp_path / 'set'}", size=8)
    wide, turned, sixteen, clear, palette, bits, grey, _ = images.images
    assert wide.float().mean((1, 2)).tolist() == [0, 255, 0]
    assert np.array_equal(turned[0], np.rot90(corner[..., 0], -1)) and turned[0, 0, 7] == 255
    assert sixteen.unique().tolist() == [0x81] and grey.unique().tolist() == [77]
    assert clear[:, :4].unique().tolist() == [255] and clear[:, 4:].unique().tolist() == [0]
    assert palette[:, 3, 3].tolist() == [9, 8, 7] and bits.unique().tolist() == [255]


def test_all_grey_images_have_one_channel_and_a_colour_anywhere_makes_three(folder):
    for file in folder.rglob("*.png"):
        save(file, Image.fromarray(colour(1)).convert("L").convert("RGB"))
    grey = load_images(f"folder:{folder}")
    expected = np.asarray(Image.fromarray(colour(1)).convert("L"))
    assert grey.in_channels == 1 and np.array_equal(grey.images[0, 0], expected)
    save(folder / "test" / "dog" / "1.png", colour(2))
    assert (
        load_images(f"folder:{folder}").in_channels
        == load_images(f"folder:{folder}", "test").in_channels
        == 3
    )


def test_a_large_photo_is_resized(folder):
    flat = np.zeros((600, 900, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    save(folder / "train" / "cat" / "3.jpg", flat, quality=95)
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
    save(folder / "train" / "cat" / "1.png", colour(999))
    os.utime(folder / "train" / "cat" / "1.png", ns=(1, 1))
    changed = load_images(f"folder:{folder}")
    assert len(decoded) == 30 and changed.fingerprint() != first.fingerprint()
    assert len(list(cache_folder().iterdir())) == 2  # one for each size, none left over


def test_a_damaged_cache_is_built_anew_without_a_word(folder, decoded, capsys):
    expected = load_images(f"folder:{folder}").fingerprint()
    (cached,) = cache_folder().iterdir()
    good = cached.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    other = io.BytesIO()
    with np.load(io.BytesIO(good)) as cache:
        np.savez(other, images=cache["images"][:, :, :9], key=cache["key"])
    for count, damaged in enumerate(
        (b"", b"rubbish", good[: len(good) // 2], bytes(flipped), other.getvalue())
    ):
        cached.write_bytes(damaged)
        assert load_images(f"folder:{folder}").fingerprint() == expected
        assert len(decoded) == 10 * (count + 2) and cached.read_bytes()[:4] == b"PK\x03\x04"
    assert capsys.readouterr() == ("", "")


def test_a_cache_folder_that_cannot_be_written_is_no_error(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(image_folder, "cache_folder", lambda: tmp_path / "file" / "sskd")
    assert len(load_images(f"folder:{folder}")) == 6


def test_a_corrupt_image_is_named(folder):
    path = folder / "train" / "dog" / "1.png"
    for content in (b"", b"no image", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            load_images(f"folder:{folder}")
        assert f"cannot read the image {path}" in str(caught.value) and "Delete it" in str(caught.value)


def test_what_a_folder_can_lack(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*missing. Expected: a sub-folder"):
        load_images(f"folder:{tmp_path / 'missing'}")
    with pytest.raises(ValueError, match="has 0 sub-folders; at least two classes"):
        load_images(f"folder:{folder / 'train' / 'cat'}")
    with pytest.raises(ValueError, match=r"cat holds 3 images; every class needs at least 5"):
        load_images(f"folder:{folder / 'train'}")
    with pytest.raises(ValueError, match="size=0"):
        load_images(f"folder:{folder}", size=0)
    (folder / "train" / "emu").mkdir()
    with pytest.raises(ValueError, match=r"different classes: only in train/: emu; only in test/: none"):
        load_images(f"folder:{folder}")
    (folder / "test" / "emu").mkdir()
    with pytest.raises(ValueError, match=r"emu holds no image \(.*png.*\); add some or delete the folder"):
        load_images(f"folder:{folder}")
    (folder / "train").rename(folder / "rest")
    with pytest.raises(ValueError, match="has a test/ level but no train/"):
        load_images(f"folder:{folder}")
