"""Folders of images of any size, resized once into arrays.

`read_folder` (folder:PATH) keeps the arrays in the cache folder and reads them into memory. `make_shards`
writes them into a folder of the user's choice, where they stay (shards:PATH, read by memmap.py).
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..files import cache_folder, locked
from .checks import as_path, check_memory
from .convert import SPLITS, Plan, convert, decoder, make_plan, read_progress
from .image_files import decode_image
from .memmap import Card, chain_sha256, open_images

RULES = 2  # version of the rules by which images are decoded: a cache made by earlier ones is not read
LARGE = 5000  # images from which a progress bar is shown
SAMPLE = 32  # images decoded to estimate the time


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cost of a conversion: images in all and left, bytes to write and free, seconds of decoding alone."""

    images: int
    left: int
    bytes: int
    free: int
    seconds: float

    def __str__(self) -> str:
        size, unit = (3600, "h") if self.seconds > 5400 else (60, "min") if self.seconds > 90 else (1, "s")
        return (
            f"{self.left} of {self.images} images are left to decode, in about {self.seconds / size:.1f} "
            f"{unit}; they take {self.bytes / 1e9:.2f} GB, and {self.free / 1e9:.2f} GB are free."
        )


def read_folder(path: str | Path, split: str, size: int = 32) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read a folder of images into memory: (images uint8 [M, C, size, size], labels int64 [M], classes).

    The shorter side is resized to `size`, and the middle is cut out. C = 1 if every image of the folder is
    grey, else 3. Without test/ or val/, "test" is a fixed, stratified fifth. The result is kept in the cache
    folder and read from there while no file's name, size or time changes. Broken images are left out, with a
    warning that names them.
    Raises FileNotFoundError if there is no such folder; ValueError if the layout does not fit, more than a
    tenth of the images are broken, one has the wrong scale, or memory is short.
    """
    plan = make_plan(path, size, shuffle=False)
    check_memory(3 * size * size * len(plan.files[split]), f"{plan.folder} at {size} x {size} pixels")
    key = hashlib.sha256(f"{plan.folder}:{size}:{RULES}".encode()).hexdigest()[:12]
    try:
        return _read_cached(plan, split, cache_folder() / f"{plan.folder.name}-{size}-{key}")
    except OSError:  # a cache that cannot be written only costs time
        with tempfile.TemporaryDirectory() as place:
            return _read_cached(plan, split, Path(place))


def _read_cached(plan: Plan, split: str, out: Path) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    with locked(out / ".lock", wait=True):
        try:
            card = read_progress(plan, out)
        except ValueError:  # of other images, or damaged
            card = plan.card
        for start in (card, plan.card):
            card = convert(plan, out, start, skip_unreadable=True, progress=plan.count() >= LARGE)
            images, labels, classes, sha256 = open_images(out, split)
            if chain_sha256("", images.numpy()) == sha256:  # else damaged: once more from the start
                break
        _check_left_out(plan, card)
        grey = all(card[name]["grey"] for name in SPLITS)
        return images[:, :1].contiguous() if grey else images.clone(), labels, classes


def _check_left_out(plan: Plan, card: Card) -> None:
    """Warn of images that could not be read. Raises ValueError for more than a tenth, or all of a class."""
    left_out = {split: [row for row, _ in card[split]["left_out"]] for split in SPLITS}
    names = [name for split in SPLITS for _, name in card[split]["left_out"]]
    if not names:
        return
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    what = f"{len(names)} of {plan.count()} images, which cannot be read ({some})"
    if 10 * len(names) > plan.count():
        raise ValueError(
            f"{plan.folder} has {what}: more than a tenth. Copy or unpack the folder again, or delete those "
            "files."
        )
    for split, rows in left_out.items():
        kept = set(np.delete(plan.labels[split], rows).tolist())
        if empty := [name for label, name in enumerate(card["classes"]) if label not in kept]:
            raise ValueError(
                f"{plan.folder} has {what}, and the class {empty[0]!r} has no other {split} image. Replace "
                "them."
            )
    warnings.warn(f"left out of {plan.folder}: {what}. Replace or delete such files.", stacklevel=2)


def make_shards(
    folder: str | Path,
    out: str | Path,
    *,
    side: int = 256,
    workers: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Card:
    """Resize a folder of images into arrays on disk, in `out`, and return their card.

    Each image becomes RGB, its shorter side `side`, its middle square cut out. The order is random, with a
    fixed seed. Without test/ or val/, the test split is the fifth that load_images("folder:…") holds out.
    What a killed call has finished is kept.
    workers: threads that decode; None: chosen by the size of the files. skip_unreadable: leave broken images
    out and name them in the card.
    Raises FileNotFoundError if there is no such folder; ValueError if its layout does not fit, `out` is
    inside it or has another set, or an image cannot be read; OSError if another process writes into `out`, or
    the disk is too small or fills up.
    """
    plan, out = make_plan(folder, side, shuffle=True), _check_outside(folder, out)
    estimate = _estimate(plan, out, workers)
    if progress:
        print(estimate, file=sys.stderr)
    if estimate.bytes > estimate.free:
        raise OSError(
            f"the disk of {out} is too small: {estimate} Nothing was written. Free some space, choose "
            f"another output folder, or a side below {side}."
        )
    with locked(out / ".lock"):
        card = read_progress(plan, out)
        return convert(plan, out, card, workers=workers, skip_unreadable=skip_unreadable, progress=progress)


def estimate_shards(
    folder: str | Path, out: str | Path, *, side: int = 256, workers: int | None = None
) -> Estimate:
    """Estimate the disk and the time that `make_shards` with these arguments would need; write nothing.

    The seconds are those of 32 images, scaled. Raises FileNotFoundError and ValueError as `make_shards` does.
    """
    return _estimate(make_plan(folder, side, shuffle=True), _check_outside(folder, out), workers)


def _check_outside(folder: str | Path, out: str | Path) -> Path:
    folder, out = (as_path(path).resolve() for path in (folder, out))
    if out.is_relative_to(folder):
        raise ValueError(
            f"{out} is inside the folder of images; choose an output folder outside it (command: --out)."
        )
    return out


def _estimate(plan: Plan, out: Path, workers: int | None) -> Estimate:
    card, side = read_progress(plan, out), plan.card["side"]
    files = [file for split in SPLITS for file in plan.files[split][card[split]["done"] :]]

    def attempt(file: Path) -> None:
        with suppress(ValueError):  # an unreadable image is reported when its turn comes
            decode_image(file, side)

    sample = files[:SAMPLE]
    with decoder(sample, workers) as run:
        list(run(attempt, sample[:1]))  # loads the decoder
        started = time.perf_counter()
        list(run(attempt, sample))
    seconds = (time.perf_counter() - started) * len(files) / max(len(sample), 1)
    disk = next(path for path in (out, *out.parents) if path.exists())
    size, free = 3 * side * side * len(files), shutil.disk_usage(disk).free
    return Estimate(images=plan.count(), left=len(files), bytes=size, free=free, seconds=seconds)
