"""Pictures of a wrong result beside the right one: what differs is marked, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.student_answers import WRONG
from sskd_lib.lab.exercises.judge import judge
from sskd_lib.lab.exercises.registry import EXERCISES


def pictured(name: str, mistake: str):
    """Return the axes of the picture for a wrong answer, and its verdict."""
    verdict = judge(EXERCISES[name], WRONG[name][mistake])
    return EXERCISES[name].draw(verdict.case, verdict.wrong, verdict.wanted), verdict


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("mistake", ["rotation the other way", "image by image", "no upright view"])
def test_views_that_differ_are_marked(mistake):
    figure, verdict = pictured("four_views", mistake)
    wrong, right = (np.asarray(value) for value in (verdict.wrong, verdict.wanted))
    differ = sum(row >= len(wrong) or not np.array_equal(wrong[row], right[row]) for row in range(len(right)))
    assert texts(figure).count("×") == differ > 0
    assert len(figure.axes[0].patches) == 2 * differ


def test_a_matrix_is_drawn_beside_the_right_one():
    figure, verdict = pictured("similarity_matrix", "matrix transposed")
    rows, columns = verdict.wanted.shape
    assert [axes.get_title() for axes in figure.axes] == [
        f"yours [{columns}, {rows}]",
        f"right [{rows}, {columns}]",
    ]
    numbers = texts(figure)[rows * columns :]
    assert [float(n.replace("−", "-")) for n in numbers] == pytest.approx(
        verdict.wanted.flatten().tolist(), abs=0.0051
    )
    wrong = verdict.wanted.clone()
    wrong[1, 0] += 0.5
    one = EXERCISES["similarity_matrix"].draw(verdict.case, wrong, verdict.wanted)
    assert len(one.axes[0].patches) == 2 and len(one.axes[1].patches) == 0


def test_rows_of_a_mask_that_differ_are_marked():
    figure, verdict = pictured("transfer_mask", "keeps the worst")
    differ = sum(map(bool.__ne__, map(bool, verdict.wrong), verdict.wanted.tolist()))
    assert sum(text.endswith("×") for text in texts(figure)) == differ > 0
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"row {i}: rank {r}" for i, r in enumerate(verdict.case["rank"].tolist())]
