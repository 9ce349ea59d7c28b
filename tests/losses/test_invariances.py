"""What each loss of the zoo must not see, and what holds for all: gradients, precision, odd batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sskd_lib.losses.ab import ab_loss, boundary_loss, connector
from sskd_lib.losses.at import at_loss
from sskd_lib.losses.cc import CC, cc_loss, congruence_loss
from sskd_lib.losses.dist import dist_loss, pearson_distance
from sskd_lib.losses.dkd import dkd_loss, dkd_rows
from sskd_lib.losses.fitnet import Regressor, hint_loss
from sskd_lib.losses.fsp import fsp_loss
from sskd_lib.losses.ft import Paraphraser, Translator, ft_loss
from sskd_lib.losses.kd import kd_loss
from sskd_lib.losses.kdsvd import kdsvd_loss, singular_vectors
from sskd_lib.losses.logit_std import standardised, standardised_kd_loss
from sskd_lib.losses.nst import nst_loss
from sskd_lib.losses.pkt import pkt_loss
from sskd_lib.losses.rkd import angles, distances, rkd_loss
from sskd_lib.losses.simkd import simkd_loss
from sskd_lib.losses.sp import sp_loss
from sskd_lib.losses.vid import VID, vid_loss
from sskd_lib.losses.wttm import wttm_loss

LABELS = [2, 0, 4]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def maps(channels: int = 3, size: int = 2, seed: int = 0) -> Tensor:
    return normal(3, channels, size, size, seed=seed)


FEATURES = normal(4, 3, seed=3), normal(4, 5, seed=4)
LOGITS = normal(3, 5, seed=1) * 3, normal(3, 5, seed=2) * 3
STAGES = [normal(3, c, h, h, seed=c) for c, h in ((2, 4), (3, 2), (4, 2))]
OTHER_STAGES = [normal(3, c, h, h, seed=c + 5) for c, h in ((2, 4), (3, 2), (4, 2))]


# ---- what a loss must not see --------------------------------------------------------------------


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def rotation(width: int) -> Tensor:
    return torch.linalg.qr(normal(width, width, seed=9)).Q


SCALES = torch.tensor([0.2, 3.0, 1.7, 40.0], dtype=torch.float64)


def test_relations_do_not_see_scale_rotation_or_place():
    s, t = FEATURES
    turn = rotation(3)
    for loss in (sp_loss, pkt_loss, rkd_loss, congruence_loss):
        expected = loss(s, t)
        same(loss(7 * s @ turn, 0.1 * t), expected)
        assert abs(loss(s * torch.tensor([1.0, 3.0, 1.0]), t) - expected) > 1e-4  # stretching one axis does
    for loss in (pkt_loss, congruence_loss):
        same(loss(SCALES[:, None] * s, SCALES.flip(0)[:, None] * t), loss(s, t))
    same(rkd_loss(s + torch.tensor([5.0, -2.0, 9.0]), t - 4), rkd_loss(s, t))
    assert abs(sp_loss(s + 5, t) - sp_loss(s, t)) > 1e-4


@pytest.mark.parametrize("loss", [sp_loss, pkt_loss, rkd_loss, congruence_loss])
def test_the_order_of_the_images_does_not_matter(loss):
    s, t = FEATURES
    order = torch.tensor([2, 0, 3, 1])
    same(loss(s[order], t[order]), loss(s, t))
    assert abs(loss(s[order], t) - loss(s, t)) > 1e-4


def test_cc_multiplies_neighbours_and_moves_with_both():
    s, t = normal(4, 3, seed=3), normal(4, 3, seed=4)
    turn, shift = torch.tensor([1.0, -1.0, 1.0]), normal(4, 3, seed=8)
    same(cc_loss(turn * s + shift, turn * t + shift), cc_loss(s, t))
    same(cc_loss(3 * s, 3 * t), 9 * cc_loss(s, t))
    same(cc_loss(s.flip(0), t.flip(0)), cc_loss(s, t))
    lonely = torch.where(torch.tensor([True, False, True, False])[:, None], s, t)  # no two errors in a row
    assert cc_loss(lonely, t).item() == 0


def test_maps_do_not_see_scale_sign_or_the_order_of_channels():
    s, t = maps(4, seed=1), maps(2, seed=2)
    for loss in (at_loss, ft_loss, nst_loss):
        same(loss(-5 * s[:, [2, 0, 3, 1]], 0.3 * t), loss(s, t))
    same(nst_loss(SCALES[:, None, None] * s, t), nst_loss(s, t))  # every channel by itself
    assert abs(at_loss(SCALES[:, None, None] * s, t) - at_loss(s, t)) > 1e-4
    same(at_loss(SCALES[:3, None, None, None] * s, t), at_loss(s, t))  # every image by itself
    scaled = [3 * x for x in STAGES], [-0.2 * x for x in OTHER_STAGES]
    same(kdsvd_loss(*scaled), kdsvd_loss(STAGES, OTHER_STAGES))


def test_dkd_with_the_weights_of_kd_is_kd():
    s, t = LOGITS
    labels = torch.tensor(LABELS)
    sure = (t / 4).softmax(1).gather(1, labels[:, None])[:, 0]
    same(dkd_loss(s, t, labels, alpha=1, beta=1 - sure, temperature=4), kd_loss(s, t, 4))
    target, others = dkd_rows(s, t, labels, 4)
    assert target.shape == others.shape == (3,) and (target > 0).all() and (others > 0).all()


def test_dkd_holds_for_two_classes_and_for_a_teacher_that_is_sure():
    labels = torch.tensor([0, 1])
    s = torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64)
    t = torch.tensor([[3.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    assert dkd_rows(s, t, labels, 4)[1].tolist() == [0, 0]  # one other class: nothing to rank
    same(dkd_loss(s, t, labels), kd_loss(s, t, 4))
    s = torch.zeros(2, 3, requires_grad=True)
    loss = dkd_loss(s, torch.tensor([[1e4, 0.0, 1.0], [0.0, 2.0, -1e4]]), labels, temperature=1)
    loss.backward()
    assert loss.isfinite() and s.grad.isfinite().all()


def test_dist_sees_no_affine_change_of_the_predictions():
    s, t = LOGITS
    y_s, y_t = s.softmax(1), t.softmax(1)
    row = normal(3, 1, seed=6)
    found = pearson_distance(row.exp() * y_s + row, 3 * y_t - 1)
    torch.testing.assert_close(found, pearson_distance(y_s, y_t), rtol=1e-6, atol=0)  # but for the 10⁻⁸
    same(dist_loss(s + row, t - 2 * row), dist_loss(s, t))
    assert abs(dist_loss(2 * s, t) - dist_loss(s, t)) > 1e-4  # the softmax lies between


def test_standardised_logits_see_neither_scale_nor_shift():
    s, t = LOGITS
    row = normal(3, 1, seed=6)
    z = standardised(s)
    same(z.mean(1), torch.zeros(3, dtype=torch.float64))
    same(z.std(1), torch.ones(3, dtype=torch.float64))
    same(standardised_kd_loss(row.exp() * s + row, 9 * t - row), standardised_kd_loss(s, t))
    labels = torch.tensor(LABELS)
    same(dkd_loss(standardised(4 * s - 1), standardised(t), labels), dkd_loss(z, standardised(t), labels))


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


def test_boundaries_ask_for_the_sign_of_the_teacher_and_a_margin():
    t = torch.tensor([0.01, 5.0, -0.01, 0.0]).view(1, 4, 1, 1)
    s = torch.tensor([2.0, 1.0, -1.0, -3.0]).view(1, 4, 1, 1)
    assert boundary_loss(s, t).item() == 0
    assert boundary_loss(-s, t).item() == 9 + 4 + 4 + 16


# ---- what holds for all of them ------------------------------------------------------------------


def in_stages(loss: Callable[[list[Tensor], list[Tensor]], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Two stages made of one tensor, so that every loss is called alike."""
    return lambda s, t: loss([s, s[:, 1:]], [t, t[:, 1:]])


