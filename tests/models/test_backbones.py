"""Backbones: published names, shapes and counts, outputs against plain functional code, and clear errors."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from helpers.models import GOLDEN, SMALL, images, make, shapes_only
from helpers.plain_backbones import (
    PLAIN,
    TABLE,
    Plain,
)
from sskd_lib.models import MODELS, Network, create_model
from sskd_lib.models.shufflenetv1 import shuffle
from sskd_lib.models.shufflenetv2 import interleave

# millions of parameters and of multiply-accumulates, as articles on these pairs print them
LITERATURE = {
    "wrn_40_2": (2.26, 327.6),
    "wrn_16_2": (0.70, 101.1),
    "wrn_40_1": (0.57, 83.3),
    "resnet56": (0.86, 125.8),
    "resnet20": (0.28, 40.8),
    "resnet32x4": (7.43, 1083.0),
    "resnet8x4": (1.23, 177.1),
    "vgg13": (9.46, 284.9),
    "vgg8": (3.97, 96.2),
    "ResNet50": (23.71, 1298.0),
    "MobileNetV2": (0.81, 6.5),
    "ShuffleV1": (0.95, 38.7),
    "ShuffleV2": (1.36, 44.5),
}
# ImageNet's ResNets, 1,000 classes: parameters as torchvision's documentation gives them, D
IMAGENET = {"resnet18": (11_689_512, 512), "resnet34": (21_797_672, 512)}


def count_macs(network: nn.Module, x: Tensor) -> int:
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        network.eval()(x)
    for hook in hooks:
        hook.remove()
    return total


# ---- counts and published names ------------------------------------------------------------------


def test_golden_table_covers_every_model():
    assert [*GOLDEN, *(f"torchvision/{name}" for name in IMAGENET)] == list(MODELS)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_counts(name):
    parameters, macs, width, entries = GOLDEN[name]
    network = shapes_only(name)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert count_macs(network, torch.zeros(1, 3, 32, 32, device="meta")) == macs
    assert network.feature_dim == width
    assert len(network.state_dict()) == entries


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_backbones_are_torchvisions_own(name):
    """Its parameter names behind `net.`, its logits, its penultimate features."""
    network = make(f"torchvision/{name}", num_classes=7).eval()
    theirs = getattr(torchvision.models, name)(weights=None, num_classes=7).eval()
    theirs.load_state_dict({key.removeprefix("net."): value for key, value in network.state_dict().items()})
    x, seen = images(2, 3, 64, 64), []
    theirs.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        torch.testing.assert_close(network(x), theirs(x))
        torch.testing.assert_close(network.features(x), seen[0])
    with torch.device("meta"):
        large = create_model(f"torchvision/{name}", num_classes=1000)
    parameters, width = IMAGENET[name]
    assert sum(p.numel() for p in large.parameters()) == parameters
    assert large.feature_dim == width
    last = large.eval().features_and_maps(torch.zeros(1, 3, 224, 224, device="meta"))[2]
    assert last.shape == (1, width, 7, 7)
    assert create_model(f"torchvision/{name}", 3, in_channels=1).features(images(2, 1, 32, 32)).shape == (
        2,
        width,
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_names_and_shapes_are_the_published_ones(name):
    parameters, shapes = TABLE[name]
    network = shapes_only(name)
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == shapes
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_the_table_says_how_many_entries_it_has():
    text = (Path(__file__).parent / "backbones.txt").read_text()
    counts = {model: int(entries) for model, entries in re.findall(r"^\[(.+)\] \d+ (\d+)$", text, re.M)}
    assert counts == {model: len(shapes) for model, (_, shapes) in TABLE.items()}
    assert list(counts) == list(GOLDEN)


@pytest.mark.parametrize("name", LITERATURE)
def test_counts_of_the_literature(name):
    parameters, macs, _, _ = GOLDEN[name]
    assert (round(parameters / 1e6, 2), round(macs / 1e6, 1)) == LITERATURE[name]


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_16_2", "vgg8", "MobileNetV2", "ResNet50"])
def test_convolutions_start_with_variance_two_over_fan_out(name):
    for module in make(name).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            expected = math.sqrt(2 / (module.out_channels * math.prod(module.kernel_size)))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert module.weight.mean().item() == pytest.approx(0, abs=expected / 20)
            assert module.bias is None or not module.bias.any()


def test_how_classifiers_start():
    assert not create_model("wrn_16_1").fc.bias.any()
    assert create_model("resnet8").fc.bias.any()
    for classifier in (create_model("vgg8").classifier, create_model("MobileNetV2").classifier[0]):
        assert not classifier.bias.any()
        assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)


# ---- the forward pass against plain functional code ----------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels_last", [False, True])
def test_forward_and_gradient_equal_plain_functional_code(name, channels_last):
    network = make(name, num_classes=7).double().eval()
    x = images(2, 3, 16, 20).double()
    plain_x = x.clone().requires_grad_()
    features, logits = PLAIN[name](Plain(network.state_dict()), plain_x)
    logits.square().sum().backward()

    if channels_last:
        network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    x.requires_grad_()
    got = network(x)
    got.square().sum().backward()
    torch.testing.assert_close(network.features(x), features, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(got, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x.grad, plain_x.grad, rtol=1e-8, atol=1e-8 * plain_x.grad.abs().max().item())


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_the_classified_features(name):
    network = make(name).eval()
    x = images(3, 3, 16, 16)
    features, _, last = network.features_and_maps(x)
    assert torch.equal(network.features(x), features)
    assert torch.equal(network(x), network.classify(features))
    assert torch.equal(features, last.mean((2, 3)))


@pytest.mark.parametrize("name", MODELS)
def test_the_classifier_is_the_last_linear_layer(name):
    network = shapes_only(name)
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    assert network.classifier_path == linear[-1]
    assert network.get_submodule(linear[-1]).in_features == network.feature_dim


def test_interleave_by_hand():
    left, right = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    mixed = interleave(left.reshape(1, 2, 1, 1), right.reshape(1, 2, 1, 1))
    assert mixed.flatten().tolist() == [1, 10, 2, 20]


def test_shuffle_by_hand():
    x = torch.tensor([1.0, 2, 10, 20, 100, 200]).reshape(1, 6, 1, 1)
    assert shuffle(x, 3).flatten().tolist() == [1, 10, 100, 2, 20, 200]
    x = images(2, 6, 4, 5)
    flat = shuffle(x.contiguous(memory_format=torch.channels_last), 3)
    assert torch.equal(flat, shuffle(x, 3))
    assert flat.is_contiguous(memory_format=torch.channels_last)


def test_vgg_pools_large_images_once_more():
    network = make("vgg8").eval()
    sides = {}
    for side in (16, 32, 48, 64):
        x = images(1, 3, side, side)
        features, _, last = network.features_and_maps(x)
        sides[side] = last.shape[2]
        assert torch.equal(network.features(x), features)
    assert sides == {16: 2, 32: 4, 48: 6, 64: 4}


# ---- shapes, formats and gradients ---------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_output_shapes(name, channels):
    network = create_model(name, num_classes=5, in_channels=channels).eval()
    with torch.no_grad():
        for height, width in ((16, 16), (28, 28), (32, 32), (48, 48), (17, 30)):
            features = network.features(images(2, channels, height, width))
            assert features.shape == (2, network.feature_dim)
            assert network.classify(features).shape == (2, 5)


@pytest.mark.parametrize("name", GOLDEN)
def test_gradients_reach_every_parameter(name):
    network = make(name, num_classes=5)
    network(images(4, 3, 16, 16)).square().sum().backward()
    still = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_survives_to_the_last_activations(name):
    network = make(name).to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        last = network.features_and_maps(images(2, 3, 32, 32).to(memory_format=torch.channels_last))[2]
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_autocast(name):
    network = make(name, num_classes=5).to(memory_format=torch.channels_last).eval()
    x = images(4, 3, 32, 32).to(memory_format=torch.channels_last)
    exact = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(x)
        trained = network.train()(x)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()  # bfloat16 keeps 8 bits: 0.4 % a rounding
    trained.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 32, 32), r"four axes, but got shape \[3, 32, 32\].*image\[None\]"),
        (torch.zeros(2, 1, 32, 32), r"made for 3 channel.*have 1 .*in_channels=1"),
        (torch.zeros(2, 3, 15, 32), r"at least 16 x 16 pixels, but these are 15 x 32"),
        (torch.zeros(2, 3, 32, 8), r"at least 16 x 16 pixels, but these are 32 x 8"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), r"floating-point.*torch.uint8.*/ 255"),
    ],
)
def test_wrong_images_are_refused(name, x, message):
    backbone = create_model(name)
    for network in (backbone, Network(backbone, mean=[0.5] * 3, std=[0.2] * 3)):
        with pytest.raises(ValueError, match=message):
            network(x)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("resnet-8", "resnet8"),
        ("WRN-40-2", "wrn_40_2"),
        ("shufflev2", "ShuffleV2"),
        ("resnet32_x4", "resnet32x4"),
    ],
)
def test_a_wrong_name_gets_the_nearest_and_all_names(wrong, meant):
    with pytest.raises(ValueError, match=rf"no model '{wrong}'\. Did you mean '{meant}'\?") as error:
        create_model(wrong)
    assert all(name in str(error.value) for name in MODELS)


def test_a_name_like_no_other_gets_all_names_only():
    with pytest.raises(ValueError, match=r"no model 'zzz'. The models are: resnet8, "):
        create_model("zzz")


@pytest.mark.parametrize("argument", ["num_classes", "in_channels"])
def test_counts_below_one_are_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, but got 0"):
        create_model("resnet8", **{argument: 0})


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8"])
def test_impossible_depths_are_refused(name):
    with pytest.raises(ValueError, match=r"depth (6n|8, 11, 13, 16, 19, but got 9)"):
        MODELS[name](depth=9)
