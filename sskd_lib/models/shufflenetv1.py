"""ShuffleNet 1x of three groups for small images (Zhang et al. 2018), with an unpooled 1x1 stem."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Stage, run_stages

__all__ = ["ShuffleNetV1", "shuffle"]

STEM, GROUPS = 24, 3
STAGES = ((240, 4), (480, 8), (960, 4))  # channels, units; the first unit of a stage halves the image


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Return [N, C, H, W] with channel g · C/groups + i moved to i · groups + g, in one copy.

    A channels_last `x` gives a channels_last result.
    """
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        mixed = x.permute(0, 2, 3, 1).unflatten(3, (groups, -1)).transpose(3, 4).flatten(3)
        return mixed.permute(0, 3, 1, 2)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """A bottleneck of grouped 1x1 and depthwise 3x3 convolutions whose channels are shuffled in between.

    It is added to x or, with stride 2, joined to the averaged x, which brings the missing channels.
    The first unit of all does not group its first convolution: the stem has too few channels.
    """

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        new = out_width - in_width if stride == 2 else out_width
        width = new // 4
        self.stride, self.groups = stride, 1 if in_width == STEM else GROUPS
        self.conv1 = nn.Conv2d(in_width, width, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, new, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(new)

    def forward(self, x: Tensor, pre_activation: bool = False) -> Tensor:
        """Return the maps that leave the unit; pre_activation: those that enter its last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.groups > 1:
            y = shuffle(y, self.groups)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        y = y.add_(x) if self.stride == 1 else torch.cat((y, F.avg_pool2d(x, 3, 2, padding=1)), dim=1)
        return y if pre_activation else y.relu_()


def _stage(in_width: int, out_width: int, units: int) -> nn.Sequential:
    rest = (ShuffleUnit(out_width, out_width, 1) for _ in range(units - 1))
    return nn.Sequential(ShuffleUnit(in_width, out_width, 2), *rest)


class ShuffleNetV1(Backbone):
    """ShuffleNet at width 1 in three groups, D = 960; its weights start as PyTorch's defaults."""

    classifier_path = "linear"

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, feature_dim=STAGES[-1][0])
        (width1, units1), (width2, units2), (width3, units3) = STAGES
        self.conv1, self.bn1 = nn.Conv2d(in_channels, STEM, 1, bias=False), nn.BatchNorm2d(STEM)
        self.layer1 = _stage(STEM, width1, units1)
        self.layer2 = _stage(width1, width2, units2)
        self.layer3 = _stage(width2, width3, units3)
        self.linear = nn.Linear(width3, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of the stem and of each stage."""
        return run_stages(self.bn1(self.conv1(x)), (self.layer1, self.layer2, self.layer3))
