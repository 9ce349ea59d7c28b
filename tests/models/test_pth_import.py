"""Published .pth files: hand-made ones give the logits of plain code; others are refused, and never run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from helpers.plain_backbones import PLAIN, TABLE, Plain
from sskd_lib.files import CheckpointError
from sskd_lib.models.checkpoint import load_checkpoint, save_checkpoint

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


def published(model: str, seed: int = 0) -> dict[str, Tensor]:
    """Weights of the published names and shapes, 100 classes, drawn at random; no backbone of the kit's."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in TABLE[model][1].items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            weights[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            spread = (2 / shape[0] / 9) ** 0.5 if len(shape) == 4 else 0.3
            weights[name] = torch.randn(shape, generator=generator) * spread
    return weights


def pixels(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "ckpt_epoch_240.pth"


def load(path: Path, model: str | None = None, **more):
    before = path.read_bytes()
    try:
        return load_checkpoint(path, format="repdistiller", model=model, **more)
    finally:
        assert path.read_bytes() == before


def refused(path: Path, *phrases: str, **more) -> str:
    with pytest.raises(CheckpointError) as error:
        load(path, **more)
    message = str(error.value)
    assert all(phrase in message for phrase in (str(path), "Nothing was loaded", *phrases)), message
    return message


# ---- what loads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", PLAIN)
def test_a_published_file_gives_the_logits_of_plain_code(path, model):
    weights = published(model)
    torch.save(
        {"epoch": 240, "model": weights, "accuracy": torch.tensor(75.6), "optimizer": {"lr": 0.1}}, path
    )
    network = load(path, model)
    assert not network.training
    assert network.head is None
    assert network.spec == {"model": model, "num_classes": 100, "in_channels": 3, "projection": False}
    x = pixels()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        features, logits = PLAIN[model](Plain(weights), (x - mean) / std)
        output = network(x)
    scale = logits.abs().max().item()
    assert scale > 0.1
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-4 * scale)
    torch.testing.assert_close(output.features, features, rtol=1e-4, atol=1e-4 * features.abs().max().item())
    assert all(torch.equal(v, weights[key]) for key, v in network.backbone.state_dict().items())


@pytest.mark.parametrize(
    "kept", ["model", "state_dict", "alone", "several GPUs", "old format", "old BatchNorm"]
)
def test_ways_to_keep_the_weights(path, kept):
    weights = published("resnet20x0375")
    written = {
        "alone": weights,
        "state_dict": {"state_dict": weights, "epoch": 3},
        "several GPUs": {"model": {f"module.{name}": tensor for name, tensor in weights.items()}},
        "old BatchNorm": {"model": {n: t for n, t in weights.items() if "num_batches" not in n}},
    }.get(kept, {"model": weights})
    torch.save(written, path, _use_new_zipfile_serialization=kept != "old format")
    state = load(path, "resnet20x0375").backbone.state_dict()
    if kept == "old BatchNorm":
        weights |= {name: torch.tensor(0) for name in weights if "num_batches" in name}
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], weights[name]) for name in state)


@pytest.mark.parametrize("model", ["resnet20x05", "wrn_16_1", "MobileNetV2", "ShuffleV1"])
def test_the_model_is_found_by_its_shapes(path, model):
    torch.save({"model": published(model)}, path)
    assert load(path).spec["model"] == model


def test_classes_half_precision_head_and_the_kits_own_format(path, tmp_path):
    weights = published("resnet8")
    weights["fc.weight"], weights["fc.bias"] = weights["fc.weight"][:10], weights["fc.bias"][:10]
    torch.save({"model": {n: t.half() if t.is_floating_point() else t for n, t in weights.items()}}, path)
    network = load(path, "resnet8", projection=True)
    assert network.spec["num_classes"] == 10
    assert network.head is not None
    assert all(p.dtype == torch.float32 for p in network.parameters())
    again = load_checkpoint(save_checkpoint(tmp_path / "teacher.safetensors", network, {}))
    first, second = network(pixels()), again(pixels())
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.projection, second.projection)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_names_of_compiled_and_parallel_networks(path, prefix):
    weights = published("resnet20x0375")
    torch.save({"model": {prefix + name: tensor for name, tensor in weights.items()}}, path)
    state = load(path).backbone.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in weights)


@pytest.mark.parametrize("model", ["resnet8", "MobileNetV2", "vgg8"])
def test_a_file_of_the_published_sskd_brings_its_head(path, model):
    """Its wrapper has the names `backbone` and `proj_head`; its MobileNetV2 a classifier of one layer."""
    width = {"resnet8": 64, "MobileNetV2": 1280, "vgg8": 512}[model]
    weights, head = published(model), torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(3)))
    head[1] = torch.nn.ReLU()
    named = {f"backbone.{name.replace('classifier.0.', 'classifier.')}": t for name, t in weights.items()}
    named |= {f"proj_head.{name}": tensor for name, tensor in head.state_dict().items()}
    torch.save({"epoch": 240, "state_dict": named}, path)
    network = load(path, model)
    assert network.head_trained and network.spec["projection"] is True
    assert all(torch.equal(network.backbone.state_dict()[name], tensor) for name, tensor in weights.items())
    with torch.no_grad():
        output = network(pixels())
        torch.testing.assert_close(output.projection, head(output.features))
    torch.save(named | {"proj_head.0.weight": torch.zeros(3, 3)}, path)
    refused(path, "the head in", "has shape [3, 3]", model=model)


