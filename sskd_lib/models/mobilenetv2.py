"""MobileNetV2 for small images (Sandler et al. 2018) at half width, as the published comparisons train it."""

from __future__ import annotations

from torch import Tensor, nn

from .backbone import Backbone, Stage, initialise_convolutions

__all__ = ["MobileNetV2"]

STEM, FEATURES = 16, 1280
# expansion, channels (half of the paper's table 2), blocks, stride of the first block
SETTINGS = (
    (1, 8, 1, 1),
    (6, 12, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)
STAGE_ENDS = (1, 2, 4, 6)  # the groups of blocks after which the published comparisons take maps


def _convolution(
    in_width: int, out_width: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a bias-free convolution and its BatchNorm."""
    convolution = nn.Conv2d(
        in_width, out_width, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(out_width)]


class InvertedResidual(nn.Module):
    """Widen (1x1), filter each channel (3x3), narrow (1x1, no ReLU); x is added where the shape stays.

    The first expansion is a convolution even where it widens nothing, as in the published weights.
    """

    def __init__(self, in_width: int, out_width: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = in_width * expansion
        self.adds = stride == 1 and in_width == out_width
        self.conv = nn.Sequential(
            *_convolution(in_width, wide, 1),
            nn.ReLU(inplace=True),
            *_convolution(wide, wide, 3, stride, groups=wide),
            nn.ReLU(inplace=True),
            *_convolution(wide, out_width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps [N, out_width, h, w] of maps [N, in_width, ·, ·]."""
        y = self.conv(x)
        return y.add_(x) if self.adds else y


class MobileNetV2(Backbone):
    """A stem of stride 2, seven groups of inverted residuals at half width, a 1x1 convolution; D = 1280.

    It is the one of 65.79 % in the paper's tables, with a plain ReLU; others of that name differ.
    """

    classifier_path = "classifier.0"

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, feature_dim=FEATURES)
        self.conv1 = nn.Sequential(*_convolution(in_channels, STEM, 3, stride=2), nn.ReLU(inplace=True))
        self.blocks, width = nn.ModuleList(), STEM
        for expansion, channels, blocks, stride in SETTINGS:
            first = InvertedResidual(width, channels, expansion, stride)
            rest = (InvertedResidual(channels, channels, expansion, 1) for _ in range(blocks - 1))
            self.blocks.append(nn.Sequential(first, *rest))
            width = channels
        self.conv2 = nn.Sequential(*_convolution(width, FEATURES, 1), nn.ReLU(inplace=True))
        linear = nn.Linear(FEATURES, num_classes)
        self.classifier = nn.Sequential(linear)
        initialise_convolutions(self)
        nn.init.normal_(linear.weight, 0, 0.01)
        nn.init.zeros_(linear.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D], the mean of the last activations over their pixels."""
        x = self.conv1(x)
        for group in self.blocks:
            x = group(x)
        return self.conv2(x).mean((2, 3))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of the stem and of four groups of blocks, which end without a ReLU."""
        convolution, norm, relu = self.conv1
        before = norm(convolution(x))
        x = relu(before.clone())  # in place
        stages = [Stage(before, x)]
        for number, group in enumerate(self.blocks):
            x = group(x)
            if number in STAGE_ENDS:
                stages.append(Stage(x, x))
        return stages

    def finish(self, last: Stage) -> Tensor:
        """Return the last activations [N, D, h, w], given the last stage: a 1x1 convolution of its maps."""
        return self.conv2(last.post_relu)
