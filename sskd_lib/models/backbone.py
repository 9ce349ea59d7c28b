"""The interface that every backbone has, and what the families share.

Legend: N images, C channels, H and W pixels, D feature width, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MIN_PIXELS", "Backbone", "Stage", "check_images", "initialise_convolutions", "run_stage"]

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
    """Draw every convolution weight from N(0, 2 / fan_out) (He et al. 2015), in place; biases become 0.

    fan_out = kernel area x output channels.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Stage(NamedTuple):
    """The maps at the end of a stage, [N, c, h, w] each: before its last ReLU, and as they leave it."""

    before: Tensor
    after: Tensor


def run_stage(blocks: nn.Sequential, x: Tensor) -> Stage:
    """Run blocks that end in a ReLU and have `before_relu`; keep both sides of the last ReLU."""
    *first, last = blocks
    for block in first:
        x = block(x)
    before = last.before_relu(x)
    return Stage(before, F.relu(before))


class Backbone(nn.Module):
    """Images to logits in two steps, features then classify; a family defines `feature_maps` and its layers.

    A family that also defines `stages` (and `finish`, where something follows its last stage) has stage maps.

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

    def stages(self, x: Tensor) -> list[Stage]:
        """Return what leaves the stem and then each stage, of checked images [N, C, H, W]."""
        raise NotImplementedError(
            f"{type(self).__name__} has no stage maps: its class does not define `stages`. Use a method that "
            "needs logits or features only, or another backbone."
        )

    def finish(self, last: Stage) -> Tensor:
        """Return the last activations [N, D, h, w], given the last stage."""
        return last.after

    def stage_maps(self, x: Tensor, pre_activation: bool = False) -> tuple[Tensor, ...]:
        """Return the maps of the stem, then of each stage: float [N, c, h, w] each, never overwritten.

        They are those that the published comparisons distil. The ResNets, VGGs and ShuffleNets give them
        after the stage's last ReLU; the wide ResNets give the residual sum, before the next BatchNorm and
        ReLU (their stem, the bare convolution); MobileNetV2 gives its linear bottlenecks, which have no ReLU.
        The last map, averaged over its pixels, is `features` for ResNets, VGGs and ShuffleV1; in the other
        families a BatchNorm or a 1x1 convolution stands between.

        pre_activation: the maps that enter the ReLU instead, as activation boundaries (AB, Heo et al. 2019)
        compare them; for wide ResNets after the BatchNorm; MobileNetV2 gives the same maps as without.
        Raises ValueError as `features`; NotImplementedError if the family defines no stages.
        """
        check_images(x, self.in_channels)
        return tuple(stage.before if pre_activation else stage.after for stage in self.stages(x))

    def features_and_maps(
        self, x: Tensor, pre_activation: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return `features` [N, D], `stage_maps`, and the last activations [N, D, h, w], from one pass.

        Errors as theirs.
        """
        check_images(x, self.in_channels)
        stages = self.stages(x)
        last = self.finish(stages[-1])
        maps = tuple(stage.before if pre_activation else stage.after for stage in stages)
        return last.mean((2, 3)), maps, last
