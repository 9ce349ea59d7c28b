"""What each equation is independent of, cases worked by hand, and the messages of what does not fit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from helpers.oracles import ab, congruence, hcl
from helpers.outputs import normal, random_output, ready_term
from sskd_lib.losses.ab import ab_loss, boundary_loss, connector
from sskd_lib.losses.at import at_loss
from sskd_lib.losses.cc import cc_loss, congruence_loss
from sskd_lib.losses.dist import dist_loss, pearson_distance
from sskd_lib.losses.dkd import dkd_loss, dkd_rows
from sskd_lib.losses.fitnet import Regressor, hint_loss
from sskd_lib.losses.fsp import fsp_loss
from sskd_lib.losses.ft import ft_loss
from sskd_lib.losses.kd import kd_loss
from sskd_lib.losses.kdsvd import kdsvd_loss
from sskd_lib.losses.logit_std import standardised, standardised_kd_loss
from sskd_lib.losses.nst import nst_loss
from sskd_lib.losses.pkt import pkt_loss
from sskd_lib.losses.reviewkd import hcl_loss
from sskd_lib.losses.rkd import angles, distances, rkd_loss
from sskd_lib.losses.simkd import simkd_loss
from sskd_lib.losses.sp import sp_loss
from sskd_lib.losses.vid import VID, StageDistribution, vid_loss
from sskd_lib.losses.wttm import wttm_loss

FEATURES = normal(4, 3, seed=3), normal(4, 5, seed=4)
LABELS = torch.tensor([2, 0, 4])
LOGITS = normal(3, 5, seed=1) * 3, normal(3, 5, seed=2) * 3
STAGES = [normal(3, c, h, h, seed=c) for c, h in ((2, 4), (3, 2), (4, 2))]
OTHER_STAGES = [normal(3, c, h, h, seed=c + 5) for c, h in ((2, 4), (3, 2), (4, 2))]
SCALES = torch.tensor([0.2, 3.0, 1.7, 40.0], dtype=torch.float64)


def maps(channels: int, seed: int = 0) -> Tensor:
    return normal(3, channels, 2, 2, seed=seed)


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def differ(a: Tensor, b: Tensor) -> None:
    assert abs(a - b) > 1e-4


# ---- features ------------------------------------------------------------------------------------


def test_relations_do_not_depend_on_scale_rotation_or_shift():
    s, t = FEATURES
    turn = torch.linalg.qr(normal(3, 3, seed=9)).Q
    for loss in (sp_loss, pkt_loss, rkd_loss, congruence_loss):
        expected = loss(s, t)
        same(loss(7 * s @ turn, 0.1 * t), expected)
        differ(loss(s * torch.tensor([1.0, 3.0, 1.0]), t), expected)  # they do on stretching one axis
    for loss in (pkt_loss, congruence_loss):
        same(loss(SCALES[:, None] * s, SCALES.flip(0)[:, None] * t), loss(s, t))
    same(rkd_loss(s + torch.tensor([5.0, -2.0, 9.0]), t - 4), rkd_loss(s, t))
    differ(sp_loss(s + 5, t), sp_loss(s, t))


@pytest.mark.parametrize("loss", [sp_loss, pkt_loss, rkd_loss, congruence_loss])
def test_the_order_of_the_images_does_not_matter(loss):
    s, t = FEATURES
    order = torch.tensor([2, 0, 3, 1])
    same(loss(s[order], t[order]), loss(s, t))
    differ(loss(s[order], t), loss(s, t))


def test_the_papers_loss_of_cc_is_the_loop():
    """It belongs to no method: the comparisons used the other one."""
    student, teacher = FEATURES
    expected = congruence(student.numpy(), teacher.numpy())
    assert congruence_loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda s: congruence_loss(s, teacher), student.clone().requires_grad_())


def test_cc_multiplies_neighbours_and_moves_with_both():
    s, t = normal(4, 3, seed=3), normal(4, 3, seed=4)
    turn, shift = torch.tensor([1.0, -1.0, 1.0]), normal(4, 3, seed=8)
    same(cc_loss(turn * s + shift, turn * t + shift), cc_loss(s, t))
    same(cc_loss(3 * s, 3 * t), 9 * cc_loss(s, t))
    same(cc_loss(s.flip(0), t.flip(0)), cc_loss(s, t))
    lonely = torch.where(torch.tensor([True, False, True, False])[:, None], s, t)  # no two errors in a row
    assert cc_loss(lonely, t).item() == 0


def test_rkd_counts_equal_images_as_no_distance_and_no_angle():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    same(distances(points), torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.float64))
    corner = angles(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64))[0]
    same(corner, torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64))  # a right angle at 0
    far = normal(6, 4, seed=1, dtype=torch.float32)
    torch.testing.assert_close(angles(far + 100), angles(far), rtol=0, atol=1e-3)  # far from 0 as well


# ---- maps ----------------------------------------------------------------------------------------


def test_maps_do_not_depend_on_scale_sign_or_the_order_of_channels():
    s, t = maps(4, seed=1), maps(2, seed=2)
    for loss in (at_loss, ft_loss, nst_loss):
        same(loss(-5 * s[:, [2, 0, 3, 1]], 0.3 * t), loss(s, t))
    same(nst_loss(SCALES[:, None, None] * s, t), nst_loss(s, t))  # of each channel
    differ(at_loss(SCALES[:, None, None] * s, t), at_loss(s, t))
    same(at_loss(SCALES[:3, None, None, None] * s, t), at_loss(s, t))  # of each image
    scaled = [3 * x for x in STAGES], [-0.2 * x for x in OTHER_STAGES]
    same(kdsvd_loss(*scaled), kdsvd_loss(STAGES, OTHER_STAGES))


def test_boundaries_are_the_sign_of_the_teacher_and_a_margin():
    t = torch.tensor([0.01, 5.0, -0.01, 0.0]).view(1, 4, 1, 1)
    s = torch.tensor([2.0, 1.0, -1.0, -3.0]).view(1, 4, 1, 1)
    assert boundary_loss(s, t).item() == 0
    assert boundary_loss(-s, t).item() == 9 + 4 + 4 + 16
    values = [ab(x.numpy(), y.numpy()) for x, y in zip(STAGES, OTHER_STAGES, strict=True)]
    expected = 0.003 * (values[0] / 4 + values[1] / 2 + values[2])
    assert ab_loss(STAGES, OTHER_STAGES).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [8, 4, 2, 1])
def test_hcl_pools_to_sizes_below_that_of_the_map(size):
    s, t = normal(3, 2, size, size, seed=1), normal(3, 2, size, size, seed=2)
    assert hcl_loss(s, t).item() == pytest.approx(hcl(s.numpy(), t.numpy()), rel=1e-12)
    assert hcl_loss(t, t).item() == 0


@pytest.mark.parametrize("variance", [5.0, 1e-4])
def test_the_variance_of_vid_starts_at_its_number(variance):
    module = StageDistribution(3, 2, variance=variance)
    with torch.no_grad():
        for p in module.mean.parameters():
            p.zero_()  # μ = 0
    value = module(torch.zeros(1, 3, 4, 4), torch.full((1, 2, 2, 2), 3.0))
    assert value.item() == pytest.approx(0.5 * (9 / variance + math.log(variance)), rel=1e-4)


def test_kdsvd_takes_maps_of_fewer_pixels_than_vectors():
    stages, others = ([normal(2, 5, 1, 2, seed=i), normal(2, 4, 1, 1, seed=i + 1)] for i in (1, 3))
    assert 0 < kdsvd_loss(stages, others).item() < 1 and kdsvd_loss(stages, stages).item() < 1e-12


# ---- logits --------------------------------------------------------------------------------------


def test_dkd_with_the_weights_of_kd_is_kd():
    s, t = LOGITS
    sure = (t / 4).softmax(1).gather(1, LABELS[:, None])[:, 0]
    same(dkd_loss(s, t, LABELS, alpha=1, beta=1 - sure, temperature=4), kd_loss(s, t, 4))
    target, others = dkd_rows(s, t, LABELS, 4)
    assert target.shape == others.shape == (3,) and (target > 0).all() and (others > 0).all()


def test_dkd_works_for_two_classes_and_for_a_teacher_that_is_sure():
    labels = torch.tensor([0, 1])
    s = torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64)
    t = torch.tensor([[3.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    assert dkd_rows(s, t, labels, 4)[1].tolist() == [0, 0]  # one other class: nothing to rank
    same(dkd_loss(s, t, labels), kd_loss(s, t, 4))
    s = torch.zeros(2, 3, requires_grad=True)
    loss = dkd_loss(s, torch.tensor([[1e4, 0.0, 1.0], [0.0, 2.0, -1e4]]), labels, temperature=1)
    loss.backward()
    assert loss.isfinite() and s.grad.isfinite().all()


def test_dist_does_not_depend_on_an_affine_change_of_the_predictions():
    s, t = LOGITS
    y_s, y_t = s.softmax(1), t.softmax(1)
    row = normal(3, 1, seed=6)
    changed = pearson_distance(row.exp() * y_s + row, 3 * y_t - 1)
    torch.testing.assert_close(changed, pearson_distance(y_s, y_t), rtol=1e-6, atol=0)  # but for the 10⁻⁸
    same(dist_loss(s + row, t - 2 * row), dist_loss(s, t))
    differ(dist_loss(2 * s, t), dist_loss(s, t))  # the softmax is between


def test_standardised_logits_do_not_depend_on_scale_and_shift():
    s, t = LOGITS
    row = normal(3, 1, seed=6)
    z = standardised(s)
    same(z.mean(1), torch.zeros(3, dtype=torch.float64))
    same(z.std(1), torch.ones(3, dtype=torch.float64))
    same(standardised_kd_loss(row.exp() * s + row, 9 * t - row), standardised_kd_loss(s, t))


def test_wttm_is_zero_at_the_transformed_teacher_and_kd_at_gamma_one():
    s, t = LOGITS
    assert wttm_loss(0.1 * t + 3, t, 0.1).item() == pytest.approx(0, abs=1e-12)
    assert wttm_loss(t, t, 0.1).item() > 0.1
    same(wttm_loss(s, t, 1.0), kd_loss(s, t, 1.0))
    same(wttm_loss(s, t, 1.0, weighted=False), kd_loss(s, t, 1.0))
    unsure, sure = torch.zeros(1, 4), torch.tensor([[50.0, 0.0, 0.0, 0.0]])
    s = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    for teacher, weight in ((unsure, 4 * 0.25**0.5), (sure, 1.0)):  # U = Σ p^γ: 2 for four equal classes
        ratio = wttm_loss(s, teacher, 0.5) / wttm_loss(s, teacher, 0.5, weighted=False)
        assert ratio.item() == pytest.approx(weight, rel=1e-5)


# ---- what does not fit ---------------------------------------------------------------------------


def test_a_regressor_fits_the_shapes_or_names_those_it_needs():
    for size_s, size_t in ((8, 4), (4, 8), (4, 4), (7, 4)):
        made = Regressor((3, size_s, size_s), (5, size_t, size_t))(torch.zeros(2, 3, size_s, size_s))
        assert made.shape == (2, 5, size_t, size_t) and (made >= 0).all()
    with pytest.raises(ValueError, match="half as large"):
        Regressor((3, 4, 4), (5, 12, 12))
    assert isinstance(connector((3, 4, 4), (3, 4, 4)), nn.Identity)
    assert (connector((3, 4, 4), (5, 4, 4))(normal(2, 3, 4, 4, seed=1, dtype=torch.float32)) < 0).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fsp_loss(STAGES, OTHER_STAGES[:2]), r"\[2, 3, 4\].*\[2, 3\].*same width"),
        (lambda: kdsvd_loss(STAGES, OTHER_STAGES[:2]), r"\[2, 3, 4\].*\[2, 3\].*same width"),
        (lambda: boundary_loss(maps(3), maps(4)), "connector"),
        (lambda: ab_loss(STAGES, STAGES[:2]), "take the same ones"),
        (lambda: hint_loss(maps(3), maps(4)), "through Regressor"),
        (lambda: hcl_loss(maps(3), maps(4)), "Fusion"),
        (lambda: simkd_loss(maps(3), maps(4)), "3 channels, the teacher's 4"),
        (lambda: vid_loss(maps(3), SCALES, maps(3)), "StageDistribution"),
        (lambda: VID(variance=0.0), "variance must be above"),
        (lambda: at_loss(*FEATURES), "before the network's global pooling"),
        (lambda: cc_loss(*FEATURES), "one shape"),
        (lambda: ready_term("ft", *2 * [random_output(2, 1)], {"rate": 0.1}), "leaves no channel of 4"),
        (lambda: dkd_loss(torch.zeros(3, 1), torch.zeros(3, 1), 0 * LABELS), "two classes"),
        (lambda: dist_loss(torch.zeros(3, 1), torch.zeros(3, 1)), "at least two; there is one"),
        (lambda: dist_loss(*LOGITS, temperature=0), "temperature must be above 0"),
        (lambda: dist_loss(LOGITS[0][:0], LOGITS[1][:0]), "at least one"),
        (lambda: sp_loss(FEATURES[0][:0], FEATURES[1][:0]), "at least one"),
        (lambda: standardised(torch.zeros(3, 2)), "at least three classes"),
        (lambda: wttm_loss(*LOGITS, gamma=0), "above 0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
