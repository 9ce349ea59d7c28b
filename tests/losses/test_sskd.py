"""Loss terms, masks and gradients against float64 loops, hand-worked cases and properties.

The loops here are written from the paper's formulas in plain Python; they share nothing with the library.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sskd_lib.data.views import four_views
from sskd_lib.losses import (
    contrastive_floor,
    contrastive_loss,
    error_rank,
    image_of_row,
    kd_loss,
    selected_kl,
    similarity_matrix,
    soften,
    sskd_terms,
    transfer_mask,
)
from sskd_lib.models.network import Output
from sskd_lib.recipes import PRESETS, Recipe

QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)
SEEDS = st.integers(0, 10_000)
SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.29, 0.5, 0.57, 0.75, 1.0]))
TEMPERATURES = st.floats(0.3, 12)
Rows = list[list[float]]


def normal(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def close(found: Tensor | float, expected: object) -> None:
    """Equal in float64, up to the rounding of sums taken in another order."""
    torch.testing.assert_close(
        torch.as_tensor(found), torch.as_tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-11
    )


# ---- the formulas as loops -----------------------------------------------------------------------


def loop_softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    powers = [math.exp((z - top) / temperature) for z in row]
    return [p / sum(powers) for p in powers]


def loop_kl(student: list[float], teacher: list[float], temperature: float) -> float:
    """τ² KL(teacher ‖ student) of one row."""
    p, q = loop_softmax(student, temperature), loop_softmax(teacher, temperature)
    return temperature**2 * sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))


def loop_kl_gradient(student: list[float], teacher: list[float], temperature: float) -> list[float]:
    p, q = loop_softmax(student, temperature), loop_softmax(teacher, temperature)
    return [temperature * (a - b) for a, b in zip(p, q, strict=True)]


def loop_cosine(a: Rows, b: Rows) -> Rows:
    def unit(v: list[float]) -> list[float]:
        length = math.sqrt(sum(x * x for x in v))
        return [x / length for x in v]

    return [[sum(x * y for x, y in zip(unit(u), unit(v), strict=True)) for v in b] for u in a]


def loop_rank(scores: Rows, targets: list[int]) -> list[int]:
    ranks = []
    for row, target in zip(scores, targets, strict=True):
        ranks.append(0)
        for score in row:
            if score > row[target]:
                ranks[-1] += 1
    return ranks


def loop_mask(scores: Rows, targets: list[int], keep_wrong: float) -> list[bool]:
    """All right rows, then one wrong row after another: the lowest rank first, the earliest among equals."""
    ranks = loop_rank(scores, targets)
    kept = [rank == 0 for rank in ranks]
    for _ in range(int(kept.count(False) * keep_wrong)):
        best = min((rank, i) for i, rank in enumerate(ranks) if not kept[i])
        kept[best[1]] = True
    return kept


def published_procedure(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> dict[str, float]:
    """The published step after July 2020: sort the rows by rank, keep the first ones, take the mean."""

    def place_of_target(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        order = np.argsort(-scores, axis=1)  # best column first
        return np.argmax(order == targets[:, None], axis=1)

    def kept_rows(scores: np.ndarray, targets: np.ndarray, ratio: float) -> np.ndarray:
        place = place_of_target(scores, targets)
        correct = np.count_nonzero(place == 0)
        wrong = np.count_nonzero(place > 0)
        return np.argsort(place, kind="stable")[: correct + int(wrong * ratio)]

    def divergence(s: np.ndarray, t: np.ndarray, temperature: float) -> float:
        rows = [loop_kl(a, b, temperature) for a, b in zip(s.tolist(), t.tolist(), strict=True)]
        return sum(rows) / len(rows) if rows else 0.0

    y, b = labels.numpy(), len(labels)
    upright, rotated = np.arange(4 * b) < b, np.arange(4 * b) >= b  # boolean row indices
    s_logits, t_logits = student.logits.detach().numpy(), teacher.logits.numpy()
    s_z, t_z = student.projection.detach().numpy(), teacher.projection.numpy()
    ce = (
        sum(-math.log(loop_softmax(row)[c]) for row, c in zip(s_logits[upright].tolist(), y, strict=True)) / b
    )
    kd = divergence(s_logits[upright], t_logits[upright], recipe.kd_temperature)
    keep = kept_rows(t_logits[rotated], np.tile(y, 3), recipe.tf_keep_wrong)
    tf = divergence(s_logits[rotated][keep], t_logits[rotated][keep], recipe.tf_temperature)
    s_matrix = np.array(loop_cosine(s_z[rotated].tolist(), s_z[upright].tolist()))
    t_matrix = np.array(loop_cosine(t_z[rotated].tolist(), t_z[upright].tolist()))
    keep = kept_rows(t_matrix, np.tile(np.arange(b), 3), recipe.ss_keep_wrong)
    ss = divergence(s_matrix[keep], t_matrix[keep], recipe.ss_temperature)
    total = recipe.ce * ce + recipe.kd * kd + recipe.tf * tf + recipe.ss * ss
    return {"ce": ce, "kd": kd, "tf": tf, "ss": ss, "total": total}


def loop_gradients(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> tuple[Rows, Rows]:
    """d total / d student logits [4B, K] and d total / d student projections [4B, D], derived by hand."""
    b, y = len(labels), labels.tolist()
    s, t = student.logits.tolist(), teacher.logits.tolist()
    logits = [[0.0] * len(s[0]) for _ in s]
    for i in range(b):
        soft = loop_kl_gradient(s[i], t[i], recipe.kd_temperature)
        for k, p in enumerate(loop_softmax(s[i])):
            logits[i][k] = (recipe.ce * (p - (k == y[i])) + recipe.kd * soft[k]) / b
    kept = loop_mask(t[b:], y * 3, recipe.tf_keep_wrong)
    for r in range(3 * b):
        if kept[r]:
            row = loop_kl_gradient(s[b + r], t[b + r], recipe.tf_temperature)
            logits[b + r] = [recipe.tf * g / kept.count(True) for g in row]

    z = np.array(student.projection.tolist())
    matrix = loop_cosine(z[b:].tolist(), z[:b].tolist())
    target = loop_cosine(teacher.projection[b:].tolist(), teacher.projection[:b].tolist())
    kept = loop_mask(target, [r % b for r in range(3 * b)], recipe.ss_keep_wrong)
    projections = np.zeros_like(z)
    for r in range(3 * b):
        slope = loop_kl_gradient(matrix[r], target[r], recipe.ss_temperature)
        for j in range(b):
            if kept[r]:  # A = ⟨u, v⟩ / (|u| |v|)  →  dA/du = (v/|v| - A u/|u|) / |u|
                u, v, a = z[b + r], z[j], matrix[r][j]
                size_u, size_v = np.linalg.norm(u), np.linalg.norm(v)
                weight = recipe.ss * slope[j] / kept.count(True)
                projections[b + r] += weight * (v / size_v - a * u / size_u) / size_u
                projections[j] += weight * (u / size_u - a * v / size_v) / size_v
    return logits, projections.tolist()


# ---- soft targets --------------------------------------------------------------------------------


@QUICK
@given(st.integers(1, 6), st.integers(2, 7), TEMPERATURES, SEEDS)
def test_soften_equals_the_loop_sums_to_one_and_obeys_the_scale_rule(n, k, temperature, seed):
    logits = normal(n, k, seed=seed)
    found = soften(logits, temperature)
    close(found, [loop_softmax(row, temperature) for row in logits.tolist()])
    close(found.sum(1), torch.ones(n))
    close(found, soften(logits / temperature, 1.0))


def test_soften_by_hand_and_at_the_extremes():
    # exp(4/4) : exp(0) = 2.71828 : 1  ->  2.71828 / 3.71828 = 0.731059
    close(
        soften(torch.tensor([[4.0, 0.0]], dtype=torch.float64), 4.0),
        [[0.7310585786300049, 0.2689414213699951]],
    )
    logits = normal(5, 4, seed=0)
    torch.testing.assert_close(soften(logits, 1e9), torch.full((5, 4), 0.25, dtype=torch.float64))
    sharp = soften(logits, 1e-6)
    assert torch.equal(sharp, torch.nn.functional.one_hot(logits.argmax(1), 4).double())
    assert soften(torch.tensor([[3e4, -3e4]]), 1.0).tolist() == [[1.0, 0.0]]  # no overflow


@QUICK
@given(st.integers(1, 6), st.integers(2, 7), TEMPERATURES, SEEDS)
def test_kd_loss_and_its_gradient_equal_the_loops(b, k, temperature, seed):
    student, teacher = normal(b, k, seed=seed).requires_grad_(), normal(b, k, seed=seed + 1)
    loss = kd_loss(student, teacher, temperature)
    pairs = list(zip(student.tolist(), teacher.tolist(), strict=True))
    close(loss, sum(loop_kl(s, t, temperature) for s, t in pairs) / b)
    loss.backward()  # T (p_s - p_t) / B
    close(student.grad, [[g / b for g in loop_kl_gradient(s, t, temperature)] for s, t in pairs])


def test_kd_loss_by_hand():
    # T = 4; student (0, 0) -> (1/2, 1/2) for both images.
    # image 0, teacher (4, 0) -> (0.731059, 0.268941): KL = ln 2 - H = 0.693147 - 0.582203 = 0.110944
    # image 1, teacher (0, 8) -> (0.119203, 0.880797): KL = 0.693147 - 0.365334 = 0.327813
    # T² times the mean: 16 · (0.110944 + 0.327813) / 2 = 3.510059
    student = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[4.0, 0.0], [0.0, 8.0]], dtype=torch.float64)
    loss = kd_loss(student, teacher, 4.0)
    close(loss, 3.5100591771557204)
    loss.backward()  # 4 · (0.5 - 0.731059) / 2 = -0.462117
    assert student.grad[0, 0].item() == pytest.approx(-0.4621171572600098)
    # The other way round it is another number: KL((1/2, 1/2) ‖ (0.731059, 0.268941)) = 0.120115
    close(kd_loss(teacher[:1], student[:1].detach(), 4.0), 16 * 0.12011450695827758)


@QUICK
@given(st.integers(1, 6), st.integers(2, 7), st.floats(1, 12), SEEDS)
def test_kd_loss_is_zero_only_for_logits_equal_up_to_a_shift(b, k, temperature, seed):
    teacher = normal(b, k, seed=seed)
    shifted = teacher + normal(b, 1, seed=seed + 1)
    assert abs(kd_loss(shifted, teacher, temperature).item()) < 1e-11
    bent = shifted.clone()
    bent[0, 0] += 0.5
    assert kd_loss(bent, teacher, temperature).item() > 1e-9


def test_t_squared_keeps_the_gradient_at_any_temperature():
    """As T grows the gradient goes to (s - t) / (B K), rows centred: no T is left in it (Hinton 2015)."""
    student, teacher = normal(3, 5, seed=1).requires_grad_(), normal(3, 5, seed=2)
    kd_loss(student, teacher, 1e6).backward()
    difference = (student - teacher).detach()
    limit = (difference - difference.mean(1, keepdim=True)) / 15
    torch.testing.assert_close(student.grad, limit, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperatures_must_be_positive(temperature):
    logits = torch.zeros(1, 2)
    for call in (lambda: soften(logits, temperature), lambda: kd_loss(logits, logits, temperature)):
        with pytest.raises(ValueError, match=f"temperature must be above 0, not {temperature}"):
            call()


def test_kd_loss_refuses_logits_of_other_classes():
    with pytest.raises(
        ValueError, match=r"student's logits are \[2, 3\], the teacher's \[2, 10\].*same classes"
    ):
        kd_loss(torch.zeros(2, 3), torch.zeros(2, 10), 4.0)


# ---- similarity ----------------------------------------------------------------------------------


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
    found = similarity_matrix(rotated, upright)
    stretched = similarity_matrix(
        rotated * normal(3 * b, 1, seed=seed + 2).exp(), upright * normal(b, 1, seed=seed + 3).exp()
    )
    close(stretched, found)
    assert found.abs().max() <= 1 + 1e-12
    close(similarity_matrix(-rotated, upright), -found)
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
    found = error_rank(scores, targets)
    assert found.dtype == torch.int64
    assert found.tolist() == loop_rank(scores.tolist(), targets.tolist())


@QUICK
@given(scored_rows(), SHARES)
def test_transfer_mask_equals_the_loop(rows, share):
    scores, targets = rows
    found = transfer_mask(scores, targets, share)
    assert found.dtype == torch.bool
    assert found.tolist() == loop_mask(scores.tolist(), targets.tolist(), share)


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


# ---- the four terms ------------------------------------------------------------------------------


def random_outputs(b: int, k: int, widths: tuple[int, int], seed: int) -> tuple[Output, Output, Tensor]:
    """(student, teacher, labels): the student's tensors collect gradients."""
    student = Output(normal(4 * b, k, seed=seed), normal(4 * b, widths[0], seed=seed + 1))
    teacher = Output(normal(4 * b, k, seed=seed + 2), normal(4 * b, widths[1], seed=seed + 3))
    labels = torch.randint(k, (b,), generator=torch.Generator().manual_seed(seed))
    return Output(student.logits.requires_grad_(), student.projection.requires_grad_()), teacher, labels


