"""A batch of images as both networks see it: similarity matrices of its views, made from projections."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...losses import error_rank, kl_rows, own_image, similarity_matrix, soften


class Batch(NamedTuple):
    """B images that stand together, and what both networks make of their views."""

    numbers: np.ndarray  # of the images, among all
    cosine: dict[str, Tensor]  # [3B, B] by network
    rank: dict[str, np.ndarray]  # error rank of each row, [3B] by network

    def order(self, who: str, row: int) -> np.ndarray:
        """Columns of a row, most similar first; its own image leads its equals, as in `error_rank`."""
        columns = np.arange(len(self.numbers))
        return np.lexsort((columns != row % len(columns), -self.cosine[who][row].numpy()))

    def soft(self, temperature: float) -> dict[str, np.ndarray]:
        """Both matrices with softened rows, float64 [3B, B] by network."""
        return {who: soften(a, temperature).numpy() for who, a in self.cosine.items()}

    def divergence(self, row: int, temperature: float) -> float:
        """τ² · KL(teacher ‖ student) of one row."""
        one = slice(row, row + 1)
        return max(float(kl_rows(self.cosine["student"][one], self.cosine["teacher"][one], temperature)), 0.0)

    def totals(self) -> str:
        """How many rows each network gets right, in words."""
        right = [int((rank == 0).sum()) for rank in self.rank.values()]
        rows = 3 * len(self.numbers)
        return f"Of all {rows} rows the teacher gets {right[0]} right, the student {right[1]}."


def by_view(who: str, projection: Any, images: int) -> Tensor:
    """Projections float [4M, D] in the order of `four_views`, as float64 [4, M, D].

    Raises ValueError, which names the network `who`, for another shape or values that are not finite.
    """
    z = torch.as_tensor(projection).detach().cpu().double()
    if z.ndim != 2 or len(z) != 4 * images:
        raise ValueError(
            f"{who} is {list(z.shape)}, but {images} images ask for projections "
            f"[{4 * images}, D]: one row a view, in the order of four_views(images)."
        )
    if not z.isfinite().all():
        raise ValueError(f"{who} holds values that are not finite: its matrix cannot be drawn.")
    return z.view(4, images, -1)


def make_batch(projections: dict[str, Tensor], numbers: Tensor) -> Batch:
    """Put these images together. projections: [4, M, D] by network; numbers: int64 [B], in 0 … M - 1."""
    own = own_image(3 * len(numbers), len(numbers))
    cosine = {
        who: similarity_matrix(z[1:, numbers].flatten(0, 1), z[0, numbers]) for who, z in projections.items()
    }
    rank = {who: error_rank(a, own).numpy() for who, a in cosine.items()}
    return Batch(numbers.numpy(), cosine, rank)
