"""Backbones with statistics that are not trivial, and the numbers published of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sskd_lib.models import create_model

# name: (parameters, multiply-accumulates of convolutions and the classifier, D, entries of the state dict)
# for 100 classes and one 3 x 32 x 32 image
GOLDEN = {
    "resnet8": (83_892, 12_507_392, 64, 56),
    "resnet14": (181_108, 26_663_168, 64, 92),
    "resnet20": (278_324, 40_818_944, 64, 128),
    "resnet32": (472_756, 69_130_496, 64, 200),
    "resnet44": (667_188, 97_442_048, 64, 272),
    "resnet56": (861_620, 125_753_600, 64, 344),
    "resnet110": (1_736_564, 253_155_584, 64, 668),
    "resnet14x05": (47_340, 6_777_984, 32, 92),
    "resnet20x05": (71_756, 10_316_928, 32, 128),
    "resnet20x0375": (41_194, 5_845_344, 24, 128),
    "resnet8x4": (1_233_540, 177_071_104, 256, 62),
    "resnet32x4": (7_433_860, 1_083_040_768, 256, 206),
    "ResNet50": (23_705_252, 1_298_014_208, 2048, 320),
    "wrn_16_1": (180_916, 26_663_168, 64, 82),
    "wrn_16_2": (703_284, 101_118_464, 128, 83),
    "wrn_40_1": (569_780, 83_286_272, 64, 226),
    "wrn_40_2": (2_255_156, 327_610_880, 128, 227),
    "vgg8": (3_965_028, 96_192_512, 512, 37),
    "vgg11": (9_277_284, 209_438_720, 512, 58),
    "vgg13": (9_462_180, 284_936_192, 512, 72),
    "vgg16": (14_774_436, 398_182_400, 512, 93),
    "vgg19": (20_086_692, 511_428_608, 512, 114),
    "MobileNetV2": (812_836, 6_523_648, 1280, 320),
    "ShuffleV1": (949_258, 38_691_456, 960, 296),
    "ShuffleV2": (1_355_528, 44_504_448, 1024, 338),
}
SMALL = ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet50"]  # of each family


def make(name: str, *, seed: int = 0, **counts: int) -> nn.Module:
    """A backbone whose BatchNorm statistics are not the trivial 0 and 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_model(name, **counts)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.normal_(module.bias, 0, 0.3)
                nn.init.uniform_(module.weight, 0.5, 2)
    return network


def shapes_only(name: str) -> nn.Module:
    """A backbone on the meta device: shapes without memory or arithmetic."""
    with torch.device("meta"):
        return create_model(name)


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
