"""Fashion-MNIST and CIFAR in their published file formats: found or downloaded, checked by hash, read.

CIFAR's batch files are Python pickles, which can run any code. Each is unpickled only after its md5 has been
compared with the published one.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tarfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .download import FILES, RemoteFile, data_folders, fetch, find

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# sha256 of the unpacked idx files. Debian packs the same bytes again, so only these fit every copy.
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@dataclass(frozen=True, kw_only=True)
class CifarArchive:
    """Contents of one CIFAR archive: per split its batch files with their md5, as torchvision lists them."""

    file: RemoteFile
    folder: str
    batches: dict[str, dict[str, str]]
    meta: dict[str, str]
    label_key: str
    class_key: str


CIFAR = {
    "cifar10": CifarArchive(
        file=FILES["cifar10"],
        folder="cifar-10-batches-py",
        batches={
            "train": {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
        },
        meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        label_key="labels",
        class_key="label_names",
    ),
    "cifar100": CifarArchive(
        file=FILES["cifar100"],
        folder="cifar-100-python",
        batches={
            "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
            "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        },
        meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
        label_key="fine_labels",
        class_key="fine_label_names",
    ),
}


def read_fashion_mnist(
    split: str, root: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read Fashion-MNIST: (images uint8 [M, 1, 28, 28], labels uint8 [M], classes). Source: arXiv 1708.07747.

    The two files are looked for in Debian's folder and in each data folder, else downloaded.
    Raises ValueError if a file is damaged, DownloadError if there is none and no mirror gives it.
    """
    images, labels = (parse_idx(_fashion_bytes(name, root)) for name in FASHION_FILES[split])
    return images[:, None], labels, FASHION_CLASSES


def _fashion_bytes(name: str, root: str | Path | None) -> bytes:
    folders = data_folders(root)
    places = [DEBIAN_FASHION_MNIST]
    for folder in folders:
        places += [folder / "fashion-mnist", folder / "FashionMNIST" / "raw", folder]
    for path in (place / (name + suffix) for place in places for suffix in (".gz", "")):
        if path.is_file():
            return _checked_idx(path, FASHION_SHA256[name])
    # Not the folder itself: MNIST's files have the same names.
    path = fetch(FILES[f"fashion-mnist/{name}"], folders[0] / "fashion-mnist")
    return _checked_idx(path, FASHION_SHA256[name])


def _checked_idx(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        reason = f"its unpacked content has another sha256 than {sha256}"
    except (OSError, EOFError, zlib.error) as error:
        content, reason = b"", f"it cannot be unpacked: {error}"
    if hashlib.sha256(content).hexdigest() == sha256:
        return content
    raise ValueError(
        f"{path} is damaged or belongs to another data set ({reason}). "
        "Delete it or move it away; then it is looked for elsewhere or downloaded again."
    )


def parse_idx(content: bytes) -> np.ndarray:
    """Return the uint8 array [s_1, ..., s_n] of an idx file.

    Format: bytes 0, 0, 8, n; then n big-endian int32 sizes; then the data.
    Raises ValueError if the header or the length does not fit.
    """
    if content[:3] != b"\x00\x00\x08" or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise ValueError("this is not an idx file of unsigned bytes: its header is wrong.")
    shape = np.frombuffer(content, ">i4", content[3], offset=4)
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if data.size != shape.prod(dtype=np.int64):
        raise ValueError(f"the idx header announces {shape.tolist()} bytes, but {data.size} follow it.")
    return data.reshape(shape).copy()


def read_cifar(
    archive: CifarArchive, split: str, root: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read CIFAR-10 or CIFAR-100: (images uint8 [M, 3, 32, 32], fine labels int64 [M], classes).

    The unpacked folder, then the archive, is looked for in each data folder; else the archive is downloaded.
    Raises ValueError if a file is damaged, DownloadError if there is none and no mirror gives it.
    """
    wanted = {**archive.batches[split], **archive.meta}
    folders = data_folders(root)
    places = [place for folder in folders for place in (folder / archive.folder, folder)]
    unpacked = [place for place in places if all((place / name).is_file() for name in wanted)]
    if unpacked:
        origin, contents = unpacked[0], {name: (unpacked[0] / name).read_bytes() for name in wanted}
    else:
        origin = find(archive.file, folders) or fetch(archive.file, folders[0])
        contents = _members(origin, archive.folder, wanted)
    parts = {name: _unpickle(contents[name], md5, origin / name) for name, md5 in wanted.items()}
    batches = [parts[name] for name in archive.batches[split]]
    (meta,) = (parts[name] for name in archive.meta)
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([np.asarray(batch[archive.label_key], np.int64) for batch in batches])
    return images, labels, tuple(meta[archive.class_key])


def _members(path: Path, folder: str, names: dict[str, str]) -> dict[str, bytes]:
    contents = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:  # in the order of the file: a jump back would unpack it again from its start
            name = member.name.removeprefix(f"{folder}/")
            if name in names and (content := archive.extractfile(member)):
                contents[name] = content.read()
    if missing := set(names) - set(contents):
        raise ValueError(f"{path} has no {', '.join(sorted(missing))} in {folder}/.")
    return contents


def _unpickle(content: bytes, md5: str, path: Path) -> dict[str, Any]:
    """Check the md5 of a batch file, and only then unpickle it."""
    if (digest := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise ValueError(
            f"{path} is damaged: its md5 is {digest}, but {md5} was expected. It was not opened. "
            f"Delete {path.parent if path.parent.is_file() else path}; then it is looked for elsewhere or "
            "downloaded again."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy, at the dtypes that it wrote itself in 2009
        return pickle.loads(content, encoding="latin1")
