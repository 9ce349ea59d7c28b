"""The controls for L_ss against loops over rows, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers.sskd_loops import loop_cosine
from sskd_lib.data.batch import Batch
from sskd_lib.losses import similarity_matrix, sskd_terms
from sskd_lib.losses.controls import other_head, relations_permuted, rows_permuted, shift_all, shift_rotated
from sskd_lib.models.network import Output
from sskd_lib.recipes import Recipe

B, D, K = 5, 6, 4


@pytest.fixture
def outputs() -> tuple[Output, Output, Batch]:
    """Student, teacher and labels of 4B rows."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    student, teacher = (Output(draw(4 * B, K), draw(4 * B, D), draw(4 * B, 3)) for _ in range(2))
    return student, teacher, Batch(labels=torch.arange(B) % K)


def matrix(projection: torch.Tensor) -> torch.Tensor:
    return similarity_matrix(projection[B:], projection[:B])


def test_rows_permuted_gives_each_rotated_view_the_row_of_the_next_image(outputs):
    """Row (rotation r, image i) is the teacher's row (r, i + 1); the columns stay."""
    teacher = outputs[1]
    before, after = matrix(teacher.projection), matrix(shift_rotated(teacher, B))
    for rotation in range(3):
        for image in range(B):
            row, other = rotation * B + image, rotation * B + (image + 1) % B
            assert torch.equal(after[row], before[other])


def test_relations_permuted_moves_rows_and_columns_alike(outputs):
    """A_ij becomes A_(i+1)(j+1): own images stay on the diagonal, the others' cosines move."""
    teacher = outputs[1]
    before, after = matrix(teacher.projection), matrix(shift_all(teacher, B))
    for rotation in range(3):
        for i in range(B):
            for j in range(B):
                z = teacher.projection.view(4, B, D)
                by_hand = loop_cosine(z[rotation + 1, (i + 1) % B][None], z[0, (j + 1) % B][None])
                assert after[rotation * B + i, j] == pytest.approx(float(by_hand[0][0]), abs=1e-12)
    diagonals = [torch.cat([block.diagonal() for block in m.split(B)]).sort().values for m in (before, after)]
    assert torch.equal(*diagonals)


@pytest.mark.parametrize("make", [rows_permuted, relations_permuted])
def test_a_control_changes_l_ss_and_nothing_else(outputs, make):
    """The other three terms are those of SSKD; L_ss is another number."""
    student, teacher, batch = outputs
    plain = sskd_terms(student, teacher, batch.labels, Recipe())
    changed = make(Recipe())(student, teacher, batch)
    assert changed.keys() == plain.keys()
    assert all(torch.equal(changed[name], plain[name]) for name in ("ce", "kd", "tf"))
    assert changed["ss"] != plain["ss"]


def test_another_head_reads_the_features_and_is_not_trained(outputs):
    """z = head(f), in single precision, without a gradient and without a parameter of the method."""
    student, teacher, batch = outputs
    head = nn.Linear(3, D)
    control = other_head("untrained head", Recipe(), head)
    assert list(control.parameters()) == []
    terms = control(student._replace(projection=student.projection.requires_grad_()), teacher, batch)
    terms["total"].backward()
    assert head.weight.grad is None
    assert student.projection.grad.abs().sum() > 0
    by_hand = teacher._replace(projection=head(teacher.features.float()).detach())
    assert torch.allclose(terms["ss"], sskd_terms(student, by_hand, batch.labels, Recipe())["ss"])
