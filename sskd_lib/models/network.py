"""A backbone with its normalisation and, for a pretext task, its head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .heads import StageClassifiers, make_head

if TYPE_CHECKING:
    from ..data.images import ImageSet


class Output(NamedTuple):
    """What a network says of N images: all that a loss term may look at.

    logits: float [N, K]; features: float [N, D] or None.
    projection: what the head says, or None; of the contrastive task float [N, D], of another its logits
    [N, classes], of the joint one [N, stages, classes].
    maps: float [N, c, h, w] for the stem and each stage, or None: only where they were asked for.
    last: float [N, D, h, w], the activations whose mean over their pixels is `features`, or None: with maps.
    """

    logits: Tensor
    projection: Tensor | None = None
    features: Tensor | None = None
    maps: tuple[Tensor, ...] | None = None
    last: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Output:
        """The same with every tensor changed."""
        parts = (tuple(map(change, part)) if isinstance(part, tuple) else part for part in self)
        return Output(*(change(part) if isinstance(part, Tensor) else part for part in parts))

    def to(self, where: Any) -> Output:
        """The same in another number format or on another device: what torch.Tensor.to takes."""
        return self.each(lambda part: part.to(where))


class Network(nn.Module):
    """A classifier that normalises its own input and may carry a head for a pretext task.

    pixels v → (v - mean) / std → backbone → features f → logits, and z = W₂ ReLU(W₁ f) if there is a head.

    projection: True for the head of the contrastive task, or what `heads.make_head` takes. task: its task.

    The mean and the standard deviation travel with the weights, so a teacher and a student that
    were trained with different ones can look at the same pixels.

    Source of the head (two layers, width D, no BatchNorm): Xu et al. 2020, section 3.2.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        projection: bool | Mapping[str, Any] = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = make_head(backbone.feature_dim, projection)
        self.task: str = projection["task"] if isinstance(projection, Mapping) else "contrastive"
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.spec: dict[str, Any] = {}  # model name, classes, channels: what a checkpoint needs to rebuild it

    def forward(
        self, pixels: Tensor, maps: bool = False, pre_activation: bool = False, head: bool = True
    ) -> Output:
        """Classify pixels: float [N, C, H, W] in [0, 1] → Output.

        maps: fill Output.maps with the backbone's `stage_maps` and Output.last with its last activations,
        from the same pass; pre_activation: the stage maps that enter the ReLUs instead; head: False leaves
        the head out. Raises ValueError or NotImplementedError where the backbone has no maps.
        """
        x, found, last = (pixels - self.mean) / self.std, None, None
        asked = self.head if head else None
        at_stages = isinstance(asked, StageClassifiers)
        if maps or at_stages:
            features, found, last = self.backbone.features_and_maps(x, pre_activation)
        else:
            features = self.backbone.features(x)
        projection = None if asked is None else asked(found if at_stages else features)
        if not maps:
            found = last = None
        return Output(self.backbone.classify(features), projection, features, found, last)


def check_fits(network: Network, data: ImageSet | None, who: str) -> None:
    """Raise ValueError unless a network takes these images (None: nothing to check) and has their classes."""
    if data is None:
        return
    if not network.spec:
        raise ValueError(
            f"the {who} has no spec, so a checkpoint could not say what it is. Make it with create_network."
        )
    channels, classes = network.spec["in_channels"], network.spec["num_classes"]
    if (channels, classes) != (data.in_channels, data.num_classes):
        raise ValueError(
            f"the {who} ({network.spec['model']}) takes {channels} channel(s) and tells {classes} classes "
            f"apart, but {data.name} has {data.in_channels} and {data.num_classes}. Train or load one made "
            "for these images: create_network(name, like=images)."
        )
