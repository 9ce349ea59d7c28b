"""The runtime of a training: device, number format, memory format, threads, memory, CUDA graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .hardware import computes_in_bfloat16, cpu_name, keep_freed_memory, uses_glibc

CPU = torch.device("cpu")

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Device and formats in which networks, and the layers that loss terms train, compute.

    The losses are in float32 in any case.

    threads: CPU threads; None leaves the number torch has. cuda_graph: the whole step as one CUDA graph, on
    CUDA only. keep_memory: see `keep_freed_memory`. why: the reason for these values, for people; two
    runtimes that differ only in it are equal.
    """

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    threads: int | None = None
    cuda_graph: bool = False
    keep_memory: bool = False
    why: str = field(default="", compare=False)

    def prepare(self) -> None:
        """Set up this process for a training: current GPU, threads, and the fate of freed memory."""
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.keep_memory:
            keep_freed_memory()

    def place(self, module: Module) -> Module:
        """Move a module to the device, in this memory format."""
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(self.device, memory_format=memory_format)  # type: ignore[call-overload]

    @cached_property
    def autocast(self) -> dict[str, Any]:
        """Keywords for `torch.autocast(**runtime.autocast)`: inside it, layers compute in this format.

        There is no cache of rounded weights: a CUDA graph would replay those of an earlier step.
        """
        return {
            "device_type": self.device.type,
            "dtype": self.dtype,
            "enabled": self.dtype != torch.float32,
            "cache_enabled": False,
        }

    def run(self, network: nn.Module, views: Tensor, **needs: Any) -> Any:
        """Pass views through a network whose layers compute in this format, as an evaluation does.

        views: float [N, C, H, W] in [0, 1]; needs: keywords of the network's forward (`Network.forward`).
        """
        if self.channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast(**self.autocast):
            return network(views, **needs)

    def describe(self) -> dict[str, Any]:
        """Return the entries of a card that describe the machine."""
        cuda = self.device.type == "cuda"
        return {
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if cuda else cpu_name(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "channels_last": self.channels_last,
            "threads": self.threads or torch.get_num_threads(),
            "cuda_graph": self.cuda_graph,
            "keep_memory": self.keep_memory,
            "why": self.why,
        }

    def in_words(self) -> str:
        """Return the format in words: "bfloat16, channels_last, 2 threads"."""
        plain = self.dtype == torch.float32 and not self.channels_last
        return ", ".join(
            [
                f"{'plain ' * plain}{str(self.dtype).removeprefix('torch.')}",
                *["channels_last"] * self.channels_last,
                *([f"{self.threads} thread{'s' * (self.threads > 1)}"] if self.threads else []),
                *["the step as one CUDA graph"] * self.cuda_graph,
                *["freed memory kept"] * self.keep_memory,
            ]
        )


def choose_runtime(device: str = "auto", exact: bool = False) -> Runtime:
    """Choose number format, memory format and launch of a training from what the device can do.

    CUDA, compute capability 8 or more   bfloat16, channels_last, the step as a CUDA graph
    CUDA, older                          float32, channels_last, the step as a CUDA graph
    CPU with bfloat16 arithmetic         bfloat16, channels_last
    other CPUs                           float32, channels_last
    Apple's mps (never measured)         plain float32

    On a CPU under glibc freed memory stays with the process. The number of threads is torch's own, which
    follows OMP_NUM_THREADS. Formats differ in rounding only; `.why` names the rule.

    device: "auto", "cpu", "cuda", "cuda:1" or "mps". exact: plain float32 on every device, for comparisons to
    the last digit. Raises ValueError for a device that this machine lacks.
    Measured by benchmarks/formats.py; see benchmarks/results/format_rule_cpu.json.
    """
    place = find_device(device)
    if exact:
        return Runtime(device=place, why="exact=True: plain float32")
    if place.type == "mps":
        return Runtime(device=place, why="rule for Apple's mps, where no format was measured: plain float32")
    cuda = place.type == "cuda"
    bfloat16 = computes_in_bfloat16(place)
    return Runtime(
        device=place,
        dtype=torch.bfloat16 if bfloat16 else torch.float32,
        channels_last=True,
        cuda_graph=cuda,
        keep_memory=not cuda and uses_glibc(),
        why=f"rule for {'GPUs' if cuda else 'CPUs'} {'with' if bfloat16 else 'without'} bfloat16 arithmetic",
    )


def find_device(name: str) -> torch.device:
    """Return the device of a name; "auto" prefers CUDA, then mps.

    Raises ValueError if this machine lacks it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}; choose auto, cpu, cuda or mps.") from error
    cuda = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    usable = {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}
    if not usable.get(device.type, False):
        raise ValueError(
            f"this machine has no {device} device that torch {torch.__version__} can use. "
            "Choose device='auto' or 'cpu'; for a GPU, install a torch build that supports it (pytorch.org)."
        )
    return device
