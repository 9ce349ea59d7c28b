"""Fashion-MNIST's and CIFAR's files: looked for, checked, read, and refused when damaged or malicious."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import re
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sskd_lib.data import archives
from sskd_lib.data.archives import CIFAR, CifarArchive, parse_idx
from sskd_lib.data.download import FILES, DownloadError, RemoteFile
from sskd_lib.data.load import load_images
from sskd_lib.files import cache_folder

CLOSED = "http://127.0.0.1:9"  # nobody listens there


pytestmark = pytest.mark.usefixtures("own_home")


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
    """What Python 2's cPickle (protocol 2) wrote in 2009, opcode by opcode, as in CIFAR's archives."""

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
    monkeypatch.setitem(CIFAR, "cifar10", archive)
    return files, content


def assert_small_cifar(root: Path | None = None) -> None:
    train, test = load_images("cifar10", "train", root), load_images("cifar10", "test", root)
    expected = np.concatenate([CIFAR_BATCHES["data_batch_1"]["data"], CIFAR_BATCHES["data_batch_2"]["data"]])
    assert train.images.numpy().tobytes() == np.ascontiguousarray(expected).tobytes()
    assert train.images.shape == (7, 3, 32, 32) and train.labels.tolist() == [0, 1, 2, 0, 1, 2, 1]
    assert test.images.shape == (2, 3, 32, 32) and test.labels.tolist() == [2, 0]
    assert train.classes == test.classes == ("airplane", "cat", "ship") and train.name == "cifar10"
    train.images.add_(1)  # writable, owned by no file


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
    with pytest.raises(FileNotFoundError, match=r"root .* names .* which does not exist"):
        load_images("cifar10", root=tmp_path / "missing")


def test_a_damaged_cifar_is_refused(cifar, tmp_path):
    files, content = cifar
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"cifar-10-python.tar.gz is damaged: .*Delete it"):
        load_images("cifar10", root=tmp_path)
    archive.write_bytes(content)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(files["data_batch_1"])
    assert_small_cifar(tmp_path)  # an incomplete folder does not count
    for name, file in files.items():
        (folder / name).write_bytes(file)
    (folder / "data_batch_2").write_bytes(files["data_batch_2"][:-1] + b"!")
    with pytest.raises(ValueError, match=r"data_batch_2 is damaged: its md5 .*Delete .*data_batch_2;"):
        load_images("cifar10", root=tmp_path)
    assert len(load_images("cifar10", "test", root=tmp_path)) == 2  # which needs another file only


def test_an_archive_without_a_batch_is_refused(tmp_path, monkeypatch):
    files = {name: python2_pickle(batch) for name, batch in CIFAR_BATCHES.items()}
    archive, _ = small_cifar(files)
    content = tar_gz(
        "cifar-10-batches-py", {name: file for name, file in files.items() if name != "test_batch"}
    )
    remote = replace(archive.file, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(CIFAR, "cifar10", replace(archive, file=remote))
    (tmp_path / remote.name).write_bytes(content)
    with pytest.raises(ValueError, match="has no test_batch in cifar-10-batches-py/"):
        load_images("cifar10", "test", root=tmp_path)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["folder", "archive", "archive with the right sha256"])
def test_a_malicious_pickle_with_a_wrong_hash_is_refused_and_does_not_run(cifar, tmp_path, monkeypatch, form):
    files, _ = cifar
    evil = pickle.dumps({"data": Evil(tmp_path / "hit"), "labels": [0]})
    pickle.loads(evil)
    (tmp_path / "hit").rmdir()  # it does run if it is unpickled
    changed = files | {"data_batch_2": evil}
    archive, content = small_cifar(changed)
    if form == "folder":
        for name, file in changed.items():
            (tmp_path / name).write_bytes(file)
        message = "data_batch_2 is damaged: its md5 is .* It was not opened. Delete"
    else:
        (tmp_path / archive.file.name).write_bytes(content)
        message = "cifar-10-python.tar.gz is damaged: its sha256 is"
    if form == "archive with the right sha256":
        monkeypatch.setitem(CIFAR, "cifar10", replace(CIFAR["cifar10"], file=archive.file))
        message = "data_batch_2 is damaged: its md5 is .* It was not opened. Delete"
    with pytest.raises(ValueError, match=message):
        load_images("cifar10", root=tmp_path)
    assert not (tmp_path / "hit").exists()


def test_the_hashes_and_names_are_torchvisions():
    from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

    for name, theirs in {"cifar10": CIFAR10, "cifar100": CIFAR100}.items():
        ours = CIFAR[name]
        assert (ours.file.name, ours.folder) == (theirs.filename, theirs.base_folder)
        assert ours.file.urls[-1] == theirs.url  # the slowest
        assert ours.batches == {"train": dict(theirs.train_list), "test": dict(theirs.test_list)}
        assert ours.meta == {theirs.meta["filename"]: theirs.meta["md5"]}
        assert ours.class_key == theirs.meta["key"]
    for name, _ in FashionMNIST.resources:
        ours = FILES[f"fashion-mnist/{name.removesuffix('.gz')}"]
        assert ours.name == name and ours.urls[0] == FashionMNIST.mirrors[0] + name
    for file in FILES.values():
        assert len(file.urls) >= 2 and re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert all(url.endswith(f"/{file.name}") for url in file.urls)
