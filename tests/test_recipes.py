"""Recipes, methods, networks: published numbers, what a step does with them, clear errors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.pixels import Pixels, few_images, pixel_network
from torch import Tensor, nn

from sskd_lib.data.views import four_views
from sskd_lib.losses import BASES, METHODS, create_method, sskd_terms
from sskd_lib.models.network import Network, Output
from sskd_lib.recipes import HEAD, PRESETS, STUDENT, Recipe, Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training.train import create_network, distill

# ---- published numbers ---------------------------------------------------------------------------

PUBLISHED = {  # weights ce, kd, tf, ss; temperatures kd, tf, ss; shares of the wrong rows tf, ss
    "official-code": (0.1, 0.9, 2.7, 10.0, 4.0, 4.0, 0.5, 1.0, 0.75),
    "arxiv": (0.1, 0.9, 10.0, 2.7, 4.0, 4.0, 0.5, 0.75, 0.75),
    "eccv-supp": (0.1, 0.9, 5.0, 3.0, 4.0, 4.0, 0.5, 1.0, 0.75),
}


def test_presets_are_the_published_ones():
    assert {name: dataclasses.astuple(recipe) for name, recipe in PRESETS.items()} == PUBLISHED
    assert [field.name for field in dataclasses.fields(Recipe)] == (
        ["ce", "kd", "tf", "ss", "kd_temperature", "tf_temperature", "ss_temperature"]
        + ["tf_keep_wrong", "ss_keep_wrong"]
    )
    assert Recipe() == PRESETS["official-code"]


def test_recipes_are_frozen_and_taken_by_name():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().ss = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schedule().lr = 1.0
    with pytest.raises(TypeError):
        Recipe(0.1)


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.05), (149, 0.05), (150, 5e-3), (180, 5e-4), (210, 5e-5), (239, 5e-5)]
)
def test_student_schedule_cuts_at_150_180_and_210(epoch, lr):
    assert STUDENT.lr_at(epoch) == pytest.approx(lr)
    if epoch in (150, 180, 210):
        assert STUDENT.lr_at(epoch - 1) == pytest.approx(10 * lr)


def test_student_schedule_is_the_published_one():
    assert dataclasses.astuple(STUDENT) == (240, 64, 0.05, 0.9, 5e-4, (0.625, 0.75, 0.875), 0.1)
    assert Schedule() == STUDENT


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.05), (29, 0.05), (30, 5e-3), (44, 5e-3), (45, 5e-4), (59, 5e-4)]
)
def test_head_schedule_cuts_at_30_and_45(epoch, lr):
    assert replace(HEAD, epochs=240, milestones=STUDENT.milestones) == STUDENT  # the rest is the student's
    assert HEAD.epochs == 60 and HEAD.lr_at(epoch) == pytest.approx(lr)


def test_short_schedules_keep_the_shape():
    assert [round(Schedule(epochs=8).lr_at(e), 9) for e in range(8)] == [0.05] * 5 + [5e-3, 5e-4, 5e-5]
    assert Schedule(epochs=1).lr_at(0) == 0.05  # int(0.625 · 1) = 0, but the first epoch is never cut
    assert Schedule(epochs=50, milestones=(0.58,)).lr_at(28) == 0.05  # 0.58 · 50 is 28.999… in binary
    constant = Schedule(epochs=5, milestones=())
    assert {constant.lr_at(e) for e in range(5)} == {0.05}
    halved = Schedule(epochs=4, milestones=(0.5,), decay=0.5)
    assert [halved.lr_at(e) for e in range(4)] == [0.05, 0.05, 0.025, 0.025]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kd_temperature": 0}, "kd_temperature must be above 0, not 0"),
        ({"tf_temperature": -4.0}, "tf_temperature must be above 0, not -4.0"),
        ({"ss_temperature": math.nan}, "ss_temperature must be above 0, not nan"),
        ({"tf_keep_wrong": 1.5}, "tf_keep_wrong is a share of the wrong rows, between 0 and 1, not 1.5"),
        ({"ss_keep_wrong": 75}, "ss_keep_wrong is a share of the wrong rows, between 0 and 1, not 75"),
        ({"ss_keep_wrong": math.nan}, "ss_keep_wrong is a share"),
        ({"ce": -0.1}, "weight ce must be 0 or above, not -0.1"),
        ({"ss": math.nan}, "weight ss must be 0 or above, not nan"),
        ({"ce": 0, "kd": 0, "tf": 0, "ss": 0}, "all four weights are 0.*Give at least one"),
    ],
)
def test_wrong_recipes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}])
def test_wrong_schedules_are_refused(wrong):
    with pytest.raises(ValueError, match="epochs and batch_size must be at least 1"):
        Schedule(**wrong)


# ---- methods -------------------------------------------------------------------------------------


def outputs(b: int, seed: int = 0) -> tuple[Output, Output, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        Output(torch.randn(4 * b, 5, generator=generator), torch.randn(4 * b, 3, generator=generator))
        for _ in range(2)
    )
    return student, teacher, torch.randint(5, (b,), generator=generator)


def test_method_names_and_needs():
    needs = {
        name: (method.views, method.needs_teacher, method.needs_projection)
        for name in BASES
        for method in [create_method(name)]
    }
    assert needs == {
        "ce": (1, False, False),
        "kd": (1, True, False),
        "kd+rotations": (4, True, False),
        "sskd": (4, True, True),
    }
    assert all(create_method(name).name == name for name in METHODS)
    assert not create_method("sskd", Recipe(ss=0)).needs_projection


@pytest.mark.parametrize(
    ("name", "hint"),
    [("skd", " Did you mean 'sskd'?"), ("kd_rotations", " Did you mean 'kd+rotations'?"), ("x", "")],
)
def test_an_unknown_method_is_answered_with_the_names(name, hint):
    with pytest.raises(ValueError) as caught:
        create_method(name)
    start = f"there is no method '{name}'.{hint} The methods are: ce, kd, kd+rotations, sskd, fitnet, "
    assert str(caught.value).startswith(start)
    assert all(known in str(caught.value) for known in METHODS)


def test_ce_is_the_cross_entropy_whatever_the_recipe():
    student, _, _ = outputs(1)
    labels = torch.tensor([0, 1, 2, 3])
    terms = create_method("ce", Recipe(ce=0.3))(student, None, labels)
    logits = student.logits.double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(4), labels]).mean()
    assert list(terms) == ["ce", "total"]
    assert terms["ce"].item() == pytest.approx(expected, rel=1e-6) and terms["total"] is terms["ce"]


def test_kd_sums_labels_and_soft_targets():
    student, teacher, _ = outputs(1)
    labels = torch.tensor([0, 1, 2, 3])
    recipe = Recipe(ce=0.3, kd=0.6, kd_temperature=2.0)
    terms = create_method("kd", recipe)(student, teacher, labels)
    assert list(terms) == ["ce", "kd", "total"]
    s, t = (np.exp(o.logits.double().numpy() / 2.0) for o in (student, teacher))
    s, t = s / s.sum(1, keepdims=True), t / t.sum(1, keepdims=True)
    assert terms["kd"].item() == pytest.approx(4 * (t * np.log(t / s)).sum() / 4, rel=1e-5)
    assert terms["total"].item() == pytest.approx(0.3 * terms["ce"].item() + 0.6 * terms["kd"].item())


def test_kd_with_rotations_is_sskd_without_ss():
    student, teacher, labels = outputs(3)
    method = create_method("kd+rotations", PRESETS["arxiv"])
    assert method.recipe == replace(PRESETS["arxiv"], ss=0.0)
    bare = Output(student.logits), Output(teacher.logits)
    terms = method(*bare, labels)
    full = create_method("sskd", PRESETS["arxiv"])(student, teacher, labels)
    assert list(terms) == ["ce", "kd", "tf", "total"] and list(full) == ["ce", "kd", "tf", "ss", "total"]
    assert all(terms[name] == full[name] for name in ("ce", "kd", "tf"))
    assert terms["total"].item() == pytest.approx((full["total"] - 2.7 * full["ss"]).item(), rel=1e-5)


def test_sskd_uses_the_recipe_it_was_made_with():
    student, teacher, labels = outputs(4)
    for name, recipe in PRESETS.items():
        found = create_method("sskd", recipe)(student, teacher, labels)
        expected = sskd_terms(student, teacher, labels, recipe)
        assert all(found[term] == expected[term] for term in expected), name
        weighted = sum(getattr(recipe, term) * found[term].item() for term in ("ce", "kd", "tf", "ss"))
        assert found["total"].item() == pytest.approx(weighted, rel=1e-6)
    default = create_method("sskd")(student, teacher, labels)["total"]
    assert default == create_method("sskd", PRESETS["official-code"])(student, teacher, labels)["total"]


# ---- networks ------------------------------------------------------------------------------------


def test_network_normalises_each_channel_and_applies_the_head():
    network = Network(Pixels(12, 4, channels=3), mean=[0.1, 0.5, 0.9], std=[0.2, 0.25, 0.5], projection=True)
    pixels = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    output = network(pixels)
    expected = np.empty((5, 3, 2, 2), np.float32)
    for c, (mean, std) in enumerate([(0.1, 0.2), (0.5, 0.25), (0.9, 0.5)]):
        expected[:, c] = (pixels[:, c].numpy() - mean) / std
    np.testing.assert_allclose(output.features.detach(), expected.reshape(5, 12), rtol=1e-5, atol=1e-6)
    first, _, second = network.head
    hidden = np.maximum(
        expected.reshape(5, 12) @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0
    )
    projection = hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    np.testing.assert_allclose(output.projection.detach(), projection, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.logits.detach(), network.backbone.fc(output.features).detach())


def test_head_has_two_layers_of_the_features_width_and_no_batchnorm():
    network = Network(Pixels(12, 4), mean=[0.0], std=[1.0], projection=True)
    assert [type(layer) for layer in network.head] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [layer.weight.shape for layer in (network.head[0], network.head[2])] == [(12, 12), (12, 12)]


def test_network_without_a_head_has_no_projection_and_output_has_defaults():
    network = Network(Pixels(4, 3), mean=[0.0], std=[1.0])
    output = network(torch.rand(2, 1, 2, 2))
    assert output.projection is None and output.logits.shape == (2, 3) and output.features.shape == (2, 4)
    assert Output(output.logits) == (output.logits, None, None, None, None)
    assert Output._fields == ("logits", "projection", "features", "maps", "last")


def test_mean_and_deviation_travel_with_the_weights():
    one = Network(Pixels(4, 3), mean=[0.3], std=[0.2])
    other = Network(Pixels(4, 3), mean=[0.0], std=[1.0])
    other.load_state_dict(one.state_dict())
    pixels = torch.rand(2, 1, 2, 2)
    assert torch.equal(one(pixels).logits, other(pixels).logits)
    assert not any(name in dict(one.named_parameters()) for name in ("mean", "std"))  # not trained


def test_create_network_is_seeded_and_leaves_the_global_generator_alone():
    data = few_images(channels=3, size=16)
    before = torch.get_rng_state()
    first, again, other = (create_network("resnet8", data, projection=True, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12345)  # the state the process is in changes nothing
    later = create_network("resnet8", data, projection=True, seed=3)
    torch.set_rng_state(before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]) and torch.equal(tensor, later.state_dict()[name])
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


# ---- what a training step does with them ---------------------------------------------------------


@pytest.mark.parametrize("method", BASES)
def test_a_step_is_one_joint_forward_and_the_teacher_stays_frozen(method):
    data = few_images()
    student, teacher = pixel_network(data, seed=1), pixel_network(data, seed=2)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    old = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    schedule = Schedule(epochs=2, batch_size=4)
    run = distill(student, teacher, data, method=method, schedule=schedule, runtime=Runtime(), progress=False)
    views = create_method(method).views
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
        taught = teacher(views)
    terms = sskd_terms(twin(views), taught, data.labels[order], Recipe())
    terms["total"].backward()
    for name, parameter in twin.named_parameters():
        expected = parameter - 0.1 * (parameter.grad + 5e-4 * parameter)
        torch.testing.assert_close(student.get_parameter(name), expected, rtol=1e-5, atol=1e-6)
    for name, value in terms.items():
        assert run.history[0][name] == pytest.approx(value.item(), rel=1e-5)
