"""Wide residual networks (Zagoruyko and Komodakis 2016): wrn_40_2 is 40 layers deep, 2 times as wide."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Stage, initialise_convolutions

__all__ = ["WideResNet"]


class PreActivationBlock(nn.Module):
    """BatchNorm and ReLU before each convolution: conv2(relu(bn2(conv1(a)))) + shortcut.

    a = relu(bn1(x)). The shortcut is x itself, or a 1x1 convolution of a where the width changes.
    """

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_width)
        self.conv1 = nn.Conv2d(in_width, out_width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_width)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1, bias=False)
        self.convShortcut = None
        if in_width != out_width:
            self.convShortcut = nn.Conv2d(in_width, out_width, 1, stride, bias=False)

    def forward(self, x: Tensor, activated: Tensor | None = None) -> Tensor:
        """Return the residual sum [N, out_width, h, w] of maps x; activated: relu(bn1(x)), if known."""
        a = F.relu(self.bn1(x), inplace=True) if activated is None else activated
        shortcut = x if self.convShortcut is None else self.convShortcut(a)
        y = F.relu(self.bn2(self.conv1(a)), inplace=True)
        return self.conv2(y).add_(shortcut)


def _stage(in_width: int, out_width: int, blocks: int, stride: int) -> nn.Sequential:
    """Return `blocks` blocks under the name `layer`, the name they have in published weights."""
    rest = (PreActivationBlock(out_width, out_width, 1) for _ in range(blocks - 1))
    first = PreActivationBlock(in_width, out_width, stride)
    return nn.Sequential(OrderedDict(layer=nn.Sequential(first, *rest)))


class WideResNet(Backbone):
    """A stem of 16 channels and three stages of (depth - 4) / 6 blocks each.

    The stages have 16, 32 and 64 times `widen` channels; D = 64 * widen.
    Raises ValueError where depth is not 6n + 4.
    """

    def __init__(self, num_classes: int = 100, in_channels: int = 3, *, depth: int, widen: int) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"A wide ResNet has depth 6n + 4 (10, 16, 22, ...), but got {depth}.")
        super().__init__(in_channels=in_channels, feature_dim=64 * widen)
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.block1 = _stage(16, 16 * widen, blocks, stride=1)
        self.block2 = _stage(16 * widen, 32 * widen, blocks, stride=2)
        self.block3 = _stage(32 * widen, 64 * widen, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, num_classes)
        initialise_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return F.relu(self.bn1(x), inplace=True).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the residual sums at the end of the stem and of each stage, and the BatchNorms of them.

        The BatchNorm and ReLU after a stage belong to the first block of the next one. The sums count as
        post_relu, as in the published comparisons.
        """
        x, stages = self.conv1(x), []
        for block in (self.block1, self.block2, self.block3):
            first, *rest = block.get_submodule("layer").children()
            stages.append(Stage(first.get_submodule("bn1")(x), x))
            x = first(x, activated=F.relu(stages[-1].pre_relu))
            for unit in rest:
                x = unit(x)
        return [*stages, Stage(self.bn1(x), x)]

    def finish(self, last: Stage) -> Tensor:
        """Return the last activations [N, D, h, w], given the last stage."""
        return F.relu(last.pre_relu)
