"""Stage maps: those of the published comparisons, from one pass; and the parts of torchvision's networks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from helpers.models import GOLDEN, SMALL, images, make, shapes_only
from sskd_lib.models import Backbone, create_model
from sskd_lib.models.external import SOURCES, ExternalBackbone, find_stages
from sskd_lib.models.network import Network

QUICK = [name for name in SMALL if name != "ResNet50"]  # which is built of the same parts as resnet8
# (channels, pixels a side) of stem and stages for 32 x 32 pixels
MAPS = {
    "resnet20": [(16, 32), (16, 32), (32, 16), (64, 8)],
    "resnet20x0375": [(6, 32), (6, 32), (12, 16), (24, 8)],
    "resnet32x4": [(32, 32), (64, 32), (128, 16), (256, 8)],
    "ResNet50": [(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)],
    "wrn_40_2": [(16, 32), (32, 32), (64, 16), (128, 8)],
    "vgg13": [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)],
    "MobileNetV2": [(16, 16), (12, 16), (16, 8), (48, 4), (160, 2)],
    "ShuffleV1": [(24, 32), (240, 16), (480, 8), (960, 4)],
    "ShuffleV2": [(24, 32), (116, 16), (232, 8), (464, 4)],
}
# the layers whose outputs are the maps after the stem, where the published code takes them
LAYERS = {
    "resnet8": ["layer1", "layer2", "layer3"],
    "wrn_16_1": ["block1", "block2", "block3"],
    "vgg8": ["block1", "block2", "block3", "block4"],
    "MobileNetV2": ["blocks.1", "blocks.2", "blocks.4", "blocks.6"],
    "ShuffleV1": ["layer1", "layer2", "layer3"],
    "ShuffleV2": ["layer1", "layer2", "layer3"],
    "ResNet50": ["layer1", "layer2", "layer3", "layer4"],
}
BEFORE_BATCHNORM = {"wrn_16_1": ["block1.layer.0.bn1", "block2.layer.0.bn1", "block3.layer.0.bn1", "bn1"]}
ENDS_IN_ITS_FEATURES = {"resnet8", "vgg8", "ShuffleV1", "ResNet50"}


def outputs(network: nn.Module, x: Tensor, names: list[str]) -> list[Tensor]:
    """What these layers give while the network classifies x in the usual way."""
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: seen.__setitem__(name, output.clone())

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    network(x)
    for hook in hooks:
        hook.remove()
    return [seen[name] for name in names]


def equal(these: tuple[Tensor, ...], those: list[Tensor]) -> bool:
    return len(these) == len(those) and all(torch.equal(a, b) for a, b in zip(these, those, strict=True))


# ---- the kit's families --------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAPS)
def test_sizes(name):
    maps = shapes_only(name).eval().stage_maps(torch.zeros(2, 3, 32, 32, device="meta"))
    assert [tuple(m.shape[1:3]) for m in maps] == MAPS[name]
    assert all(m.shape[2] == m.shape[3] for m in maps)


@pytest.mark.parametrize("name", GOLDEN)
def test_every_model_has_maps_before_and_after_the_activation(name):
    network, x = shapes_only(name).eval(), torch.zeros(2, 3, 32, 32, device="meta")
    after, before = network.stage_maps(x), network.stage_maps(x, kind="pre_relu")
    assert [m.shape for m in after] == [m.shape for m in before]


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_maps_are_what_leaves_the_stages(name):
    network, x = make(name, num_classes=5).eval(), images(2, 3, 32, 32)
    stem, *maps = network.stage_maps(x)
    expected = outputs(network, x, LAYERS[name])
    assert equal(maps, [F.relu(m) for m in expected] if name == "vgg8" else expected)
    if name != "wrn_16_1":
        assert not (stem < 0).any()
        assert (stem == 0).any()
    last = maps[-1].mean((2, 3))
    features = network.features(x)
    assert (last.shape == features.shape and torch.equal(last, features)) == (name in ENDS_IN_ITS_FEATURES)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_maps_before_the_activation(name):
    network, x = make(name, num_classes=5).eval(), images(2, 3, 32, 32)
    after, before = network.stage_maps(x), network.stage_maps(x, kind="pre_relu")
    if name in BEFORE_BATCHNORM:
        normed = [
            network.get_submodule(norm)(m) for norm, m in zip(BEFORE_BATCHNORM[name], after, strict=True)
        ]
        assert equal(before, normed)
    elif name == "MobileNetV2":
        assert equal(before[1:], list(after[1:]))
        assert all((m < 0).any() for m in after[1:])
        assert torch.equal(F.relu(before[0]), after[0])
        assert (before[0] < 0).any()
    else:
        assert equal(after, [F.relu(m) for m in before])
        assert all((m < 0).any() for m in before)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("training", [False, True])
def test_maps_come_from_the_same_pass(name, training):
    """Logits, features and, in training, BatchNorm's statistics are those of a pass without maps."""
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    results = []
    for maps in (None, "post_relu", "pre_relu"):
        network = Network(make(name, num_classes=5), mean=[0.5] * 3, std=[0.2] * 3, projection=False)
        output = network.train(training)(x, maps=maps)
        output.logits.square().sum().backward()
        gradients = [p.grad for p in network.parameters()]
        results.append((output, network.state_dict(), gradients))
    (plain, state, gradients), *others = results
    assert plain.maps is None
    largest = max(gradient.norm() for gradient in gradients)
    for output, after, grads in others:
        assert torch.equal(output.logits, plain.logits)
        assert torch.equal(output.features, plain.features)
        assert all(torch.equal(after[key], state[key]) for key in state)
        for ours, theirs in zip(grads, gradients, strict=True):
            assert (ours - theirs).norm() < 1e-5 * largest
        assert len(output.maps) == len(LAYERS[name]) + 1


