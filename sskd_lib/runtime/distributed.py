"""Several processes, one training: torchrun … -m sskd_lib distill (DistributedDataParallel).

Each process takes its own `batch_size` images of every step and computes its own losses, so a contrastive
matrix stays 3B × B with the B of the recipe, and BatchNorm sees the B images of its process; gradients are
averaged over processes. README, "More than one device", says what that changes.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes of this training: `size` of them, and this one's number."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files, measures and prints."""
        return self.rank == 0

    def shares(self, images: int, batch_size: int) -> Iterator[slice]:
        """This process's part of each step of an epoch, as slices of the epoch's order.

        A step takes size · batch_size images; the last one what is left, the same number for every process,
        so up to size - 1 images of an epoch (others each time) are left out.
        """
        together = self.size * batch_size
        for start in range(0, images, together):
            each = min(batch_size, (images - start) // self.size)
            if each:
                yield slice(start + self.rank * each, start + (self.rank + 1) * each)

    def wrap(self, module: nn.Module, some_unused: bool = False) -> nn.Module:
        """The module, with its gradients averaged over processes at every backward pass.

        some_unused: whether parameters may get no gradient.
        """
        if self.size == 1:
            return module
        device = next(module.parameters()).device
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=[device.index] if device.type == "cuda" else None,
            find_unused_parameters=some_unused,
        )

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def tell(self, value: Any) -> Any:
        """The leading process's value (JSON-like), in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors with those of the leading process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


def world() -> World:
    """The processes started together, or this one alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return World()
    return World(dist.get_rank(), dist.get_world_size())


@contextmanager
def processes(device: str = "auto") -> Iterator[World]:
    """Join the other processes that torchrun started, if it did, and leave them in the end.

    The device of each process is local_device(device). What was wrapped (World.wrap) is to be let go of
    before the end: it keeps the group's threads alive, and these abort a Python that ends while they free a
    tensor.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    place = local_device(device)
    on_gpu = place.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield world()
    finally:
        gc.collect()  # wrapped networks in reference cycles
        dist.destroy_process_group()


def local_device(device: str) -> str:
    """A name that choose_runtime takes: under torchrun, "auto" and "cuda" are this process's own GPU."""
    if "LOCAL_RANK" not in os.environ or device not in ("auto", "cuda"):
        return device
    if not torch.cuda.is_available():
        return "cpu" if device == "auto" else device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
