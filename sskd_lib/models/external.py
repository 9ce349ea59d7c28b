"""Classifiers of torchvision and timm as backbones: hooks find their stages; nothing in them is changed."""

from __future__ import annotations

import copy
import math
import textwrap
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .backbone import Backbone, MapKind

__all__ = ["ExternalBackbone", "Place", "find_stages"]

PIXELS = 224  # the side of the blank image that shows where the stages end
MOST_EXTRA_TOKENS = 8  # class and register tokens before those of a transformer's patches


class Place(NamedTuple):
    """The end of a stage: the module whose output it is, and the layout of that output."""

    name: str
    layout: str  # "nchw", "nhwc" or "tokens"


def _layout(output: Any) -> tuple[str, int]:
    """Return the layout of one square image's maps and their side, which is 0 if these are no maps."""
    if not isinstance(output, Tensor) or output.dim() not in (3, 4) or len(output) != 1:
        return "", 0
    shape = output.shape
    if output.dim() == 3:
        side = math.isqrt(shape[1])
        return "tokens", side if shape[1] - side**2 <= MOST_EXTRA_TOKENS else 0
    if shape[2] == shape[3]:
        return "nchw", shape[3]
    return "nhwc", shape[1] if shape[1] == shape[2] else 0


def _as_maps(output: Tensor, layout: str) -> Tensor:
    """Return a module's output as [N, c, h, w]; of tokens, the patches' alone."""
    if layout == "nhwc":
        return output.permute(0, 3, 1, 2)
    if layout == "tokens":
        side = math.isqrt(output.shape[1])
        return output[:, output.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
    return output


def _blank_copy(net: nn.Module) -> nn.Module:
    """Return a copy in eval mode with shapes only: no memory, no arithmetic, no random numbers."""
    blank: dict[int, Any] = {id(b): torch.empty_like(b, device="meta") for b in net.buffers()}
    blank |= {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in net.parameters()}
    return copy.deepcopy(net, blank).eval()


@torch.no_grad()
def find_stages(net: nn.Module, in_channels: int = 3, pixels: int = PIXELS) -> tuple[Place, ...]:
    """Find the module that ends the stem and each stage of a network: the last one before its maps shrink.

    A blank image shows at which resolution each module works, to the nearest power of two of the image's
    side. Of those at one resolution only the outermost count: a block that halves its maps halfway through
    belongs to the next stage. A resolution that ends in a pooling is no stage.
    """
    blank = _blank_copy(net)
    resolutions: dict[str, tuple[int, str]] = {}  # halvings and layout by module, in the order they end

    def record(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        resolutions.pop(name, None)  # the last call counts
        layout, side = _layout(output)
        if side > 1:
            resolutions[name] = round(math.log2(pixels / side)), layout

    for name, module in blank.named_modules():
        if name:
            module.register_forward_hook(partial(record, name))
    blank(torch.zeros(1, in_channels, pixels, pixels, device="meta"))
    ends: dict[int, Place] = {}
    for name, (halvings, layout) in resolutions.items():
        if halvings not in ends or name.count(".") <= ends[halvings].name.count("."):
            ends[halvings] = Place(name, layout)
    stages = (ends[halvings] for halvings in sorted(ends))
    return tuple(place for place in stages if "Pool" not in type(blank.get_submodule(place.name)).__name__)


def _from_torchvision(name: str, num_classes: int, in_channels: int) -> nn.Module:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = get_close_matches(name, names, n=3) or names
        raise ValueError(
            f"torchvision has no classifier '{name}'. It has, among {len(names)}: {', '.join(close)}. "
            "torchvision.models.list_models(module=torchvision.models) names all."
        )
    auxiliary = name in ("googlenet", "inception_v3")  # these come with more classifiers for training
    options = {"aux_logits": False, "init_weights": True} if auxiliary else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    if in_channels != 3:
        _replace_first_convolution(net, in_channels)
    return net


def _replace_first_convolution(net: nn.Module, in_channels: int) -> None:
    convolution = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    weight = convolution.weight
    convolution.in_channels = in_channels
    convolution.weight = nn.Parameter(weight.new_empty(len(weight), in_channels, *weight.shape[2:]))
    convolution.reset_parameters()


def _from_timm(name: str, num_classes: int, in_channels: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"The model 'timm/{name}' needs timm, which is not installed: pip install timm, or choose a "
            "model of sskd_lib.MODELS or of torchvision."
        ) from error
    if not timm.is_model(name):
        close = ", ".join(get_close_matches(name, timm.list_models(), n=3))
        hint = f"Near it: {close}. " if close else ""
        raise ValueError(f"timm has no model '{name}'. {hint}timm.list_models() names all.")
    return timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=in_channels)


SOURCES: dict[str, Callable[[str, int, int], nn.Module]] = {
    "torchvision": _from_torchvision,
    "timm": _from_timm,
}


class ExternalBackbone(Backbone):
    """A classifier of torchvision or timm under its own parameter names (prefix `net.`), freshly initialised.

    name: torchvision/NAME or timm/NAME. The features are the input of its last linear layer, the stage maps
    the outputs of the modules that `find_stages` names; hooks keep both while the network runs as its authors
    wrote it. Most are for images of about 224 x 224 pixels; smaller ones may shrink to maps of one pixel.
    Raises ValueError for an unknown name, or a network that does not end in a linear layer.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, *, name: str) -> None:
        source, _, short_name = name.partition("/")
        net = SOURCES[source](short_name, num_classes, in_channels)
        linears = {path: m for path, m in net.named_modules() if isinstance(m, nn.Linear)}
        path = next(reversed(linears), None)
        if path is None or linears[path].out_features != num_classes:
            raise ValueError(
                f"'{name}' does not end in a linear layer of {num_classes} classes, so its penultimate "
                "features are not defined. Choose another network."
            )
        super().__init__(in_channels=in_channels, feature_dim=linears[path].in_features)
        self.net, self.name = net, name
        self.classifier_path = f"net.{path}"
        self.places: tuple[Place, ...] | None = None  # filled by the first call that wants maps

    def _run(self, x: Tensor, places: tuple[Place, ...] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the network; return the input of its classifier and the maps [N, c, h, w] at these places."""
        features: list[Tensor] = []
        maps: dict[str, Tensor] = {}

        def before_classifier(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            features.append(inputs[0])
            return (inputs[0][:1],)  # one row is enough: the logits are computed from the features

        def keep(place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            maps[place.name] = _as_maps(output, place.layout)

        hooks = [self.net.get_submodule(p.name).register_forward_hook(partial(keep, p)) for p in places]
        classifier = self.get_submodule(self.classifier_path)
        hooks.append(classifier.register_forward_pre_hook(before_classifier))
        try:
            self.net(x)
        except (RuntimeError, AssertionError, ValueError, IndexError, ZeroDivisionError) as error:
            small = min(x.shape[2:]) < PIXELS and "memory" not in str(error)
            raise ValueError(self._too_small(x, error)) if small else error from error
        finally:
            for hook in hooks:
                hook.remove()
        return features[0], maps

    def _too_small(self, x: Tensor, error: Exception) -> str:
        reason = textwrap.shorten(str(error), 100, placeholder=" …").rstrip(".")
        return (
            f"{self.name} cannot take images of {x.shape[2]} x {x.shape[3]} pixels ({reason}). Most networks "
            f"of torchvision and timm are made for {PIXELS} x {PIXELS}: enlarge the images, or choose one of "
            "sskd_lib.MODELS."
        )

    @torch.no_grad()
    def check_side(self, side: int) -> None:
        """Raise ValueError if the network cannot take images of this height and width."""
        super().check_side(side)
        was_training, weight = self.training, next(self.parameters())
        blank = torch.zeros(1, self.in_channels, side, side, device=weight.device, dtype=weight.dtype)
        try:
            self.eval()._run(blank)
        finally:
            self.train(was_training)

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the last linear layer, [N, D], for float images [N, C, H, W]."""
        return self._run(x)[0]

    def features_and_maps(
        self, x: Tensor, kind: MapKind = "post_relu"
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return features [N, D], the maps [N, c, h, w] of stem and stages, and the last stage's maps again.

        The maps are those of `find_stages`; of a transformer, its patches'; a network that keeps one
        resolution gives one map. The mean of the last maps is `features` only where nothing but pooling
        comes between, as in ResNets. Raises ValueError for maps before a ReLU.
        """
        if kind != "post_relu":
            raise ValueError(
                "Maps before a stage's last ReLU are known for the kit's own families only, not for "
                "torchvision's and timm's. Use a method that compares the maps themselves, or one of those."
            )
        if self.places is None:
            try:
                self.places = find_stages(self.net, self.in_channels)
            except (AssertionError, RuntimeError):  # a network that takes images of one size alone
                self.places = find_stages(self.net, self.in_channels, x.shape[-1])
        features, named_maps = self._run(x, self.places)
        maps = tuple(named_maps[place.name] for place in self.places)
        return features, maps, maps[-1]
