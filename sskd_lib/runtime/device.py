"""The machine a run uses: device, number format, memory format, threads, memory, captured steps."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..models.network import Network, Output

SETTING = "SSKD_RUNTIME"  # environment variable: "default" takes the rule of thumb, unmeasured
KEPT = 1 << 30  # bytes: blocks up to this size stay with the process


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and in which format the networks compute, and the layers that a method's terms train.

    The losses are in float32 in any case.

    threads: of the CPU; None leaves the number torch has. capture: the whole step as one CUDA graph, on CUDA.
    keep_memory: see `keep_freed_memory`. why: for people; two runtimes that differ only in it are equal.
    """

    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    threads: int | None = None
    capture: bool = False
    keep_memory: bool = False
    why: str = field(default="", compare=False)

    def prepare(self) -> None:
        """Set this process up for a training: its GPU, its threads, and what happens to freed memory."""
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.keep_memory:
            keep_freed_memory()

    def place(self, network: Network) -> Network:
        """Move a network to the device, in this memory format."""
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return network.to(self.device, memory_format=memory_format)

    def run(self, network: Network, views: Tensor, **asked: bool) -> Output:
        """Pass views through a network in this format; the output is float32.

        views: float [N, C, H, W] in [0, 1]; asked: maps, pre_activation (see `Network.forward`).
        """
        if self.channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        with self.autocast():
            return network(views, **asked).to(torch.float32)

    def autocast(self, wanted: bool = True) -> torch.autocast:
        """What runs inside computes in this format's numbers, if wanted."""
        half = wanted and self.dtype != torch.float32
        # A recorded step must not find weights that an earlier step has rounded: no cache.
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=half, cache_enabled=False)

    def describe(self) -> dict[str, Any]:
        """What a card says of the machine."""
        cuda = self.device.type == "cuda"
        return {
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if cuda else cpu_name(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "channels_last": self.channels_last,
            "threads": self.threads or torch.get_num_threads(),
            "capture": self.capture,
            "keep_memory": self.keep_memory,
            "why": self.why,
        }

    def in_words(self) -> str:
        """The format in words: "bfloat16, channels_last, 2 threads"."""
        plain = self.dtype == torch.float32 and not self.channels_last
        return ", ".join(
            [
                f"{'plain ' * plain}{str(self.dtype).removeprefix('torch.')}",
                *["channels_last"] * self.channels_last,
                *([f"{self.threads} thread{'s' * (self.threads > 1)}"] if self.threads else []),
                *["the step captured as one graph"] * self.capture,
                *["freed memory kept"] * self.keep_memory,
            ]
        )


def choose_runtime(device: str = "auto", exact: bool = False) -> Runtime:
    """Choose the format that was measured to be the fastest on this machine; `.why` says so.

    The first call on a machine times small SSKD steps for about ten seconds (`probe.py`), says what it found
    in one line on stderr and keeps it in the user's cache folder, where later calls read it (`choice.py`).
    The method is never changed: formats differ in rounding only. Apple's mps, not measured: plain float32.

    exact: plain float32 everywhere and nothing else, for comparisons to the last digit.
    The environment: with SSKD_RUNTIME=default nothing is measured and the rule of thumb holds
    (`rule_of_thumb`); with OMP_NUM_THREADS set, the number of threads is left as it says.

    device: "auto", "cpu", "cuda", "cuda:1", "mps". Raises ValueError for a device this machine lacks, or for
    another value of SSKD_RUNTIME.
    """
    place = find_device(device)
    if exact:
        return Runtime(device=place, why="exact=True: plain float32, nothing measured")
    if place.type == "mps":
        return Runtime(device=place, why="formats have not been measured on Apple's mps: plain float32")
    setting = os.environ.get(SETTING, "")
    if setting not in ("", "default"):
        raise ValueError(
            f"the environment variable {SETTING} is {setting!r}; set it to default (the format by rule of "
            "thumb, nothing measured) or leave it unset (this machine is measured once)."
        )
    if setting == "default":
        return rule_of_thumb(place, f"not measured, because {SETTING}=default")
    from .choice import measured_runtime  # it needs the networks and losses, this file does not

    return measured_runtime(place)


def find_device(name: str) -> torch.device:
    """The device of a name; "auto" prefers CUDA, then mps. Raises ValueError if this machine lacks it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        place = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}; choose auto, cpu, cuda or mps.") from error
    cuda = torch.cuda.is_available() and (place.index or 0) < torch.cuda.device_count()
    here = {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}
    if not here.get(place.type, False):
        raise ValueError(
            f"this machine has no {place} device that torch {torch.__version__} can use. "
            "Choose device='auto' or 'cpu'; for a GPU, install a torch build that supports it (pytorch.org)."
        )
    return place


def rule_of_thumb(device: torch.device, why: str) -> Runtime:
    """The format where nothing is measured: channels_last; bfloat16 on a CPU that has it, else float32."""
    half = device.type == "cpu" and cpu_has_bfloat16()
    kind = "CPUs with bfloat16" if half else "CPUs without bfloat16" if device.type == "cpu" else "GPUs"
    return Runtime(
        device=device,
        dtype=torch.bfloat16 if half else torch.float32,
        channels_last=True,
        why=f"rule of thumb for {kind} ({why})",
    )


def keep_freed_memory(keep: bool = True) -> bool:
    """Keep freed blocks in the process; without it, glibc returns each block above 32 MiB to the system.

    The system zeroes such a block, page by page, when it is asked for anew: in every layer of every step. The
    price of keeping: the process holds its peak memory to its end. `keep=False` goes back to glibc's own
    thresholds and returns what is free. Returns whether this C library can do it (glibc can); never raises.
    """
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # M_… of malloc.h
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return False
        libc = ctypes.CDLL(None)
        if not keep:
            libc.mallopt(mmap_max, 65536)
            done = libc.mallopt(mmap_threshold, 32 << 20) and libc.mallopt(trim_threshold, 64 << 20)
            libc.malloc_trim(0)
            return bool(done)
        # glibc before 2.35 takes no threshold above 32 MiB, but can be told to map no blocks at all
        done = libc.mallopt(mmap_threshold, KEPT) or libc.mallopt(mmap_max, 0)
        return bool(done and libc.mallopt(trim_threshold, 2**31 - 1))
    except (OSError, AttributeError, TypeError, ValueError):  # no glibc
        return False


def usable_cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The model of the CPU, as far as the system says it."""
    return _cpu_facts().get("model name") or platform.processor() or platform.machine() or "unknown CPU"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers in hardware (AVX512-BF16 or AMX)."""
    flags = _cpu_facts().get("flags", "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _cpu_facts() -> dict[str, str]:
    """What Linux tells of the first core; other systems tell nothing, so no guess is made there."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
