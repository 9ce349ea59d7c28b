"""A folder of images, resized once into the shards that shards.py reads: in parallel, and safe from a kill.

A shard is written whole or not at all, and the card names it only then. What the card does not name is made
again by the same call, in the same shuffled order, so that the files of a killed run end with the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files import TEMPORARY, explained, write_atomically
from ..files import differences
from .image_folder import decode_image, list_images
from .images import ImageSet
from .shards import ANEW, FORMAT, SPLITS, npy_header, pieces, pixels_start, read_card, sha256_of, shard_bytes

SAMPLE = 32  # images decoded to estimate the time


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What `make_shards` would do: images in all and left, bytes to write and free, seconds of decoding.

    Writing comes on top: a quarter as much again where two cores decoded photographs at side 256.
    """

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


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A listing cut into shards; `card` holds what must be equal for shards to be of this set."""

    folder: Path
    out: Path
    card: dict[str, Any]
    labels: dict[str, bytes]  # the content of each split's file of labels
    files: dict[str, list[Path]]  # the images of each shard, by its name


def make_shards(
    folder: str | Path,
    out: str | Path,
    *,
    side: int = 256,
    images_a_shard: int = 1024,
    workers: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Resize a folder of images into shards in `out` and return their card; what is finished is kept.

    Each image becomes RGB, its shorter side `side`, its middle square cut out. Without test/ or val/ the
    test split is the fifth that load_images("folder:…") holds out. A shard of which an image has changed is
    made anew. workers: threads that decode (None: some more than the machine has cores). skip_unreadable:
    leave broken images out and name them in the card.

    Raises FileNotFoundError if there is no such folder; ValueError if its layout does not fit, `out` lies in
    it or holds another set, or an image cannot be read; OSError if the disk is too small or fills up.
    """
    plan = _make_plan(folder, out, side, images_a_shard)
    card, todo = _read_progress(plan)
    with ThreadPoolExecutor(workers) as pool:
        estimate = _estimate(plan, todo, pool)
        if progress:
            print(estimate, file=sys.stderr)
        if estimate.bytes > estimate.free:
            raise OSError(
                f"the disk of {plan.out} is too small: {estimate} Nothing was written. Free some space, "
                f"choose another output folder, or a side below {side}."
            )
        with _alone(plan.out), _bar(estimate, progress) as bar:
            _write_frame(plan, card)
            for name in todo:
                card["shards"][name] = _write_shard(plan, name, pool, skip_unreadable, bar)
                _write_card(plan.out, card)
    return card


def estimate_shards(
    folder: str | Path,
    out: str | Path,
    *,
    side: int = 256,
    images_a_shard: int = 1024,
    workers: int | None = None,
) -> Estimate:
    """Disk and time that `make_shards` with these arguments would need from here; writes nothing.

    The seconds are those of 32 images, scaled. Raises FileNotFoundError and ValueError as `make_shards` does.
    """
    plan = _make_plan(folder, out, side, images_a_shard)
    with ThreadPoolExecutor(workers) as pool:
        return _estimate(plan, _read_progress(plan)[1], pool)


# ---- the plan ------------------------------------------------------------------------------------


def _make_plan(folder: str | Path, out: str | Path, side: int, images_a_shard: int) -> _Plan:
    for name, value in (("side", side), ("images_a_shard", images_a_shard)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number, at least 1.")
    folder, out = (Path(path).expanduser().resolve() for path in (folder, out))
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; name the one that holds the images.")
    if out.is_relative_to(folder):
        raise ValueError(f"{out} lies within the folder of images; choose an output folder outside it.")
    classes, listing = list_images(folder)
    labels = np.array([label for _, label, _ in listing], dtype=np.int64)
    is_test = np.array([test for _, _, test in listing])
    if not is_test.any():
        is_test[_held_out(labels, classes)] = True
    card = {"format": FORMAT, "side": side, "images_a_shard": images_a_shard, "classes": list(classes)}
    plan = _Plan(folder=folder, out=out, card=card, labels={}, files={})
    for split in SPLITS:
        rows = np.flatnonzero(is_test == (split == "test"))
        # Shuffled, so that neighbours in a shard are of any class.
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).numpy()]
        files = [listing[row][0] for row in rows]
        plan.labels[split] = _npy(labels[rows])
        card[split] = {
            "images": len(files),
            "file_names": sha256_of("\n".join(_names(folder, files))),
            "labels": sha256_of(plan.labels[split]),
        }
        for name, start, stop in pieces(card, split):
            plan.files[name] = files[start:stop]
    return plan


