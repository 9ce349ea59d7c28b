"""The selection explorer: the rows that a ratio keeps, and its term, against loops and autograd."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.explorers import CLASSES, MATRIX_COLUMNS, MATRIX_ROWS, selection_explorer
from helpers.pictures import picture
from sskd_lib import Output, Recipe
from sskd_lib.lab.explorers import explore_selection
from sskd_lib.lab.explorers.selection import BAR, LEFT, WIDE
from sskd_lib.losses import image_of_row, selected_kl, similarity_matrix, sskd_terms, transfer_mask

RATIOS = (0.0, 0.15, 0.5, 0.75, 1.0)


def split_by_hand(scores: torch.Tensor, targets: torch.Tensor, ratio: float) -> tuple[list, list, list]:
    """Right, kept and dropped rows, by a plain loop in the order of the error rank."""
    ranks = [
        sum(float(s) > float(row[t]) for s in row) for row, t in zip(scores, targets.tolist(), strict=True)
    ]
    wrong = sorted((r for r in range(len(ranks)) if ranks[r] > 0), key=lambda r: (ranks[r], r))
    count = math.floor(ratio * len(wrong))
    return [r for r in range(len(ranks)) if ranks[r] == 0], wrong[:count], wrong[count:]


def test_selection_slider_keeps_the_rows_a_plain_loop_keeps(live) -> None:
    explorer = selection_explorer()
    widgets = explorer.live
    seen = set()
    for ratio in (0.0, 0.15, 0.5, 0.75, 1.0):
        widgets.controls["keep_wrong"].value = ratio
        seen.add(widgets.picture.value)
        right, kept, dropped = split_by_hand(explorer.scores, explorer.targets, ratio)
        words = widgets.words.value
        assert f"Of {MATRIX_ROWS} rows the teacher gets {len(right)} right" in words
        assert f"{len(kept)} are kept and {len(dropped)} dropped" in words
        teaching = 100 * (len(right) + len(kept)) / MATRIX_ROWS
        assert f"({teaching:.0f} %) teach" in words
        if kept:
            row = explorer.scores[kept[-1]].tolist()
            assert f"image {kept[-1] % MATRIX_COLUMNS + 1} taken for image {row.index(max(row)) + 1}" in words
    assert len(seen) == 5


def test_selection_bar_shows_the_kept_part_of_all_rows(live) -> None:
    explorer = selection_explorer()
    for ratio in (0.25, 0.75):
        row = picture(explorer.frame(keep_wrong=ratio))[BAR + 15, LEFT : LEFT + WIDE]
        orange = (np.abs(row - np.array([0xC9, 0x53, 0x00])).max(axis=1) < 40).sum()
        kept = split_by_hand(explorer.scores, explorer.targets, ratio)[1]
        assert abs(orange - WIDE * len(kept) / MATRIX_ROWS) <= 3


def test_selection_without_a_wrong_row(live) -> None:
    scores = torch.eye(4).repeat(3, 1)
    images = torch.zeros(12, 1, 28, 28)
    explorer = explore_selection(images, scores, torch.arange(12) % 4, columns=CLASSES[:4])
    assert "Of the 0 wrong rows 0 are kept and 0 dropped, so 12 rows (100 %) teach." in explorer.describe()
    assert picture(explorer.frame(keep_wrong=0.0)).shape == (424, 932, 3)


def outputs(images: int = 10, classes: int = 5) -> tuple[Output, Output, torch.Tensor]:
    """Student and teacher for four views of some images, in float64, and the labels."""
    draw = torch.Generator().manual_seed(6)
    labels = torch.arange(images) % classes
    pair = []
    for width in (3, 7):
        logits, z = (
            torch.randn(4 * images, n, dtype=torch.float64, generator=draw) for n in (classes, width)
        )
        logits[torch.arange(0, 4 * images, 3), labels.repeat(4)[::3]] += 3  # some rows are right
        pair.append(Output(logits=2 * logits, projection=z + z[:images].repeat(4, 1)))
    return *pair, labels


def loss_and_norm(student: torch.Tensor, teacher: torch.Tensor, targets, ratio: float, temperature: float):
    """The library's term on a leaf of scores, and the length of autograd's gradient."""
    leaf = student.clone().requires_grad_()
    loss = selected_kl(leaf, teacher, temperature, transfer_mask(teacher, targets, ratio))
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient.norm().item()


@pytest.mark.parametrize("term", ["tf", "ss"])
def test_loss_and_gradient_are_the_library_s_at_every_ratio(live, term) -> None:
    student, teacher, labels = outputs()
    images = torch.zeros(30, 1, 8, 8)
    if term == "tf":
        scores, targets, temperature = [o.logits[10:] for o in (student, teacher)], labels.repeat(3), 4.0
        columns, names = CLASSES[:5], ("L_T over the kept rows", "the student's logits")
    else:
        scores = [similarity_matrix(o.projection[10:], o.projection[:10]) for o in (student, teacher)]
        targets, temperature, columns = image_of_row(30, 10), 0.5, images[:10]
        names = "L_ss over the kept rows", "the student's cosines"
    student_scores = (scores[0], temperature)
    explorer = explore_selection(images, scores[1], targets, columns=columns, student=student_scores)
    losses = set()
    for ratio in RATIOS:
        loss, norm = loss_and_norm(*scores, targets, ratio, temperature)
        recipe = replace(Recipe(), **{f"{term}_keep_wrong": ratio, f"{term}_temperature": temperature})
        assert loss == pytest.approx(sskd_terms(student, teacher, labels, recipe)[term].item(), rel=1e-12)
        explorer.live.controls["keep_wrong"].value = ratio
        marked = [(point.get_xdata()[0], point.get_ydata()[0]) for point in explorer.term.points]
        assert marked == [(100 * ratio, pytest.approx(v, rel=1e-10)) for v in (loss, norm)]
        words = explorer.describe(keep_wrong=ratio)
        assert f"{names[0]}: {loss:.4g}; norm of its gradient on {names[1]}: {norm:.4g} (" in words
        losses.add(loss)
    assert len(losses) == len(RATIOS)


def test_the_mark_lies_on_the_curve(live) -> None:
    student, teacher, labels = outputs()
    explorer = explore_selection(
        torch.zeros(30, 1, 8, 8),
        teacher.logits[10:],
        labels.repeat(3),
        columns=CLASSES[:5],
        student=(student.logits[10:], 4.0),
    )
    for _, ratio in explorer.controls["keep_wrong"].options:
        explorer.frame(keep_wrong=ratio)
        for point in explorer.term.points:
            x, y = (values[0] for values in point.get_data())
            curve = next(line for line in point.axes.lines if line is not point)
            before = curve.get_ydata()[curve.get_xdata() <= x + 1e-9][-1]
            assert y == before


def test_without_a_kept_row_the_term_is_0(live) -> None:
    scores, targets = torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 0])
    explorer = explore_selection(
        torch.zeros(2, 1, 8, 8),
        scores,
        targets,
        columns=CLASSES[:2],
        student=(-scores, 4.0),
    )
    assert loss_and_norm(-scores.double(), scores.double(), targets, 0.0, 4.0) == (0.0, 0.0)
    assert (
        "L_T over the kept rows: 0; norm of its gradient on the student's logits: 0 ("
        in explorer.describe(keep_wrong=0.0)
    )


def test_pointing_at_a_step_names_its_row_and_shows_both_images(live) -> None:
    explorer = selection_explorer()
    for ratio in (0.15, 0.75):
        _, kept, dropped = split_by_hand(explorer.scores, explorer.targets, ratio)
        spots = explorer.spots(keep_wrong=ratio)
        assert [spot.words.rsplit(" ", 1)[1] for spot in spots] == ["kept"] * len(kept) + ["dropped"] * len(
            dropped
        )
        assert spots[-1].left + spots[-1].width == pytest.approx(LEFT + WIDE)
        for spot, row in zip(spots, kept + dropped, strict=True):
            scores, right = explorer.scores[row].tolist(), row % MATRIX_COLUMNS
            taken, rank = scores.index(max(scores)), sum(s > scores[right] for s in scores)
            assert spot.words.startswith(
                f"image {right + 1} taken for image {taken + 1}: error rank {rank}, "
            )
            view, column = (explorer.cards[card] for card in spot.cards)
            assert (view == explorer.images[row]).all() and (column == explorer.columns[taken]).all()


def test_scores_of_the_student_that_do_not_fit_are_refused() -> None:
    images, scores, targets = torch.zeros(2, 1, 28, 28), torch.zeros(2, 10), torch.zeros(2)
    with pytest.raises(
        ValueError, match=r"student's scores are \[2, 9\], but the teacher's scores are \[2, 10\]"
    ):
        explore_selection(images, scores, targets, columns=CLASSES, student=(scores[:, 1:], 4.0))
    with pytest.raises(ValueError, match="temperature must be above 0 and finite, not 0"):
        explore_selection(images, scores, targets, columns=CLASSES, student=(scores, 0))