@st.composite
def batches(draw: st.DrawFn) -> tuple[Output, Output, Tensor, Recipe]:
    b, k = draw(st.integers(1, 6)), draw(st.integers(2, 7))
    widths = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    student, teacher, labels = random_outputs(b, k, widths, draw(SEEDS))
    kind = draw(st.sampled_from(["as it comes", "all right", "all wrong"]))
    if kind != "as it comes":  # move the teacher's logit and projection of every rotated row
        bonus = 50.0 if kind == "all right" else -50.0
        teacher.logits[torch.arange(4 * b), labels.repeat(4)] += bonus
        upright = teacher.projection[:b]
        near = upright if kind == "all right" else upright.roll(1, 0)
        if widths[1] > 1:  # of width 1, cosines are +1 and -1 and full of ties
            teacher.projection[b:] = near.repeat(3, 1) + 1e-3 * teacher.projection[b:]
    weights = {name: draw(st.floats(0.1, 10)) for name in ("ce", "kd", "tf", "ss")}
    temperatures = {f"{name}_temperature": draw(TEMPERATURES) for name in ("kd", "tf", "ss")}
    shares = {f"{name}_keep_wrong": draw(SHARES) for name in ("tf", "ss")}
    return student, teacher, labels, Recipe(**weights, **temperatures, **shares)