def _held_out(labels: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Which images load_images("folder:…", "test") gives."""
    index = torch.arange(len(labels), dtype=torch.int32)
    stand_in = index.view(torch.uint8).view(-1, 1, 2, 2)  # a number's four bytes in the place of each image
    images = ImageSet(images=stand_in, labels=torch.from_numpy(labels), classes=classes, name="the folder")
    return images.split(0.2, seed=0)[1].images.view(-1, 4).view(torch.int32).flatten().numpy()


def _names(folder: Path, files: list[Path]) -> list[str]:
    start = len(str(folder)) + 1  # a million paths: relative_to would take many seconds
    return [str(file)[start:].replace(os.sep, "/") for file in files]


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _read_progress(plan: _Plan) -> tuple[dict[str, Any], list[str]]:
    """(card with the shards that are done, names of those to do). Raises ValueError for another set."""
    card = read_card(plan.out)
    if card is None:
        if strange := sorted(path.name for split in SPLITS for path in plan.out.glob(f"{split}-*.npy")):
            raise ValueError(f"{plan.out} holds {strange[0]}, but no card.json that says of what. {ANEW}")
        return plan.card | {"shards": {}}, list(plan.files)
    if differs := differences({name: card.get(name) for name in plan.card}, plan.card):
        raise ValueError(f"{plan.out} holds another set; what differs: {', '.join(differs)}. {ANEW}")
    done = {}
    for name, files in plan.files.items():
        entry = card["shards"].get(name)
        if entry and entry["source"] == _source(plan, files):
            with suppress(ValueError, FileNotFoundError):  # damaged or missing: to be made anew
                pixels_start(plan.out / name, len(files), card["side"])
                done[name] = entry
    return plan.card | {"shards": done}, [name for name in plan.files if name not in done]


def _source(plan: _Plan, files: list[Path]) -> str:
    """A hash that changes if an image of the shard does."""
    lines = []
    for name, file in zip(_names(plan.folder, files), files, strict=True):
        state = file.stat()
        lines.append(f"{name}|{state.st_size}|{state.st_mtime_ns}")
    return sha256_of("\n".join(lines))


def _estimate(plan: _Plan, todo: list[str], pool: ThreadPoolExecutor) -> Estimate:
    side, left = plan.card["side"], sum(len(plan.files[name]) for name in todo)

    def attempt(file: Path) -> None:
        with suppress(ValueError):  # an unreadable image is reported when its turn comes
            decode_image(file, side)

    sample = list(islice(chain.from_iterable(plan.files[name] for name in todo), SAMPLE))
    list(pool.map(attempt, sample[:1]))  # loads the decoder
    started = time.perf_counter()
    list(pool.map(attempt, sample))
    seconds = (time.perf_counter() - started) * left / max(len(sample), 1)
    disk = next(path for path in (plan.out, *plan.out.parents) if path.exists())
    return Estimate(
        images=sum(plan.card[split]["images"] for split in SPLITS),
        left=left,
        bytes=sum(shard_bytes(len(plan.files[name]), side) for name in todo),
        free=shutil.disk_usage(disk).free,
        seconds=seconds,
    )


# ---- writing -------------------------------------------------------------------------------------


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Make the folder, and keep a second writer out of it until the block or this process ends."""
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    handle = None
    try:
        import fcntl

        handle = os.open(out, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise OSError(f"another process is making shards in {out}; wait for its end.") from error
    except (ImportError, OSError):  # Windows, or a file system without locks
        pass
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _bar(estimate: Estimate, progress: bool) -> Any:
    from tqdm import tqdm

    done = estimate.images - estimate.left
    return tqdm(total=estimate.images, initial=done, unit="image", disable=not progress, dynamic_ncols=True)


def _write_frame(plan: _Plan, card: dict[str, Any]) -> None:
    """The card and the labels, in a folder that is free of a killed writer's leftovers."""
    with explained(plan.out):
        for litter in chain(plan.out.glob(f".t*.npy.*{TEMPORARY}"), plan.out.glob(f".card.*{TEMPORARY}")):
            litter.unlink(missing_ok=True)
    _write_card(plan.out, card)
    for split in SPLITS:
        _write_if_new(plan.out / f"{split}-labels.npy", plan.labels[split])


def _write_card(out: Path, card: dict[str, Any]) -> None:
    shards = dict(sorted(card["shards"].items()))
    _write_if_new(out / "card.json", (json.dumps(card | {"shards": shards}, indent=1) + "\n").encode())


def _write_if_new(path: Path, content: bytes) -> None:
    """So that asking again for a finished set writes nothing, even where the disk is full."""
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)


def _write_shard(
    plan: _Plan, name: str, pool: ThreadPoolExecutor, skip_unreadable: bool, bar: Any
) -> dict[str, Any]:
    """Decode and write one shard. Returns its entry in the card."""
    files, side = plan.files[name], plan.card["side"]
    source = _source(plan, files)
    header = npy_header(len(files), side)
    content = np.empty(shard_bytes(len(files), side), np.uint8)  # as it will be in the file
    content[: len(header)] = np.frombuffer(header, np.uint8)
    images = content[len(header) :].reshape(len(files), 3, side, side)

    def decode(row: int) -> bool:
        try:
            images[row] = decode_image(files[row], side)
        except ValueError as error:
            if not skip_unreadable:
                raise ValueError(_unreadable(files[row], error, plan.out)) from error
            images[row] = 0
            return False
        return True

    readable = []
    for is_readable in pool.map(decode, range(len(files))):
        readable.append(is_readable)
        bar.update()
    write_atomically(plan.out / name, content.data)
    left_out = [[row, n] for row, n in enumerate(_names(plan.folder, files)) if not readable[row]]
    return {"images": len(files), "sha256": sha256_of(content), "source": source, "left_out": left_out}


def _unreadable(file: Path, error: ValueError, out: Path) -> str:
    return (
        f"cannot read the image {file} ({error.__cause__}). Put a readable copy in its place, or leave such "
        "images out with skip_unreadable=True (--skip-unreadable), and start again: what is finished in "
        f"{out} is kept. If you delete the image, the list is another one and all shards are to be made anew."
    )
