"""Any folder of images as one uint8 array: a sub-folder for each class, train/ and test/ above if wished.

As ImageNet has it, val/ is another name of test/.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..files import cache_folder

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
LAYOUT = (
    "Expected: a sub-folder of images for each class, PATH/cat/1.jpg or PATH/train/cat/1.jpg with PATH/test."
)
HELD_OUT = 5  # without test/, one image of so many is held out

Listing = list[tuple[Path, int, bool]]  # file, class, whether it belongs to test/


def read_folder(
    path: str | Path, size: int = 32
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray]:
    """(images uint8 [M, C, size, size], labels int64 [M], classes, is_test bool [M]) of a folder of images.

    The shorter side is resized to `size`, the middle is cut out; C = 1 if every image is grey, else 3. The
    result is kept in the cache folder and read from there while no file's name, size or time changes.

    Raises FileNotFoundError if there is no such folder; ValueError if the layout does not fit, the classes of
    train/ and test/ differ, a class has too few images or an image cannot be read.
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size={size!r}: the images' side is a whole number of pixels, at least 1.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder.resolve()}. {LAYOUT}")
    classes, files = list_images(folder.resolve())
    labels = np.array([label for _, label, _ in files], dtype=np.int64)
    is_test = np.array([test for _, _, test in files], dtype=bool)
    key = _listing_key(files, size)
    place = hashlib.sha256(f"{folder.resolve()}:{size}".encode()).hexdigest()[:12]
    cached = cache_folder() / f"{folder.resolve().name}-{size}-{place}.npz"
    images = _from_cache(cached, key, len(files), size)
    if images is None:
        images = _decode_all([file for file, _, _ in files], size)
        _to_cache(cached, key, images)
    return images, labels, classes, is_test


def list_images(folder: Path) -> tuple[tuple[str, ...], Listing]:
    """The class names, sorted, and all images as (path, class, whether for testing), in a fixed order.

    Images for testing are those below test/ or, if there is none, below val/.

    Raises ValueError if the layout does not fit.
    """
    levels = [name for name in ("train", "test", "val") if _sub_folders(folder / name)]
    if levels and levels[0] != "train":
        raise ValueError(f"{folder} has a {levels[0]}/ level but no train/. {LAYOUT}")
    if levels == ["train"] and (folder / "val").is_dir() and _image_files(folder / "val"):
        raise ValueError(
            f"{folder / 'val'} holds images, but not in a sub-folder for each class. Sort them into folders "
            "named as those in train/, or move val/ away to have a fifth of train/ held out instead."
        )
    levels = levels[:2]  # with test/ there, val/ is left alone
    roots = [folder / name for name in levels] or [folder]
    names = [_sub_folders(root) for root in roots]
    if len(names) == 2 and names[0] != names[1]:
        only = [_some(set(names[0]) - set(names[1])), _some(set(names[1]) - set(names[0]))]
        raise ValueError(
            f"{roots[0]} and {roots[1]} have different classes: "
            f"only in train/: {only[0]}; only in {levels[1]}/: {only[1]}."
        )
    if len(names[0]) < 2:
        raise ValueError(
            f"{roots[0]} has {len(names[0])} sub-folders; at least two classes are needed. {LAYOUT}"
        )
    least = 1 if len(roots) == 2 else HELD_OUT
    files: Listing = []
    for root in roots:
        for label, name in enumerate(names[0]):
            found = _image_files(root / name)
            if len(found) < least:
                raise ValueError(_too_few(root / name, len(found), least))
            files += [(file, label, root != roots[0]) for file in found]
    return tuple(names[0]), files


def _sub_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
    )


def _image_files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [os.path.join(place, name) for name in names if name[0] != "."]
    return [Path(file) for file in sorted(found) if os.path.splitext(file)[1].lower() in SUFFIXES]


def _too_few(folder: Path, found: int, least: int) -> str:
    if least == 1:
        return f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); add some or delete the folder."
    return (
        f"{folder} holds {found} images; every class needs at least {least}, because a fifth of "
        "them is held out for testing. Add images, or make a train/ and a test/ level yourself."
    )


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def _listing_key(files: Listing, size: int) -> str:
    digest = hashlib.sha256(f"layout 1, size {size}".encode())
    for file, label, test in files:
        state = file.stat()
        line = f"\n{file}|{label}|{test}|{state.st_size}|{state.st_mtime_ns}"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _from_cache(path: Path, key: str, count: int, size: int) -> np.ndarray | None:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as cache:
            if str(cache["key"]) != key:
                return None
            images = cache["images"]
    except Exception:  # missing or damaged in whatever way: the images are there to build it anew
        return None
    fits = images.dtype == np.uint8 and images.shape in [(count, c, size, size) for c in (1, 3)]
    return images if fits else None


def _to_cache(path: Path, key: str, images: np.ndarray) -> None:
    with suppress(OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with open(handle, "wb") as file:
                np.savez(file, images=images, key=np.array(key))
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _decode_all(files: list[Path], size: int) -> np.ndarray:
    if len(files) >= 5000:
        print(f"reading {len(files)} images (once, then from the cache)", file=sys.stderr)
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)

    def decode(start: int) -> None:
        for index in range(start, min(start + 16, len(files))):
            images[index] = decode_image(files[index], size)

    # Threads help where the decoder works; with small files they only wait for each other's Python.
    large = sum(file.stat().st_size for file in files) > 32_000 * len(files)
    with ThreadPoolExecutor(None if large else 1) as pool:
        list(pool.map(decode, range(0, len(files), 16)))
    grey = np.array_equal(images[:, 0], images[:, 1]) and np.array_equal(images[:, 0], images[:, 2])
    return np.ascontiguousarray(images[:, :1]) if grey else images


def decode_image(file: Path, size: int) -> np.ndarray:
    """RGB uint8 [3, size, size] of one image file: upright, on white if transparent, its middle square.

    Raises ValueError, from what the decoder raised, if it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.draft(None, (4 * size, 4 * size))  # lets a large JPEG be read at a fraction of its size
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
            if image.size != (size, size):
                image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
            return np.asarray(image).transpose(2, 0, 1)
    except Exception as error:  # image files are broken in many ways
        raise ValueError(f"cannot read the image {file} ({error}). Delete it or replace it.") from error
