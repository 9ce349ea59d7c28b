"""A teacher table: a frozen teacher's outputs on disk, so that later trainings need not run it.

The table has K random draws of four views for each of M images. A training picks one of the K for an image in
each epoch, so views come again after about K epochs: a small departure from fresh augmentation.

Making it costs 4 · K teacher forwards per image, once, and `table_bytes` of disk. CIFAR-100 with wrn_40_2
(100 classes, D = 128), K = 8 and float16: 1.6 million forwards and 0.7 GB. One SSKD run of 240 epochs with a
live teacher needs 48 million.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.images import ImageSet
from ..data.views import PADDING, Draws, cut, draw, frame
from ..files import check_space, differences, locked, remove_leftovers, tensors_hash
from ..models.network import Network
from ..runtime.device import Runtime, choose_runtime
from . import table_files as files
from .checks import check_fits
from .state import make_card, memory_for

DRAWS_PER_FORWARD = 128  # of four views each
SAVE_SECONDS = 1.0  # least time between two counts of the images that are done


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TeacherTable:
    """The cached outputs of one teacher for M images, K draws of four views each, mapped into memory.

    card: the table's description (teacher_weights, images, draws, dtype, …); keys: int64 [M], a hash of each
    image's pixels; draws: flip bool [M, K] and corner int16 [M, K, 4, 2]; logits: [M, 4K, classes] and
    projection: [M, 4K, D] or None, in the stored number format.
    """

    path: Path
    card: dict[str, Any]
    keys: Tensor
    draws: Draws
    logits: np.ndarray
    projection: np.ndarray | None

    def __repr__(self) -> str:
        model, draws, dtype = self.card["teacher"]["model"], self.card["draws"], self.card["dtype"]
        return f"TeacherTable({self.path}: {model}, {len(self.keys)} images x {4 * draws} views, {dtype})"

    def identity(self) -> dict[str, Any]:
        """Return what a resumed training must find again of its table, besides the teacher."""
        return {name: self.card[name] for name in ("draws", "seed", "dtype", "pixels")}

    def check(self, teacher: Network | None, train: ImageSet) -> None:
        """Raise ValueError unless the table is of this teacher (None: any) and of images of this kind."""
        if teacher is not None and tensors_hash(teacher.state_dict()) != self.card["teacher_weights"]:
            raise ValueError(
                f"{self.path} is the table of another teacher: its weights are not those of this one. Load "
                "the teacher it was made with, or make a table for this one in a new folder."
            )
        wanted = _describe(train)
        if self.card.get("class_names", list(train.classes)) != list(train.classes):
            raise ValueError(
                f"{self.path} was made for other classes than those of {train.name}, or for another order of "
                "them. Make a table for these in a new folder with cache_teacher."
            )
        if names := differences({name: self.card[name] for name in wanted}, wanted):
            raise ValueError(
                f"{self.path} was made for other images than {train.name}; what differs: {', '.join(names)}. "
                "Make a table for these in a new folder with cache_teacher."
            )

    def rows(self, images: Tensor) -> Tensor:
        """Find the table's row of each image by its pixels: in any order, any part of them.

        images: uint8 [N, C, H, W]. Returns int64 [N]. Raises ValueError for images that the table lacks.
        """
        keys = files.hash_pixels(images)
        ordered, order = self.keys.sort(stable=True)
        rows = order[torch.searchsorted(ordered, keys).clamp(max=len(order) - 1)]
        if missing := int((self.keys[rows] != keys).sum()):
            raise ValueError(
                f"{missing} of the {len(keys)} images are not in the table {self.path}, which has "
                f"{len(self.keys)}. Train on those images or on a part of them, or make a table for all of "
                "these in a new folder with cache_teacher."
            )
        return rows

    def draw(self, rows: Tensor, generator: torch.Generator | None = None) -> tuple[Draws, Tensor]:
        """Pick one of the K draws for each of some images, for one epoch.

        rows: int64 [N] on the CPU. Returns the draws of N images, and entry int64 [N], the number of each
        image's draw; all on the CPU.
        """
        device = generator.device if generator is not None else "cpu"
        entry = torch.randint(0, self.card["draws"], (len(rows),), generator=generator, device=device).cpu()
        return Draws(self.draws.flip[rows, entry], self.draws.corner[rows, entry].long()), entry

    def outputs(self, rows: Tensor, entry: Tensor, views: int) -> tuple[Tensor, Tensor | None]:
        """Read the teacher's outputs for the first `views` views of B images.

        rows, entry: int64 [B] on the CPU. Returns logits float32 [V·B, classes] and projection float32
        [V·B, D] or None, on the CPU, in the order of `views.cut`.
        """
        place = rows.repeat(views).numpy(), (4 * entry + torch.arange(views)[:, None]).flatten().numpy()
        logits = torch.from_numpy(self.logits[place]).float()
        projection = None if self.projection is None else torch.from_numpy(self.projection[place]).float()
        return logits, projection


def table_bytes(
    images: int, classes: int, width: int | None, draws: int = 8, dtype: torch.dtype = torch.float16
) -> int:
    """Return the disk space of a table, up to a few kB. width: D of the teacher's projection, or None."""
    return images * (4 * draws * (classes + (width or 0)) * dtype.itemsize + 17 * draws + 8)


