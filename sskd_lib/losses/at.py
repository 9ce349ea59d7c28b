"""Attention transfer: the student looks where the teacher looks.

Source: Zagoruyko, Komodakis 2017 (arXiv 1612.03928), section 3.1. The comparisons that followed gave it the
weight 1000 and summed it over the stages.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def at_loss(student: Tensor, teacher: Tensor, p: float = 2.0) -> Tensor:
    """Compare the normalised attention maps of one stage: mean (Q_S / ‖Q_S‖₂ - Q_T / ‖Q_T‖₂)².

    Q = vec(Σ_c |A_c|^p): what every place of a map A adds up to over its channels. The mean runs over images
    and places, as in the authors' code; the paper's Eq. 2 has β/2 times the norm itself.

    student, teacher: float [N, C, H, W]; C may differ, and of two sizes the larger is pooled to the smaller.
    Returns a scalar, at least float32. A map that is 0 everywhere has no attention: it stays 0 and gets no
    gradient. Raises ValueError if the two do not show the same images.
    """
    student, teacher = same_size(precise(student), precise(teacher.detach()))
    return F.mse_loss(_attention(student, p), _attention(teacher, p))


def _attention(maps: Tensor, p: float) -> Tensor:
    return unit(maps.abs().pow(p).mean(1).flatten(1))


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two stacks of maps to the height and width of the smaller.

    student: float [N, C_S, H_S, W_S]; teacher: float [N, C_T, H_T, W_T]. Raises ValueError unless both are
    maps of the same N images.
    """
    if student.dim() != 4 or teacher.dim() != 4:
        raise ValueError(
            f"maps are [N, C, H, W], but the student's are {list(student.shape)} and the teacher's "
            f"{list(teacher.shape)}. Take them before the network's global pooling."
        )
    same_images(student, teacher)
    size = tuple(min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True))
    student, teacher = (
        x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (student, teacher)
    )
    return student, teacher


def same_images(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError unless student and teacher have the same, positive number of rows."""
    if len(student) != len(teacher) or not len(student):
        raise ValueError(
            f"the student has {len(student)} row(s) and the teacher {len(teacher)}: both need one for each "
            "image, and at least one. Show both networks the same batch."
        )


def precise(x: Tensor) -> Tensor:
    """Lift to float32 what is held in less; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def unit(x: Tensor) -> Tensor:
    """Divide the last axis by its length: x / ‖x‖₂. A vector of length 0 stays 0 and gets no gradient."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.masked_fill(length == 0, torch.inf)
