"""Images of noise, and a network that is one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sskd_lib.data.images import ImageSet
from sskd_lib.models.backbone import Backbone
from sskd_lib.models.network import Network


class Pixels(Backbone):
    """A backbone whose features are the normalised pixels: quick, and easy to follow by hand."""

    min_pixels = 1

    def __init__(self, pixels: int, classes: int, channels: int = 1) -> None:
        super().__init__(in_channels=channels, feature_dim=pixels)
        self.fc = nn.Linear(pixels, classes)
        self.calls: list[tuple[int, bool, bool]] = []  # rows, training, gradient

    def features(self, x: Tensor) -> Tensor:
        self.calls.append((len(x), self.training, torch.is_grad_enabled()))
        return x.flatten(1)


def pixel_network(data: ImageSet, seed: int, projection: bool = True) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = Pixels(data.images[0].numel(), data.num_classes, data.in_channels)
        network = Network(
            backbone, mean=[0.5] * data.in_channels, std=[0.25] * data.in_channels, projection=projection
        )
    network.head_trained = projection
    network.spec = {"model": "pixels", "in_channels": data.in_channels, "num_classes": data.num_classes}
    return network


def few_images(count: int = 10, channels: int = 1, size: int = 6, classes: int = 3) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    return ImageSet(
        images=torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8),
        labels=torch.arange(count) % classes,
        classes=tuple("abcdefgh"[:classes]),
        name="noise",
    )
