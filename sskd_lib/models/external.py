"""Classifiers of torchvision and timm as backbones: their parts are found by looking, none is changed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .backbone import Backbone, check_images

__all__ = ["ExternalBackbone", "Place", "find_stages"]

PIXELS = 224  # the side of the blank image that shows where the stages end
MOST_EXTRA_TOKENS = 8  # class and register tokens before those of a transformer's patches


class Place(NamedTuple):
    """Where a stage ends: the module whose output it is, and how that output is laid out."""

    name: str
    layout: str  # "nchw", "nhwc" or "tokens"


def _layout(output: Any) -> tuple[str, int] | None:
    """The layout of one square image's maps and their side, or None if these are no maps."""
    if not isinstance(output, Tensor) or output.dim() not in (3, 4) or len(output) != 1:
        return None
    shape = output.shape
    if output.dim() == 3:
        side = math.isqrt(shape[1])
        found = ("tokens", side) if shape[1] - side**2 <= MOST_EXTRA_TOKENS else None
    elif shape[2] == shape[3]:
        found = "nchw", shape[3]
    else:
        found = ("nhwc", shape[1]) if shape[1] == shape[2] else None
    return found if found and found[1] > 1 else None


def _as_maps(output: Tensor, layout: str) -> Tensor:
    """[N, c, h, w] of a module's output; of tokens, the patches' alone."""
    if layout == "nhwc":
        return output.permute(0, 3, 1, 2)
    if layout == "tokens":
        side = math.isqrt(output.shape[1])
        return output[:, output.shape[1] - side**2 :].transpose(1, 2).unflatten(2, (side, side))
    return output


def _blank_copy(net: nn.Module) -> nn.Module:
    """The same network in eval mode with shapes only: no memory, no arithmetic, no random numbers."""
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
    twin, last = _blank_copy(net), {}

    def watch(name: str, module: nn.Module) -> None:
        pools = "Pool" in type(module).__name__

        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            last.pop(name, None)  # the last call counts
            if found := _layout(output):
                last[name] = round(math.log2(pixels / found[1])), found[0], pools

        module.register_forward_hook(note)

    for name, module in twin.named_modules():
        if name:
            watch(name, module)
    twin(torch.zeros(1, in_channels, pixels, pixels, device="meta"))
    ends: dict[int, tuple[str, str, bool]] = {}
    for name, (octave, layout, pools) in last.items():  # in the order in which they end
        if octave not in ends or name.count(".") <= ends[octave][0].count("."):
            ends[octave] = name, layout, pools
    return tuple(Place(*ends[octave][:2]) for octave in sorted(ends) if not ends[octave][2])


def _from_torchvision(name: str, num_classes: int, in_channels: int) -> nn.Module:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = get_close_matches(name, names, n=3) or names
        raise ValueError(
            f"torchvision has no classifier '{name}'. It has, among {len(names)}: {', '.join(close)}. "
            "torchvision.models.list_models(module=torchvision.models) names all."
        )
    bare = name in ("googlenet", "inception_v3")  # these come with extra classifiers for training
    options = {"aux_logits": False, "init_weights": True} if bare else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    if in_channels != 3:
        _replace_first_convolution(net, in_channels)
    return net


def _replace_first_convolution(net: nn.Module, in_channels: int) -> None:
    path, old = next((p, m) for p, m in net.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
    )
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, new)


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

    name: torchvision/NAME or timm/NAME. Features are what enters its last linear layer, stage maps what
    leaves `find_stages`; both are picked up while the network runs as its authors wrote it. Most are for
    images of about 224 x 224 pixels; where smaller ones pass, their maps may shrink to one pixel.
    Raises ValueError for an unknown name, or a network that does not end in a linear layer.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, *, name: str) -> None:
        source, _, theirs = name.partition("/")
        net = SOURCES[source](theirs, num_classes, in_channels)
        linears = {path: m for path, m in net.named_modules() if isinstance(m, nn.Linear)}
        path = next(reversed(linears), None)
        if path is None or linears[path].out_features != num_classes:
            raise ValueError(
                f"'{name}' does not end in a linear layer of {num_classes} classes, so its penultimate "
                "features are not defined. Choose another network."
            )
        super().__init__(in_channels=in_channels, feature_dim=linears[path].in_features)
        self.net = net
        self.classifier_path = path
        self.places: tuple[Place, ...] | None = None  # found when first asked for

    def _run(self, x: Tensor, places: tuple[Place, ...] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the network and keep what enters its classifier and what leaves these places."""
        features: list[Tensor] = []
        kept: dict[str, Tensor] = {}

        def before_classifier(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            features.append(inputs[0])
            return (inputs[0][:1],)  # one row will do here: `classify` does the work

        def at(place: Place) -> Callable[..., None]:
            def keep(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
                kept[place.name] = _as_maps(output, place.layout)

            return keep

        hooks = [self.net.get_submodule(p.name).register_forward_hook(at(p)) for p in places]
        classifier = self.net.get_submodule(self.classifier_path)
        hooks.append(classifier.register_forward_pre_hook(before_classifier))
        try:
            self.net(x)
        finally:
            for hook in hooks:
                hook.remove()
        return features[0], kept

    def features(self, x: Tensor) -> Tensor:
        """Return what enters the last linear layer, [N, D]; errors as in `Backbone.features`."""
        check_images(x, self.in_channels)
        return self._run(x)[0]

    def feature_maps(self, x: Tensor) -> Tensor:
        return self.stage_maps(x)[-1]

    def features_and_maps(
        self, x: Tensor, pre_activation: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """As `Backbone.features_and_maps`; the last activations are those of the last stage.

        Their mean is `features` only where nothing but the pooling stands between, as in ResNets.
        """
        check_images(x, self.in_channels)
        if pre_activation:
            raise ValueError(
                "Maps before a stage's last ReLU are known for the kit's own families only, not for "
                "torchvision's and timm's. Use a method that compares the maps themselves, or one of those."
            )
        if self.places is None:
            self.places = find_stages(self.net, self.in_channels)
        features, kept = self._run(x, self.places)
        maps = tuple(kept[place.name] for place in self.places)
        return features, maps, maps[-1]

    def stage_maps(self, x: Tensor, pre_activation: bool = False) -> tuple[Tensor, ...]:
        """Return the maps [N, c, h, w] that leave the stem and each stage; of a transformer, its patches'.

        They are what `find_stages` found; a network that keeps one resolution gives one map.
        Raises ValueError as `features`, and if pre_activation is asked for.
        """
        return self.features_and_maps(x, pre_activation)[1]

    def classify(self, features: Tensor) -> Tensor:
        return self.net.get_submodule(self.classifier_path)(features)