def has_ties(teacher: Output, b: int) -> bool:
    """Whether equal cosines make a rank by sorting ambiguous."""
    matrix = np.array(loop_cosine(teacher.projection[b:].tolist(), teacher.projection[:b].tolist()))
    return b > 1 and bool((np.diff(np.sort(matrix, axis=1), axis=1) < 1e-9).any())


@QUICK
@given(batches())
def test_terms_and_gradients_equal_the_published_procedure(batch):
    student, teacher, labels, recipe = batch
    assume(not has_ties(teacher, len(labels)))
    terms = sskd_terms(student, teacher, labels, recipe)
    expected = published_procedure(student, teacher, labels, recipe)
    assert list(terms) == ["ce", "kd", "tf", "ss", "total"]
    for name, value in terms.items():
        close(value, expected[name])
    terms["total"].backward()
    logits, projections = loop_gradients(student, teacher, labels, recipe)
    close(student.logits.grad, logits)
    close(student.projection.grad, projections)


@QUICK
@given(st.integers(1, 6), st.integers(2, 7), SHARES, SEEDS)
def test_terms_with_ties_in_scores_and_cosines_equal_the_loops(b, k, share, seed):
    """Whole-number logits, projections of width 1 (cosines +1 and -1): of two tied rows the earlier stays."""
    student, teacher, labels = random_outputs(b, k, (1, 1), seed)
    teacher = Output(teacher.logits.round(), teacher.projection)
    recipe = Recipe(tf_keep_wrong=share, ss_keep_wrong=share)
    terms = sskd_terms(student, teacher, labels, recipe)
    matrices = [loop_cosine(o.projection[b:].tolist(), o.projection[:b].tolist()) for o in (student, teacher)]
    cases = {
        "tf": (student.logits[b:].tolist(), teacher.logits[b:].tolist(), labels.tolist() * 3, 4.0),
        "ss": (*matrices, [r % b for r in range(3 * b)], 0.5),
    }
    for name, (s, t, targets, temperature) in cases.items():
        kept = loop_mask(t, targets, share)
        rows = [loop_kl(s[r], t[r], temperature) for r in range(3 * b) if kept[r]]
        close(terms[name], sum(rows) / max(len(rows), 1))


