"""What SimKD does before its training: the student gives up its classifier and takes over the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from .models.reused import ReusedClassifier, find_classifier
from .network import Network


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
