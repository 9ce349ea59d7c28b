"""Several processes, one training: torchrun … -m sskd_lib distill (DistributedDataParallel).

Each process takes its own `batch_size` images of every step and computes its own losses, so a contrastive
matrix stays 3B × B with the B of the recipe, and BatchNorm sees the B images of its process; gradients are
averaged over processes. docs/scale.md describes the consequences.
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
class Distributed:
    """The group of processes of one training: this process's rank, and their number.

    With one process every method returns at once and torch.distributed is not used.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files, evaluates and prints."""
        return self.rank == 0

    def shard(self, images: int, batch_size: int) -> list[slice]:
        """Return this process's part of each step of an epoch, as slices of the epoch's order.

        A step takes world_size · batch_size images; the last one the rest, the same number for every process,
        so up to world_size - 1 images of an epoch (others each time) are left out.
        """
        together = self.world_size * batch_size
        parts = []
        for start in range(0, images, together):
            each = min(batch_size, (images - start) // self.world_size)
            if each:
                parts.append(slice(start + self.rank * each, start + (self.rank + 1) * each))
        return parts

    def ddp(self, module: nn.Module, some_unused: bool = False) -> nn.Module:
        """Return the module with its gradients averaged over processes at every backward pass.

        some_unused: whether parameters may get no gradient.
        """
        if self.world_size == 1:
            return module
        device = next(module.parameters()).device
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=[device.index] if device.type == "cuda" else None,
            find_unused_parameters=some_unused,
        )

    def all_reduce_mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a tensor over processes."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
            tensor = tensor / self.world_size
        return tensor

    def broadcast_object(self, value: Any) -> Any:
        """Return the main process's value (JSON-like) in every process, once all have arrived here."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def broadcast_(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors with those of the main process."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


def current() -> Distributed:
    """Return the group that this process has joined, or a group of one."""
    if not (dist.is_available() and dist.is_initialized()):
        return Distributed()
    return Distributed(dist.get_rank(), dist.get_world_size())


@contextmanager
def processes(device: str = "auto") -> Iterator[Distributed]:
    """Join the other processes that torchrun started, if it did, and leave them at the end.

    The device of each process is local_device(device). Modules wrapped by `Distributed.ddp` must be released
    before the end: they keep the group's threads alive, and these abort a Python that exits while they free a
    tensor.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Distributed()
        return
    name = local_device(device)
    on_gpu = name.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(name)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield current()
    finally:
        gc.collect()  # wrapped networks in reference cycles
        dist.destroy_process_group()


def local_device(device: str) -> str:
    """Return a device name for choose_runtime; under torchrun, "auto" and "cuda" are this rank's GPU."""
    if "LOCAL_RANK" not in os.environ or device not in ("auto", "cuda"):
        return device
    if not torch.cuda.is_available():
        return "cpu" if device == "auto" else device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