def two_images() -> tuple[Output, Output, Tensor]:
    """Two images of classes 0 and 1; a student that knows nothing: logits (0, 0), all cosines 0.

    Rows: image 0, image 1 upright | 90° | 180° | 270°. The teacher's 6 x 2 matrix, own column in brackets:

        image 0 at  90°   [ .6]   .8    rank 1      image 1 at  90°     0   [ 1 ]   right
        image 0 at 180°   [ 1 ]   0     right       image 1 at 180°    .8   [ .6]   rank 1
        image 0 at 270°   [-1 ]   0     rank 1      image 1 at 270°   -.6   [ .8]   right
    """
    t_logits = [[4, 0], [0, 8], [4, 0], [8, 0], [0, 4], [0, 8], [2, 2], [4, 0]]
    t_z = [[1, 0], [0, 2], [3, 4], [0, 2], [1, 0], [4, 3], [-1, 0], [-3, 4]]
    s_z = [[1, 0, 0], [0, 1, 0]] + [[0, 0, 1]] * 6
    teacher = Output(torch.tensor(t_logits, dtype=torch.float64), torch.tensor(t_z, dtype=torch.float64))
    student = Output(torch.zeros(8, 2, dtype=torch.float64), torch.tensor(s_z, dtype=torch.float64))
    return student, teacher, torch.tensor([0, 1])


