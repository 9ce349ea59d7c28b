"""Parts that several exercises share: random numbers of a case, and the divergence in its usual variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses import error_rank, image_of_row, transfer_mask

TAUS = (2.0, 4.0, 0.5, 8.0, 3.0)


def generator_of(seed: int) -> torch.Generator:
    """Return the generator of a case."""
    return torch.Generator().manual_seed(seed)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Return normal random numbers in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def pair_of_scores(seed: int) -> dict[str, Any]:
    """Return the arguments of a KD loss: scores of a student and of a teacher, and a temperature."""
    generator = generator_of(seed)
    student, teacher = (2 * normal(generator, 2 + seed % 3, 4) for _ in range(2))
    return {"student": student, "teacher": teacher, "tau": chosen(TAUS, seed)}


def kl(student: Tensor, teacher: Tensor, tau: float, reduction: str = "batchmean") -> Tensor:
    """Return KL(teacher ‖ student) at a temperature, without τ². student, teacher: float [N, K]."""
    log_s, log_t = F.log_softmax(student / tau, 1), F.log_softmax(teacher / tau, 1)
    return F.kl_div(log_s, log_t, reduction=reduction, log_target=True)


def images_of(matrix: Tensor) -> Tensor:
    """Return the image of each row of a similarity matrix [3B, B]: int64 [3B]."""
    return image_of_row(*matrix.shape)


def first_of(order: Tensor, count: int) -> Tensor:
    """Return a mask that keeps the first rows of an order. order: int64 [N]; returns bool [N]."""
    keep = torch.zeros(len(order), dtype=torch.bool)
    keep[order[:count]] = True
    return keep


def worst_rows(rank: Tensor, ratio: float) -> Tensor:
    """Return the mask that keeps all right rows and, of the others, the most wrong ones."""
    order = torch.where(rank == 0, -1, -rank + rank.max()).argsort(stable=True)
    return first_of(order, int((rank == 0).sum()) + int(ratio * int((rank > 0).sum())))


def ratio_of_all(rank: Tensor, ratio: float) -> Tensor:
    """Return the mask that keeps a share of all rows, the right ones first."""
    return first_of(rank.argsort(stable=True), int(ratio * len(rank)))


def kept_rows(scores: Tensor, targets: Tensor, ratio: float, mistake: str = "") -> Tensor:
    """Return the library's selection of rows, or one with a known mistake: bool [N]."""
    if mistake == "worst":
        return worst_rows(error_rank(scores, targets), ratio)
    if mistake == "of all":
        return ratio_of_all(error_rank(scores, targets), ratio)
    if mistake == "right only":
        return error_rank(scores, targets) == 0
    if mistake == "none":
        return torch.ones(len(scores), dtype=torch.bool)
    return transfer_mask(scores, targets, ratio)


def chosen(values: Sequence[float], seed: int) -> float:
    """Return the value of a case."""
    return values[seed % len(values)]
