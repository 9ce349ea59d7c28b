"""VGG for small images (Simonyan and Zisserman 2015) with BatchNorm and one linear classifier."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Stage, initialise_convolutions

__all__ = ["VGG"]

WIDTHS = (64, 128, 256, 512, 512)
# depth: convolutions in each of the five blocks; with ImageNet's three linear layers they make up the depth
CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
POOLED_ONCE_MORE = 64  # pixels


def _block(in_width: int, out_width: int, convolutions: int) -> nn.Sequential:
    """Return convolutions with BatchNorm, a ReLU between any two; the last ReLU belongs to the network."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        convolution = nn.Conv2d(out_width if i else in_width, out_width, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(out_width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class VGG(Backbone):
    """Five blocks of 3x3 convolutions with a 2x2 max-pooling before the second, third and fourth; D = 512.

    Images of 64 pixels or more are pooled before the fifth block as well.
    Raises ValueError for a depth other than 8, 11, 13, 16 and 19.
    """

    classifier_path = "classifier"

    def __init__(self, num_classes: int = 100, in_channels: int = 3, *, depth: int) -> None:
        if depth not in CONVOLUTIONS:
            known = ", ".join(map(str, CONVOLUTIONS))
            raise ValueError(f"A VGG has depth {known}, but got {depth}. Choose one of these.")
        super().__init__(in_channels=in_channels, feature_dim=WIDTHS[-1])
        in_widths = (in_channels, *WIDTHS)
        self.block0, self.block1, self.block2, self.block3, self.block4 = (
            _block(*widths) for widths in zip(in_widths, WIDTHS, CONVOLUTIONS[depth], strict=False)
        )
        self.classifier = nn.Linear(WIDTHS[-1], num_classes)
        initialise_convolutions(self)
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        large = x.shape[2] >= POOLED_ONCE_MORE
        x = F.relu(self.block0(x), inplace=True)
        for block in (self.block1, self.block2, self.block3):
            x = F.relu(block(F.max_pool2d(x, 2)), inplace=True)
        x = F.max_pool2d(x, 2) if large else x
        return F.relu(self.block4(x), inplace=True).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of each block; the first block is the stem."""
        large = x.shape[2] >= POOLED_ONCE_MORE
        stem = self.block0(x)
        stages = [Stage(stem, F.relu(stem))]
        for block in (self.block1, self.block2, self.block3, self.block4):
            x = stages[-1].post_relu
            before = block(F.max_pool2d(x, 2) if large or block is not self.block4 else x)
            stages.append(Stage(before, F.relu(before)))
        return stages
