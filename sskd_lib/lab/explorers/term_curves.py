"""Curves of a term over the selection ratio: the loss and the gradient of L_T or L_ss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...losses import kl_rows, soften
from ..canvas import Canvas
from ..style import FONT, INK, WRONG, clean_axes

TOP, HIGH = 456, 84  # pixels of the two small pictures
PLACES = ((78, 330), (538, 340))  # left edge and width


def term_by_count(
    student: Tensor, teacher: Tensor, order: np.ndarray, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss and the norm of its gradient on the student's scores, for each number n of kept rows.

    With the n first rows of `order`: loss_n = 1/n Σ_i τ² KL(teacher_i ‖ student_i), and, as row i has the
    gradient τ (p^s_i - p^t_i) / n, norm_n = τ/n (Σ_i ‖p^s_i - p^t_i‖²)^½.

    student, teacher: float64 [R, K] scores; order: the R row numbers, first kept first. Returns float64
    [R + 1] twice; without a row both are 0.
    """
    rows = torch.as_tensor(order)
    pull = temperature * (soften(student, temperature) - soften(teacher, temperature))
    kl = kl_rows(student, teacher, temperature)[rows].clamp(min=0)
    sums = (part.cumsum(0).numpy() for part in (kl, pull.square().sum(1)[rows]))
    loss, square = (np.concatenate([[0.0], part]) for part in sums)
    count = np.arange(len(loss)).clip(min=1)
    return loss / count, np.sqrt(square) / count


class TermCurves:
    """Two small step curves over the ratio, with the present one marked.

    term: "L_T" or "L_ss"; scores: what it compares, in words; right, wrong: numbers of rows; values: what
    `term_by_count` returns.
    """

    def __init__(self, canvas: Canvas, term: str, scores: str, right: int, wrong: int, values) -> None:
        self.names = f"{term} over the kept rows", f"norm of its gradient on the {scores}"
        self.values, self.points, self.titles = values, [], []
        ratios = 100 * np.arange(wrong + 1) / max(wrong, 1)
        for (left, wide), by_count in zip(PLACES, values, strict=True):
            axes = canvas.figure.add_axes(canvas.place(left, TOP, wide, HIGH))
            heights = by_count[right:]
            axes.step([*ratios, 100], [*heights, heights[-1]], where="post", color=INK, linewidth=1.5)
            axes.set(xlim=(0, 100), ylim=(0, 1.15 * max(float(heights.max()), 1e-9)))
            axes.set_xticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
            axes.set_xlabel("share of the wrong rows kept", **FONT)
            clean_axes(axes)
            axes.locator_params(axis="y", nbins=4)
            diamond = {"marker": "D", "markersize": 9, "color": WRONG, "markeredgecolor": INK}
            self.points += axes.plot([0], [0], clip_on=False, linestyle="", **diamond)
            self.titles.append(canvas.words(left - 66, TOP - 20))
        canvas.moving += self.points

    def show(self, ratio: float, kept: int) -> None:
        """Mark this ratio, at which `kept` rows enter the loss."""
        for point, title, name, by_count in zip(
            self.points, self.titles, self.names, self.values, strict=True
        ):
            point.set_data([100 * ratio], [by_count[kept]])
            title.text = f"{name}: {by_count[kept]:.4g}"

    def describe(self, kept: int) -> str:
        """Return the same in words."""
        loss, norm = (by_count[kept] for by_count in self.values)
        every = [by_count[-1] for by_count in self.values]
        return (
            f"{self.names[0]}: {loss:.4g}; {self.names[1]}: {norm:.4g} "
            f"(with all rows {every[0]:.4g} and {every[1]:.4g})."
        )
