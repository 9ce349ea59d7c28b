"""What a training step does with networks, and the fresh networks that a training begins with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from helpers.pixels import few_images, pixel_network
from sskd_lib.data.views import four_views
from sskd_lib.losses import BASES, create_method, sskd_terms
from sskd_lib.recipes import Recipe, Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill


@pytest.mark.parametrize("method", BASES)
def test_a_step_is_one_joint_forward_and_the_teacher_stays_frozen(method):
    data = few_images()
    student, teacher = pixel_network(data, seed=1), pixel_network(data, seed=2)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    old = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    schedule = Schedule(epochs=2, batch_size=4)
    run = distill(student, teacher, data, method=method, schedule=schedule, runtime=Runtime(), progress=False)
    views = create_method(method).needs.views
    sizes = [4, 4, 2] * 2  # images of each step: the short last batch is trained on too
    assert student.backbone.calls == [(views * n, True, True) for n in sizes]
    frozen = [(views * n, False, False) for n in sizes]  # eval mode, no gradient
    assert teacher.backbone.calls == (frozen if method != "ce" else [])
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not torch.equal(student.backbone.fc.weight, old["backbone.fc.weight"])
    assert torch.equal(student.head[0].weight, old["head.0.weight"]) == (method != "sskd")
    assert all(math.isfinite(record["total"]) for record in run.history)


def test_one_step_of_sskd_by_hand():
    """distill's first step equals views, two forwards, the terms and plain SGD written out here."""
    data = few_images(count=5)
    student, teacher = pixel_network(data, seed=1), pixel_network(data, seed=2)
    twin = pixel_network(data, seed=1)
    schedule = Schedule(epochs=1, batch_size=5, lr=0.1, milestones=())
    run = distill(student, teacher, data, schedule=schedule, seed=9, runtime=Runtime(), progress=False)

    generator = torch.Generator().manual_seed(9 * 1_000_003)
    order = torch.randperm(5, generator=generator)
    views = four_views(data.images[order], generator)
    with torch.no_grad():
        teacher_output = teacher(views)
    terms = sskd_terms(twin(views), teacher_output, data.labels[order], Recipe())
    terms["total"].backward()
    for name, parameter in twin.named_parameters():
        expected = parameter - 0.1 * (parameter.grad + 5e-4 * parameter)
        torch.testing.assert_close(student.get_parameter(name), expected, rtol=1e-5, atol=1e-6)
    for name, value in terms.items():
        assert run.history[0][name] == pytest.approx(value.item(), rel=1e-5)


def test_create_network_is_seeded_and_leaves_the_global_generator_alone():
    data = few_images(channels=3, size=16)
    before = torch.get_rng_state()
    first, again, other = (create_network("resnet8", data, projection=True, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12345)  # the state the process is in changes nothing
    later = create_network("resnet8", data, projection=True, seed=3)
    torch.set_rng_state(before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert torch.equal(tensor, later.state_dict()[name])
    for name in ("backbone.conv1.weight", "backbone.fc.weight", "head.0.weight", "head.2.bias"):
        assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert first.spec == {"model": "resnet8", "num_classes": 3, "in_channels": 3, "projection": True}


def test_create_network_takes_the_statistics_of_its_images():
    data = few_images(channels=3, size=16)
    network = create_network("resnet8", data)
    pixels = data.images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(network.mean.flatten(), pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(network.std.flatten(), pixels.std((0, 2, 3)), rtol=1e-6)
    assert network.head is None
