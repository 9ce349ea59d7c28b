"""Backbones: published names, shapes and counts, outputs against plain functional code, and clear errors."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from sskd_lib.models import MODELS, create_model
from sskd_lib.models.shufflenetv1 import shuffle
from sskd_lib.models.shufflenetv2 import interleave

# name: (parameters, multiply-accumulates of convolutions and the classifier, D, entries of the state dict)
# for 100 classes and one 3 x 32 x 32 image
GOLDEN = {
    "resnet8": (83_892, 12_507_392, 64, 56),
    "resnet14": (181_108, 26_663_168, 64, 92),
    "resnet20": (278_324, 40_818_944, 64, 128),
    "resnet32": (472_756, 69_130_496, 64, 200),
    "resnet44": (667_188, 97_442_048, 64, 272),
    "resnet56": (861_620, 125_753_600, 64, 344),
    "resnet110": (1_736_564, 253_155_584, 64, 668),
    "resnet14x05": (47_340, 6_777_984, 32, 92),
    "resnet20x05": (71_756, 10_316_928, 32, 128),
    "resnet20x0375": (41_194, 5_845_344, 24, 128),
    "resnet8x4": (1_233_540, 177_071_104, 256, 62),
    "resnet32x4": (7_433_860, 1_083_040_768, 256, 206),
    "ResNet50": (23_705_252, 1_298_014_208, 2048, 320),
    "wrn_16_1": (180_916, 26_663_168, 64, 82),
    "wrn_16_2": (703_284, 101_118_464, 128, 83),
    "wrn_40_1": (569_780, 83_286_272, 64, 226),
    "wrn_40_2": (2_255_156, 327_610_880, 128, 227),
    "vgg8": (3_965_028, 96_192_512, 512, 37),
    "vgg11": (9_277_284, 209_438_720, 512, 58),
    "vgg13": (9_462_180, 284_936_192, 512, 72),
    "vgg16": (14_774_436, 398_182_400, 512, 93),
    "vgg19": (20_086_692, 511_428_608, 512, 114),
    "MobileNetV2": (812_836, 6_523_648, 1280, 320),
    "ShuffleV1": (949_258, 38_691_456, 960, 296),
    "ShuffleV2": (1_355_528, 44_504_448, 1024, 338),
}
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
SMALL = ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet50"]  # of each family


def make(name: str, *, seed: int = 0, **counts: int) -> nn.Module:
    """A backbone whose BatchNorm statistics are not the trivial 0 and 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_model(name, **counts)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.normal_(module.bias, 0, 0.3)
                nn.init.uniform_(module.weight, 0.5, 2)
    return network


def shapes_only(name: str) -> nn.Module:
    """A backbone on the meta device: shapes without memory or arithmetic."""
    with torch.device("meta"):
        return create_model(name)


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    assert sum(p.numel() for p in large.parameters()) == parameters and large.feature_dim == width
    assert large.eval().feature_maps(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, width, 7, 7)
    assert create_model(f"torchvision/{name}", 3, in_channels=1).features(images(2, 1, 32, 32)).shape == (
        2,
        width,
    )


BATCHNORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def read_table() -> dict[str, tuple[int, dict[str, tuple[int, ...]]]]:
    """The published state dicts of tests/data/backbones.txt: {model: (parameters, {name: shape})}."""
    table: dict[str, tuple[int, dict[str, tuple[int, ...]]]] = {}
    for line in (Path(__file__).parent / "data" / "backbones.txt").read_text().splitlines():
        if line.startswith("["):
            model, parameters = re.fullmatch(r"\[(.+)\] (\d+) \d+", line).groups()
            shapes: dict[str, tuple[int, ...]] = {}
            table[model] = int(parameters), shapes
        elif not line.startswith("#"):
            pattern, *shape = line.split()
            numbers = re.search(r"\{(\d+)-(\d+)\}", pattern)
            first, last = map(int, numbers.groups()) if numbers else (0, 0)
            for number in range(first, last + 1):
                name = re.sub(r"\{.+\}", str(number), pattern)
                if shape[0] == "batchnorm":
                    shapes |= {f"{name}.{entry}": (int(shape[1]),) for entry in BATCHNORM[:-1]}
                    shapes[f"{name}.{BATCHNORM[-1]}"] = ()
                else:
                    shapes[name] = tuple(map(int, shape))
    return table


