"""Backbones, named and shaped like those of the published CIFAR zoo (RepDistiller), and two for ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

from .imagenet import TorchvisionResNet
from .resnet import Backbone, ResNet
from .shufflenetv2 import ShuffleNetV2
from .wrn import WideResNet

__all__ = ["MODELS", "Backbone", "create_model"]

MODELS: dict[str, Callable[..., Backbone]] = {
    "resnet8": partial(ResNet, depth=8),
    "resnet14": partial(ResNet, depth=14),
    "resnet20": partial(ResNet, depth=20),
    "resnet32": partial(ResNet, depth=32),
    "resnet44": partial(ResNet, depth=44),
    "resnet56": partial(ResNet, depth=56),
    "resnet110": partial(ResNet, depth=110),
    "resnet8x4": partial(ResNet, depth=8, widths=(32, 64, 128, 256)),
    "resnet32x4": partial(ResNet, depth=32, widths=(32, 64, 128, 256)),
    "wrn_16_1": partial(WideResNet, depth=16, widen=1),
    "wrn_16_2": partial(WideResNet, depth=16, widen=2),
    "wrn_40_1": partial(WideResNet, depth=40, widen=1),
    "wrn_40_2": partial(WideResNet, depth=40, widen=2),
    "ShuffleV2": ShuffleNetV2,
    "torchvision/resnet18": partial(TorchvisionResNet, name="resnet18"),
    "torchvision/resnet34": partial(TorchvisionResNet, name="resnet34"),
}


def create_model(name: str, num_classes: int = 100, in_channels: int = 3) -> Backbone:
    """Return a freshly initialised backbone: float images [N, C, H, W] to logits [N, K].

    `features(x)` gives the penultimate [N, D], `classify(features)` the logits, `feature_dim` is D.
    The weights come from torch's global generator. Raises ValueError for a name that is not in MODELS
    and for counts below 1.

    >>> create_model("resnet8", num_classes=10, in_channels=1).feature_dim
    64
    """
    if name not in MODELS:
        spelled = {known.lower(): known for known in MODELS}
        close = get_close_matches(str(name).lower().replace("-", "_"), spelled, n=1)
        hint = f" Did you mean '{spelled[close[0]]}'?" if close else ""
        raise ValueError(f"There is no model '{name}'.{hint} The models are: {', '.join(MODELS)}.")
    for argument, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ValueError(f"{argument} must be at least 1, but got {count}.")
    return MODELS[name](num_classes=num_classes, in_channels=in_channels)