def test_two_images_matrix_and_masks_by_hand():
    _, teacher, labels = two_images()
    matrix = similarity_matrix(teacher.projection[2:], teacher.projection[:2])
    close(matrix, [[0.6, 0.8], [0, 1], [1, 0], [0.8, 0.6], [-1, 0], [-0.6, 0.8]])
    same_image = image_of_row(6, 2)
    assert same_image.tolist() == [0, 1, 0, 1, 0, 1]
    assert error_rank(matrix, same_image).tolist() == [1, 0, 0, 1, 1, 0]
    # 3 right + floor(0.75 · 3) = 2 wrong: of the three rows of rank 1 the last, image 0 at 270°, goes
    assert transfer_mask(matrix, same_image, 0.75).tolist() == [True, True, True, True, False, True]
    # The teacher's rotated logits; (2, 2) is a tie and counts as right
    assert error_rank(teacher.logits[2:], labels.repeat(3)).tolist() == [0, 1, 1, 0, 0, 1]


def test_two_images_terms_by_hand():
    # A student that says (1/2, 1/2) has KL = ln 2 - H(teacher). Needed are, at T = 4,
    #   a = (4, 0) -> (.731059, .268941): .110944    b = (8, 0) -> (.880797, .119203): .327813    (2, 2): 0
    # and for the matrix at T = 0.5, where a row (x, y) acts as logits (2x, 2y),
    #   c = (.6, .8) -> (.401312, .598688): .019607   d = (0, 1) -> (.119203, .880797): .327813
    #   e = (-.6, .8) -> (.057324, .942676): .473607
    # ce = ln 2 = .693147
    # kd = 16 (a + b) / 2 = 16 · .219379 = 3.510059
    # tf: rotated rows a b a b 0 a, all kept: 16 (3a + 2b) / 6 = 16 · .164743 = 2.635890
    # ss: kept c d d c e: 0.25 (2c + 2d + e) / 5 = 0.25 · .233689 = .058422
    # total = 0.1 · .693147 + 0.9 · 3.510059 + 2.7 · 2.635890 + 10 · .058422 = 10.929495
    expected = {
        "ce": 0.6931471805599453,
        "kd": 3.5100591771557204,
        "tf": 2.6358903092284196,
        "ss": 0.05842236485552819,
        "total": 10.929495460968159,
    }
    terms = sskd_terms(*two_images(), PRESETS["official-code"])
    assert terms.keys() == expected.keys()
    for name, value in terms.items():
        close(value, expected[name])
    # arXiv: tf keeps 3 right and floor(0.75 · 3) = 2 wrong rows, image 1 at 270° goes:
    # tf = 16 (2a + 2b) / 5 = 2.808047; total = 0.1 ce + 0.9 kd + 10 tf + 2.7 ss = 31.466582
    terms = sskd_terms(*two_images(), PRESETS["arxiv"])
    close(terms["tf"], 2.8080473417245764)
    close(terms["total"], 31.46658177984983)
    # ECCV supplement: 0.1 ce + 0.9 kd + 5 · 2.635890 + 3 ss = 16.583087
    close(sskd_terms(*two_images(), PRESETS["eccv-supp"])["total"], 16.583086618204824)


