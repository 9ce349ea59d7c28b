"""What a training looks at: the order of the images, the draws of their views, and the batches of an epoch.

All randomness of an epoch comes from a CPU generator seeded with (seed, epoch), so an epoch shows the same
views on every device, in every process, and whether the run got there at once or after a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ..data.images import ImageSet
from ..data.shards import Shards
from ..data.views import PADDING, Draws, cut, cut_jigsaw, draw, frame
from ..models.network import Output
from ..runtime.distributed import World
from .table import TeacherTable

Item = TypeVar("Item")


class Batch(NamedTuple):
    """One step's input on the device: framed images, how to cut their views, and what a table says of these.

    pixels: uint8 [B, C, P, P']; labels: int64 [B]; flip: bool [B]; corner: int64 [B, 4, 2]; index: int64 [B],
    the place of each image in the training set; order: int64 [B, 3], how the quarters of its shuffled views
    lie (views.cut_jigsaw), or None; logits: float [V·B, K] and projection: float [V·B, D] of the teacher, or
    None without a table.
    """

    pixels: Tensor
    labels: Tensor
    flip: Tensor
    corner: Tensor
    index: Tensor
    order: Tensor | None = None
    logits: Tensor | None = None
    projection: Tensor | None = None

    def views(self, size: tuple[int, int], count: int, shuffled: bool = False) -> Tensor:
        """Cut `count` views an image; of four, the last three are turned, or shuffled like a jigsaw.

        Returns float [count·B, C, *size].
        """
        draws = Draws(self.flip, self.corner)
        if shuffled:
            return cut_jigsaw(self.pixels, draws, self.order, size)
        return cut(self.pixels, draws, size, count)

    def taught(self, count: int) -> Output | None:
        """What the table says of the first `count` views an image; None without a table."""
        if self.logits is None:
            return None
        rows = count * len(self.labels)
        return Output(self.logits[:rows], None if self.projection is None else self.projection[:rows])


@dataclass(kw_only=True)
class Feed:
    """The images of a training, on its device or streamed to it, and the batches of each epoch.

    batch_size: images a process takes at a step; all processes of `world` share out the same epoch.
    shuffled: whether the orders of jigsaws are drawn too.
    table: outputs of a frozen teacher for `views` views an image, in place of the teacher.
    """

    train: ImageSet
    batch_size: int
    seed: int
    device: torch.device
    world: World
    views: int = 4
    shuffled: bool = False
    table: TeacherTable | None = None

    def __post_init__(self) -> None:
        images, window = self.train.images, self.train.window
        self.size = (window, window) if window else tuple(images.shape[2:])
        self.slack = images.shape[3] - window if window else 2 * PADDING
        self.streamed = isinstance(images, Shards)
        self.framed = images if self.streamed else frame(images, window).to(self.device)
        self.labels = self.train.labels.to(self.device)
        self.rows = self.table.rows(images) if self.table else None

    def __len__(self) -> int:
        """Steps an epoch."""
        return sum(1 for _ in self.world.shares(len(self.train), self.batch_size))

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0): every image once, the last batch may be short."""
        batches = self._batches(number)
        return prefetch(batches) if self.streamed or self.table else batches

    def _batches(self, number: int) -> Iterator[Batch]:
        generator = epoch_generator(self.seed, number)
        order = torch.randperm(len(self.train), generator=generator)
        if self.table:
            draws, entry = self.table.draw(self.rows[order], generator)
        else:
            draws, entry = draw(len(order), generator, self.slack), None
        pieces = None
        if self.shuffled:  # drawn last: the other draws are those of a training without jigsaws
            pieces = self._send(torch.randint(0, 24, (len(order), 3), generator=generator))
        here = self._send(order)
        flip, corner, labels = self._send(draws.flip), self._send(draws.corner), self.labels[here]
        for part in self.world.shares(len(order), self.batch_size):
            if self.streamed:
                pixels = self._send(frame(self.framed[order[part]], self.train.window))
            else:
                pixels = self.framed[here[part]]
            batch = Batch(pixels, labels[part], flip[part], corner[part], here[part])
            if pieces is not None:
                batch = batch._replace(order=pieces[part])
            if self.table:
                taught = self.table.outputs(self.rows[order[part]], entry[part], self.views)
                projection = None if taught.projection is None else self._send(taught.projection)
                batch = batch._replace(logits=self._send(taught.logits), projection=projection)
            yield batch

    def _send(self, tensor: Tensor) -> Tensor:
        """Copy to the device; the host does not wait for it."""
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The private source of randomness of one epoch."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def prefetch(batches: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The same items, made in a background thread while the earlier ones are used, up to `depth` ahead.

    An exception of `batches` is raised where its item would be. A consumer that ends early ends the thread.
    Raises ValueError if depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"prefetch(depth={depth}): at least one batch is made ahead.")
    return _ahead(iter(batches), depth)


def _ahead(batches: Iterator[Item], depth: int) -> Iterator[Item]:
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        waiting = deque(thread.submit(next, batches, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, batches, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()
