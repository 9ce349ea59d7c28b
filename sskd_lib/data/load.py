"""Loading of image sets by name: from the kit, from published archives and from the user's folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..files import did_you_mean
from .archives import CIFAR, read_cifar, read_fashion_mnist
from .checks import as_path, describe
from .images import ImageSet
from .memmap import open_images
from .packs import read_pack

DATA_FOLDER = Path(__file__).resolve().parents[2] / "data"
PACKS = ("fashion-mnist-lab", "grocery")  # embedded: they need no network
NAMES = (*PACKS, "fashion-mnist", *CIFAR)
SPLITS = ("train", "test")


def load_images(
    name: str, split: str = "train", root: str | Path | None = None, *, size: int | None = None
) -> ImageSet:
    """Load the images of a data set by name.

    fashion-mnist-lab: 10,000 train and 2,000 test images of Fashion-MNIST, balanced, in data/; no network.
    grocery: 2,936 train and 2,485 test photographs of food (the test from other shops), 32 x 32, in data/; 81
    `classes` under 43 `coarse` ones, with 20 to 75 train and 10 to 68 test images each; no network.
    fashion-mnist, cifar10, cifar100: looked for in `root`, in the folder that the environment variable
    SSKD_DATA names and in the user's cache folder, else downloaded into the first of these; checked by hash.
    folder:PATH: one sub-folder of images per class, below PATH/train and PATH/test or below PATH itself.
    Without test/, "test" is a fixed, seeded, stratified fifth of the images and "train" the rest. Images are
    resized to `size` x `size` (default 32); grey if all are grey, else RGB; kept in the cache folder.
    shards:PATH: a folder of large images that the command `shards` (make_shards) has resized; they stay on
    disk and are read batch by batch. Views show a window of 7/8 of their side (of 256 pixels 224).
    Warns of files in a folder that are left out, because they are broken or of a kind that cannot be read.
    Raises ValueError (wrong name or split, damaged file, too few images), FileNotFoundError (missing folder)
    or DownloadError, an OSError (no network).
    """
    if not isinstance(name, str):
        raise TypeError(_not_a_name(name))
    kind, colon, path = name.partition(":")
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; the splits are 'train' and 'test'.")
    if kind in ("folder", "shards") and colon and not path.strip():
        raise ValueError(f"{name!r} names no folder: write {kind}:PATH, and {kind}:. for the current folder.")
    if kind == "folder" and colon:
        return _load_folder(path, split, 32 if size is None else size)
    on_disk = kind == "shards" and bool(colon)
    if name not in NAMES and not on_disk:
        raise ValueError(_wrong_name(name))
    if size is not None:
        raise ValueError(f"size={size} is for folder:PATH only; {name} keeps its own size.")
    if on_disk:
        return _map_folder(path, split)
    if name in PACKS:
        return _load_pack(name, split)
    if name == "fashion-mnist":
        return _image_set(*read_fashion_mnist(split, root), name)
    return _image_set(*read_cifar(CIFAR[name], split, root), name)


def _image_set(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], name: str) -> ImageSet:
    pixels, numbers = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    return ImageSet(images=pixels, labels=numbers, classes=classes, name=name)


def _load_pack(name: str, split: str) -> ImageSet:
    images, labels, card = read_pack(DATA_FOLDER / f"{name}.npz", split)
    coarse = tuple(card["coarse"]) if "coarse" in card else None
    return replace(_image_set(images, labels, tuple(card["classes"]), name), coarse=coarse)


def _load_folder(path: str, split: str, size: int) -> ImageSet:
    from .folder import read_folder

    images, labels, classes = read_folder(path, split, size)
    name = f"folder:{as_path(path).resolve().name}"
    return ImageSet(images=images, labels=labels, classes=classes, name=name)


def _map_folder(path: str, split: str) -> ImageSet:
    images, labels, classes, sha256 = open_images(path, split)
    name, window = f"shards:{as_path(path).resolve().name}", 7 * images.shape[-1] // 8
    return ImageSet(images=images, labels=labels, classes=classes, name=name, window=window, sha256=sha256)


def _not_a_name(value: object) -> str:
    if isinstance(value, Path):
        return f"the name of a data set is a text; to load the images in a folder write 'folder:{value}'."
    return f"the name of a data set is a text, for example {PACKS[0]!r}; this is {describe(value)}."


def _wrong_name(name: str) -> str:
    if name.strip() and as_path(name).is_dir():
        kind = "shards" if (as_path(name) / "card.json").is_file() else "folder"
        return f"{name!r} is a folder; to load the images in it write '{kind}:{name}'."
    known = (*NAMES, "folder:PATH", "shards:PATH")
    return f"there is no data set {name!r}.{did_you_mean(name, known)} The names are: {', '.join(known)}."
