"""The published state dicts, and forward passes written with torch.nn.functional alone."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

BATCHNORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def read_table() -> dict[str, tuple[int, dict[str, tuple[int, ...]]]]:
    """The published state dicts of tests/data/backbones.txt: {model: (parameters, {name: shape})}."""
    table: dict[str, tuple[int, dict[str, tuple[int, ...]]]] = {}
    for line in (Path(__file__).parents[1] / "models" / "backbones.txt").read_text().splitlines():
        if line.startswith("["):
            model, parameters = re.fullmatch(r"\[(.+)\] (\d+) \d+", line).groups()
            shapes: dict[str, tuple[int, ...]] = {}
            table[model] = int(parameters), shapes
        elif not line.startswith("#"):
            pattern, *shape = line.split()
            numbers = re.search(r"\{(\d+)-(\d+)\}", pattern)
            first, last = map(int, numbers.groups()) if numbers else (0, 0)
            for number in range(first, last + 1):
                name = re.sub(r"\{.+\}", str(number), pattern)
                if shape[0] == "batchnorm":
                    shapes |= {f"{name}.{entry}": (int(shape[1]),) for entry in BATCHNORM[:-1]}
                    shapes[f"{name}.{BATCHNORM[-1]}"] = ()
                else:
                    shapes[name] = tuple(map(int, shape))
    return table


TABLE = read_table()


class Plain:
    """Layers in eval mode by name from a state dict, with torch.nn.functional and nothing of the library."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        groups = x.shape[1] // weight.shape[1]
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[2] // 2, groups=groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            self.state[f"{name}.{entry}"][None, :, None, None]
            for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def act(self, x: Tensor, name: str) -> Tensor:
        return self.norm(x, name).clamp(min=0)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]


def plain_resnet8(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for block, stride in (("layer1.0", 1), ("layer2.0", 2), ("layer3.0", 2)):
        y = net.act(net.conv(x, f"{block}.conv1", stride), f"{block}.bn1")
        y = net.norm(net.conv(y, f"{block}.conv2"), f"{block}.bn2")
        if stride == 2:
            x = net.norm(net.conv(x, f"{block}.downsample.0", stride), f"{block}.downsample.1")
        x = (x + y).clamp(min=0)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "fc")


def plain_wrn_16_1(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.conv(x, "conv1")
    for stage in (1, 2, 3):
        for i in (0, 1):
            block, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
            a = net.act(x, f"{block}.bn1")
            y = net.act(net.conv(a, f"{block}.conv1", stride), f"{block}.bn2")
            x = net.conv(a, f"{block}.convShortcut", 2) if stride == 2 else x
            x = x + net.conv(y, f"{block}.conv2")
    features = net.act(x, "bn1").flatten(2).mean(2)
    return features, net.linear(features, "fc")


def plain_shuffle(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for stage, units in ((1, 4), (2, 8), (3, 4)):
        unit = f"layer{stage}.0"
        left = net.norm(net.conv(x, f"{unit}.conv1", 2), f"{unit}.bn1")
        left = net.act(net.conv(left, f"{unit}.conv2"), f"{unit}.bn2")
        right = net.act(net.conv(x, f"{unit}.conv3"), f"{unit}.bn3")
        right = net.norm(net.conv(right, f"{unit}.conv4", 2), f"{unit}.bn4")
        right = net.act(net.conv(right, f"{unit}.conv5"), f"{unit}.bn5")
        x = F.channel_shuffle(torch.cat((left, right), 1), 2)
        for unit in (f"layer{stage}.{i}" for i in range(1, units)):
            half = x.shape[1] // 2
            y = net.act(net.conv(x[:, half:], f"{unit}.conv1"), f"{unit}.bn1")
            y = net.norm(net.conv(y, f"{unit}.conv2"), f"{unit}.bn2")
            y = net.act(net.conv(y, f"{unit}.conv3"), f"{unit}.bn3")
            x = F.channel_shuffle(torch.cat((x[:, :half], y), 1), 2)
    features = net.act(net.conv(x, "conv2"), "bn2").flatten(2).mean(2)
    return features, net.linear(features, "linear")


def plain_vgg8(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    for block in range(5):
        x = net.act(net.conv(x, f"block{block}.0"), f"block{block}.1")
        if block < 3:
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).amax(4)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "classifier")


def plain_mobile(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1.0", 2), "conv1.1")
    for group, (blocks, stride) in enumerate([(1, 1), (2, 1), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)]):
        for i in range(blocks):
            layer = f"blocks.{group}.{i}.conv"
            y = net.act(net.conv(x, f"{layer}.0"), f"{layer}.1")
            y = net.act(net.conv(y, f"{layer}.3", stride if i == 0 else 1), f"{layer}.4")
            y = net.norm(net.conv(y, f"{layer}.6"), f"{layer}.7")
            x = x + y if i else y  # no first block of a group keeps its shape
    features = net.act(net.conv(x, "conv2.0"), "conv2.1").flatten(2).mean(2)
    return features, net.linear(features, "classifier.0")


def plain_shuffle1(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for stage, units in ((1, 4), (2, 8), (3, 4)):
        for i in range(units):
            unit, stride = f"layer{stage}.{i}", 1 if i else 2
            y = net.act(net.conv(x, f"{unit}.conv1"), f"{unit}.bn1")
            if (stage, i) != (1, 0):
                y = F.channel_shuffle(y, 3)
            y = net.act(net.conv(y, f"{unit}.conv2", stride), f"{unit}.bn2")
            y = net.norm(net.conv(y, f"{unit}.conv3"), f"{unit}.bn3")
            x = x + y if i else torch.cat((y, F.avg_pool2d(x, 3, 2, 1)), 1)
            x = x.clamp(min=0)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "linear")


def plain_resnet50(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for i in range(blocks):
            block, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = net.act(net.conv(x, f"{block}.conv1"), f"{block}.bn1")
            y = net.act(net.conv(y, f"{block}.conv2", stride), f"{block}.bn2")
            y = net.norm(net.conv(y, f"{block}.conv3"), f"{block}.bn3")
            if i == 0:
                x = net.norm(net.conv(x, f"{block}.shortcut.0", stride), f"{block}.shortcut.1")
            x = (x + y).clamp(min=0)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "linear")


PLAIN = {
    "resnet8": plain_resnet8,
    "wrn_16_1": plain_wrn_16_1,
    "vgg8": plain_vgg8,
    "MobileNetV2": plain_mobile,
    "ShuffleV1": plain_shuffle1,
    "ShuffleV2": plain_shuffle,
    "ResNet50": plain_resnet50,
}