@pytest.mark.parametrize("name", QUICK)
def test_gradients_flow_from_each_map_to_the_stem(name):
    network, x = make(name).train(), images(4, 3, 16, 16)
    stem = network.conv1 if hasattr(network, "conv1") else network.block0
    first = next(stem.parameters())
    for number in range(len(LAYERS[name]) + 1):
        for kind in ("post_relu", "pre_relu"):
            maps = network.stage_maps(x, kind)
            (gradient,) = torch.autograd.grad((maps[number] * images(*maps[number].shape)).sum(), [first])
            assert gradient.isfinite().all()
            assert gradient.any()


@pytest.mark.parametrize("name", QUICK)
@torch.no_grad()
def test_formats(name):
    network = make(name).to(memory_format=torch.channels_last).eval()
    x = images(2, 3, 32, 32).to(memory_format=torch.channels_last)
    exact = network.stage_maps(x)
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network.stage_maps(x)
    for a, b in zip(rough, exact, strict=True):
        assert (a.float() - b).norm() < 0.03 * b.norm()


@pytest.mark.parametrize("maps", [None, "post_relu", "pre_relu"])
@pytest.mark.parametrize("task", ["contrastive", "joint"])
def test_outputs_have_the_format_of_the_parameters_under_autocast(maps, task):
    stages = [[16, 16, 16], [32, 8, 8], [64, 4, 4]]
    projection = {"task": "joint", "outputs": 20, "stages": stages} if task == "joint" else True
    network = Network(make("resnet8", num_classes=5), mean=[0.5] * 3, std=[0.2] * 3, projection=projection)
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(x, maps=maps)
    single = network(x, maps=maps)
    for rough, exact in ((half, single), (network.double()(x.double(), maps=maps), None)):
        parts = [part for part in (*rough[:3], *(rough.maps or ()), rough.last) if part is not None]
        assert {part.dtype for part in parts} == {torch.float32 if exact else torch.float64}
        assert len(parts) == (3 if maps is None else 8)
    assert not torch.equal(half.logits, single.logits)  # it was bfloat16 inside


def test_a_network_passes_few_functions():
    """One forward pass of a resnet enters three Python functions of the library, in two files."""
    network = Network(create_model("resnet8"), mean=[0.5] * 3, std=[0.2] * 3, projection=True)
    entered = set()

    def profile(frame, event, arg):
        if event == "call" and "sskd_lib" in Path(frame.f_code.co_filename).parts:
            entered.add((Path(frame.f_code.co_filename).name, frame.f_code.co_name))

    sys.setprofile(profile)
    try:
        network(images(2, 3, 16, 16))
    finally:
        sys.setprofile(None)
    assert entered == {
        ("network.py", "forward"),
        ("resnet.py", "features"),
        ("resnet.py", "forward"),
    }


def test_a_family_without_stages_says_so():
    class Least(Backbone):
        """A backbone that defines the least."""

    with pytest.raises(NotImplementedError, match=r"Least has no stage maps.*`stages`"):
        Least(in_channels=3, feature_dim=4).stage_maps(torch.zeros(1, 3, 32, 32))


def test_an_unknown_kind_of_maps_is_refused():
    with pytest.raises(ValueError, match=r"no maps 'before'.*'post_relu', 'pre_relu'"):
        create_model("resnet8").stage_maps(torch.zeros(1, 3, 32, 32), "before")


# ---- torchvision ---------------------------------------------------------------------------------

# where the stages of its networks end: read from their definitions
ENDS = {
    "resnet50": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "vgg16_bn": ["features.5", "features.12", "features.22", "features.32", "features.42"],
    "densenet121": ["features.relu0", *(f"features.denseblock{i}" for i in (1, 2, 3)), "features"],
    "shufflenet_v2_x1_0": ["conv1", "stage2", "stage3", "conv5"],
    "convnext_tiny": ["features.1", "features.3", "features.5", "features"],
    "swin_t": ["features.1", "features.3", "features.5", "permute"],
    "vit_b_16": ["encoder"],
    "inception_v3": ["Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"],
}
LIGHT = ["resnet18", "shufflenet_v2_x0_5", "mobilenet_v3_small", "regnet_x_400mf"]