def dkd(student: Tensor, teacher: Tensor) -> Tensor:
    return dkd_loss(student, teacher, torch.arange(len(student), device=student.device) % student.shape[1])


MAPS, WIDE, NARROW, CLASSES = (4, 3, 4, 4), (4, 6, 2, 2), (4, 5), (4, 7)
PURE = {  # name: (loss, shape of the student's tensor, of the teacher's, 0 where they are equal)
    "at": (at_loss, MAPS, WIDE, True),
    "sp": (sp_loss, MAPS, WIDE, True),
    "dkd": (dkd, CLASSES, CLASSES, True),
    "dist": (dist_loss, CLASSES, CLASSES, True),
    "logit_std": (standardised_kd_loss, CLASSES, CLASSES, True),
    "pkt": (pkt_loss, NARROW, CLASSES, True),
    "rkd": (rkd_loss, NARROW, CLASSES, True),
    "fitnet": (hint_loss, MAPS, MAPS, True),
    "vid": (lambda s, t: vid_loss(s, torch.full((3,), 0.7), t), MAPS, MAPS, False),
    "nst": (nst_loss, MAPS, WIDE, True),
    "cc": (lambda s, t: cc_loss(s, t.detach()), CLASSES, CLASSES, True),
    "cc, paper": (congruence_loss, NARROW, CLASSES, True),
    "wttm": (wttm_loss, CLASSES, CLASSES, False),
    "fsp": (in_stages(fsp_loss), MAPS, MAPS, True),
    "kdsvd": (in_stages(kdsvd_loss), MAPS, MAPS, True),
    "ab": (in_stages(ab_loss), MAPS, MAPS, False),
    "ft": (ft_loss, MAPS, WIDE, True),
    "simkd": (simkd_loss, MAPS, MAPS, True),
}


