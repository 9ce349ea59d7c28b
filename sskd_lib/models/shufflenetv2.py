"""ShuffleNetV2 1x for small images (Ma et al. 2018), with a 1x1 stem and no pooling before its stages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Stage, run_stages

__all__ = ["ShuffleNetV2", "interleave"]

STEM = 24
STAGES = ((116, 4), (232, 8), (464, 4))  # channels, units; the first unit of a stage halves the image
FEATURES = 1024


def interleave(left: Tensor, right: Tensor) -> Tensor:
    """Return [N, 2C, H, W], the channels l0, r0, l1, r1, ... of two [N, C, H, W] halves.

    That is a concatenation and a channel shuffle in two groups, in one copy.
    A channels_last `right` gives a channels_last result.
    """
    if right.is_contiguous(memory_format=torch.channels_last) and not right.is_contiguous():
        pairs = torch.stack((left.permute(0, 2, 3, 1), right.permute(0, 2, 3, 1)), dim=4)
        return pairs.flatten(3).permute(0, 3, 1, 2)
    return torch.stack((left, right), dim=2).flatten(1, 2)


def _pointwise(in_width: int, out_width: int) -> nn.Conv2d:
    return nn.Conv2d(in_width, out_width, 1, bias=False)


def _depthwise(width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)


class ShuffleUnit(nn.Module):
    """Pass half of the channels on untouched, convolve the other half, and interleave the two."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = _pointwise(half, half), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = _depthwise(half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _pointwise(half, half), nn.BatchNorm2d(half)

    def forward(self, x: Tensor, pre_activation: bool = False) -> Tensor:
        """Return the maps that leave the unit; pre_activation: those that enter its last ReLU.

        The half that passes untouched is never negative, so that a ReLU after the unit changes nothing in it.
        """
        untouched, y = x.chunk(2, dim=1)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = self.bn2(self.conv2(y))
        y = self.bn3(self.conv3(y))
        return interleave(untouched, y if pre_activation else F.relu(y, inplace=True))


class DownUnit(nn.Module):
    """Halve the image in two branches that both see every channel, and interleave them."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        half = out_width // 2
        self.conv1, self.bn1 = _depthwise(in_width, stride=2), nn.BatchNorm2d(in_width)
        self.conv2, self.bn2 = _pointwise(in_width, half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = _pointwise(in_width, half), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = _depthwise(half, stride=2), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = _pointwise(half, half), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps [N, out_width, h / 2, w / 2] of maps [N, in_width, h, w]."""
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))), inplace=True)
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = F.relu(self.bn5(self.conv5(self.bn4(self.conv4(right)))), inplace=True)
        return interleave(left, right)


def _stage(in_width: int, out_width: int, units: int) -> nn.Sequential:
    return nn.Sequential(DownUnit(in_width, out_width), *(ShuffleUnit(out_width) for _ in range(units - 1)))


class ShuffleNetV2(Backbone):
    """ShuffleNetV2 at width 1, D = 1024; its weights start as PyTorch's defaults, as in the published zoo."""

    classifier_path = "linear"

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, feature_dim=FEATURES)
        (width1, units1), (width2, units2), (width3, units3) = STAGES
        self.conv1, self.bn1 = _pointwise(in_channels, STEM), nn.BatchNorm2d(STEM)
        self.layer1 = _stage(STEM, width1, units1)
        self.layer2 = _stage(width1, width2, units2)
        self.layer3 = _stage(width2, width3, units3)
        self.conv2, self.bn2 = _pointwise(width3, FEATURES), nn.BatchNorm2d(FEATURES)
        self.linear = nn.Linear(FEATURES, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return F.relu(self.bn2(self.conv2(x)), inplace=True).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of the stem and of each stage."""
        return run_stages(self.bn1(self.conv1(x)), (self.layer1, self.layer2, self.layer3))

    def finish(self, last: Stage) -> Tensor:
        """Return the last activations [N, D, h, w], given the last stage: a 1x1 convolution of its maps."""
        return F.relu(self.bn2(self.conv2(last.post_relu)), inplace=True)
