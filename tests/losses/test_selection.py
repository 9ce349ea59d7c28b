"""Similarities, ranks, selection and the contrastive task against float64 loops and hand-worked cases."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from helpers.sskd_loops import (
    QUICK,
    SEEDS,
    SHARES,
    TEMPERATURES,
    close,
    loop_cosine,
    loop_kl,
    loop_kl_gradient,
    loop_mask,
    loop_rank,
    loop_softmax,
    normal,
)
from sskd_lib.losses import (
    contrastive_floor,
    contrastive_loss,
    error_rank,
    selected_kl,
    similarity_matrix,
    transfer_mask,
)


@QUICK
@given(st.integers(1, 6), st.integers(1, 18), st.integers(1, 8), SEEDS)
def test_similarity_equals_the_loop_in_both_precisions(b, r, d, seed):
    rotated, upright = normal(r, d, seed=seed), normal(b, d, seed=seed + 1)
    expected = loop_cosine(rotated.tolist(), upright.tolist())
    close(similarity_matrix(rotated, upright), expected)
    single = similarity_matrix(rotated.float(), upright.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6
    )


@QUICK
@given(st.integers(1, 6), st.integers(1, 8), SEEDS)
def test_similarity_ignores_lengths_and_stays_within_one(b, d, seed):
    rotated, upright = normal(3 * b, d, seed=seed), normal(b, d, seed=seed + 1)
    value = similarity_matrix(rotated, upright)
    stretched = similarity_matrix(
        rotated * normal(3 * b, 1, seed=seed + 2).exp(), upright * normal(b, 1, seed=seed + 3).exp()
    )
    close(stretched, value)
    assert value.abs().max() <= 1 + 1e-12
    close(similarity_matrix(-rotated, upright), -value)
    close(similarity_matrix(upright, upright).diagonal(), torch.ones(b))


def test_autocast_does_not_lower_the_precision():
    z = normal(24, 16, seed=0)
    exact = similarity_matrix(z[6:], z[:6])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single = similarity_matrix(z[6:].float(), z[:6].float())
        half = similarity_matrix(z[6:].bfloat16(), z[:6].bfloat16())
    assert single.dtype == half.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-6)
    rounded = z.bfloat16().double()  # only the input was rounded, not the products
    torch.testing.assert_close(half.double(), similarity_matrix(rounded[6:], rounded[:6]), rtol=0, atol=1e-6)


def test_zero_vectors_give_zero_and_no_nan():
    z = normal(8, 3, seed=0)
    z[0], z[5] = 0, 0
    z.requires_grad_()
    matrix = similarity_matrix(z[2:], z[:2])
    assert (matrix[:, 0] == 0).all() and (matrix[3] == 0).all()
    matrix.square().sum().backward()
    assert z.grad.isfinite().all()
    loss, _ = contrastive_loss(z, 2)
    assert loss.isfinite()


# ---- rank and selection --------------------------------------------------------------------------


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Scores [N, K] with few or many ties, and targets: at random, always right, or never right."""
    n, k = draw(st.integers(1, 24)), draw(st.integers(2, 7))
    scores = normal(n, k, seed=draw(SEEDS))
    if levels := draw(st.sampled_from([0, 2, 4])):
        scores = (scores.abs() * 10).long().remainder(levels).double()
    kind = draw(st.sampled_from(["random", "right", "wrong"]))
    targets = torch.randint(k, (n,), generator=torch.Generator().manual_seed(draw(SEEDS)))
    if kind == "right":
        targets = scores.argmax(1)
    elif kind == "wrong":
        targets = scores.argmin(1)
        scores[torch.arange(n), targets] -= 1
    return scores, targets


@QUICK
@given(scored_rows())
def test_error_rank_counts_the_columns_above_the_target(rows):
    scores, targets = rows
    value = error_rank(scores, targets)
    assert value.dtype == torch.int64
    assert value.tolist() == loop_rank(scores.tolist(), targets.tolist())


