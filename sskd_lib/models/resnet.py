"""ResNets for small images (He et al. 2016, section 4.2), and the interface that every backbone has.

Legend: N images, C channels, H and W pixels, D feature width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MIN_PIXELS", "Backbone", "ResNet", "check_images", "initialise_convolutions"]

MIN_PIXELS = 16


def check_images(x: Tensor, in_channels: int) -> None:
    """Raise ValueError unless `x` is float [N, in_channels, H, W] with H and W of at least 16 pixels."""
    shape = list(x.shape)
    if x.dim() != 4:
        raise ValueError(
            f"A backbone expects images [N, {in_channels}, H, W], four axes, but got shape {shape}. "
            "A single image [C, H, W] goes in as image[None]."
        )
    if x.shape[1] != in_channels:
        raise ValueError(
            f"This backbone was made for {in_channels} channel(s), but the images have {x.shape[1]} "
            f"(shape {shape}). Make it with in_channels={x.shape[1]}, or convert the images."
        )
    if min(x.shape[2:]) < MIN_PIXELS:
        raise ValueError(
            f"Images must be at least {MIN_PIXELS} x {MIN_PIXELS} pixels, but these are "
            f"{x.shape[2]} x {x.shape[3]} (shape {shape}). Enlarge them first."
        )
    if not x.is_floating_point():
        raise ValueError(
            f"A backbone expects floating-point images, but got {x.dtype}. "
            "Turn uint8 pixels into floats with x.float() / 255."
        )


def initialise_convolutions(network: nn.Module) -> None:
    """Draw every convolution weight from N(0, 2 / fan_out) (He et al. 2015), in place.

    fan_out = kernel area x output channels.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Backbone(nn.Module):
    """Images to logits in two steps, features then classify; a family defines `feature_maps` and its layers.

    ReLUs and residual sums overwrite the output of the layer before them, which autograd does not need.
    So a forward hook inside a block must clone what it keeps; hooks on blocks and stages need not.
    """

    def __init__(self, *, in_channels: int, feature_dim: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.feature_dim = feature_dim

    def feature_maps(self, x: Tensor) -> Tensor:
        """Return the last activations [N, D, h, w], before pooling, of checked images [N, C, H, W]."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels.

        `x` is float [N, C, H, W] with H, W >= 16; anything else raises ValueError.
        """
        check_images(x, self.in_channels)
        return self.feature_maps(x).mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits [N, K] that the linear classifier gives to features [N, D]."""
        return self.fc(features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, K] of float images [N, C, H, W]; same errors as `features`."""
        return self.classify(self.features(x))


def _conv3x3(in_width: int, out_width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_width, out_width, 3, stride, padding=1, bias=False)


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
            projection = nn.Conv2d(in_width, out_width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_width))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return y.add_(shortcut).relu_()


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

    def feature_maps(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.layer3(self.layer2(self.layer1(x)))
