"""The arithmetic of a step, and the arithmetic this machine can do: the two sides of utilisation."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

import sskd_lib as sskd
from timing import wait

SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices of `matmul_rate`


def count_macs(network: nn.Module, x: Tensor) -> int:
    """Multiply-accumulates of all convolutions and linear layers, for the first image of x [N, C, H, W]."""
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output[0].numel() * module.weight[0].numel()

    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return total


def gflop(
    pair: tuple[str, str], batch: int, data: sskd.ImageSet, teachers: int = 1, students: int = 1
) -> float:
    """GFLOP of a step on four views of `batch` images: 2 · MAC in the teacher, 6 · MAC in each student."""
    x = torch.zeros(1, *data.images.shape[1:])
    macs = [count_macs(sskd.create_network(name, data, projection=True), x) for name in pair]
    return 4 * batch * (2 * teachers * macs[0] + 6 * students * macs[1]) / 1e9


def matmul_rate(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """GFLOP/s of the product of two large square matrices, the best of a few.

    float32 on a GPU: in TF32 where torch's convolutions take it, as they do unless told otherwise.
    """
    side, precision = SIDE.get(device.type, 2048), torch.get_float32_matmul_precision()
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    try:
        torch.set_float32_matmul_precision("high" if torch.backends.cudnn.allow_tf32 else "highest")
        for _ in range(repeats):
            wait(device)
            start = time.perf_counter()
            a @ b
            wait(device)
            seconds.append(time.perf_counter() - start)
    finally:
        torch.set_float32_matmul_precision(precision)
    return 2 * side**3 / min(seconds) / 1e9
