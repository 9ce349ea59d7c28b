"""Files of weights: whole or refused, never half-loaded, never unpickled."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

import sskd_lib
from helpers.training import SETTINGS, pictures, same
from sskd_lib.files import CheckpointError, read_tensors, tensors_hash, write_tensors
from sskd_lib.models.build import build_network
from sskd_lib.models.checkpoint import FORMAT, load_checkpoint, read_card, save_checkpoint
from sskd_lib.models.network import Network
from sskd_lib.training.resume import RESUME_FILE

SPEC = {"model": "resnet8", "num_classes": 3, "in_channels": 1, "projection": True}
CARD = {"kind": "teacher", "plan": {"seed": 7}, "text": "86,5 % — größer"}


def small_network(seed: int = 0, **changes) -> Network:
    network = build_network(SPEC | changes, [0.3], [0.2], seed)
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network


@pytest.fixture
def path(tmp_path) -> Path:
    return save_checkpoint(tmp_path / "net.safetensors", small_network(), CARD)


def refused(path: Path, *words: str) -> str:
    """The message with which a file is refused, by both readers of tensors; it holds all the words."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    message = str(error.value)
    for word in (str(path), *words):
        assert word in message
    return message


# ---- what is saved comes back --------------------------------------------------------------------


def test_a_network_comes_back_bit_for_bit_with_its_card(path):
    network, loaded = small_network(), load_checkpoint(path)
    assert same(loaded.state_dict(), network.state_dict())
    assert loaded.spec == SPEC
    assert not loaded.training
    facts = {"classes": None, "head_trained": False}
    assert read_card(path) == CARD | {"format": FORMAT, "network": SPEC} | facts
    x = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    for ours, theirs in zip(loaded(x)[:3], network.eval()(x)[:3], strict=True):
        assert torch.equal(ours, theirs)


def test_channels_last_weights_are_stored_like_any_others(tmp_path, path):
    moved = small_network().to(memory_format=torch.channels_last)
    other = save_checkpoint(tmp_path / "moved.safetensors", moved, CARD)
    assert other.read_bytes() == path.read_bytes()
    assert tensors_hash(moved.state_dict()) == tensors_hash(small_network().state_dict())


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path, path):
    half = save_checkpoint(tmp_path / "half.safetensors", small_network(), CARD, dtype=torch.float16)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    for name, tensor in load_checkpoint(half).state_dict().items():
        original = small_network().state_dict()[name]
        assert tensor.dtype == original.dtype
        expected = original.half().float() if original.is_floating_point() else original
        assert torch.equal(tensor, expected)


def test_loading_leaves_the_global_generator_alone(path):
    state = torch.get_rng_state()
    load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_card_cannot_replace_the_networks_own_spec(tmp_path):
    card = {"format": "other", "network": {"model": "resnet110"}}
    path = save_checkpoint(tmp_path / "net.safetensors", small_network(), card)
    assert load_checkpoint(path).spec == SPEC


def test_classes_and_a_trained_head_travel_with_the_network(tmp_path):
    network = small_network()
    network.classes, network.head_trained = ("a", "b", "c"), True
    path = save_checkpoint(tmp_path / "net.safetensors", network, CARD)
    loaded = load_checkpoint(path)
    assert loaded.classes == ("a", "b", "c") and loaded.head_trained
    assert copy.deepcopy(loaded).classes == loaded.classes
    card = read_card(path)
    assert card["classes"] == ["a", "b", "c"] and card["head_trained"] is True


@pytest.mark.parametrize(("kind", "trained"), [("teacher", False), ("head", True), ("student", True)])
def test_a_card_of_an_earlier_version_has_no_names_and_its_kind_speaks_for_the_head(path, kind, trained):
    tensors, card = read_tensors(path)
    del card["classes"], card["head_trained"]
    write_tensors(path, tensors, card | {"kind": kind})
    loaded = load_checkpoint(path)
    assert loaded.classes is None and loaded.head_trained is trained


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", 3], "abc", {"a": 1, "b": 2, "c": 3}])
def test_names_that_cannot_be_those_of_the_classes_are_refused(path, names):
    tensors, card = read_tensors(path)
    write_tensors(path, tensors, card | {"classes": names})
    refused(path, "describes no network", "3 classes have the names")


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), None), (1e5, torch.float16)])
def test_weights_that_are_not_finite_are_neither_written_nor_loaded(path, value, dtype):
    before, network = path.read_bytes(), small_network()
    network.backbone.fc.bias.data[1] = value
    with pytest.raises(ValueError, match="backbone.fc.bias has numbers that are NaN or infinite"):
        save_checkpoint(path, network, CARD, dtype=dtype)
    assert path.read_bytes() == before
    tensors, card = read_tensors(path)
    tensors["backbone.fc.bias"][1] = float("inf")
    write_tensors(path, tensors, card)
    refused(path, "backbone.fc.bias has numbers that are NaN or infinite")


