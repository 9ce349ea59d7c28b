"""A backbone with its normalisation and, for a pretext task, its head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .backbone import Backbone, MapKind, explain_images
from .heads import make_head


class Output(NamedTuple):
    """The outputs of a network for N images: all that a loss term may read.

    logits: float [N, K]; features: float [N, D] or None.
    projection: the output of the head, or None without one; float [N, D] for the contrastive task, logits
    [N, classes] for another, [N, stages, classes] for the joint one.
    maps: float [N, c, h, w] for the stem and each stage, or None where the call did not want maps.
    last: float [N, D, h, w], the activations whose mean over their pixels is `features`; None without maps.
    """

    logits: Tensor
    projection: Tensor | None = None
    features: Tensor | None = None
    maps: tuple[Tensor, ...] | None = None
    last: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Output:
        """Return the same outputs with `change` applied to every tensor."""
        projection, features, last = (
            None if part is None else change(part) for part in (self.projection, self.features, self.last)
        )
        maps = None if self.maps is None else tuple(map(change, self.maps))
        return Output(change(self.logits), projection, features, maps, last)

    def to(self, where: Any) -> Output:
        """Return the same outputs in another number format or on another device, as torch.Tensor.to does."""
        return self.each(lambda part: part.to(where))


class Network(nn.Module):
    """A classifier that normalises its own input and may carry a head for a pretext task.

    pixels v → (v - mean) / std → backbone → features f → logits, and z = W₂ ReLU(W₁ f) if there is a head.

    mean, std: C floats on the [0, 1] scale. They travel with the weights, so that a teacher and a student
    that were trained with different ones can take the same pixels.
    projection: True for the head of the contrastive task, or what `heads.make_head` takes. task: its task.
    spec: model name, classes, channels and head: what a checkpoint needs to build the network again.
    classes: names of the K classes, in the order of the logits; None: not known. head_trained: whether the
    head has been trained; `network.head_trained = True` marks one that is used as it is, on purpose. A
    checkpoint keeps both.

    Source of the head (two layers, width D, no BatchNorm): Xu et al. 2020, section 3.2.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
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
        self.spec: dict[str, Any] = {}
        self.classes: tuple[str, ...] | None = None
        self.head_trained = False

    def forward(self, pixels: Tensor, maps: MapKind | None = None, head: bool = True) -> Output:
        """Classify pixels: float [N, C, H, W] in [0, 1] → Output, in the number format of the parameters.

        maps: "post_relu" or "pre_relu" fills Output.maps with the backbone's `stage_maps` of this kind and
        Output.last with its last activations, from the same pass. A head on maps reads the same ones, and
        without them those of "post_relu". head: False leaves the head out.
        Raises ValueError for other tensors (for pixels of 0 to 255 on the CPU), and for maps that the
        backbone cannot give; NotImplementedError where it has none.
        """
        backbone, dtype = self.backbone, self.mean.dtype
        if (
            pixels.dim() != 4
            or pixels.shape[1] != backbone.in_channels
            or min(pixels.shape[2:]) < backbone.min_pixels
            or not pixels.is_floating_point()
            or (pixels.device.type == "cpu" and len(pixels) > 0 and pixels[0].max() > 10)  # 0 to 255
        ):
            raise ValueError(explain_images(pixels, backbone.in_channels, backbone.min_pixels))
        x = (pixels - self.mean) / self.std
        on_maps = head and getattr(self.head, "on_maps", False)
        if maps or on_maps:
            features, stage_maps, last = backbone.features_and_maps(x, maps or "post_relu")
        else:
            features = backbone.features(x)
        projection = None
        if head and self.head is not None:
            projection = self.head(stage_maps if on_maps else features).to(dtype)
        logits = backbone.get_submodule(backbone.classifier_path)(features).to(dtype)
        if maps is None:
            return Output(logits, projection, features.to(dtype))
        stage_maps = tuple([m.to(dtype) for m in stage_maps])
        return Output(logits, projection, features.to(dtype), stage_maps, last.to(dtype))