def test_a_fresh_head_is_not_a_trained_one(path):
    torch.save(published("resnet8"), path)
    assert not load(path, projection=True).head_trained


def test_torchvisions_own_weights(path):
    theirs = torchvision.models.resnet18(num_classes=6).eval()
    torch.save(theirs.state_dict(), path)
    network = load_checkpoint(path, format="torchvision", model="torchvision/resnet18")
    x = torch.rand(2, 3, 64, 64)
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        torch.testing.assert_close(network(x).logits, theirs(normalise(x)))


# ---- what does not fit ---------------------------------------------------------------------------


def test_a_wrong_model_names_the_right_one(path):
    torch.save({"model": published("wrn_16_2")}, path)
    refused(path, "does not fit wrn_16_1", "pass model='wrn_16_2'", "expected", model="wrn_16_1")
    with pytest.raises(ValueError, match=r"no model 'wrn-16-2'. Did you mean 'wrn_16_2'"):
        load(path, "wrn-16-2")


def test_missing_additional_and_misshapen_tensors(path):
    weights = published("resnet8")
    del weights["layer1.0.conv2.weight"]
    torch.save({"model": weights}, path)
    refused(path, "layer1.0.conv2.weight is missing", "num_classes", model="resnet8")
    refused(path, "no backbone of the CIFAR zoo", "model=")
    weights = published("resnet8") | {"projector.weight": torch.zeros(3, 4)}
    torch.save({"model": weights}, path)
    refused(path, "projector.weight is not part of it", model="resnet8", num_classes=100)
    torch.save({"model": published("resnet8")}, path)
    refused(
        path, "fc.weight has shape [100, 64], expected [10, 64]", "100 rows", model="resnet8", num_classes=10
    )


def test_questions_that_cannot_be_answered(path):
    torch.save({"model": published("resnet8")}, path)
    with pytest.raises(ValueError, match=r"no format 'mdistiller'.*repdistiller, torchvision"):
        load_checkpoint(path, format="mdistiller")
    with pytest.raises(ValueError, match=r'model is for files of others.*format="repdistiller"'):
        load_checkpoint(path, model="resnet8")
    with pytest.raises(CheckpointError, match=r'load_checkpoint.path, format="repdistiller"'):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"That folder has: ckpt_epoch_240.pth"):
        load_checkpoint(path.with_name("best.pth"), format="repdistiller")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(path.parent, format="repdistiller")


def test_numbers_that_cannot_be_weights(path):
    weights = published("resnet8")
    torch.save(weights | {"fc.bias": torch.full((100,), float("nan"))}, path)
    refused(path, "fc.bias has numbers that are NaN or infinite")
    torch.save({n: t.to(torch.int8) if t.dim() == 4 else t for n, t in weights.items()}, path)
    refused(path, "whole numbers as weights", "torch.int8", model="resnet8")


def test_another_number_of_classes_is_named(path):
    torch.save(published("resnet8"), path)
    refused(path, "has 100 classes, not 10", num_classes=10)


# ---- what is no such file ------------------------------------------------------------------------


class Bomb:
    """Leaves a folder behind if it is ever unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_objects_are_refused_and_not_run(path, tmp_path, zipped):
    place = tmp_path / "ran"
    things = {
        "mkdir": Bomb(place),
        "argparse.Namespace": argparse.Namespace(model="resnet8"),
        "torch.nn.modules.linear.Linear": torch.nn.Linear(2, 2),
    }
    for name, thing in things.items():
        torch.save({"opt": thing, "model": published("resnet8")}, path, _use_new_zipfile_serialization=zipped)
        refused(path, "more than tensors", name, "save the weights alone", model="resnet8")
    assert not place.exists()


def test_a_cut_or_changed_file(path):
    torch.save({"model": published("resnet20x0375")}, path)
    whole = path.read_bytes()
    for length in (1, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, model="resnet20x0375")
    for place in range(len(whole) // 3, len(whole), len(whole) // 7):  # one byte of a tensor, or of a name
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(path, "damaged, cut short, or not a file of torch.save", model="resnet20x0375")


def test_files_of_other_kinds(path, tmp_path):
    path.write_text("not a checkpoint, but a page that says 404")
    refused(path, "is a text file, which begins 'not a checkpoint", "Fetch it again", model="resnet8")
    path.write_bytes(b"")
    refused(path, "is empty", "Fetch it again", model="resnet8")
    with open(path, "wb") as file:
        np.savez(file, images=np.zeros(3))
    refused(path, "arrays of NumPy", model="resnet8")
    torch.save({"model": published("resnet8")}, path)
    kits = save_checkpoint(tmp_path / "kits.safetensors", load(path, "resnet8"), {})
    refused(kits, "safetensors file", "leave out format", model="resnet8")
    for thing in (
        torch.zeros(3),
        [torch.zeros(3)],
        {},
        {"model": {}},
        {"model": {"a": 3}},
        {"epoch": 3},
        {1: 2},
    ):
        torch.save(thing, path)
        refused(path, "holds no weights where they are expected", "{'model': weights}", model="resnet8")
    torch.save({"model": {"a": torch.eye(3).to_sparse()}}, path)
    refused(path, "holds no weights", model="resnet8")
