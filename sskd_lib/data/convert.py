"""Conversion of a folder of images into arrays on disk (memmap.py), in steps that a kill can interrupt."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from ..files import TEMPORARY, differences, explained
from . import memmap
from .checks import as_path
from .image_files import UnreadableImage, decode_image
from .images import split_rows
from .layout import list_images
from .memmap import Card

SPLITS = ("train", "test")
SAVE_EVERY = 1024  # images between two saves of the card
SMALL = 32_000  # mean bytes of a file up to which threads only wait for each other's Python

Map = Callable[..., Iterator[Any]]  # like the built-in one


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A conversion: per split the files and labels, in the order of the rows, and the card to begin with."""

    folder: Path
    files: dict[str, list[Path]]
    labels: dict[str, np.ndarray]
    card: Card

    def count(self) -> int:
        """Return the number of images in both splits."""
        return sum(map(len, self.files.values()))


def make_plan(path: str | Path, side: int, shuffle: bool) -> Plan:
    """Plan the conversion of a folder; shuffle: rows in random order, with a fixed seed.

    Without a test level, a stratified fifth becomes the test split.
    Raises FileNotFoundError or ValueError as `list_images` does, and ValueError for a wrong side.
    """
    if not isinstance(side, int) or side < 1:
        raise ValueError(
            f"size={side!r} (command shards: --side): the side of the images is a whole number of pixels, at "
            "least 1."
        )
    folder = as_path(path).resolve()
    classes, listed, labels, is_test = list_images(folder)
    if not is_test.any():
        is_test[split_rows(torch.from_numpy(labels), len(classes), 0.2, seed=0)[1].numpy()] = True
    card: Card = {"format": memmap.FORMAT, "side": side, "classes": list(classes)}
    plan = Plan(folder=folder, files={}, labels={}, card=card)
    for split in SPLITS:
        rows = np.flatnonzero(is_test == (split == "test"))
        if shuffle:  # so that any part of the rows has images of all classes
            rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).numpy()]
        plan.files[split], plan.labels[split] = [listed[row] for row in rows], labels[rows]
        card[split] = {"images": len(rows), "done": 0, "source": _source(plan, []).hexdigest()}
        card[split] |= {"sha256": "", "grey": True, "left_out": []}
    return plan


def read_progress(plan: Plan, out: Path) -> Card:
    """Return the card with which a conversion into `out` begins or goes on.

    Raises ValueError if `out` has another set, or images that are done have changed since.
    """
    card = memmap.read_card(out)
    if card is None:
        if strange := sorted(path.name for path in out.glob("t*.npy")):
            raise ValueError(f"{out} has {strange[0]}, but no card.json. {memmap.ELSEWHERE}")
        return plan.card
    saved, wanted = (
        {name: c[name] for name in ("side", "classes")} | {s: {"images": c[s]["images"]} for s in SPLITS}
        for c in (card, plan.card)
    )
    if different := differences(saved, wanted):
        raise ValueError(f"{out} has another set; what differs: {', '.join(different)}. {memmap.ELSEWHERE}")
    for split in SPLITS:
        done = plan.files[split][: card[split]["done"]]
        if _source(plan, done).hexdigest() != card[split]["source"]:
            raise ValueError(
                f"{out} was made from other images: of those in {plan.folder}, a name, a size or a time is "
                f"another one. {memmap.ELSEWHERE}"
            )
        try:
            memmap.map_pixels(out, card, split)
        except (ValueError, FileNotFoundError):  # missing or damaged: this split is made again
            card[split] = plan.card[split]
    return card


