"""The machine a run uses: device, number format, memory format."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .network import Network, Output


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and in which format the networks compute. The losses are in float32 in any case."""

    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def place(self, network: Network) -> Network:
        """Move a network to the device, in this memory format."""
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return network.to(self.device, memory_format=memory_format)

    def run(self, network: Network, views: Tensor) -> Output:
        """Pass views through a network in this format; the output is float32.

        views: float [N, C, H, W] in [0, 1]. Returns Output.
        """
        if self.channels_last:
            views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            output = network(views)
        return Output(*(None if part is None else part.float() for part in output))

    def describe(self) -> dict[str, Any]:
        """What a card says of the machine."""
        name = platform.processor() or platform.machine()
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        return {
            "device": self.device.type,
            "device_name": name,
            "dtype": str(self.dtype).removeprefix("torch."),
            "channels_last": self.channels_last,
            "threads": torch.get_num_threads(),
        }


def choose_runtime(device: str = "auto", exact: bool = False) -> Runtime:
    """Choose the fastest format that was measured to help on this kind of machine.

    CPUs that compute in bfloat16 (AVX512-BF16 or AMX): bfloat16 with channels_last. Other CPUs and CUDA:
    float32 with channels_last; on an H100 bfloat16 was slower, because launching the kernels of such small
    networks costs more than running them. Apple's mps, not measured: plain float32. `benchmarks/step.py`
    measures it.
    `exact=True` gives plain float32 everywhere, for comparisons to the last digit.

    device: "auto", "cpu", "cuda", "cuda:1", "mps". Raises ValueError for a device this machine lacks.
    """
    if device == "auto":
        device = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"there is no device {device!r}; choose auto, cpu, cuda or mps.") from error
    cuda = torch.cuda.is_available() and (place.index or 0) < torch.cuda.device_count()
    here = {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}
    if not here.get(place.type, False):
        raise ValueError(
            f"this machine has no {place} device that torch {torch.__version__} can use. "
            "Choose device='auto' or 'cpu'; for a GPU, install a torch build that supports it (pytorch.org)."
        )
    if exact or place.type == "mps":
        return Runtime(device=place)
    half = place.type == "cpu" and cpu_has_bfloat16()
    return Runtime(device=place, dtype=torch.bfloat16 if half else torch.float32, channels_last=True)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers in hardware (AVX512-BF16 or AMX)."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:  # not Linux: no way to know, so no guess
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
