"""Similarity matrices of one batch for two networks, computed from projections."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...losses import error_rank, image_of_row, kl_rows, similarity_matrix, soften
from ..arguments import as_numbers


class SimilarityBatch(NamedTuple):
    """Both networks' similarity matrices of the views of B images in one batch."""

    numbers: np.ndarray  # of the images, among all
    cosine: dict[str, Tensor]  # [3B, B] by network
    rank: dict[str, np.ndarray]  # error rank of each row, [3B] by network

    def order(self, role: str, row: int) -> np.ndarray:
        """Return a row's columns, most similar first; among equals the right one, as in `error_rank`."""
        columns = np.arange(len(self.numbers))
        return np.lexsort((columns != row % len(columns), -self.cosine[role][row].numpy()))

    def soft(self, temperature: float) -> dict[str, np.ndarray]:
        """Return both matrices with softened rows, float64 [3B, B] by network."""
        return {role: soften(a, temperature).numpy() for role, a in self.cosine.items()}

    def divergence(self, row: int, temperature: float) -> float:
        """Return τ² · KL(teacher ‖ student) of one row."""
        one = slice(row, row + 1)
        return max(float(kl_rows(self.cosine["student"][one], self.cosine["teacher"][one], temperature)), 0.0)

    def totals(self) -> str:
        """Return in words the number of rows that each network gets right."""
        right = [int((rank == 0).sum()) for rank in self.rank.values()]
        rows = 3 * len(self.numbers)
        return f"Of all {rows} rows the teacher gets {right[0]} right, the student {right[1]}."


def by_view(role: str, projection: Any, images: int) -> Tensor:
    """Return projections float [4M, D] in the order of `four_views` as float64 [4, M, D].

    Raises ValueError, which names the network's role, for another shape or values that are not finite.
    """
    z = torch.from_numpy(as_numbers(role, projection))
    if z.ndim != 2 or len(z) != 4 * images:
        raise ValueError(
            f"{role} is {list(z.shape)}, but {images} images need projections "
            f"[{4 * images}, D]: one row per view, in the order of four_views(images)."
        )
    return z.view(4, images, -1)


def make_batch(projections: dict[str, Tensor], numbers: Tensor) -> SimilarityBatch:
    """Make a batch of these images. projections: [4, M, D] by network; numbers: int64 [B], in 0 … M - 1."""
    target = image_of_row(3 * len(numbers), len(numbers))
    cosine = {
        role: similarity_matrix(z[1:, numbers].flatten(0, 1), z[0, numbers])
        for role, z in projections.items()
    }
    rank = {role: error_rank(a, target).numpy() for role, a in cosine.items()}
    return SimilarityBatch(numbers.numpy(), cosine, rank)
