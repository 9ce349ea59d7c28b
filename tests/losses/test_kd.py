"""Soft targets against float64 loops, hand-worked cases and their limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.sskd_loops import (
    QUICK,
    SEEDS,
    TEMPERATURES,
    close,
    loop_kl,
    loop_kl_gradient,
    loop_softmax,
    normal,
)
from sskd_lib.losses import kd_loss, kl_rows, soften
from sskd_lib.losses.dist import dist_loss
from sskd_lib.losses.dkd import dkd_loss
from sskd_lib.losses.logit_std import standardised_kd_loss


@QUICK
@given(st.integers(1, 6), st.integers(2, 7), TEMPERATURES, SEEDS)
def test_soften_equals_the_loop_sums_to_one_and_obeys_the_scale_rule(n, k, temperature, seed):
    logits = normal(n, k, seed=seed)
    value = soften(logits, temperature)
    close(value, [loop_softmax(row, temperature) for row in logits.tolist()])
    close(value.sum(1), torch.ones(n))
    close(value, soften(logits / temperature, 1.0))


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
    kd_loss(student, teacher, 1e5).backward()
    difference = (student - teacher).detach()
    limit = (difference - difference.mean(1, keepdim=True)) / 15
    torch.testing.assert_close(student.grad, limit, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("temperature", [0.5, 4.0, 20.0, 21.0, 1e3, 1e4, 1e5])
@pytest.mark.parametrize("name", ["kd", "dist", "dkd", "kd-ls"])
def test_losses_are_as_exact_at_every_temperature(name, temperature):
    """float32 logits against float64, from cold to hot; a teacher near the student leaves least to see."""
    student, labels = normal(16, 20, seed=0), torch.arange(16)
    for distance in (1.0, 0.1):
        teacher = student + distance * normal(16, 20, seed=1)
        loss = {
            "kd": lambda s, t: kd_loss(s, t, temperature),
            "dist": lambda s, t: dist_loss(s, t, temperature=temperature),
            "dkd": lambda s, t: dkd_loss(s, t, labels, temperature=temperature),
            "kd-ls": lambda s, t: standardised_kd_loss(s, t, temperature),
        }[name]
        single, double = student.float().requires_grad_(), student.clone().requires_grad_()
        value, exact = loss(single, teacher.float()), loss(double, teacher)
        assert value.item() == pytest.approx(exact.item(), rel=1e-3 / distance) and value > 0
        value.backward()
        exact.backward()
        torch.testing.assert_close(
            single.grad.double(), double.grad, rtol=1e-3, atol=1e-4 * double.grad.abs().max()
        )


def test_hot_losses_keep_the_number_format_of_the_others():
    student, teacher = normal(4, 5, seed=0).float(), normal(4, 5, seed=1).float()
    for temperature in (4.0, 400.0):
        assert kl_rows(student, teacher, temperature).dtype == torch.float32
        assert kl_rows(student.bfloat16(), teacher, temperature).dtype == torch.float32


@pytest.mark.parametrize("temperature", [1e-4, 1e6, math.inf])
def test_temperatures_out_of_range_are_refused(temperature):
    with pytest.raises(ValueError, match="must be from 0.001 to 100,000, not"):
        kd_loss(torch.zeros(1, 2), torch.zeros(1, 2), temperature)


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