def rearranged(output: Output, order: Tensor) -> Output:
    return Output(output.logits.detach()[order], output.projection.detach()[order])


@pytest.mark.parametrize("share", [0.0, 1.0])  # between them the order of the images decides among ties
def test_the_order_of_the_images_does_not_matter_and_that_of_the_views_does(share):
    b = 5
    student, teacher, labels = random_outputs(b, 4, (6, 3), seed=11)
    recipe = Recipe(tf_keep_wrong=share, ss_keep_wrong=share)
    expected = sskd_terms(student, teacher, labels, recipe)
    images = torch.tensor([3, 0, 4, 1, 2])
    rows = torch.cat([images + turns * b for turns in range(4)])
    found = sskd_terms(rearranged(student, rows), rearranged(teacher, rows), labels[images], recipe)
    for name, value in found.items():
        close(value, expected[name].item())
    turned = torch.cat([torch.arange(b), torch.arange(b, 4 * b).roll(b)])  # another order of the three angles
    found = sskd_terms(rearranged(student, turned), rearranged(teacher, turned), labels, recipe)
    for name, value in found.items():
        close(value, expected[name].item())
    interleaved = torch.arange(4 * b).view(4, b).T.flatten()  # image 0 at 0°, 90°, 180°, 270°, image 1 at ...
    found = sskd_terms(rearranged(student, interleaved), rearranged(teacher, interleaved), labels, recipe)
    for name, value in found.items():
        assert abs(value.item() - expected[name].item()) > 1e-3


def test_rows_fit_those_of_four_views():
    """A network that reads pixels, fed `four_views`: every rotated row finds its image and its label."""
    images = torch.zeros(3, 1, 6, 6, dtype=torch.uint8)
    for i in range(3):
        images[i, 0, i, i] = images[i, 0, 5 - i, 5 - i] = images[i, 0, i, 5 - i] = images[i, 0, 5 - i, i] = (
            255
        )
    flat = four_views(images, augment=False).flatten(
        1
    )  # four-fold symmetric: the views of an image are equal
    labels = torch.tensor([2, 0, 1])
    logits = flat[:, [0, 7, 14]][:, [1, 2, 0]]  # the class whose corner is lit
    assert error_rank(logits, labels.repeat(4)).tolist() == [0] * 12
    assert error_rank(similarity_matrix(flat[3:], flat[:3]), image_of_row(9, 3)).tolist() == [0] * 9
    assert contrastive_loss(flat, 3)[1].item() == 9


