"""The batches of a training: the order of the images and the random choices for their views.

All random numbers of an epoch come from a CPU generator seeded with (seed, epoch). So an epoch shows the same
views on every device and in every process, also after a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..data.batch import Batch
from ..data.images import ImageSet
from ..data.views import PADDING, draw, frame
from ..runtime.distributed import Distributed
from .state import memory_for
from .teacher_cache import TeacherTable

Item = TypeVar("Item")


@dataclass(kw_only=True)
class ViewLoader:
    """The images of a training, on its device or streamed to it, and the batches of each epoch.

    batch_size: images per process and step; all processes divide the same epoch among themselves.
    views: 1 or 4 per image, the most that a method needs; jigsaw: whether permutations are drawn too.
    table: outputs of a frozen teacher for these views, in the place of the teacher.
    """

    train: ImageSet
    batch_size: int
    seed: int
    device: torch.device
    processes: Distributed
    views: int = 4
    jigsaw: bool = False
    table: TeacherTable | None = None

    def __post_init__(self) -> None:
        images, window = self.train.images, self.train.window
        self.size: tuple[int, int] = (window, window) if window else (images.shape[2], images.shape[3])
        self.slack = images.shape[3] - window if window else 2 * PADDING
        self.streamed = self.train.on_disk
        cpu = self.device.type == "cpu"
        with memory_for(
            f"the {len(self.train):,} training images alone ({images.nbytes / 1e6:,.0f} MB)",
            f"Take fewer images (command: --labels){'' if cpu else ', the CPU (--device cpu)'}, or leave "
            "them on disk: make_shards, then load_images('shards:FOLDER') (command: --data shards:FOLDER).",
        ):
            self.framed = images if self.streamed else frame(images, window).to(self.device)
            self.labels = self.train.labels.to(self.device)
        self.rows = self.table.rows(images) if self.table else None

    def __len__(self) -> int:
        """Return the number of steps per epoch."""
        return len(self.processes.shard(len(self.train), self.batch_size))

    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of an epoch (counted from 0): every image once, the last batch may be short."""
        batches = self._batches(number)
        return prefetch(batches) if self.streamed or self.table else batches

    def _batches(self, number: int) -> Iterator[Batch]:
        generator = epoch_generator(self.seed, number)
        order = torch.randperm(len(self.train), generator=generator)
        if self.table:
            draws, entry = self.table.draw(self.rows[order], generator)
        else:
            draws, entry = draw(len(order), generator, self.slack), None
        permutation = None
        if self.jigsaw:  # drawn last: the other draws are those of a training without jigsaws
            permutation = self._send(torch.randint(0, 24, (len(order), 3), generator=generator))
        index = self._send(order)
        flip, corner, labels = self._send(draws.flip), self._send(draws.corner), self.labels[index]
        for part in self.processes.shard(len(order), self.batch_size):
            if self.streamed:
                pixels = self._send(frame(self.framed.index_select(0, order[part]), self.train.window))
            else:
                pixels = self.framed.index_select(0, index[part])
            logits = projection = None
            if self.table:
                logits, projection = self.table.outputs(self.rows[order[part]], entry[part], self.views)
                logits = self._send(logits)
                projection = None if projection is None else self._send(projection)
            yield Batch(
                labels=labels[part],
                index=index[part],
                permutation=None if permutation is None else permutation[part],
                pixels=pixels,
                flip=flip[part],
                corner=corner[part],
                teacher_logits=logits,
                teacher_projection=projection,
            )

    def _send(self, tensor: Tensor) -> Tensor:
        """Copy to the device; the host does not wait for it."""
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the private source of random numbers of one epoch."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def prefetch(batches: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield the same items, made up to `depth` ahead in a background thread.

    An exception of `batches` is raised where its item would be. A consumer that ends early ends the thread.
    Raises ValueError if depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"prefetch(depth={depth}): at least one batch is made ahead.")
    return _prefetched(iter(batches), depth)


def _prefetched(batches: Iterator[Item], depth: int) -> Iterator[Item]:
    end: Any = object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        waiting = deque(thread.submit(next, batches, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, batches, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()