TABLE = read_table()


@pytest.mark.parametrize("name", GOLDEN)
def test_names_and_shapes_are_the_published_ones(name):
    parameters, shapes = TABLE[name]
    network = shapes_only(name)
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == shapes
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_the_table_says_how_many_entries_it_has():
    text = (Path(__file__).parent / "data" / "backbones.txt").read_text()
    said = {model: int(entries) for model, entries in re.findall(r"^\[(.+)\] \d+ (\d+)$", text, re.M)}
    assert said == {model: len(shapes) for model, (_, shapes) in TABLE.items()} and list(said) == list(GOLDEN)


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


class Plain:
    """Layers in eval mode by name from a state dict, with torch.nn.functional and nothing of the library."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        groups = x.shape[1] // weight.shape[1]
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[2] // 2, groups=groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            self.state[f"{name}.{entry}"][None, :, None, None]
            for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def act(self, x: Tensor, name: str) -> Tensor:
        return self.norm(x, name).clamp(min=0)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]


def plain_resnet8(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for block, stride in (("layer1.0", 1), ("layer2.0", 2), ("layer3.0", 2)):
        y = net.act(net.conv(x, f"{block}.conv1", stride), f"{block}.bn1")
        y = net.norm(net.conv(y, f"{block}.conv2"), f"{block}.bn2")
        if stride == 2:
            x = net.norm(net.conv(x, f"{block}.downsample.0", stride), f"{block}.downsample.1")
        x = (x + y).clamp(min=0)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "fc")


def plain_wrn_16_1(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.conv(x, "conv1")
    for stage in (1, 2, 3):
        for i in (0, 1):
            block, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
            a = net.act(x, f"{block}.bn1")
            y = net.act(net.conv(a, f"{block}.conv1", stride), f"{block}.bn2")
            x = net.conv(a, f"{block}.convShortcut", 2) if stride == 2 else x
            x = x + net.conv(y, f"{block}.conv2")
    features = net.act(x, "bn1").flatten(2).mean(2)
    return features, net.linear(features, "fc")


def plain_shuffle(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for stage, units in ((1, 4), (2, 8), (3, 4)):
        unit = f"layer{stage}.0"
        left = net.norm(net.conv(x, f"{unit}.conv1", 2), f"{unit}.bn1")
        left = net.act(net.conv(left, f"{unit}.conv2"), f"{unit}.bn2")
        right = net.act(net.conv(x, f"{unit}.conv3"), f"{unit}.bn3")
        right = net.norm(net.conv(right, f"{unit}.conv4", 2), f"{unit}.bn4")
        right = net.act(net.conv(right, f"{unit}.conv5"), f"{unit}.bn5")
        x = F.channel_shuffle(torch.cat((left, right), 1), 2)
        for unit in (f"layer{stage}.{i}" for i in range(1, units)):
            half = x.shape[1] // 2
            y = net.act(net.conv(x[:, half:], f"{unit}.conv1"), f"{unit}.bn1")
            y = net.norm(net.conv(y, f"{unit}.conv2"), f"{unit}.bn2")
            y = net.act(net.conv(y, f"{unit}.conv3"), f"{unit}.bn3")
            x = F.channel_shuffle(torch.cat((x[:, :half], y), 1), 2)
    features = net.act(net.conv(x, "conv2"), "bn2").flatten(2).mean(2)
    return features, net.linear(features, "linear")


def plain_vgg8(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    for block in range(5):
        x = net.act(net.conv(x, f"block{block}.0"), f"block{block}.1")
        if block < 3:
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).amax(4)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "classifier")


def plain_mobile(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1.0", 2), "conv1.1")
    for group, (blocks, stride) in enumerate([(1, 1), (2, 1), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)]):
        for i in range(blocks):
            layer = f"blocks.{group}.{i}.conv"
            y = net.act(net.conv(x, f"{layer}.0"), f"{layer}.1")
            y = net.act(net.conv(y, f"{layer}.3", stride if i == 0 else 1), f"{layer}.4")
            y = net.norm(net.conv(y, f"{layer}.6"), f"{layer}.7")
            x = x + y if i else y  # no first block of a group keeps its shape
    features = net.act(net.conv(x, "conv2.0"), "conv2.1").flatten(2).mean(2)
    return features, net.linear(features, "classifier.0")


def plain_shuffle1(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for stage, units in ((1, 4), (2, 8), (3, 4)):
        for i in range(units):
            unit, stride = f"layer{stage}.{i}", 1 if i else 2
            y = net.act(net.conv(x, f"{unit}.conv1"), f"{unit}.bn1")
            if (stage, i) != (1, 0):
                y = F.channel_shuffle(y, 3)
            y = net.act(net.conv(y, f"{unit}.conv2", stride), f"{unit}.bn2")
            y = net.norm(net.conv(y, f"{unit}.conv3"), f"{unit}.bn3")
            x = x + y if i else torch.cat((y, F.avg_pool2d(x, 3, 2, 1)), 1)
            x = x.clamp(min=0)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "linear")


def plain_resnet50(net: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    x = net.act(net.conv(x, "conv1"), "bn1")
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for i in range(blocks):
            block, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = net.act(net.conv(x, f"{block}.conv1"), f"{block}.bn1")
            y = net.act(net.conv(y, f"{block}.conv2", stride), f"{block}.bn2")
            y = net.norm(net.conv(y, f"{block}.conv3"), f"{block}.bn3")
            if i == 0:
                x = net.norm(net.conv(x, f"{block}.shortcut.0", stride), f"{block}.shortcut.1")
            x = (x + y).clamp(min=0)
    features = x.flatten(2).mean(2)
    return features, net.linear(features, "linear")


PLAIN = {
    "resnet8": plain_resnet8,
    "wrn_16_1": plain_wrn_16_1,
    "vgg8": plain_vgg8,
    "MobileNetV2": plain_mobile,
    "ShuffleV1": plain_shuffle1,
    "ShuffleV2": plain_shuffle,
    "ResNet50": plain_resnet50,
}


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
    assert torch.equal(network(x), network.classify(network.features(x)))
    pooled = network.feature_maps(x).mean((2, 3))
    assert torch.equal(network.features(x), pooled)


def test_interleave_by_hand():
    left, right = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    mixed = interleave(left.reshape(1, 2, 1, 1), right.reshape(1, 2, 1, 1))
    assert mixed.flatten().tolist() == [1, 10, 2, 20]


def test_shuffle_by_hand():
    x = torch.tensor([1.0, 2, 10, 20, 100, 200]).reshape(1, 6, 1, 1)
    assert shuffle(x, 3).flatten().tolist() == [1, 10, 100, 2, 20, 200]
    x = images(2, 6, 4, 5)
    flat = shuffle(x.contiguous(memory_format=torch.channels_last), 3)
    assert torch.equal(flat, shuffle(x, 3)) and flat.is_contiguous(memory_format=torch.channels_last)


def test_vgg_pools_large_images_once_more():
    network = make("vgg8").eval()
    sides = {side: network.feature_maps(images(1, 3, side, side)).shape[2] for side in (16, 32, 48, 64)}
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
        maps = network.feature_maps(images(2, 3, 32, 32).to(memory_format=torch.channels_last))
    assert maps.is_contiguous(memory_format=torch.channels_last)


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
    network = create_model(name)
    for call in (network, network.features):
        with pytest.raises(ValueError, match=message):
            call(x)


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
    with pytest.raises(ValueError) as error:
        create_model(wrong)
    assert f"no model '{wrong}'. Did you mean '{meant}'?" in str(error.value)
    assert all(name in str(error.value) for name in MODELS)


def test_a_name_like_no_other_gets_all_names_only():
    with pytest.raises(ValueError, match="no model 'zzz'. The models are: resnet8, "):
        create_model("zzz")


@pytest.mark.parametrize("argument", ["num_classes", "in_channels"])
def test_counts_below_one_are_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, but got 0"):
        create_model("resnet8", **{argument: 0})


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8"])
def test_impossible_depths_are_refused(name):
    with pytest.raises(ValueError, match="depth (6n|8, 11, 13, 16, 19, but got 9)"):
        MODELS[name](depth=9)
