"""Data of the views explorer: draws of flips and crops, and projections of the views that they give."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.views import Draws, centre, cut, draw, four_views, frame
from ...evaluation import eval_mode
from ...losses import error_rank, image_of_row, similarity_matrix
from ...models.network import Network
from ...runtime.device import Runtime


@torch.no_grad()
def project_draws(
    network: Network, images: Tensor, *, count: int = 8, seed: int = 0, runtime: Runtime | None = None
) -> tuple[Tensor, list[Draws]]:
    """Draw flips and crops for a batch several times, and pass the four views of each draw through a network.

    The first draw has nothing random: nothing mirrored, every window in the middle. The network runs in
    eval mode. images: uint8 [B, C, H, H]. Returns (projections, draws): float32 [count, 4B, D] on the CPU,
    rows as in `four_views`, and `count` draws, ready for `explore_views`.
    Raises ValueError for a network without a projection head, or images that are not uint8 squares.
    """
    four_views(images, augment=False)  # its errors say what is wrong with the images
    if network.head is None:
        raise ValueError(
            "the views explorer compares projections, and this network has no projection head. Take one made "
            "with projection=True; a teacher's head is trained by train_head."
        )
    runtime, generator = runtime or Runtime(), torch.Generator().manual_seed(seed)
    draws = [centre(len(images)), *(draw(len(images), generator) for _ in range(count - 1))]
    framed, size = frame(images.cpu()), tuple(images.shape[2:])
    with eval_mode(runtime.place(network)):
        views = (cut(framed, d, size, 4).to(runtime.device) for d in draws)
        projections = [runtime.run(network, v).projection for v in views]
    return torch.stack(projections).cpu(), draws


class Match(NamedTuple):
    """The head's match of one turned view with the upright views of the batch."""

    cosine: float  # with the upright view of its image
    others: np.ndarray  # cosines with the upright views of the other images, [B - 1]
    rank: int  # how many of them are larger
    taken_for: int  # the image of the largest cosine


class Matches:
    """The matches of all turned views in all draws. projections: float [draws, 4B, D]; batch: B."""

    def __init__(self, projections: Tensor, batch: int) -> None:
        self.batch = batch
        cosines = [similarity_matrix(z[batch:], z[:batch]) for z in projections]
        target = image_of_row(3 * batch, batch)
        self.ranks = np.stack([error_rank(c, target).numpy() for c in cosines])
        self.cosines = torch.stack(cosines).numpy()  # [draws, 3B, B]

    def match(self, image: int, draw: int, turns: int) -> Match:
        """Return the match of this image's view turned by 1, 2 or 3 quarters."""
        row = (turns - 1) * self.batch + image
        cosines, rank = self.cosines[draw, row], int(self.ranks[draw, row])
        taken_for = int(cosines.argmax()) if rank else image
        return Match(float(cosines[image]), np.delete(cosines, image), rank, taken_for)
