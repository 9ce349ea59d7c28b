"""Heads that a network may have beside its classifier, for pretext tasks.

Legend: N images, D feature width, [c, h, w] the shape of a stage's maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


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
