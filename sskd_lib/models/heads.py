"""The heads a network may carry beside its classifier, and the pretext tasks that they are taught.

B images in a batch, their 4B views in the order of `four_views`, K classes of the images, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..data.images import ImageSet
    from .network import Network

ANGLES = 4

# What each task asks of a view. All but the first are classifications.
TASKS: dict[str, str] = {
    "contrastive": "which of the B upright views shows its image (SSKD's own task)",
    "exemplar": "which image of the training set it shows",
    "jigsaw": "in which of 24 orders its four quarters lie",
    "rotation": "by which of four angles it is turned",
    "joint": "its class and its angle together, asked at every stage (HSAKD's task)",
}


def two_layers(width: int, outputs: int) -> nn.Sequential:
    """Return the head z = W₂ ReLU(W₁ f): features f [N, width] → z [N, outputs].

    Source: Xu et al. 2020, section 3.2.
    """
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, outputs))


class StageClassifiers(nn.Module):
    """One auxiliary classifier per stage, each with the same classes: maps → logits [N, stages, classes].

    A classifier stands for the later stages of its network: one 3 x 3 convolution, BatchNorm and ReLU for
    each later stage, of that stage's width and size; then the mean over the pixels and a linear layer.

    stages: [c, h, w] of each stage, without the stem. Source: Yang et al. 2021 (HSAKD), where each auxiliary
    classifier copies the network's later stages whole.
    """

    on_maps = True  # Network.forward gives this head stage maps, others the features

    def __init__(self, stages: Sequence[Sequence[int]], classes: int) -> None:
        super().__init__()
        widths, sides = [stage[0] for stage in stages], [stage[1] for stage in stages]

        def to_stage(later: int) -> nn.Sequential:
            stride = max(1, sides[later - 1] // sides[later])
            convolution = nn.Conv2d(widths[later - 1], widths[later], 3, stride, padding=1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(widths[later]), nn.ReLU(inplace=True))

        self.branches = nn.ModuleList(
            nn.Sequential(*(to_stage(later) for later in range(number + 1, len(stages))))
            for number in range(len(stages))
        )
        self.classifiers = nn.ModuleList(nn.Linear(widths[-1], classes) for _ in stages)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits [N, stages, classes] of the maps float [N, c, h, w] of stem (unused) and stages."""
        both = zip(self.branches, self.classifiers, maps[1:], strict=True)
        return torch.stack([classify(branch(m).mean((2, 3))) for branch, classify, m in both], 1)


def make_head(width: int, spec: bool | Mapping[str, Any]) -> nn.Module | None:
    """Return the head of a spec: True is the projection head of the contrastive task, False is none.

    spec: else {"task": …, "outputs": classes of the task}; with "stages" ([c, h, w] of each) it is a head on
    maps, StageClassifiers. width: D.
    """
    if not isinstance(spec, Mapping):
        return two_layers(width, width) if spec else None
    if "stages" in spec:
        return StageClassifiers(spec["stages"], spec["outputs"])
    return two_layers(width, spec["outputs"])


def pretext_classes(task: str, images: int, classes: int) -> int:
    """How many answers a task that classifies has, for so many training images of so many classes."""
    return {"exemplar": images, "jigsaw": 24, "rotation": ANGLES, "joint": ANGLES * classes}[task]


def give_head(teacher: Network, task: str, train: ImageSet, seed: int) -> None:
    """Put a fresh head for a pretext task on a network, unless it has one for this task and of this shape.

    Raises ValueError for an unknown task, and for a network without the contrastive task's head.
    """
    if task not in TASKS:
        raise ValueError(f"there is no pretext task {task!r}; the tasks are: {', '.join(TASKS)}.")
    if task == "contrastive":
        if teacher.head is None or teacher.task != task:
            raise ValueError(
                "this teacher has no projection head; make it with projection=True, or load one that has."
            )
        return
    wanted = {"task": task, "outputs": pretext_classes(task, len(train), train.num_classes)}
    if task == "joint":
        side = train.window or train.images.shape[-1]
        wanted["stages"] = stage_shapes(teacher, side)
    if teacher.spec["projection"] == wanted:
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        head = make_head(teacher.backbone.feature_dim, wanted)
    teacher.head, teacher.task = head.to(teacher.mean.device), task
    teacher.spec = teacher.spec | {"projection": wanted}


@torch.no_grad()
def stage_shapes(network: Network, side: int) -> list[list[int]]:
    """[c, h, w] of each stage of a network, the stem left out, for square images of this side."""
    blank = torch.zeros(1, network.spec["in_channels"], side, side, device=network.mean.device)
    return [list(found.shape[1:]) for found in network.eval()(blank, maps="post_relu", head=False).maps[1:]]