@QUICK
@given(scored_rows(), SHARES)
def test_transfer_mask_equals_the_loop(rows, share):
    scores, targets = rows
    value = transfer_mask(scores, targets, share)
    assert value.dtype == torch.bool
    assert value.tolist() == loop_mask(scores.tolist(), targets.tolist(), share)


@QUICK
@given(scored_rows(), SHARES, SHARES)
def test_transfer_mask_keeps_the_right_rows_and_grows_with_the_share(rows, one, other):
    scores, targets = rows
    rank = error_rank(scores, targets)
    wrong = (rank > 0).sum().item()
    less, more = (transfer_mask(scores, targets, share) for share in sorted((one, other)))
    assert not (less & ~more).any()  # a larger share only adds rows
    assert less[rank == 0].all()
    assert (less & (rank > 0)).sum().item() == int(wrong * min(one, other))
    kept, dropped = rank[more], rank[~more]
    assert not len(dropped) or not len(kept) or kept.max() <= dropped.min()
    assert transfer_mask(scores, targets, 1.0).all()
    assert torch.equal(transfer_mask(scores, targets, 0.0), rank == 0)


def test_transfer_mask_by_hand():
    # target column 0 everywhere; columns above it: 1, 0, 2, 1, 0, 1 -> wrong rows 0, 2, 3, 5
    scores = torch.tensor([[1, 5, 0], [9, 5, 0], [1, 5, 6], [2, 4, 2], [3, 3, 3], [0, 7, 0]]).float()
    targets = torch.zeros(6, dtype=torch.int64)
    assert error_rank(scores, targets).tolist() == [
        1,
        0,
        2,
        1,
        0,
        1,
    ]  # an equal score does not beat the target
    kept_at = {
        0.0: [1, 4],
        0.25: [0, 1, 4],
        0.5: [0, 1, 3, 4],
        0.75: [0, 1, 3, 4, 5],
        1.0: [0, 1, 2, 3, 4, 5],
    }
    for share, rows in kept_at.items():  # among the three rows of rank 1 the earlier ones stay first
        assert transfer_mask(scores, targets, share).nonzero().flatten().tolist() == rows


@pytest.mark.parametrize("percent", [1, 7, 10, 29, 57, 58, 70, 75, 99])
def test_the_count_kept_is_pythons_int_of_the_product(percent):
    """0.29 · 100 = 28.999999999999996 keeps 28 rows, 0.1 · 30 = 3.0 keeps 3: no float32 may round them."""
    share = percent / 100
    for wrong in (1, 3, 10, 29, 30, 50, 99, 100, 192):
        scores = torch.tensor([[0.0, 1.0]]).repeat(wrong, 1)
        kept = transfer_mask(scores, torch.zeros(wrong, dtype=torch.int64), share)
        assert kept.tolist() == [True] * int(wrong * share) + [False] * (wrong - int(wrong * share))


@pytest.mark.parametrize("share", [-0.1, 1.1, 75, math.nan])
def test_keep_wrong_must_be_a_share(share):
    with pytest.raises(ValueError, match=f"share of the wrong rows, between 0 and 1, not {share}"):
        transfer_mask(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), share)


@QUICK
@given(scored_rows(), TEMPERATURES, SEEDS)
def test_selected_kl_is_the_mean_over_kept_rows(rows, temperature, seed):
    teacher, targets = rows
    student = normal(*teacher.shape, seed=seed).requires_grad_()
    keep = transfer_mask(teacher, targets, 0.5)
    chosen = [i for i, kept in enumerate(keep.tolist()) if kept]
    pairs = [(student[i].tolist(), teacher[i].tolist()) for i in chosen]
    value = selected_kl(student, teacher, temperature, keep)
    close(value, sum(loop_kl(s, t, temperature) for s, t in pairs) / max(len(pairs), 1))
    value.backward()
    expected = torch.zeros_like(teacher)
    for i, (s, t) in zip(chosen, pairs, strict=True):
        expected[i] = torch.tensor(loop_kl_gradient(s, t, temperature), dtype=torch.float64) / len(pairs)
    close(student.grad, expected)