@pytest.fixture(params=PURE)
def name(request):
    return request.param


def pair(name: str, dtype: torch.dtype = torch.float32, seed: int = 1) -> tuple[Tensor, Tensor]:
    _, student, teacher, _ = PURE[name]
    return normal(*student, seed=seed, dtype=dtype), normal(*teacher, seed=seed + 1, dtype=dtype)


def test_the_gradient_reaches_the_student_and_never_the_teacher(name):
    student, teacher = (x.requires_grad_() for x in pair(name))
    if name == "cc":
        cc_loss(student, teacher).backward()  # both embeddings are trained
        assert teacher.grad.abs().sum() > 0
    else:
        PURE[name][0](student, teacher).backward()
        assert teacher.grad is None
    assert student.grad.isfinite().all() and student.grad.abs().sum() > 0


def test_twenty_steps_of_sgd_lower_it(name):
    loss = PURE[name][0]
    student, teacher = pair(name)
    student.requires_grad_()
    before = loss(student, teacher)
    (slope,) = torch.autograd.grad(before, student)
    optimizer = torch.optim.SGD([student], lr=(0.03 * student.norm() / slope.norm()).item())
    for _ in range(20):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert loss(student, teacher) < before - 0.1 * before.abs()


def test_equal_networks_have_no_loss_and_a_finite_gradient(name):
    loss, _, shape, zero = PURE[name]
    teacher = normal(*shape, seed=5, dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert student.grad.isfinite().all()
    if zero:
        assert abs(value.item()) < 1e-6 and student.grad.abs().max() < 1e-6


def test_half_precision_and_autocast_compute_in_single(name):
    loss = PURE[name][0]
    student, teacher = pair(name, torch.bfloat16)
    expected = loss(student.float(), teacher.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loss(student.float(), teacher.float())
    for found in (loss(student, teacher), under_autocast):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_single_precision_is_close_to_double(name):
    loss = PURE[name][0]
    exact = loss(*pair(name, torch.float64))
    torch.testing.assert_close(loss(*pair(name)).double(), exact, rtol=1e-4, atol=1e-6)


def test_a_batch_of_one_is_finite_and_has_no_relations(name):
    loss = PURE[name][0]
    student, teacher = (x[:1].clone() for x in pair(name))
    value = loss(student.requires_grad_(), teacher)
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()
    if name in {"sp", "pkt", "rkd", "cc", "cc, paper"}:
        assert abs(value.item()) < 1e-6 and student.grad.abs().max() < 1e-6


def test_dead_channels_equal_images_and_constant_rows_keep_the_gradient_small(name):
    loss = PURE[name][0]
    for fill in (0.0, 0.3):
        student, teacher = pair(name)
        student[:2] = fill  # two images at the same point
        student.requires_grad_()
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite() and student.grad.isfinite().all() and student.grad.abs().max() < 1e3


def test_two_different_batches_are_refused(name):
    student, teacher = pair(name)
    with pytest.raises(ValueError, match="row|shape|images"):
        PURE[name][0](student, teacher[:3])
    with pytest.raises(ValueError, match="at least one|shape"):
        PURE[name][0](student[:0], teacher[:0])


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that an operation made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, Tensor):
                self.size = max(self.size, x.numel())
        return out


@pytest.mark.parametrize(
    "loss_name", ["at", "sp", "nst", "ft", "fsp", "kdsvd", "pkt", "rkd", "cc", "cc, paper", "dkd", "dist"]
)
def test_nothing_waits_for_the_device_and_no_tensor_is_large(loss_name):
    """On tensors without contents a value that is looked at would be an error."""
    images, width = 64, 128
    loss = PURE[loss_name][0]
    shape = (images, 64, 16, 16) if len(PURE[loss_name][1]) == 4 else (images, width)
    with FakeTensorMode(), Largest() as largest:
        student, teacher = torch.randn(shape, requires_grad=True), torch.randn(shape)
        loss(student, teacher).backward()
    assert largest.size <= max(student.numel(), 3 * images * width * images - 1)
    assert student.grad.shape == student.shape


# ---- traps of single losses ----------------------------------------------------------------------


def test_rkd_counts_equal_images_as_no_distance_and_no_angle():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    same(distances(points), torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.float64))
    corner = angles(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64))[0]
    same(corner, torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64))  # a right angle at 0
    far = normal(6, 4, seed=1, dtype=torch.float32)
    torch.testing.assert_close(angles(far + 100), angles(far), rtol=0, atol=1e-3)  # far from 0 as well


