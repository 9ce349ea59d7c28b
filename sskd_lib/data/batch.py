"""One step's input."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """One step's input on the device: images, labels, and the random choices for their views.

    labels: int64 [B]; index: int64 [B], the place of each image in the training set; permutation: int64
    [B, 3], the order of the quarters in each jigsaw view (`views.cut`), or None. A loss needs no more than
    these. pixels: uint8 [B, C, P, P'], framed; flip: bool [B]; corner: int64 [B, 4, 2] (`views.Draws`).
    teacher_logits: float [V·B, K], teacher_projection: float [V·B, D]: cached teacher outputs, or None.
    """

    labels: Tensor
    index: Tensor | None = None  # type: ignore[assignment]  # hides tuple.index
    permutation: Tensor | None = None
    pixels: Tensor | None = None
    flip: Tensor | None = None
    corner: Tensor | None = None
    teacher_logits: Tensor | None = None
    teacher_projection: Tensor | None = None