@pytest.mark.parametrize("name", ENDS)
def test_stages_are_found(name):
    with torch.device("meta"):
        network = create_model(f"torchvision/{name}", 10).eval()
    state = torch.get_rng_state()
    maps = network.stage_maps(torch.zeros(2, 3, 224, 224, device="meta"))
    assert [place.name for place in network.places] == ENDS[name]
    assert torch.equal(torch.get_rng_state(), state)
    sides = [m.shape[3] for m in maps]
    assert sides == sorted(set(sides), reverse=True)
    assert all(m.dim() == 4 and len(m) == 2 for m in maps)


@pytest.mark.parametrize("name", LIGHT)
@pytest.mark.parametrize("training", [False, True])
def test_a_torchvision_network_runs_as_it_is(name, training):
    """Its logits, what enters its last layer, its names after `net.`, its statistics; and no hook stays."""
    network = make(f"torchvision/{name}", num_classes=7).train(training)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=7).train(training)
    theirs.load_state_dict({key.removeprefix("net."): v for key, v in network.state_dict().items()})
    x, seen = images(4, 3, 64, 64), []
    last = [m for m in theirs.modules() if isinstance(m, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)  # for dropout
    logits = theirs(x)
    torch.manual_seed(0)
    features, maps, _ = network.features_and_maps(x)
    assert torch.equal(features, seen[0])
    assert torch.equal(network.classify(features), logits)
    assert features.shape == (4, network.feature_dim)
    assert len(maps) == len(network.places) >= 4
    state = theirs.state_dict()
    assert all(torch.equal(v, state[key.removeprefix("net.")]) for key, v in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    if not training:
        torch.testing.assert_close(network(x), logits)
        assert torch.equal(network.features(x), features)


def test_maps_of_a_torchvision_resnet_are_its_layers():
    network, x = make("torchvision/resnet18", num_classes=5).eval(), images(2, 3, 64, 64)
    assert equal(
        network.stage_maps(x),
        outputs(network, x, [f"net.{name}" for name in ("relu", "layer1", "layer2", "layer3", "layer4")]),
    )


def test_one_channel_and_gradients():
    network = create_model("torchvision/mobilenet_v3_small", 5, in_channels=1)
    features, maps, _ = network.features_and_maps(images(2, 1, 64, 64))
    (network.classify(features).sum() + sum(m.square().mean() for m in maps)).backward()
    assert all(p.grad is not None for p in network.parameters())


class Tokens(nn.Module):
    """A class token and the patches of a 4 x 4 grid, numbered."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 2, 4, 4), nn.Linear(2, 5)
        self.block = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat((torch.full_like(tokens[:, :1], -1), tokens), 1))
        return self.head(tokens[:, 0])


def test_maps_of_tokens_leave_the_class_token_out(monkeypatch):
    monkeypatch.setitem(SOURCES, "mine", lambda *counts: Tokens())
    network, x = ExternalBackbone(5, name="mine/tokens"), images(2, 3, 16, 16)
    (maps,) = network.stage_maps(x)
    assert network.places == find_stages(network.net, 3, 16)
    assert torch.equal(maps, network.net.patches(x))
    assert (network.features(x) == -1).all()


def test_what_torchvision_cannot_give_is_said():
    with pytest.raises(ValueError, match=r"no classifier 'resnet19'.*resnet18.*list_models"):
        create_model("torchvision/resnet19")
    with pytest.raises(ValueError, match="squeezenet1_1' does not end in a linear layer of 10 classes"):
        create_model("torchvision/squeezenet1_1", 10)
    with pytest.raises(ValueError, match="before a stage's last ReLU are known for the kit's own families"):
        create_model("torchvision/resnet18", 5).stage_maps(images(2, 3, 32, 32), kind="pre_relu")


# ---- timm ----------------------------------------------------------------------------------------


def test_without_timm_its_models_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"'timm/resnet18' needs timm.*pip install timm"):
        create_model("timm/resnet18")


@pytest.mark.parametrize(
    ("name", "stages"), [("resnet18", 5), ("mobilenetv3_small_050", 5), ("vit_tiny_patch16_224", 1)]
)
def test_timm_models(name, stages):
    timm = pytest.importorskip("timm", reason="timm is an optional extra: pip install timm")
    network = make(f"timm/{name}", num_classes=7).eval()
    theirs = timm.create_model(name, num_classes=7).eval()
    theirs.load_state_dict({key.removeprefix("net."): v for key, v in network.state_dict().items()})
    x = images(2, 3, 224, 224)
    with torch.no_grad():
        features, maps, _ = network.features_and_maps(x)
        torch.testing.assert_close(features, theirs.forward_head(theirs.forward_features(x), pre_logits=True))
        torch.testing.assert_close(network.classify(features), theirs(x))
    assert len(maps) == stages
    assert all(m.dim() == 4 for m in maps)
    with pytest.raises(ValueError, match=r"timm has no model 'resnet19'.*resnet18"):
        create_model("timm/resnet19")
