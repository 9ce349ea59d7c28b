"""The interface of every backbone, and the helpers of the families.

Legend: N images, C channels, H and W pixels, D feature width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Backbone", "MapKind", "Stage", "explain_images", "initialise_convolutions", "run_stages"]

MapKind = Literal["post_relu", "pre_relu"]  # the maps that leave a stage's last ReLU, or those that enter it


def explain_images(x: Tensor, in_channels: int, min_pixels: int) -> str:
    """Return the error message for a tensor that is no batch of images for a backbone."""
    shape = list(x.shape)
    if x.dim() != 4:
        return (
            f"A backbone expects images [N, {in_channels}, H, W], four axes, but got shape {shape}. "
            "A single image [C, H, W] goes in as image[None]."
        )
    if x.shape[1] != in_channels:
        to_colour, to_grey = ": images.expand(-1, 3, -1, -1)", ": images.float().mean(1, keepdim=True)"
        convert = {(1, 3): to_colour, (3, 1): to_grey}.get((x.shape[1], in_channels), "")
        return (
            f"This backbone was made for {in_channels} channel(s), but the images have {x.shape[1]} "
            f"(shape {shape}). Make it with in_channels={x.shape[1]}, or convert the images{convert}."
        )
    if min(x.shape[2:]) < min_pixels:
        return (
            f"Images must be at least {min_pixels} x {min_pixels} pixels, but these are "
            f"{x.shape[2]} x {x.shape[3]} (shape {shape}). Enlarge them first."
        )
    if x.is_floating_point():
        return (
            f"A network expects pixels from 0 (black) to 1 (white), but these go up to {x[0].max():.6g}. "
            "Divide them by 255: network(x / 255)."
        )
    return (
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
    """The maps at the end of a stage, float [N, c, h, w] each: before and after its last ReLU."""

    pre_relu: Tensor
    post_relu: Tensor


def run_stages(stem: Tensor, layers: Iterable[nn.Sequential]) -> list[Stage]:
    """Run layers of blocks on a stem's maps, which have not passed its ReLU yet; return stem and stages.

    The last block of a layer must take `pre_activation=True`, which leaves its final ReLU out.
    """
    stages = [Stage(stem, F.relu(stem))]
    for *blocks, last in layers:
        x = stages[-1].post_relu
        for block in blocks:
            x = block(x)
        before = last(x, pre_activation=True)
        stages.append(Stage(before, F.relu(before)))
    return stages


class Backbone(nn.Module):
    """Images to features to logits. A family defines `features`, its layers, and `stages` if it has maps.

    `classifier_path` is the path of its last linear layer, which turns features [N, D] into logits [N, K].
    `min_pixels` is the least height and width of its images. A family whose last stage is followed by more
    layers defines `finish` as well.

    ReLUs and residual sums overwrite the output of the layer before them, which autograd does not need.
    So a forward hook inside a block must clone what it keeps; hooks on blocks and stages need not.
    """

    classifier_path: str = "fc"
    min_pixels: int = 16

    def __init__(self, *, in_channels: int, feature_dim: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.feature_dim = feature_dim

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D] of float images [N, C, H, W], without a check of them."""
        raise NotImplementedError

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits [N, K] that the linear classifier gives to features [N, D]."""
        return self.get_submodule(self.classifier_path)(features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, K] of float images [N, C, H, W]; ValueError for anything else."""
        if (
            x.dim() != 4
            or x.shape[1] != self.in_channels
            or min(x.shape[2:]) < self.min_pixels
            or not x.is_floating_point()
        ):
            raise ValueError(explain_images(x, self.in_channels, self.min_pixels))
        return self.classify(self.features(x))

    def check_side(self, side: int) -> None:
        """Raise ValueError if images of this height and width are too small."""
        if side < self.min_pixels:
            blank = torch.zeros(1, self.in_channels, side, side)
            raise ValueError(explain_images(blank, self.in_channels, self.min_pixels))

    def stages(self, x: Tensor) -> list[Stage]:
        """Return the maps at the end of the stem and of each stage, of images [N, C, H, W]."""
        raise NotImplementedError(
            f"{type(self).__name__} has no stage maps: its class does not define `stages`. Use a method that "
            "needs logits or features only, or another backbone."
        )

    def finish(self, last: Stage) -> Tensor:
        """Return the last activations [N, D, h, w], given the last stage."""
        return last.post_relu

    def features_and_maps(
        self, x: Tensor, kind: MapKind = "post_relu"
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return `features` [N, D], `stage_maps`, and the last activations [N, D, h, w], from one pass.

        Raises NotImplementedError if the family defines no stages, ValueError for an unknown kind.
        """
        if kind not in Stage._fields:
            raise ValueError(f"there are no maps {kind!r}. The kinds are: 'post_relu', 'pre_relu'.")
        stages = self.stages(x)
        last = self.finish(stages[-1])
        return last.mean((2, 3)), tuple(getattr(stage, kind) for stage in stages), last

    def stage_maps(self, x: Tensor, kind: MapKind = "post_relu") -> tuple[Tensor, ...]:
        """Return the maps of the stem, then of each stage: float [N, c, h, w] each, never overwritten.

        They are those that the published comparisons distil. The ResNets, VGGs and ShuffleNets give them
        after the stage's last ReLU; the wide ResNets give the residual sum, before the next BatchNorm and
        ReLU (their stem, the bare convolution); MobileNetV2 gives its linear bottlenecks, which have no ReLU.
        The last map, averaged over its pixels, is `features` for ResNets, VGGs and ShuffleV1; in the other
        families a BatchNorm or a 1x1 convolution comes between.

        kind: "pre_relu" gives the maps that enter the ReLU, as activation boundaries (AB, Heo et al. 2019)
        compare them; for wide ResNets after the BatchNorm; for MobileNetV2 its bottlenecks again.
        Errors as in `features_and_maps`.
        """
        return self.features_and_maps(x, kind)[1]
