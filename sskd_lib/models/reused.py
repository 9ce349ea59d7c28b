"""A backbone that ends in another's classifier (SimKD): encoder, projector, and a fixed linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, check_images

__all__ = ["ReusedClassifier", "find_classifier"]

REDUCTION = 2  # of the width inside the projector


def find_classifier(backbone: nn.Module) -> str:
    """Return the name of a backbone's last linear layer, its classifier in every family.

    Raises ValueError for a backbone without one.
    """
    names = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError(
            f"{type(backbone).__name__} has no linear layer that could be its classifier, so none can be "
            "reused or replaced. Choose another backbone, or another method than simkd."
        )
    return names[-1]


def make_projector(in_width: int, out_width: int) -> nn.Sequential:
    """Convolutions 1 × 1, 3 × 3 and 1 × 1, each with BatchNorm and ReLU: [N, in, h, w] → [N, out, h, w]."""
    inner = max(1, out_width // REDUCTION)
    layers = []
    for before, after, size in ((in_width, inner, 1), (inner, inner, 3), (inner, out_width, 1)):
        conv = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ReusedClassifier(Backbone):
    """A backbone's last maps, led by a projector to another network's, and that network's classifier.

    maps of `encoder` [N, D_S, h, w] → averaged to `size` where they are larger → projector → last activations
    [N, D_T, ·, ·] → mean → fc. The encoder is the given backbone itself; its own classifier is taken out. fc
    does not learn: neither gradients nor weight decay reach it. Its weights are to be copied in.

    width: D_T; size: height and width of the other network's last maps. Source: Chen et al. 2022, section 3.
    """

    def __init__(self, encoder: Backbone, num_classes: int, *, width: int, size: Sequence[int]) -> None:
        super().__init__(in_channels=encoder.in_channels, feature_dim=width)
        classifier = find_classifier(encoder)
        self.encoder, self.size = encoder, tuple(size)
        self.projector = make_projector(encoder.feature_dim, width)
        self.fc = nn.Linear(width, num_classes).requires_grad_(False)
        encoder.set_submodule(classifier, nn.Identity())

    def lead(self, maps: Tensor) -> Tensor:
        """Return the last activations, given the encoder's."""
        size = tuple(min(pair) for pair in zip(maps.shape[2:], self.size, strict=True))
        return self.projector(maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size))

    def feature_maps(self, x: Tensor) -> Tensor:
        return self.lead(self.encoder.feature_maps(x))

    def stage_maps(self, x: Tensor, pre_activation: bool = False) -> tuple[Tensor, ...]:
        """Return the encoder's stage maps."""
        return self.encoder.stage_maps(x, pre_activation)

    def features_and_maps(
        self, x: Tensor, pre_activation: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        check_images(x, self.in_channels)
        _, maps, last = self.encoder.features_and_maps(x, pre_activation)
        last = self.lead(last)
        return last.mean((2, 3)), maps, last