def test_no_row_kept_gives_zero_and_finite_gradients():
    b, k = 4, 3
    student, teacher, labels = random_outputs(b, k, (5, 5), seed=3)
    teacher.logits[torch.arange(4 * b), labels.repeat(4)] -= 100  # wrong on every row
    teacher.projection[b:] = teacher.projection[:b].roll(1, 0).repeat(3, 1)  # and closest to another image
    recipe = Recipe(tf_keep_wrong=0.0, ss_keep_wrong=0.0)
    terms = sskd_terms(student, teacher, labels, recipe)
    assert terms["tf"].item() == 0 and terms["ss"].item() == 0
    close(terms["total"], (0.1 * terms["ce"] + 0.9 * terms["kd"]).item())
    terms["total"].backward()
    assert student.logits.grad[:b].abs().sum() > 0 and student.logits.grad.isfinite().all()
    assert (student.logits.grad[b:] == 0).all() and (student.projection.grad == 0).all()


@pytest.mark.parametrize("off", ["ce", "kd", "tf", "ss"])
def test_a_term_of_weight_zero_is_not_computed(off, monkeypatch):
    student, teacher, labels = random_outputs(3, 4, (5, 6), seed=8)
    recipe = Recipe(ce=0.3, kd=0.7, tf=1.9, ss=4.0)
    every = sskd_terms(student, teacher, labels, recipe)

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError(f"{off} was computed")

    needed = {"ce": "F.cross_entropy", "kd": "kd_loss", "ss": "similarity_matrix"}
    if off in needed:
        monkeypatch.setattr(f"sskd_lib.losses.sskd.{needed[off]}", never)
    else:  # NaN would spread from the one term that looks at these rows
        teacher.logits[3:] = math.nan
    terms = sskd_terms(student, teacher, labels, replace(recipe, **{off: 0.0}))
    assert terms.keys() == every.keys() - {off}
    close(terms["total"], (every["total"] - getattr(recipe, off) * every[off]).item())


def test_without_ss_no_projection_is_needed():
    student, teacher, labels = random_outputs(3, 4, (5, 6), seed=8)
    bare = Output(student.logits), Output(teacher.logits)
    assert list(sskd_terms(*bare, labels, Recipe(ss=0.0))) == ["ce", "kd", "tf", "total"]
    for pair, who in (((bare[0], teacher), "student"), ((student, bare[1]), "teacher")):
        with pytest.raises(ValueError, match=f"the {who} has no projection head.*projection=True"):
            sskd_terms(*pair, labels, Recipe())


def test_rows_must_be_four_to_a_label():
    student, teacher, labels = random_outputs(3, 4, (5, 5), seed=8)
    with pytest.raises(ValueError, match="the student has 12 rows for 2 labels.*four_views"):
        sskd_terms(student, teacher, labels[:2], Recipe())
    with pytest.raises(ValueError, match="the teacher has 3 rows for 3 labels"):
        sskd_terms(student, Output(teacher.logits[:3], teacher.projection[:3]), labels, Recipe())


def test_single_precision_is_close_to_double():
    student, teacher, labels = random_outputs(6, 7, (8, 5), seed=21)
    exact = sskd_terms(student, teacher, labels, Recipe())
    single = [Output(o.logits.detach().float(), o.projection.detach().float()) for o in (student, teacher)]
    for name, value in sskd_terms(*single, labels, Recipe()).items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), rel=1e-5)


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
    assert contrastive_floor(2) == pytest.approx(0.1269280110429726)
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
    assert contrastive_floor(b) == pytest.approx(math.log(1 + (b - 1) / math.e**2))
