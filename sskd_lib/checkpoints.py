"""Weights on disk: safetensors files that carry a card, written whole or not at all.

A file holds tensors and, in its metadata, one JSON text under "card", with a sha256 over both in it.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .models import create_model
from .models.reused import ReusedClassifier
from .network import Network

FORMAT = "sskd-kit-1"
TEMPORARY = ".part"  # ends the name of a file that is being written


class CheckpointError(RuntimeError):
    """A file of weights cannot be used; the message says why and what to do."""


def build_network(
    spec: dict[str, Any], mean: Sequence[float], std: Sequence[float], seed: int = 0
) -> Network:
    """Make the network a spec describes, its weights drawn from `seed`.

    spec: model, num_classes, in_channels, projection, and reuses where the classifier is another network's
    (see `reuse.reuse_classifier`); mean, std: C floats on the [0, 1] scale.
    torch's global generator is left as it was. Raises ValueError for an unknown model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = create_model(
            spec["model"], num_classes=spec["num_classes"], in_channels=spec["in_channels"]
        )
        if reuses := spec.get("reuses"):
            backbone = ReusedClassifier(
                backbone, spec["num_classes"], width=reuses["width"], size=reuses["size"]
            )
        network = Network(backbone, mean=mean, std=std, projection=spec["projection"])
    network.spec = dict(spec)
    return network


def save_checkpoint(
    path: str | Path, network: Network, card: dict[str, Any], dtype: torch.dtype | None = None
) -> Path:
    """Write a network and its card to one file, in one step that cannot be half done.

    card: anything JSON can hold (recipe, seed, versions, accuracy, …); the network's own spec is added.
    dtype: store floating-point tensors in this type (float16 halves the file; they load as float32).
    Raises OSError, with the older file intact, if the file cannot be written.
    """
    tensors = network.state_dict()
    if dtype is not None:
        tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    return write_tensors(path, tensors, {**card, "format": FORMAT, "network": network.spec})


def load_checkpoint(
    path: str | Path, device: str | torch.device = "cpu", *, format: str = FORMAT, **foreign: Any
) -> Network:
    """Rebuild the network a checkpoint holds, in eval mode, float32.

    format: the kit's own, or "repdistiller" or "torchvision" for a .pth file of theirs; then foreign may hold
    model, num_classes and projection, which such a file does not tell (see `foreign.load_foreign`).

    The network is returned whole or not at all: raises FileNotFoundError, or CheckpointError if the file is
    cut short, changed, foreign, or does not fit its own card; ValueError for an unknown format or model.
    """
    if format != FORMAT:
        from .foreign import load_foreign  # it builds on this module

        return load_foreign(path, format, **foreign).to(device)
    if foreign:
        raise ValueError(
            f"{', '.join(foreign)} is for files of others, the kit's own name it. Leave it out, or say which "
            'format the file has, such as format="repdistiller".'
        )
    tensors, card = read_tensors(path)
    if card.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of this kit's networks (its card says format "
            f"{card.get('format')!r}, expected {FORMAT!r}). Load a file that train_teacher, train_head or "
            "distill wrote."
        )
    try:
        blank = [0.0] * card["network"]["in_channels"]
        network = build_network(card["network"], mean=blank, std=blank)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the card of {path} describes no network that this version of the kit can make: {error} "
            "Update the kit, or train the network again."
        ) from error
    if problems := misfits(network.state_dict(), tensors):
        raise CheckpointError(
            f"{path} does not fit the {card['network']['model']} its card names: {'; '.join(problems[:3])}"
            f"{' …' if len(problems) > 3 else ''}. Nothing was loaded; train it again or get the file anew."
        )
    network.load_state_dict(tensors)  # copies into float32 parameters
    return network.eval().to(device)


def misfits(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What keeps the named tensors `found` from being loaded in place of `expected`, one phrase a tensor."""
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is not part of it" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} has shape {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected.keys() & found.keys()
        if expected[name].shape != found[name].shape
    ]
    return sorted(problems)


def read_card(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's card without its weights (which are not checked then)."""
    return read_tensors(path, only_card=True)[1]


def tensors_hash(tensors: dict[str, Tensor], card: dict[str, Any] | None = None) -> str:
    """sha256 over a card and named tensors: names, dtypes, shapes, bytes. Equal on every device."""
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_tensors(path: str | Path, tensors: dict[str, Tensor], card: dict[str, Any]) -> Path:
    """Write tensors and a card, with a sha256 over both, as one safetensors file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    card = json.loads(json.dumps(card))  # as it will be read: texts as keys, lists for tuples
    text = json.dumps(card | {"sha256": tensors_hash(tensors, card)})
    return write_atomically(path, safetensors.torch.save(tensors, {"card": text}))


def read_tensors(path: str | Path, only_card: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `write_tensors`: (tensors on the CPU, card).

    Raises FileNotFoundError, or CheckpointError if the file is cut short, changed or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.safetensors")) if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"there is no checkpoint {path}. "
            + (f"That folder has: {', '.join(near)}." if near else "Train one first, or check the path.")
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {} if only_card else {name: file.get_tensor(name) for name in file.keys()}
        card = json.loads(metadata.get("card", "{}"))
        if not isinstance(card, dict):
            raise ValueError("its card is no JSON object")
        written = card.pop("sha256", None)
        if not only_card and written not in (None, tensors_hash(tensors, card)):
            raise ValueError("its content is not what was written: the sha256 differs")
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(_unreadable(path, error)) from error
    return tensors, card


def _unreadable(path: Path, error: Exception) -> str:
    """Why a file cannot be read, and what to do."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError:
        start = b""
    if start == b"PK\x03\x04" or start[:1] == b"\x80":  # torch.save, new and old
        return (
            f"{path} is a pickle, as torch.save writes them (.pth, .pt). A pickle can run any code, so the "
            "kit opens none: it reads the .safetensors files of its own trainings. Nothing was loaded. Of a "
            'published teacher, load_checkpoint(path, format="repdistiller") takes the tensors and no more.'
        )
    return (
        f"{path} is damaged, cut short, or not a safetensors file ({error}). Nothing was loaded. "
        "Delete it and train or fetch it again."
    )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of the block, which writes at `path`, into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder. What "
            "was there before is as it was; a training goes on from there when it is started again."
        ) from error


def write_atomically(path: str | Path, data: bytes) -> Path:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises OSError, with the older file intact, if it cannot be written.
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return path
