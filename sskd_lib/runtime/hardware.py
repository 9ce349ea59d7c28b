"""Facts about this machine's CPU, GPU and C library, and what happens to freed memory."""

from __future__ import annotations

import ctypes
import os
import platform

import torch

LARGEST_BLOCK_KEPT = 1 << 30  # bytes: blocks up to this size stay with the process
CPUINFO = "/proc/cpuinfo"  # Linux's description of the processor


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
