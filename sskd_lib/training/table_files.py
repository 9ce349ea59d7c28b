"""The files of a teacher table, written so that a killed writer goes on where it stopped.

    card.json           what the table is, and how many images are done
    index.safetensors   a hash of each image's pixels and, if K views were drawn, the draws
    logits.npy          [M, E, K], E stored views an image; numpy opens it too, mmap_mode="r"
    projection.npy      [M, E, D], if the teacher has a head

The outputs are appended, fsynced, and only then counted in the card. What lies beyond that count is not part
of the table: the next writer writes over it.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from ..files import TEMPORARY, CheckpointError, explained, read_tensors, write_atomically, write_tensors
from ..files import differences

FORMAT = "sskd-kit-table-1"
CARD, INDEX = "card.json", "index.safetensors"
PLAN = (  # the entries of a card that make a table this table and no other
    *("teacher_weights", "teacher", "pixels", "images", "channels", "side", "window", "slack"),
    *("classes", "width", "draws", "seed", "dtype", "views"),
)


def shapes(card: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """The arrays of a table by file name: [M, E, K] and, with a head, [M, E, D]."""
    sizes = {"logits.npy": card["classes"], "projection.npy": card["width"]}
    return {name: (card["images"], card["views"], size) for name, size in sizes.items() if size}


def read_card(folder: Path) -> dict[str, Any] | None:
    """The card of the table in a folder, finished or not; None where there is nothing at all.

    Raises ValueError for a folder that holds something else.
    """
    try:
        content = (folder / CARD).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        litter = folder.is_dir() and all(p.name.endswith(TEMPORARY) for p in folder.iterdir())
        if litter or not folder.exists():
            return None
        raise ValueError(
            f"{folder} is no teacher table: it has no {CARD}, but holds something else. Nothing was changed. "
            "Choose an empty or a new folder."
        ) from None
    try:
        card = json.loads(content)
        if card["format"] == FORMAT and all(name in card for name in (*PLAN, "done")):
            return card
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"{folder / CARD} is damaged, or not that of a teacher table of this version of the kit (format "
        f"{FORMAT}). Nothing was changed. Choose another folder, or delete this one and call cache_teacher."
    )


def check_same_table(folder: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise ValueError, naming what differs, unless the table in a folder is the one that is asked for."""
    found = differences(*({name: card[name] for name in PLAN} for card in (there, asked)))
    if found:
        raise ValueError(
            f"{folder} holds another table; what differs: {', '.join(found)}. Nothing was changed. Choose "
            "another folder or delete this one. To use it as it is, also for some of its images: open_table."
        )


def check_space(folder: Path, card: dict[str, Any]) -> None:
    """Raise OSError, before anything is written, if the disk has no room for what is still to come."""
    need = sum(_file_size(card, name) for name in shapes(card))
    need -= sum((folder / name).stat().st_size for name in shapes(card) if (folder / name).exists())
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(above).free
    if need > free:
        raise OSError(
            f"the table in {folder} needs {need / 1e6:,.1f} MB more, and the disk has {free / 1e6:,.1f} MB "
            "free. Free some space, choose a folder on another disk, or store less: fewer draws, or float16."
        )


def tidy(folder: Path) -> None:
    """Make the folder, or remove the half-written files that a killed writer left in it."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for litter in folder.glob(f".*{TEMPORARY}"):
            litter.unlink(missing_ok=True)


def begin(folder: Path, card: dict[str, Any], index: dict[str, Tensor]) -> None:
    """Write a card with nothing done, and the index."""
    write_card(folder, card)
    write_tensors(folder / INDEX, index, {name: card[name] for name in PLAN})


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Say in the card how far the table has come."""
    write_atomically(folder / CARD, (json.dumps(card, indent=1) + "\n").encode())


@contextmanager
def opened_to_go_on(folder: Path, card: dict[str, Any]) -> Iterator[list[BinaryIO]]:
    """The files of outputs, open for writing right behind the last image that is done."""
    with ExitStack() as stack:
        files = []
        for name, shape in shapes(card).items():
            path, header = folder / name, _header(shape, card["dtype"])
            written = len(header) + card["done"] * _image_size(card, name)
            if card["done"] and (not path.is_file() or path.stat().st_size < written):
                raise ValueError(_damaged(folder, f"{name} is missing or shorter than {CARD} says"))
            with explained(path):
                file = stack.enter_context(open(path, "r+b" if card["done"] else "wb", buffering=0))
                if not card["done"]:
                    append(file, header)
                file.seek(written)
            files.append(file)
        yield files


def append(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of it: an unbuffered file may take a part, and on a full disk raises OSError at the next."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


def keep(folder: Path, files: list[BinaryIO], card: dict[str, Any], done: int) -> None:
    """Make sure that the outputs of `done` images are on the disk, and count them in the card."""
    with explained(folder):
        for file in files:
            os.fsync(file.fileno())
    write_card(folder, card | {"done": done})


def read_index(folder: Path, card: dict[str, Any]) -> dict[str, Tensor]:
    """The index of a table. Raises ValueError if it is damaged or not of the table its card tells of."""
    try:
        index, sealed = read_tensors(folder / INDEX)
    except (CheckpointError, FileNotFoundError) as error:
        raise ValueError(_damaged(folder, f"{INDEX} is missing or cannot be read")) from error
    if sealed != {name: card[name] for name in PLAN}:
        raise ValueError(_damaged(folder, f"{INDEX} and {CARD} are of two different tables"))
    return index


def map_outputs(folder: Path, card: dict[str, Any]) -> dict[str, np.ndarray]:
    """Open the outputs as memory maps, flattened to [M·E, K] and [M·E, D]; nothing is read yet.

    Raises ValueError for a file that is missing or not of the right size and kind.
    """
    arrays = {}
    for name, shape in shapes(card).items():
        path, size = folder / name, _file_size(card, name)
        if not path.is_file() or path.stat().st_size != size:
            found = f"has {path.stat().st_size} bytes" if path.is_file() else "is missing"
            raise ValueError(_damaged(folder, f"{name} {found}; it should have {size}"))
        with open(path, "rb") as file:
            header = _header(shape, card["dtype"])
            if file.read(len(header)) != header:
                raise ValueError(_damaged(folder, f"{name} does not begin as it was written"))
        arrays[name] = np.asarray(np.load(path, mmap_mode="r")).reshape(-1, shape[2])
    return arrays


def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    """What a .npy file begins with."""
    buffer = io.BytesIO()
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def _image_size(card: dict[str, Any], name: str) -> int:
    """Bytes an image in one of the files."""
    return math.prod(shapes(card)[name][1:]) * np.dtype(card["dtype"]).itemsize


def _file_size(card: dict[str, Any], name: str) -> int:
    """Bytes of one of the files once it is whole."""
    return len(_header(shapes(card)[name], card["dtype"])) + card["images"] * _image_size(card, name)


def _damaged(folder: Path, what: str) -> str:
    """The message for a table that cannot be used."""
    return (
        f"the teacher table in {folder} is damaged: {what}. Nothing was changed. Delete the folder and make "
        "the table again with cache_teacher."
    )