def test_kdsvd_stays_finite_where_singular_values_are_equal():
    """The exact derivative of a singular vector has a pole there: torch.linalg.svd gives inf or nan."""
    student = torch.eye(4).view(1, 4, 2, 2).repeat(2, 1, 1, 1).requires_grad_()
    vectors, values = singular_vectors(student, 2)
    same(values, torch.full((2, 2), 0.5))
    (vectors * normal(2, 4, 2, seed=1, dtype=torch.float32)).sum().backward()
    assert student.grad.isfinite().all()
    exact = student.detach().clone().requires_grad_()
    v = torch.linalg.svd(exact.flatten(2).mT)[2][:, :2]
    (v * normal(2, 2, 4, seed=1, dtype=torch.float32)).sum().backward()
    assert not exact.grad.isfinite().all()


def test_a_regressor_fits_the_shapes_or_says_which_it_needs():
    for size_s, size_t in ((8, 4), (4, 8), (4, 4), (7, 4)):
        made = Regressor((3, size_s, size_s), (5, size_t, size_t))(torch.zeros(2, 3, size_s, size_s))
        assert made.shape == (2, 5, size_t, size_t) and (made >= 0).all()
    with pytest.raises(ValueError, match="half as large"):
        Regressor((3, 4, 4), (5, 12, 12))
    assert isinstance(connector((3, 4, 4), (3, 4, 4)), nn.Identity)
    assert (connector((3, 4, 4), (5, 4, 4))(normal(2, 3, 4, 4, seed=1, dtype=torch.float32)) < 0).any()


