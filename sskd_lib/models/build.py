"""The list of backbones, by name, and the network that a spec describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..files import did_you_mean
from .backbone import Backbone
from .external import SOURCES, ExternalBackbone
from .mobilenetv2 import MobileNetV2
from .network import Network
from .resnet import ResNet, ResNet50
from .shufflenetv1 import ShuffleNetV1
from .shufflenetv2 import ShuffleNetV2
from .simkd import ReusedClassifier
from .vgg import VGG
from .wrn import WideResNet

MODELS: dict[str, Callable[..., Backbone]] = {
    "resnet8": partial(ResNet, depth=8),
    "resnet14": partial(ResNet, depth=14),
    "resnet20": partial(ResNet, depth=20),
    "resnet32": partial(ResNet, depth=32),
    "resnet44": partial(ResNet, depth=44),
    "resnet56": partial(ResNet, depth=56),
    "resnet110": partial(ResNet, depth=110),
    "resnet14x05": partial(ResNet, depth=14, widths=(8, 8, 16, 32)),
    "resnet20x05": partial(ResNet, depth=20, widths=(8, 8, 16, 32)),
    "resnet20x0375": partial(ResNet, depth=20, widths=(6, 6, 12, 24)),
    "resnet8x4": partial(ResNet, depth=8, widths=(32, 64, 128, 256)),
    "resnet32x4": partial(ResNet, depth=32, widths=(32, 64, 128, 256)),
    "ResNet50": ResNet50,
    "wrn_16_1": partial(WideResNet, depth=16, widen=1),
    "wrn_16_2": partial(WideResNet, depth=16, widen=2),
    "wrn_40_1": partial(WideResNet, depth=40, widen=1),
    "wrn_40_2": partial(WideResNet, depth=40, widen=2),
    "vgg8": partial(VGG, depth=8),
    "vgg11": partial(VGG, depth=11),
    "vgg13": partial(VGG, depth=13),
    "vgg16": partial(VGG, depth=16),
    "vgg19": partial(VGG, depth=19),
    "MobileNetV2": MobileNetV2,
    "ShuffleV1": ShuffleNetV1,
    "ShuffleV2": ShuffleNetV2,
    "torchvision/resnet18": partial(ExternalBackbone, name="torchvision/resnet18"),
    "torchvision/resnet34": partial(ExternalBackbone, name="torchvision/resnet34"),
}


def create_model(name: str, num_classes: int = 100, in_channels: int = 3) -> Backbone:
    """Return a freshly initialised backbone: float images [N, C, H, W] to logits [N, K].

    name: one of MODELS, torchvision/NAME for any of torchvision's classifiers, or timm/NAME where timm is
    installed. `features(x)` gives the penultimate [N, D], `classify(features)` the logits, `feature_dim` is
    D, `stage_maps(x)` the maps of stem and stages. The weights come from torch's global generator.
    Raises ValueError for an unknown name and for counts below 1.

    >>> create_model("resnet8", num_classes=10, in_channels=1).feature_dim
    64
    """
    for argument, count in (("num_classes", num_classes), ("in_channels", in_channels)):
        if count < 1:
            raise ValueError(f"{argument} must be at least 1, but got {count}.")
    if name in MODELS:
        return MODELS[name](num_classes=num_classes, in_channels=in_channels)
    if str(name).partition("/")[0] in SOURCES:
        return ExternalBackbone(num_classes, in_channels, name=name)
    hint = did_you_mean(str(name).replace("-", "_"), MODELS)
    raise ValueError(
        f"There is no model '{name}'.{hint} The models are: {', '.join(MODELS)}; and torchvision/NAME and "
        "timm/NAME for theirs."
    )


def build_network(
    spec: dict[str, Any], mean: Sequence[float], std: Sequence[float], seed: int = 0
) -> Network:
    """Make the network that a spec describes, with weights drawn from `seed`.

    spec: model, num_classes, in_channels, projection, and reuses where the classifier is another network's
    (see `simkd.join`); mean, std: C floats on the [0, 1] scale.
    torch's global generator is left as it was. Raises ValueError for an unknown model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = create_model(
            spec["model"], num_classes=spec["num_classes"], in_channels=spec["in_channels"]
        )
        if reuses := spec.get("reuses"):
            backbone = ReusedClassifier(
                backbone, spec["num_classes"], width=reuses["width"], size=reuses["size"]
            )
        network = Network(backbone, mean=mean, std=std, projection=spec["projection"])
    network.spec = dict(spec)
    return network


def explain_misfit(expected: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    """Return up to three reasons why the named tensors `given` cannot replace `expected`; "" if they can."""
    problems = [f"{name} is missing" for name in expected.keys() - given.keys()]
    problems += [f"{name} is not part of it" for name in given.keys() - expected.keys()]
    problems += [
        f"{name} has shape {list(given[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected.keys() & given.keys()
        if expected[name].shape != given[name].shape
    ]
    problems += [
        f"{name} is {given[name].dtype}, expected a floating-point type"
        for name in expected.keys() & given.keys()
        if expected[name].is_floating_point() and not given[name].is_floating_point()
    ]
    problems = problems or [problem for problem in [explain_numbers(given)] if problem]
    return "; ".join(sorted(problems)[:3]) + " …" * (len(problems) > 3)


def explain_numbers(tensors: dict[str, Tensor]) -> str:
    """Return which of the named tensors has numbers that are not finite; "" if none has."""
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"{bad[0]}{more} has numbers that are NaN or infinite in {tensors[bad[0]].dtype}" if bad else ""