def cache_teacher(
    teacher: Network,
    train: ImageSet,
    path: str | Path,
    *,
    draws: int = 8,
    seed: int = 0,
    dtype: torch.dtype = torch.float16,
    runtime: Runtime | None = None,
    progress: bool = True,
) -> TeacherTable:
    """Write a teacher's outputs for views of some images to a folder; continue a call that was killed.

    draws: K draws of four views per image, from `seed`; dtype: float16 or float32, the stored format. Labels
    play no part. A finished table is opened. Raises ValueError if the teacher does not fit the images, its
    outputs do not fit the dtype, or the folder has other content; OSError if the disk is too full or another
    process writes this table.
    """
    folder, runtime = Path(path).expanduser(), runtime or choose_runtime()
    _check_arguments(teacher, train, draws, dtype)
    plan, index = _plan(teacher, train, draws, seed, dtype)
    card = files.read_card(folder, plan)
    if card is None:
        need = table_bytes(len(train), train.num_classes, plan["width"], draws, dtype)
        less = ", or store less: fewer draws, or float16"
        check_space(folder, need, f"the table in {folder} needs", less)
    if card is None or card["done"] < len(train):
        was_training = teacher.training
        with locked(folder / ".lock"):
            remove_leftovers(folder, files.CARD, files.INDEX)
            card = files.read_card(folder, plan)
            if card is None or card["done"] == 0:
                card = make_card("table", train, None, runtime, teacher=None) | plan | {"done": 0}
                card |= {"class_names": list(train.classes), "head_trained": teacher.head_trained}
                files.create(folder, card, index)
            try:
                with memory_for("the teacher's forward passes", "Use the CPU (command: --device cpu)."):
                    _fill(folder, card, runtime.place(teacher).eval(), train, runtime, progress)
            finally:
                teacher.train(was_training)
    return open_table(folder)


def open_table(path: str | Path) -> TeacherTable:
    """Open a finished table; its outputs stay on the disk until they are read.

    Raises FileNotFoundError if there is none, ValueError if it is unfinished, damaged or something else.
    """
    folder = Path(path).expanduser()
    card = files.read_card(folder)
    if card is None:
        raise FileNotFoundError(
            f"there is no teacher table in {folder}. Check the path, or make one: "
            "cache_teacher(teacher, images, path)."
        )
    if card["done"] != card["images"]:
        raise ValueError(
            f"the teacher table in {folder} is unfinished: {card['done']} of {card['images']} images are "
            "done. Call cache_teacher again as before; it goes on from there."
        )
    index = files.read_index(folder, card)
    arrays = files.map_outputs(folder, card, "r")
    return TeacherTable(
        path=folder,
        card=card,
        keys=index["keys"],
        draws=Draws(index["flip"], index["corner"]),
        logits=arrays[0],
        projection=arrays[1] if len(arrays) > 1 else None,
    )


