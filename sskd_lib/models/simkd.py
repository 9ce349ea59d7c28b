"""SimKD's student: its own maps, a projector to the teacher's width, and the teacher's classifier, fixed.

Source: Chen, Mei, Zhang, Wang, Feng, Chen 2022 (arXiv 2203.14001), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, check_images
from .network import Network

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


@torch.no_grad()
def reuse_classifier(student: Network, teacher: Network, pixels: tuple[int, int], seed: int = 0) -> None:
    """Join a student with its teacher's classifier, in place; the teacher stays as it is.

    student.backbone becomes a `ReusedClassifier`, student.spec says so, and a projection head is made anew,
    for the new width. pixels: height and width of the training images. seed: draws the projector and the
    head; torch's global generator is left as it was. A student that has been joined with the same classifier
    stays as it is.
    Raises ValueError if a network's features are not the mean of its last maps, if the teacher's logits are
    not a linear layer of them, or for a student that has been joined with another classifier.
    """
    device = teacher.mean.device
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, teacher.spec["in_channels"], *pixels, generator=generator)
    last = _last_maps(teacher, x.to(device), "teacher")
    weight, bias = _classifier(teacher, last)
    made = {"model": teacher.spec["model"], "width": last.shape[1], "size": list(last.shape[2:])}
    if isinstance(student.backbone, ReusedClassifier):
        fc = student.backbone.fc
        same = student.spec.get("reuses") == made and torch.equal(fc.weight, weight.to(fc.weight.device))
        if not (same and torch.equal(fc.bias, bias.to(fc.bias.device))):
            raise ValueError(
                "this student has been joined with the classifier of another teacher, and can take over one "
                "only. Make a fresh one with create_network."
            )
        return
    _last_maps(student, x.to(student.mean.device), "student")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = ReusedClassifier(
            student.backbone, student.spec["num_classes"], width=made["width"], size=made["size"]
        )
        joined = Network(backbone, mean=[0.0], std=[1.0], projection=student.spec["projection"])
    joined.to(student.mean.device)  # without its mean and deviation: the student keeps its own
    backbone.fc.weight.copy_(weight)
    backbone.fc.bias.copy_(bias)
    student.backbone, student.head = joined.backbone, joined.head
    student.spec = student.spec | {"reuses": made}


def _last_maps(network: Network, x: Tensor, who: str) -> Tensor:
    """The maps before the global pooling, float [N, D, h, w], of a network as it is in eval mode."""
    was_training = network.training
    output = network.eval()(x, maps=True)
    network.train(was_training)
    last, features = output.last, output.features
    pooled = last.mean((2, 3))
    if pooled.shape != features.shape or not torch.allclose(pooled, features, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"simkd needs networks whose features are the mean of their last maps, and those of the {who} "
            f"({network.spec['model']}) are not. Choose one of the kit's own families, or a ResNet of "
            "torchvision or timm; or a method that compares features, such as rkd."
        )
    return last


def _classifier(teacher: Network, last: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [K, D] and bias [K] of the teacher's classifier."""
    layer = teacher.backbone.get_submodule(find_classifier(teacher.backbone))
    bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
    features = last.mean((2, 3))
    fits = layer.in_features == features.shape[1]
    logits = teacher.backbone.classify(features)
    if not fits or not torch.allclose(layer(features), logits, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"the classifier of the teacher ({teacher.spec['model']}) is not one linear layer of its "
            "features, so simkd cannot reuse it. Choose another teacher, or another method."
        )
    return layer.weight, bias
