"""The runtime of a training: device, number format, memory format, threads, memory, CUDA graph."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

CPU = torch.device("cpu")
CPUINFO = "/proc/cpuinfo"  # Linux's description of the processor
LARGEST_BLOCK_KEPT = 1 << 30  # bytes: blocks up to this size stay with the process

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


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a CUDA device or this CPU has units that multiply bfloat16 numbers."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    flags = _cpu_facts().get("flags", "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def keep_freed_memory(keep: bool = True) -> bool:
    """Keep freed blocks in the process; without it, glibc returns each block above 32 MiB to the system.

    The system clears such a block, page by page, at its next allocation: in every layer of every step. The
    price of keeping: the process holds its peak memory to its end. `keep=False` restores glibc's own
    thresholds and returns free blocks. Returns whether this C library can do it (glibc can); never raises.
    """
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # M_… of malloc.h
    if not uses_glibc():
        return False
    try:
        libc = ctypes.CDLL(None)
        if not keep:
            libc.mallopt(mmap_max, 65536)
            done = libc.mallopt(mmap_threshold, 32 << 20) and libc.mallopt(trim_threshold, 64 << 20)
            libc.malloc_trim(0)
            return bool(done)
        # glibc before 2.35 takes no threshold above 32 MiB, but can be asked to map no blocks at all
        done = libc.mallopt(mmap_threshold, LARGEST_BLOCK_KEPT) or libc.mallopt(mmap_max, 0)
        return bool(done and libc.mallopt(trim_threshold, 2**31 - 1))
    except (OSError, AttributeError, TypeError):
        return False


def uses_glibc() -> bool:
    """Return whether this process's C library is glibc."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError, OSError):
        return False


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Return the model of the CPU, as far as the system names it."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine() or "unknown CPU"


def _cpu_facts() -> dict[str, str]:
    """The entries of Linux's /proc/cpuinfo for the first core; none on other systems."""
    try:
        with open(CPUINFO, encoding="utf-8", errors="replace") as file:
            first = file.read().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
