"""ResNets for small images (He et al. 2016): basic blocks (section 4.2), and ResNet50 of bottlenecks."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Stage, initialise_convolutions, run_stages

__all__ = ["ResNet", "ResNet50"]


def _conv3x3(in_width: int, out_width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_width, out_width, 3, stride, padding=1, bias=False)


def _conv1x1(in_width: int, out_width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_width, out_width, 1, stride, bias=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to a shortcut: relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_width, out_width, stride)
        self.bn1 = nn.BatchNorm2d(out_width)
        self.conv2 = _conv3x3(out_width, out_width)
        self.bn2 = nn.BatchNorm2d(out_width)
        self.downsample = None
        if stride != 1 or in_width != out_width:
            projection = _conv1x1(in_width, out_width, stride)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_width))

    def forward(self, x: Tensor, pre_activation: bool = False) -> Tensor:
        """Return the maps that leave the block; pre_activation: those that enter its last ReLU."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y)).add_(shortcut)
        return y if pre_activation else y.relu_()


class ResNet(Backbone):
    """A stem and three stages of (depth - 2) / 6 residual blocks; the second and third stage halve the image.

    widths: channels of the stem and of the three stages; D is the last.
    Raises ValueError where depth is not 6n + 2.
    """

    def __init__(
        self,
        num_classes: int = 100,
        in_channels: int = 3,
        *,
        depth: int,
        widths: Sequence[int] = (16, 16, 32, 64),
    ) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ValueError(f"A ResNet of basic blocks has depth 6n + 2 (8, 14, 20, ...), but got {depth}.")
        super().__init__(in_channels=in_channels, feature_dim=widths[3])
        self.conv1 = _conv3x3(in_channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = self._stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = self._stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = self._stage(widths[2], widths[3], blocks, stride=2)
        self.fc = nn.Linear(widths[3], num_classes)
        initialise_convolutions(self)

    @staticmethod
    def _stage(in_width: int, out_width: int, blocks: int, stride: int) -> nn.Sequential:
        first = ResidualBlock(in_width, out_width, stride)
        return nn.Sequential(first, *(ResidualBlock(out_width, out_width, 1) for _ in range(blocks - 1)))

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of the stem and of each stage."""
        return run_stages(self.bn1(self.conv1(x)), (self.layer1, self.layer2, self.layer3))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, added to a shortcut, then a ReLU."""

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv1x1(in_width, width), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3x3(width, width, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv1x1(width, 4 * width), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_width != 4 * width:
            projection = _conv1x1(in_width, 4 * width, stride)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor, pre_activation: bool = False) -> Tensor:
        """Return the maps that leave the block; pre_activation: those that enter its last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y)).add_(self.shortcut(x))
        return y if pre_activation else y.relu_()


class ResNet50(Backbone):
    """ImageNet's ResNet-50 with a 3x3 stem of stride 1 and no pooling before its four stages; D = 2048.

    The second, third and fourth stage halve the image.
    """

    classifier_path = "linear"

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, feature_dim=2048)
        self.conv1, self.bn1 = _conv3x3(in_channels, 64), nn.BatchNorm2d(64)
        self.layer1 = self._stage(64, 64, blocks=3, stride=1)
        self.layer2 = self._stage(256, 128, blocks=4, stride=2)
        self.layer3 = self._stage(512, 256, blocks=6, stride=2)
        self.layer4 = self._stage(1024, 512, blocks=3, stride=2)
        self.linear = nn.Linear(2048, num_classes)
        initialise_convolutions(self)

    @staticmethod
    def _stage(in_width: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        first = Bottleneck(in_width, width, stride)
        return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of the stem and of each stage."""
        return run_stages(self.bn1(self.conv1(x)), (self.layer1, self.layer2, self.layer3, self.layer4))