def convert(
    plan: Plan,
    out: Path,
    card: Card,
    *,
    workers: int | None = None,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> Card:
    """Decode and write what the card lacks. Returns the finished card.

    skip_unreadable: leave broken images out, and list them in the card.
    Raises ValueError for an image that cannot be read or has the wrong scale, OSError if the disk is full.
    """
    from tqdm import tqdm

    total, done = (sum(card[split][name] for split in SPLITS) for name in ("images", "done"))
    for name in ("card.json", *(f"{split}-labels.npy" for split in SPLITS)):
        for leftover in out.glob(f".{name}.*{TEMPORARY}"):  # of a killed writer
            leftover.unlink(missing_ok=True)
    memmap.write_card(out, card)
    with (
        decoder(plan.files["train"], workers) as run,
        tqdm(total=total, initial=done, unit="image", disable=not progress or done == total) as bar,
    ):
        for split in SPLITS:
            for part in _convert_split(plan, out, card[split], split, run, skip_unreadable, bar):
                card = card | {split: part}
                memmap.write_card(out, card)
            left_out = [row for row, _ in card[split]["left_out"]]
            memmap.write_labels(out / f"{split}-labels.npy", np.delete(plan.labels[split], left_out))
    return card


def _convert_split(
    plan: Plan, out: Path, part: Card, split: str, run: Map, skip_unreadable: bool, bar: Any
) -> Iterator[Card]:
    """Write what a split lacks, and yield its part of the card whenever more rows are on disk."""
    files, side, path = plan.files[split], plan.card["side"], out / f"{split}.npy"
    if part["done"] == len(files):
        return
    if part["done"] == 0:
        with explained(path):
            open_memmap(path, "w+", np.uint8, (len(files), 3, side, side))
    source = _source(plan, files[: part["done"]])
    for first in range(part["done"], len(files), SAVE_EVERY):
        block = files[first : first + SAVE_EVERY]
        _source(plan, block, source)
        pixels, left_out = np.empty((len(block), 3, side, side), np.uint8), []
        for row, image in enumerate(run(lambda file: _decode(file, side, out, skip_unreadable), block)):
            if image is None:
                left_out.append([first + row, _name(plan, block[row])])
            else:
                pixels[row - len(left_out)] = image
            bar.update()
        pixels = pixels[: len(block) - len(left_out)]
        with explained(path):
            memmap.write_pixels(path, first - len(part["left_out"]), pixels)
        part = part | {
            "done": first + len(block),
            "source": source.hexdigest(),
            "sha256": memmap.chain_sha256(part["sha256"], pixels),
            "grey": part["grey"] and bool((pixels == pixels[:, :1]).all()),
            "left_out": part["left_out"] + left_out,
        }
        yield part


def _decode(file: Path, side: int, out: Path, skip_unreadable: bool) -> np.ndarray | None:
    try:
        return decode_image(file, side)
    except UnreadableImage as error:
        if skip_unreadable:
            return None
        raise ValueError(
            f"cannot read the image {file} ({error.__cause__}). Put a readable copy in its place, or leave "
            "such images out with skip_unreadable=True (--skip-unreadable), and start again: what is done in "
            f"{out} is kept. Do not delete the image: with another list of images all would be made again."
        ) from error


@contextmanager
def decoder(files: list[Path], workers: int | None) -> Iterator[Map]:
    """Yield a function like `map`; it uses threads where that is faster for files of this size."""
    sizes = [_stat(file).st_size for file in files[:32]]
    if workers is None and sum(sizes) <= SMALL * len(sizes):
        yield map
    else:
        with ThreadPoolExecutor(workers) as pool:
            yield pool.map


def _name(plan: Plan, file: Path) -> str:
    return str(file)[len(str(plan.folder)) + 1 :].replace(os.sep, "/")  # relative_to is slow for a million


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except FileNotFoundError as error:
        raise ValueError(
            f"{file} is a link to a file that does not exist, or was deleted now. Delete or mend the link."
        ) from error


def _source(plan: Plan, files: list[Path], sha256: Any = None) -> Any:
    """Hash names, sizes and times of files; goes on with the hash that is given."""
    sha256 = sha256 or hashlib.sha256()
    for file in files:
        state = _stat(file)
        line = f"{_name(plan, file)}|{state.st_size}|{state.st_mtime_ns}\n"
        sha256.update(line.encode("utf-8", "surrogateescape"))
    return sha256
