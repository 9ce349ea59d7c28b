"""Weights that others published: the .pth files of RepDistiller's zoo, and torchvision's own.

Such a file is a pickle. It is opened by torch.load(weights_only=True), which makes tensors, numbers, texts,
lists and dicts of it and refuses everything else, so no code of the file is ever run.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import CheckpointError
from .build import MODELS, build_network, create_model, misfits
from .network import Network

__all__ = ["FORMATS", "load_foreign", "read_foreign"]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """What a zoo's files do not say: its normalisation (of pixels in [0, 1]) and where its names sit."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    prefix: str = ""  # before each of its names in the kit's backbone


FORMATS = {
    # CIFAR-100's own mean and deviation, as its loader states them
    "repdistiller": Convention(mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761)),
    "torchvision": Convention(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), prefix="net."),
}
INSIDE = ("model", "state_dict")  # the entries under which training scripts keep the weights


def read_foreign(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a .pth file: {name: tensor on the CPU}, without running anything in it.

    They may stand alone, or with an epoch, an optimiser and the like under "model" or "state_dict"; names
    that all begin with "module." (several GPUs) lose it.
    Raises FileNotFoundError, or CheckpointError if the file is damaged, holds other objects or no weights.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
        hint = f"That folder has: {', '.join(near)}." if near else "Check the path."
        raise FileNotFoundError(f"there is no file {path}. {hint}")
    with path.open("rb") as file:
        start = file.read(9)
    if start.endswith(b"{"):  # the header of a safetensors file, after eight bytes that say how long it is
        raise CheckpointError(
            f"{path} is a safetensors file. If the kit wrote it, leave out format; else it is not of this "
            "kind. Nothing was loaded."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old kinds of files that it can still read
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(_unreadable(path, error)) from error
    if isinstance(found, dict):
        found = next((found[key] for key in INSIDE if isinstance(found.get(key), dict)), found)
    plain = isinstance(found, dict) and all(
        isinstance(name, str) and _is_plain(t) for name, t in found.items()
    )
    if not plain or not found:
        holds = (
            f"a dict of {', '.join(map(str, list(found)[:8]))}" if isinstance(found, dict) else type(found)
        )
        raise CheckpointError(
            f"{path} holds no weights where they are expected (it is {holds}). Expected: {{'model': weights}}"
            ", {'state_dict': weights} or the weights alone, each a named tensor. Nothing was loaded."
        )
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return dict(found)


def _is_plain(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.layout is torch.strided and not tensor.is_quantized


def _unreadable(path: Path, error: Exception) -> str:
    """Why torch.load refused a file, and what to do."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return (
            f"{path} holds more than tensors and plain values: {found[1]}. A pickle of objects can run any "
            "code, so the kit opens none; nothing was run. Nothing was loaded. If you trust its author, open "
            "it once yourself and save the weights alone: torch.save({'model': weights}, new_path)."
        )
    return (
        f"{path} is damaged, cut short, or not a file of torch.save ({type(error).__name__}). "
        "Nothing was loaded. Fetch it again."
    )


def _complete(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add BatchNorm's counts of batches, which PyTorch before 0.4.1 did not store and nothing here reads."""
    norms = [name.removesuffix("running_mean") for name in weights if name.endswith(".running_mean")]
    counts = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return counts | weights


def _fitting(weights: dict[str, Tensor], num_classes: int) -> list[str]:
    """The models of the CIFAR zoo that these weights fit, by names and shapes."""
    with torch.device("meta"):
        zoo = {name: create_model(name, num_classes) for name in MODELS if "/" not in name}
    return [name for name, backbone in zoo.items() if not misfits(backbone.state_dict(), weights)]


def load_foreign(
    path: str | Path,
    format: str,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    projection: bool = False,
) -> Network:
    """Rebuild a published network with its zoo's normalisation, in eval mode, float32, on the CPU.

    format: "repdistiller" or "torchvision"; model: its name here (None: the one of the zoo that fits);
    num_classes: K (None: as many as the file's classifier has rows); projection: give it a fresh head, for
    train_head. Names and shapes must fit strictly.
    Raises ValueError for an unknown format or model, FileNotFoundError, or CheckpointError if the file cannot
    be read or does not fit.
    """
    if format not in FORMATS:
        raise ValueError(f"there is no format {format!r}. The formats of others are: {', '.join(FORMATS)}.")
    zoo, weights = FORMATS[format], read_foreign(path)
    weights = _complete({zoo.prefix + name: tensor for name, tensor in weights.items()})
    if num_classes is None:
        num_classes = next((len(t) for t in reversed(weights.values()) if t.dim() == 2), 1)
    if model is None:
        model = next(iter(_fitting(weights, num_classes)), None)
    if model is None:
        raise CheckpointError(
            f"the weights in {path} are those of no backbone of the CIFAR zoo ({len(weights)} tensors, from "
            f"{next(iter(weights))} on). Say which one it is with model=. Nothing was loaded."
        )
    spec = {"model": model, "num_classes": num_classes, "in_channels": 3, "projection": projection}
    network = build_network(spec, zoo.mean, zoo.std)
    if problems := misfits(network.backbone.state_dict(), weights):
        fits = _fitting(weights, num_classes)
        raise CheckpointError(
            f"{path} does not fit {model} with {num_classes} classes: {'; '.join(problems[:3])}"
            f"{' …' if len(problems) > 3 else ''}. Nothing was loaded. "
            + (f"It fits {' and '.join(fits)}: pass model={fits[0]!r}." if fits else _advice(weights))
        )
    network.backbone.load_state_dict(weights)
    return network.eval()


def _advice(weights: dict[str, Tensor]) -> str:
    rows = {len(t) for t in weights.values() if t.dim() == 2}
    return f"Check model and num_classes (its linear layers have {', '.join(map(str, sorted(rows)))} rows)."
