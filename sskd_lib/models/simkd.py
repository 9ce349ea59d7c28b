"""SimKD's student: its own encoder, a projector to the teacher's width, and the teacher's classifier.

Source: Chen, Mei, Zhang, Wang, Feng, Chen 2022 (arXiv 2203.14001), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, MapKind
from .heads import make_head
from .network import Network

REDUCTION = 2  # of the width inside the projector


def make_projector(in_width: int, out_width: int) -> nn.Sequential:
    """Convolutions 1 × 1, 3 × 3 and 1 × 1, each with BatchNorm and ReLU: [N, in, h, w] → [N, out, h, w]."""
    inner = max(1, out_width // REDUCTION)
    layers: list[nn.Module] = []
    for before, after, size in ((in_width, inner, 1), (inner, inner, 3), (inner, out_width, 1)):
        conv = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ReusedClassifier(Backbone):
    """A backbone whose last maps pass a projector and then another network's classifier.

    last maps of `encoder` [N, D_S, h, w] → averaged to `size` where they are larger → projector → last
    activations [N, D_T, ·, ·] → mean → fc. The encoder is the given backbone itself; its own classifier is
    taken out. fc does not learn: neither gradients nor weight decay reach it. `join` copies its weights in.

    width: D_T; size: height and width of the other network's last maps. Source: Chen et al. 2022, section 3.
    """

    def __init__(self, encoder: Backbone, num_classes: int, *, width: int, size: Sequence[int]) -> None:
        super().__init__(in_channels=encoder.in_channels, feature_dim=width)
        self.encoder, self.size = encoder, (size[0], size[1])
        self.projector = make_projector(encoder.feature_dim, width)
        self.fc = nn.Linear(width, num_classes).requires_grad_(False)
        encoder.set_submodule(encoder.classifier_path, nn.Identity())

    def check_side(self, side: int) -> None:
        """Raise ValueError if images of this height and width are too small for the encoder."""
        self.encoder.check_side(side)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features [N, D_T] of float images [N, C, H, W]."""
        return self.features_and_maps(x)[0]

    def features_and_maps(
        self, x: Tensor, kind: MapKind = "post_relu"
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return the features [N, D_T], the encoder's stage maps, and the projected maps [N, D_T, ·, ·]."""
        _, maps, last = self.encoder.features_and_maps(x, kind)
        size = min(last.shape[2], self.size[0]), min(last.shape[3], self.size[1])
        last = self.projector(last if last.shape[2:] == size else F.adaptive_avg_pool2d(last, size))
        return last.mean((2, 3)), maps, last


@torch.no_grad()
def join(student: Network, teacher: Network, pixels: tuple[int, int], seed: int = 0) -> None:
    """Join a student with its teacher's classifier, in place; the teacher stays as it is.

    student.backbone becomes a `ReusedClassifier`, student.spec names the teacher's model and width under
    "reuses", and a projection head is made again for the new width. A student that has been joined with the
    same classifier stays as it is.
    pixels: height and width of the training images. seed: draws the projector and the head; torch's global
    generator is left as it was.
    Raises ValueError if a network's features are not the mean of its last maps, or for a student that has
    been joined with another classifier.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, teacher.spec["in_channels"], *pixels, generator=generator)
    width, *size = _last_maps_shape(teacher, x, "teacher")
    reuses = {"model": teacher.spec["model"], "width": width, "size": size}
    classifier = dict(teacher.backbone.get_submodule(teacher.backbone.classifier_path).state_dict())
    classifier.setdefault("bias", torch.zeros_like(classifier["weight"][:, 0]))
    if isinstance(student.backbone, ReusedClassifier):
        present = student.backbone.fc.state_dict()
        if student.spec.get("reuses") != reuses or not all(
            torch.equal(present[name], tensor.to(present[name].device)) for name, tensor in classifier.items()
        ):
            raise ValueError(
                "this student has been joined with the classifier of another teacher, and can take over one "
                "only. Make a fresh one with create_network."
            )
        return
    _last_maps_shape(student, x, "student")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = ReusedClassifier(student.backbone, student.spec["num_classes"], width=width, size=size)
        head = make_head(width, student.spec["projection"])
    backbone.fc.load_state_dict(classifier)
    student.backbone, student.head, student.head_trained = backbone, head, False
    student.to(student.mean.device)
    student.spec = student.spec | {"reuses": reuses}


def _last_maps_shape(network: Network, x: Tensor, role: str) -> list[int]:
    """Return [D, h, w] of a network's last maps; ValueError unless their mean is its features."""
    was_training = network.training
    output = network.eval()(x.to(network.mean.device), maps="post_relu", head=False)
    network.train(was_training)
    pooled = output.last.mean((2, 3))
    if pooled.shape != output.features.shape or not torch.allclose(
        pooled, output.features, rtol=1e-3, atol=1e-5
    ):
        raise ValueError(
            f"simkd needs networks whose features are the mean of their last maps, and those of the {role} "
            f"({network.spec['model']}) are not. Choose one of the kit's own families, or a ResNet of "
            "torchvision or timm; or a method that compares features, such as rkd."
        )
    return list(output.last.shape[1:])
