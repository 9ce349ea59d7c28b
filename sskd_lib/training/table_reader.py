"""Reading a teacher table: the row of an image, the entry of a view, and what the teacher said of it.

`table.py` tells what a table is, and makes one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.images import ImageSet
from ..data.views import PADDING, Draws, draw
from ..files import tensors_hash
from ..models.network import Network, Output
from . import table_files as files
from ..files import differences

HASHED = 1024  # images in memory at a time


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TeacherTable:
    """The stored outputs of one teacher for M images, E views each; opened, not read into memory.

    card: what it is (teacher_weights, images, draws, dtype, …); keys: int64 [M], a hash of each image's
    pixels; draws: flip [M, K] and corner [M, K, 4, 2], None if every view is stored; logits: [M·E, K] and
    projection: [M·E, D] or None, memory-mapped, in the stored format.
    """

    path: Path
    card: dict[str, Any]
    keys: np.ndarray
    draws: Draws | None
    logits: np.ndarray
    projection: np.ndarray | None

    def __repr__(self) -> str:
        images, count, dtype = (self.card[name] for name in ("images", "views", "dtype"))
        model = self.card["teacher"].get("model", "teacher")
        return f"TeacherTable({self.path}: {model}, {images} images x {count} views, {dtype})"

    def identity(self) -> dict[str, Any]:
        """What a training with this table must find again to be the same training, besides the teacher."""
        return {name: self.card[name] for name in ("draws", "seed", "dtype", "pixels")}

    def check(self, teacher: Network | None, train: ImageSet) -> None:
        """Raise ValueError unless the table is of this teacher (None: any) and of images like these.

        Whether it has these very images only `rows` can tell, which looks at their pixels.
        """
        if teacher is not None and tensors_hash(teacher.state_dict()) != self.card["teacher_weights"]:
            raise ValueError(
                f"{self.path} is the table of another teacher: its weights are not those of this one. Load "
                "the teacher it was made with, or make a table for this one in a new folder."
            )
        asked = describe(train)
        if found := differences({name: self.card[name] for name in asked}, asked):
            raise ValueError(
                f"{self.path} was made for other images than {train.name}; what differs: {', '.join(found)}. "
                "Make a table for these in a new folder with cache_teacher."
            )

    def rows(self, images: Tensor) -> Tensor:
        """Which row of the table each image is, found by its pixels: in any order, any part of them.

        images: uint8 [N, C, H, W]. Returns int64 [N]. Raises ValueError for images that the table lacks.
        """
        keys, order = image_keys(images), np.argsort(self.keys, kind="stable")
        place = np.searchsorted(self.keys, keys, sorter=order).clip(max=len(order) - 1)
        rows = order[place]
        if missing := int((self.keys[rows] != keys).sum()):
            raise ValueError(
                f"{missing} of the {len(keys)} images are not in the table {self.path}, which has "
                f"{len(self.keys)}. Train on those images or on a part of them, or make a table for all of "
                "these in a new folder with cache_teacher."
            )
        return torch.from_numpy(rows)

    def draw(self, rows: Tensor, generator: torch.Generator | None = None) -> tuple[Draws, Tensor]:
        """Draw the views of some images for one epoch, and say which stored output belongs to each.

        rows: int64 [N] on the CPU. Returns (draws of N images, on the generator's device; entry int64 [N, 4]
        on the CPU). With every view stored the draws are `views.draw(N, …)`, as with the live teacher.
        """
        slack, turn = self.card["slack"], torch.arange(4)
        if self.draws is None:
            draws = draw(len(rows), generator, slack)
            flip, corner = draws.flip.cpu().long()[:, None], draws.corner.cpu()
            number = (flip * (slack + 1) + corner[..., 0]) * (slack + 1) + corner[..., 1]  # as in every_draw
            return draws, 4 * number + turn
        device = generator.device if generator is not None else "cpu"
        pick = torch.randint(0, self.card["draws"], (len(rows),), generator=generator, device=device).cpu()
        flip, corner = self.draws.flip[rows, pick], self.draws.corner[rows, pick].long()
        return Draws(flip.to(device), corner.to(device)), 4 * pick[:, None] + turn

    def outputs(self, rows: Tensor, entry: Tensor, views: int) -> Output:
        """What the teacher said of the first `views` views of B images.

        rows: int64 [B]; entry: int64 [B, 4]; both on the CPU, as is the Output, float32, in the order of
        `views.cut`: logits [V·B, K], projection [V·B, D] or None.
        """
        flat = (rows[:, None] * self.card["views"] + entry[:, :views]).T.flatten().numpy()
        stored = (self.logits, self.projection)
        found = (None if s is None else torch.from_numpy(s.take(flat, axis=0)).float() for s in stored)
        return Output(*found)


def open_table(path: str | Path) -> TeacherTable:
    """Open a finished table; its outputs stay on the disk until they are asked for.

    Raises FileNotFoundError if there is none, ValueError if it is unfinished, damaged or something else.
    """
    folder = Path(path)
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
    arrays = files.map_outputs(folder, card)
    return TeacherTable(
        path=folder,
        card=card,
        keys=index["keys"].numpy(),
        draws=None if card["draws"] == "all" else Draws(index["flip"], index["corner"]),
        logits=arrays["logits.npy"],
        projection=arrays.get("projection.npy"),
    )


def image_keys(images: Tensor) -> np.ndarray:
    """The first 8 bytes of the SHA-256 of each image's pixels: uint8 [M, C, H, W] → int64 [M].

    Two different images of a million share a key with a chance of 3 in 10⁸.
    """
    keys = bytearray()
    for start in range(0, len(images), HASHED):
        for image in images[start : start + HASHED].cpu().contiguous().numpy():
            keys += hashlib.sha256(image).digest()[:8]
    return np.frombuffer(bytes(keys), dtype="<i8").astype(np.int64)


def describe(train: ImageSet) -> dict[str, Any]:
    """What a table must know of images, besides their pixels."""
    side, window = train.images.shape[3], train.window
    return {
        "classes": train.num_classes,
        "channels": train.in_channels,
        "side": side,
        "window": window,
        "slack": side - window if window else 2 * PADDING,
    }