def test_losses_of_equal_channels_say_what_to_do():
    for loss in (fsp_loss, kdsvd_loss):
        with pytest.raises(ValueError, match=r"\[2, 3, 4\].*\[2, 3\].*same width"):
            loss(STAGES, OTHER_STAGES[:2])
    with pytest.raises(ValueError, match="connector"):
        boundary_loss(maps(3), maps(4))
    with pytest.raises(ValueError, match="before the network's global pooling"):
        at_loss(FEATURES[0], FEATURES[1])
    with pytest.raises(ValueError, match="two classes"):
        dkd_loss(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        dist_loss(*LOGITS, temperature=0)
    with pytest.raises(ValueError, match="at least two classes"):
        standardised(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="above 0"):
        wttm_loss(*LOGITS, gamma=0)


def adapters() -> dict[str, tuple[nn.Module, Callable[[nn.Module, Tensor, Tensor], Tensor]]]:
    """The losses with parameters of their own: student maps [4, 3, 4, 4], teacher maps [4, 6, 2, 2]."""
    torch.manual_seed(0)
    paraphraser = Paraphraser(6)
    return {
        "fitnet": (Regressor((3, 4, 4), (6, 2, 2)), lambda m, s, t: hint_loss(m(s), t)),
        "vid": (VID(3, 6), lambda m, s, t: m(s, t)),
        "cc": (CC(48, 24, 8), lambda m, s, t: m(s, t)),
        "ab": (connector((3, 4, 4), (6, 2, 2)), lambda m, s, t: ab_loss([m(s)], [t])),
        "ft": (Translator(3, 6), lambda m, s, t: ft_loss(m(s), paraphraser(t.detach()))),
        "paraphraser": (paraphraser, lambda m, s, t: m.reconstruction_loss(t)),
    }


@pytest.mark.parametrize("which", ["fitnet", "vid", "cc", "ab", "ft", "paraphraser"])
def test_adapters_learn_and_leave_the_teacher_alone(which):
    module, loss = adapters()[which]
    student = normal(*MAPS, seed=1, dtype=torch.float32).requires_grad_()
    teacher = normal(*WIDE, seed=2, dtype=torch.float32).requires_grad_()
    before = loss(module, student, teacher)
    before.backward()
    assert teacher.grad is None
    assert which == "paraphraser" or student.grad.abs().sum() > 0
    slopes = {name: p.grad for name, p in module.named_parameters()}
    assert all(slope is not None and slope.isfinite().all() for slope in slopes.values())
    size, slope = (
        torch.cat([x.flatten() for x in xs]).norm() for xs in (module.parameters(), slopes.values())
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=(0.01 * size / slope).item())
    for _ in range(20):
        optimizer.zero_grad()
        loss(module, student, teacher).backward()
        optimizer.step()
    assert loss(module, student, teacher) < before
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(module, student, teacher)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(module, student, teacher), rtol=0.1, atol=0.02)
    twin = adapters()[which][0]
    twin.load_state_dict(module.state_dict())
    assert torch.equal(loss(twin, student, teacher), loss(module, student, teacher))


@pytest.mark.parametrize("variance", [5.0, 1e-4])
def test_the_variance_of_vid_starts_where_it_was_asked_to(variance):
    module = VID(3, 2, variance=variance)
    with torch.no_grad():
        for p in module.mean.parameters():
            p.zero_()  # μ = 0
    found = module(torch.zeros(1, 3, 4, 4), torch.full((1, 2, 2, 2), 3.0))
    assert found.item() == pytest.approx(0.5 * (9 / variance + math.log(variance)), rel=1e-4)


def test_kdsvd_takes_maps_of_fewer_pixels_than_vectors():
    stages, others = ([normal(2, 5, 1, 2, seed=i), normal(2, 4, 1, 1, seed=i + 1)] for i in (1, 3))
    assert 0 < kdsvd_loss(stages, others).item() < 1 and kdsvd_loss(stages, stages).item() < 1e-12
