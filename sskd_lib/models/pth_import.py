"""Published weights in .pth files: those of RepDistiller's CIFAR models, and torchvision's.

Such a file is a pickle. It is opened by torch.load(weights_only=True), which makes tensors, numbers, texts,
lists and dicts of it and refuses everything else, so no code of the file is ever run.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import CheckpointError
from .build import MODELS, build_network, create_model, explain_misfit
from .network import Network

__all__ = ["FORMATS", "load_pth", "read_pth"]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """The conventions of a source: its normalisation of pixels in [0, 1], and the prefix of its names."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    prefix: str = ""  # precedes each of its names in the kit's backbone


FORMATS = {
    # CIFAR-100's own mean and deviation, as its loader states them
    "repdistiller": Convention(mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761)),
    "torchvision": Convention(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), prefix="net."),
}
WEIGHTS_KEYS = ("model", "state_dict")  # the entries under which training scripts keep the weights


def read_pth(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a .pth file: {name: tensor on the CPU}, without running anything in it.

    The file holds the weights alone, or has them beside an epoch, an optimiser and the like, under "model" or
    "state_dict". Where all names begin with "module." (several GPUs), they lose it.
    Raises FileNotFoundError, or CheckpointError if the file is damaged, holds other objects or no weights.
    """
    path = Path(path)
    content = _unpickle(path)
    if isinstance(content, dict):
        content = next((content[key] for key in WEIGHTS_KEYS if isinstance(content.get(key), dict)), content)
    named = isinstance(content, dict) and all(
        isinstance(name, str) and _is_plain(tensor) for name, tensor in content.items()
    )
    if not named or not content:
        holds = (
            f"a dict of {', '.join(map(str, list(content)[:8]))}"
            if isinstance(content, dict)
            else type(content)
        )
        raise CheckpointError(
            f"{path} holds no weights where they are expected (it is {holds}). Expected: {{'model': weights}}"
            ", {'state_dict': weights} or the weights alone, each a named tensor. Nothing was loaded."
        )
    if all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): tensor for name, tensor in content.items()}
    return dict(content)


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
        hint = f"That folder has: {', '.join(near)}." if near else "Check the path."
        raise FileNotFoundError(f"there is no file {path}. {hint}")
    with path.open("rb") as file:
        start = file.read(9)
    if start.endswith(b"{"):  # the header of a safetensors file, after the eight bytes of its length
        raise CheckpointError(
            f"{path} is a safetensors file. If the kit wrote it, leave out format; else it is not of this "
            "kind. Nothing was loaded."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old kinds of files that it can still read
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(_explain_unreadable(path, error)) from error


def _is_plain(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.layout is torch.strided and not tensor.is_quantized


def _explain_unreadable(path: Path, error: Exception) -> str:
    """Return why torch.load refused a file, and what to do."""
    if objects := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return (
            f"{path} holds more than tensors and plain values: {objects[1]}. A pickle of objects can run any "
            "code, so the kit opens none; nothing was run. Nothing was loaded. If you trust its author, open "
            "it once yourself and save the weights alone: torch.save({'model': weights}, new_path)."
        )
    return (
        f"{path} is damaged, cut short, or not a file of torch.save ({type(error).__name__}). "
        "Nothing was loaded. Fetch it again."
    )


def _with_batch_counts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add BatchNorm's counts of batches, which PyTorch before 0.4.1 did not store and nothing here reads."""
    norms = [name.removesuffix("running_mean") for name in weights if name.endswith(".running_mean")]
    counts = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return counts | weights


def _fitting_models(weights: dict[str, Tensor], num_classes: int) -> list[str]:
    """Return the CIFAR models that these weights fit, by names and shapes."""
    with torch.device("meta"):
        models = {name: create_model(name, num_classes) for name in MODELS if "/" not in name}
    return [name for name, model in models.items() if not explain_misfit(model.state_dict(), weights)]


def load_pth(
    path: str | Path,
    format: str,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    projection: bool = False,
) -> Network:
    """Rebuild a published network with its source's normalisation, in eval mode, float32, on the CPU.

    format: "repdistiller" or "torchvision"; model: its name here (None: the CIFAR model that fits);
    num_classes: K (None: as many as the file's classifier has rows); projection: give it a fresh head, for
    train_head. Names and shapes must fit strictly.
    Raises ValueError for an unknown format or model, FileNotFoundError, or CheckpointError if the file cannot
    be read or does not fit.
    """
    if format not in FORMATS:
        raise ValueError(f"there is no format {format!r}. The formats of others are: {', '.join(FORMATS)}.")
    convention, weights = FORMATS[format], read_pth(path)
    weights = _with_batch_counts({convention.prefix + name: tensor for name, tensor in weights.items()})
    if num_classes is None:
        num_classes = next((len(t) for t in reversed(weights.values()) if t.dim() == 2), 1)
    if model is None:
        model = next(iter(_fitting_models(weights, num_classes)), None)
    if model is None:
        raise CheckpointError(
            f"the weights in {path} are those of no backbone of the CIFAR zoo ({len(weights)} tensors, from "
            f"{next(iter(weights))} on). Say which one it is with model=. Nothing was loaded."
        )
    spec = {"model": model, "num_classes": num_classes, "in_channels": 3, "projection": projection}
    network = build_network(spec, convention.mean, convention.std)
    if misfit := explain_misfit(network.backbone.state_dict(), weights):
        raise CheckpointError(
            f"{path} does not fit {model} with {num_classes} classes: {misfit}. Nothing was loaded. "
            f"{_advise(weights, num_classes)}"
        )
    network.backbone.load_state_dict(weights)
    return network.eval()


def _advise(weights: dict[str, Tensor], num_classes: int) -> str:
    """Return what to do with weights that do not fit the model that was named."""
    if fits := _fitting_models(weights, num_classes):
        return f"It fits {' and '.join(fits)}: pass model={fits[0]!r}."
    rows = {len(t) for t in weights.values() if t.dim() == 2}
    return f"Check model and num_classes (its linear layers have {', '.join(map(str, sorted(rows)))} rows)."
