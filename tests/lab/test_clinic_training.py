"""The mistakes of the clinic, each against a plain computation, and one recorded training made again."""

from __future__ import annotations

import dataclasses
import math
from copy import deepcopy

import pytest
import torch

import clinic_faults
import make_clinic
import sskd_lib as sskd
from clinic_faults import FAULTS, SSKD
from clinic_probe import Observed, Probe
from helpers.training import pictures
from sskd_lib.lab.patients.recording import load_clinic


def softened(row: list[float], tau: float) -> list[float]:
    grown = [math.exp(value / tau) for value in row]
    return [g / sum(grown) for g in grown]


@pytest.mark.parametrize("tau", [0.5, 4.0])
def test_the_changed_divergences_are_those_of_a_plain_loop(tau):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    rows = zip(clinic_faults.without_square(student, teacher, tau), student, teacher, strict=True)
    for value, s, t in rows:
        p, q = softened(t.tolist(), tau), softened(s.tolist(), tau)
        assert float(value) == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    rows = zip(clinic_faults.turned_round(student, teacher, tau), student, teacher, strict=True)
    for value, s, t in rows:
        p, q = softened(t.tolist(), tau), softened(s.tolist(), tau)
        turned = tau**2 * sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
        assert float(value) == pytest.approx(turned)


def test_the_worst_rows_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.4, 0.6], [0.3, 0.2, 0.1], [0.1, 0.9, 0.2]])
    targets = torch.tensor([0, 0, 2, 0])  # ranks 0, 1, 2, 2: one right row and ⌊0.5 · 3⌋ = 1 more are kept
    assert sskd.losses.transfer_mask(scores, targets, 0.5).tolist() == [True, True, False, False]
    assert clinic_faults.worst_rows(scores, targets, 0.5).tolist() == [False, False, True, True]


def test_functions_are_put_back():
    before = clinic_faults.KD.kl_rows, SSKD.kl_rows, SSKD.transfer_mask
    for fault in FAULTS.values():
        with fault.functions():
            changed = (clinic_faults.KD.kl_rows, SSKD.kl_rows, SSKD.transfer_mask) != before
            assert changed == (fault.kl_rows is not None or fault.transfer_mask is not None)
        assert (clinic_faults.KD.kl_rows, SSKD.kl_rows, SSKD.transfer_mask) == before


def networks(fault: str) -> tuple[sskd.Network, sskd.Network, torch.Tensor]:
    """A student and a teacher with this mistake, and four views of six images."""
    images = pictures(24)
    student, teacher = (sskd.create_network("resnet8", images, projection=True, seed=s) for s in (0, 1))
    FAULTS[fault].networks(student, teacher)
    return student, teacher, sskd.four_views(images.images[:6], augment=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_only_the_teacher_in_train_mode_depends_on_other_images(fault):
    _, teacher, views = networks(fault)
    with torch.no_grad():
        same = torch.allclose(teacher(views).logits[:6], teacher(views[:6]).logits, atol=1e-5)
    assert same == (fault != "teacher in train mode")


@pytest.mark.parametrize("fault", ["healthy", "two student forwards"])
def test_two_forwards_normalise_upright_and_turned_views_apart(fault):
    student, _, views = networks(fault)
    student.train()
    joint = student(views)
    apart = [sskd.Network.forward(student, part) for part in (views[:6], views[6:])]
    for name in ("logits", "projection", "features"):
        both = torch.cat([getattr(part, name) for part in apart])
        assert torch.allclose(getattr(joint, name), both, atol=1e-5) == (fault != "healthy")


def test_answers_are_shifted_by_one_quarter_turn():
    _, teacher, views = networks("views shifted by one")
    with torch.no_grad():
        output = teacher(views)
        turns = [views[:6], *(torch.rot90(views[:6], k, (-2, -1)) for k in (2, 3, 1))]
        expected = teacher(torch.cat(turns))
    shifted = FAULTS["views shifted by one"].answers(output)
    assert torch.allclose(shifted.logits, expected.logits, atol=1e-5)
    assert torch.allclose(shifted.projection, expected.projection, atol=1e-5)
    assert FAULTS["healthy"].answers(output) is output


def test_zeros_around_normalised_pixels_are_the_mean_grey():
    images = torch.full((1, 1, 2, 2), 200, dtype=torch.uint8)
    framed = FAULTS["padding after normalising"].frame(images, 0.25)
    assert framed.shape == (1, 1, 10, 10) and framed[0, 0, 4:6, 4:6].unique().tolist() == [200]
    assert framed[0, 0, :4].unique().tolist() == [64]
    assert FAULTS["healthy"].frame(images, 0.25)[0, 0, :4].unique().tolist() == [0]


@pytest.fixture(scope="module")
def again():
    """The first epoch of two mistakes, trained once more as it was recorded."""
    lr = sskd.SHORT.lr_at(0)
    schedule = dataclasses.replace(sskd.SHORT, epochs=1, lr=lr, shape="steps")
    names = ("no tau squared", "two student forwards")
    return make_clinic.train_group(names, seed=0, schedule=schedule)


@pytest.mark.parametrize("fault", ["no tau squared", "two student forwards"])
def test_a_training_made_again_has_the_recorded_terms(again, fault):
    steps, recorded = again[fault]["first_steps"], load_clinic()[0][fault]["first_steps"][0]
    assert steps[0] == pytest.approx(recorded[0], rel=1e-4)  # rounded in another order on other machines
    assert steps.mean(0) == pytest.approx(recorded.mean(0), rel=0.05)
    assert again[fault]["student_alone"] == pytest.approx(
        load_clinic()[0][fault]["student_alone"][0], rel=0.01, abs=1e-3
    )


def test_measuring_changes_neither_network():
    """Weights, BatchNorm's statistics and modes are the same after a measurement as before it."""
    images = sskd.load_images("fashion-mnist-lab", "test")
    fault = FAULTS["teacher in train mode"]
    student, teacher = (sskd.create_network("resnet8", images, projection=True, seed=s) for s in (0, 1))
    runtime = dataclasses.replace(sskd.choose_runtime("cpu"), dtype=torch.float32)
    clean = deepcopy(teacher).eval()
    fault.networks(runtime.place(student), runtime.place(teacher))
    probe = Probe(Observed(fault), images, images, clean, teacher, epochs=2)

    def state() -> list[torch.Tensor]:
        tensors = [*student.state_dict().values(), *teacher.state_dict().values()]
        return [tensor.clone() for tensor in tensors]

    before = state()
    probe.watch(0, student.eval())
    assert all(torch.equal(was, now) for was, now in zip(before, state(), strict=True))
    assert not student.training and teacher.training
    assert all(parameter.grad is None for parameter in student.parameters())
    assert probe.rows[0]["moved"] == 0 and len(probe.rows) == 1