def test_the_card_is_read_without_the_weights(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1  # in the last tensor
    path.write_bytes(content)
    assert read_card(path)["plan"] == {"seed": 7}
    refused(path, "sha256")


# ---- damaged files -------------------------------------------------------------------------------


def header_size(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_a_damaged_part_is_never_loaded_into_a_network_in_use(tmp_path):
    """The resume file of a training is refused before the network's first weight is touched."""
    data = pictures()
    schedule = sskd_lib.Schedule(epochs=2, batch_size=8)
    fresh = sskd_lib.create_network("resnet8", data, seed=0)
    sskd_lib.train_teacher(fresh, data, out=tmp_path, **SETTINGS | {"schedule": schedule})
    path = tmp_path / RESUME_FILE
    content = path.read_bytes()
    changed = bytearray(content)
    changed[content.index(fresh.backbone.conv1.weight.detach().numpy().tobytes())] ^= 64
    for damaged in (content[: len(content) // 2], bytes(changed), b"", content[:300]):
        path.write_bytes(damaged)
        network = sskd_lib.create_network("resnet8", data, seed=0)
        with pytest.raises(CheckpointError, match="Nothing was loaded"):
            sskd_lib.train_teacher(network, data, out=tmp_path, **SETTINGS | {"schedule": schedule})
        assert same(network.state_dict(), sskd_lib.create_network("resnet8", data, seed=0).state_dict())


# ---- files of others ------------------------------------------------------------------------------


def test_safetensors_of_others_are_refused(path):
    tensors, _ = read_tensors(path)
    for metadata in (None, {"format": "pt"}, {"card": "{}"}, {"card": '{"format": "sskd-kit-99"}'}):
        path.write_bytes(safetensors.torch.save(tensors, metadata))
        refused(path, "not one of this kit's networks", "train_teacher")
    for text in ("not json", "[1, 2]", '"text"', '{"format": '):
        path.write_bytes(safetensors.torch.save(tensors, {"card": text}))
        refused(path, "Nothing was loaded")


def test_a_state_to_resume_from_is_no_checkpoint(tmp_path):
    path = write_tensors(
        tmp_path / "resume.safetensors", {"a": torch.zeros(1)}, {"format": "sskd-kit-resume-1"}
    )
    refused(path, "sskd-kit-resume-1", "train_teacher")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("head.0.weight"), "head.0.weight is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is not part of it"),
        (lambda t: t.update({"backbone.fc.bias": torch.zeros(9)}), "has shape [9], expected [3]"),
    ],
)
def test_tensors_that_do_not_fit_the_card_are_named(path, change, words):
    tensors, card = read_tensors(path)
    change(tensors)
    write_tensors(path, tensors, card)
    refused(path, "resnet8", words, "Nothing was loaded")


@pytest.mark.parametrize(
    "spec", [SPEC | {"model": "resnet9000"}, {"model": "resnet8"}, None, SPEC | {"num_classes": 0}, "resnet8"]
)
def test_a_card_that_describes_no_network_is_refused(path, spec):
    tensors, card = read_tensors(path)
    write_tensors(path, tensors, card | {"network": spec})
    refused(path, "describes no network", "Update the kit")
    write_tensors(path, tensors, {"format": FORMAT})
    refused(path, "describes no network")


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    place, path = tmp_path / "ran", tmp_path / "net.pth"
    for zipped in (True, False):
        torch.save({"state": Bomb(place)}, path, _use_new_zipfile_serialization=zipped)
        assert "pickle" in refused(path, "safetensors", "Nothing was loaded")
    path.write_bytes(pickle.dumps(Bomb(place)))
    assert "pickle" in refused(path)
    assert not place.exists()


def test_a_missing_file_names_its_neighbours(path):
    with pytest.raises(FileNotFoundError, match=r"That folder has: net.safetensors"):
        load_checkpoint(path.with_name("wrong.safetensors"))
    with pytest.raises(FileNotFoundError, match="Train one first"):
        load_checkpoint(path.parent / "nowhere" / "net.safetensors")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(path.parent)
