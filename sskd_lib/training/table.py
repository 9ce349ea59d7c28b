"""A teacher table: a frozen teacher's outputs on disk, so that later trainings need not run it.

In eval mode an output depends on the pixels of its view alone, and an image has a finite number of views:
2 flips x 4 turns x 81 corners = 648 with images padded by 4. Two kinds of table:

draws="all"  every view. Exact: a training draws as it would with the live teacher and finds each output,
             rounded to the stored number format.
draws=K      K draws of four views an image. A training picks one of the K for an image in each epoch, so
             views come again after about K epochs: a small departure from fresh augmentation.

What it costs, for M images: `views_an_image` x M teacher forwards, once, and `table_bytes` of disk. For
CIFAR-100 with wrn_40_2 (100 classes, D = 128) in float16: K = 8 makes 1.6 million forwards and 0.7 GB, "all"
32.4 million and 14.8 GB. One SSKD run of 240 epochs asks a live teacher 48 million times.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import operator
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..data.images import ImageSet
from ..data.views import PADDING, Draws, cut, draw, frame
from ..files import explained, tensors_hash
from ..models.network import Network, check_fits
from ..runtime.device import Runtime, choose_runtime
from . import table_files as files
from .table_reader import TeacherTable, describe, image_keys, open_table

FORWARD = 128  # draws, of four views each, in one forward of the teacher
SAVE_SECONDS = 1.0  # least time between two counts of what is done


def views_an_image(draws: int | Literal["all"], slack: int = 2 * PADDING) -> int:
    """How many outputs a table stores for one image: 4 · draws, or 8 (slack + 1)² for "all"."""
    return 4 * (2 * (slack + 1) ** 2 if draws == "all" else draws)


def table_bytes(
    images: int,
    classes: int,
    width: int | None,
    draws: int | Literal["all"],
    slack: int = 2 * PADDING,
    dtype: torch.dtype = torch.float16,
) -> int:
    """Disk space of a table, up to a few kB of headers.

    width: D of the teacher's projection, None without one; slack: side of an image less that of its window.
    """
    outputs = views_an_image(draws, slack) * (classes + (width or 0)) * dtype.itemsize
    return images * (outputs + 8 + (0 if draws == "all" else 17 * draws))


def cache_teacher(
    teacher: Network,
    train: ImageSet,
    path: str | Path,
    *,
    draws: int | Literal["all"] = 8,
    seed: int = 0,
    dtype: torch.dtype = torch.float16,
    runtime: Runtime | None = None,
    progress: bool = True,
) -> TeacherTable:
    """Store a teacher's outputs for views of some images in a folder; go on where a killed call stopped.

    draws: K draws of four views an image, from `seed`; or "all". dtype: float16 or float32, what is stored.
    Labels are not looked at. A finished table is opened. Raises ValueError if the teacher does not fit the
    images, its outputs do not fit the dtype, or the folder holds something else; OSError if the disk is full.
    """
    folder, runtime = Path(path), runtime or choose_runtime()
    _check(teacher, train, draws, dtype)
    card, index = _make_card(teacher, train, draws, seed, dtype, runtime)
    there = files.read_card(folder)
    if there is not None:
        files.check_same_table(folder, there, card)
        card = there
    if card["done"] < card["images"]:
        files.check_space(folder, card)
        files.tidy(folder)
        if card["done"]:
            index = files.read_index(folder, card)
        else:
            files.begin(folder, card, index)
        runtime.prepare()
        was_training = teacher.training
        try:
            _fill(folder, card, index, runtime.place(teacher).eval(), train, runtime, progress)
        finally:
            teacher.train(was_training)
    return open_table(folder)


def _fill(
    folder: Path,
    card: dict[str, Any],
    index: dict[str, Tensor],
    teacher: Network,
    train: ImageSet,
    runtime: Runtime,
    progress: bool,
) -> None:
    """Run the teacher over the images that are not done, a chunk at a time, always cut at the same images."""
    from tqdm import tqdm

    total, saved_at = card["images"], time.monotonic()
    step = max(1, 4 * FORWARD // card["views"])
    size = (card["window"] or card["side"],) * 2
    with (
        files.opened_to_go_on(folder, card) as opened,
        tqdm(
            total=total,
            initial=card["done"],
            desc="teacher table",
            unit="image",
            disable=not progress,
            dynamic_ncols=True,
        ) as bar,
    ):
        for start in range(card["done"], total, step):
            done = min(start + step, total)
            framed = frame(train.images[start:done].to(runtime.device), card["window"])
            chunk = _ask(teacher, framed, _stored_draws(card, index, start, done), size, runtime)
            for file, array in zip(opened, _rounded(chunk, card["dtype"]), strict=True):
                with explained(folder):
                    files.append(file, array.data)
            if done == total or time.monotonic() - saved_at >= SAVE_SECONDS:
                files.keep(folder, opened, card, done)
                saved_at = time.monotonic()
            bar.update(done - start)


@torch.no_grad()
def _ask(
    teacher: Network, framed: Tensor, draws: Draws, size: tuple[int, int], runtime: Runtime
) -> list[Tensor]:
    """The teacher's outputs for R draws of each of B images: logits, projection, each float32 [B, 4R, ·].

    framed: uint8 [B, C, P, P']; draws: of B·R, those of an image one after another.
    """
    count, parts = len(draws.flip), []
    draws = Draws(*(part.to(runtime.device) for part in draws))
    for pair in torch.arange(count, device=runtime.device).tensor_split(math.ceil(count / FORWARD)):
        pixels = framed[pair // (count // len(framed))]
        output = runtime.run(teacher, cut(pixels, Draws(draws.flip[pair], draws.corner[pair]), size, 4))
        found = (part for part in (output.logits, output.projection) if part is not None)
        parts.append([part.view(4, len(pair), -1).transpose(0, 1) for part in found])
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    return [column.reshape(len(framed), -1, column.shape[2]) for column in columns]


def _rounded(outputs: list[Tensor], dtype: str) -> Iterator[np.ndarray]:
    """Outputs in the stored format, on the CPU. Raises ValueError where a number does not fit it."""
    for tensor in outputs:
        array = tensor.to(getattr(torch, dtype)).cpu().contiguous().numpy()
        if not np.isfinite(array).all():
            raise ValueError(
                f"an output of the teacher is no finite number in {dtype}: the largest is "
                f"{tensor.abs().max():g}. Check the teacher with evaluate; if it is sound, store float32."
            )
        yield array


def _stored_draws(card: dict[str, Any], index: dict[str, Tensor], start: int, done: int) -> Draws:
    """The draws whose outputs are stored for images start … done - 1, those of an image one after another."""
    if card["draws"] == "all":
        every, count = every_draw(card["slack"]), done - start
        return Draws(every.flip.repeat(count), every.corner.repeat(count, 1, 1))
    return Draws(index["flip"][start:done].flatten(), index["corner"][start:done].flatten(0, 1).long())


def every_draw(slack: int) -> Draws:
    """All 2 (slack + 1)² ways to mirror an image and to place a window, the same for its four views."""
    number, side = torch.arange(2 * (slack + 1) ** 2), slack + 1
    corner = torch.stack([number // side % side, number % side], 1)
    return Draws(number >= side * side, corner[:, None].expand(-1, 4, -1))


def _make_card(
    teacher: Network, train: ImageSet, draws: int | str, seed: int, dtype: torch.dtype, runtime: Runtime
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The card of a table of which nothing is done yet, and its index."""
    from .. import __version__

    keys, described = image_keys(train.images), describe(train)
    index = {"keys": torch.from_numpy(keys)}
    if draws != "all":
        generator = torch.Generator().manual_seed(operator.index(seed))
        drawn = draw(len(train) * draws, generator, described["slack"])
        index["flip"] = drawn.flip.view(len(train), draws)
        index["corner"] = drawn.corner.view(len(train), draws, 4, 2).short()
    card = {
        "format": files.FORMAT,
        "teacher_weights": tensors_hash(teacher.state_dict()),
        "teacher": teacher.spec,
        "pixels": hashlib.sha256(keys.tobytes()).hexdigest(),
        "images": len(train),
        **described,
        "width": teacher.backbone.feature_dim if teacher.head is not None else None,
        "draws": draws,
        "seed": None if draws == "all" else seed,
        "dtype": str(dtype).removeprefix("torch."),
        "views": views_an_image(draws, described["slack"]),
        "name": train.name,
        "runtime": runtime.describe(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sskd_lib": __version__,
        },
        "date": datetime.date.today().isoformat(),
        "done": 0,
    }
    return json.loads(json.dumps(card)), index  # as it will be read: lists for tuples


def _check(teacher: Network, train: ImageSet, draws: int | str, dtype: torch.dtype) -> None:
    """Raise ValueError unless a table can be made of these."""
    if draws != "all" and (not isinstance(draws, int) or draws < 1):
        raise ValueError(f'draws is "all" or a number of draws an image, at least 1, not {draws!r}.')
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"a table stores torch.float16 or torch.float32, not {dtype}.")
    check_fits(teacher, train, "teacher")
    if teacher.head is not None and teacher.task != "contrastive":
        raise ValueError(
            f"a table holds projections of the contrastive task, and this teacher's head is for the task "
            f"{teacher.task!r}. Give that teacher itself to distill."
        )