# ---- the contrastive task ------------------------------------------------------------------------


@QUICK
@given(st.integers(1, 6), st.integers(1, 8), SEEDS)
def test_contrastive_loss_and_hits_equal_the_loop(b, d, seed):
    projection = normal(4 * b, d, seed=seed)
    loss, hits = contrastive_loss(projection, b)
    matrix = loop_cosine(projection[b:].tolist(), projection[:b].tolist())
    losses = [-math.log(loop_softmax(row)[r % b]) for r, row in enumerate(matrix)]
    close(loss, sum(losses) / (3 * b))
    assert hits.item() == sum(row.index(max(row)) == r % b for r, row in enumerate(matrix))
    assert loss.item() >= contrastive_floor(b) - 1e-9  # no embedding gets below the floor


def test_contrastive_loss_by_hand_reaches_its_floor_with_two_images():
    # All views of image 0 at (1, 0), of image 1 at (-1, 0): rows [1, -1] and [-1, 1],
    # loss = -ln(e / (e + 1/e)) = ln(1 + e^-2) = 0.126928
    projection = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).repeat(4, 1)
    loss, hits = contrastive_loss(projection, 2)
    close(loss, 0.1269280110429726)
    assert hits.item() == 6
    assert contrastive_floor(2) == pytest.approx(0.1269280110429726)  # B / (B - 1) = 2
    # Every view on the wrong side: ln(1 + e^2) = 2.126928
    loss, hits = contrastive_loss(torch.cat([projection[:2], -projection[2:]]), 2)
    close(loss, 2.1269280110429727)
    assert hits.item() == 0


@pytest.mark.parametrize("b", [1, 2, 16, 64])
def test_contrastive_loss_at_chance(b):
    """One point for all views: log B, and one hit in B."""
    loss, hits = contrastive_loss(torch.ones(4 * b, 3, dtype=torch.float64), b)
    close(loss, math.log(b))
    assert hits.item() == 3
    assert contrastive_floor(b) == 0 if b == 1 else contrastive_floor(b) < math.log(b)


def test_the_floor_of_four_images_by_hand():
    """At the corners of a tetrahedron the cosines are -1/3: ln(1 + 3 e^(-1/3) / e) = ln(1 + 3 e^(-4/3))."""
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    loss, hits = contrastive_loss(corners.repeat(4, 1), 4)
    close(loss, 0.5826576531)
    assert contrastive_floor(4) == pytest.approx(0.5826576531, abs=1e-9)
    assert hits.item() == 12


@pytest.mark.parametrize(("b", "floor"), [(2, 0.127), (3, 0.369), (16, 1.818), (64, 3.170), (256, 4.548)])
def test_a_simplex_reaches_the_floor(b, floor):
    """Its corners are the axes of B dimensions, seen from their mean: cosines -1 / (B - 1)."""
    corners = torch.eye(b, dtype=torch.float64) - 1 / b
    loss, _ = contrastive_loss(corners.repeat(4, 1), b)
    assert loss.item() == pytest.approx(floor, abs=5e-4)
    assert contrastive_floor(b) == pytest.approx(loss.item(), rel=1e-12)


@pytest.mark.parametrize(("b", "d"), [(2, 2), (3, 2), (4, 3), (8, 16), (6, 2)])
def test_no_descent_gets_below_the_floor(b, d):
    """It ends at the floor if there is room for a simplex, which needs B - 1 dimensions, else above it."""
    projection = normal(4 * b, d, seed=b).requires_grad_()
    optimizer, losses = torch.optim.Adam([projection], lr=0.05), []
    for _ in range(400):
        optimizer.zero_grad()
        loss, _ = contrastive_loss(projection, b)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) >= contrastive_floor(b) - 1e-12
    assert losses[0] > losses[-1]
    assert (losses[-1] < contrastive_floor(b) + 1e-3) == (d >= b - 1)