def _check_arguments(teacher: Network, train: ImageSet, draws: int, dtype: torch.dtype) -> None:
    if not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws is a number of draws per image, at least 1, not {draws!r}.")
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"a table stores torch.float16 or torch.float32, not {dtype}.")
    check_fits(teacher, train, "teacher")
    if teacher.head is not None and teacher.task != "contrastive":
        raise ValueError(
            f"a table holds projections of the contrastive task, and this teacher's head is for the task "
            f"{teacher.task!r}. Give that teacher itself to distill."
        )


def _plan(
    teacher: Network, train: ImageSet, draws: int, seed: int, dtype: torch.dtype
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The entries of a card that make a table this table and no other; and its index: keys and draws."""
    keys, side, window = files.hash_pixels(train.images), train.images.shape[3], train.window
    slack = side - window if window else 2 * PADDING
    flip, corner = draw(len(train) * draws, torch.Generator().manual_seed(seed), slack)
    plan = _describe(train) | {
        "teacher_weights": tensors_hash(teacher.state_dict()),
        "teacher": teacher.spec,
        "pixels": hashlib.sha256(keys.numpy().tobytes()).hexdigest(),
        "images": len(train),
        "width": teacher.backbone.feature_dim if teacher.head is not None else None,
        "draws": draws,
        "seed": seed,
        "dtype": str(dtype).removeprefix("torch."),
    }
    index = {"keys": keys, "flip": flip.view(-1, draws), "corner": corner.view(-1, draws, 4, 2).short()}
    return json.loads(json.dumps(plan)), index  # as it will be read: lists for tuples


def _fill(
    folder: Path, card: dict[str, Any], teacher: Network, train: ImageSet, runtime: Runtime, progress: bool
) -> None:
    """Run the teacher over the images that are not done, a chunk at a time, always cut at the same images."""
    from tqdm import tqdm

    index, arrays = files.read_index(folder, card), files.map_outputs(folder, card, "r+")
    runtime.prepare()
    total, saved_at = len(train), time.monotonic()
    step = max(1, DRAWS_PER_FORWARD // card["draws"])
    bar = {"desc": "teacher table", "disable": not progress, "dynamic_ncols": True}
    for start in tqdm(range(card["done"], total, step), **bar):
        part = slice(start, min(start + step, total))
        draws = Draws(index["flip"][part], index["corner"][part].long())
        for array, output in zip(arrays, _run(teacher, train, part, draws, runtime), strict=True):
            files.store(array, part, output)
        if part.stop == total or time.monotonic() - saved_at >= SAVE_SECONDS:
            for array in arrays:
                array.flush()
            files.write_card(folder, card, part.stop)
            saved_at = time.monotonic()


@torch.no_grad()
def _run(teacher: Network, train: ImageSet, part: slice, draws: Draws, runtime: Runtime) -> list[Tensor]:
    """The teacher's logits and projections for K draws of B images: float32 [B, 4K, ·] each."""
    images, device = train.images[part].to(runtime.device), runtime.device
    count, repeats = draws.flip.shape
    framed = frame(images, train.window).repeat_interleave(repeats, 0)
    draws = Draws(draws.flip.flatten().to(device), draws.corner.flatten(0, 1).to(device))
    output = runtime.run(teacher, cut(framed, draws, (train.window or images.shape[3],) * 2, 4))
    outputs = [tensor for tensor in (output.logits, output.projection) if tensor is not None]
    return [tensor.view(4, count, repeats, -1).permute(1, 2, 0, 3).flatten(1, 2) for tensor in outputs]


def _describe(train: ImageSet) -> dict[str, Any]:
    """The entries of a card in which images must agree with a table, besides their pixels."""
    return {
        "classes": train.num_classes,
        "channels": train.in_channels,
        "side": train.images.shape[3],
        "window": train.window,
    }
