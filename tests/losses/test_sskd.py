"""The four terms of SSKD and their gradients against the published procedure and hand-worked cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from helpers.sskd_loops import (
    QUICK,
    SEEDS,
    SHARES,
    TEMPERATURES,
    close,
    loop_cosine,
    loop_gradients,
    loop_kl,
    loop_mask,
    normal,
    published_procedure,
)
from sskd_lib.data.views import four_views
from sskd_lib.losses import (
    contrastive_loss,
    error_rank,
    image_of_row,
    similarity_matrix,
    sskd_terms,
    transfer_mask,
)
from sskd_lib.models.network import Output
from sskd_lib.recipes import PRESETS, Recipe


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

    Rows: image 0, image 1 upright | 90° | 180° | 270°. The teacher's 6 x 2 matrix, the true column in []:

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
    terms = sskd_terms(rearranged(student, rows), rearranged(teacher, rows), labels[images], recipe)
    for name, value in terms.items():
        close(value, expected[name].item())
    turned = torch.cat([torch.arange(b), torch.arange(b, 4 * b).roll(b)])  # another order of the three angles
    terms = sskd_terms(rearranged(student, turned), rearranged(teacher, turned), labels, recipe)
    for name, value in terms.items():
        close(value, expected[name].item())
    interleaved = torch.arange(4 * b).view(4, b).T.flatten()  # image 0 at 0°, 90°, 180°, 270°, image 1 at ...
    terms = sskd_terms(rearranged(student, interleaved), rearranged(teacher, interleaved), labels, recipe)
    for name, value in terms.items():
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
    else:  # NaN would spread from the one term of these rows
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
