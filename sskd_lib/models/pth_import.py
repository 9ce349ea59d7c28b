"""Published weights in .pth files: those of RepDistiller's and SSKD's CIFAR models, and torchvision's.

Such a file is a pickle. It is opened by torch.load(weights_only=True), which makes tensors, numbers, texts,
lists and dicts of it and refuses everything else, so no code of the file is ever run.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import CheckpointError
from .build import MODELS, build_network, create_model, explain_misfit, explain_numbers
from .file_kinds import explain_folder, explain_other_kind, explain_resume, is_resume_file
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
    "state_dict". Names lose "_orig_mod." (torch.compile), and "module." (several GPUs) where all have it.
    Raises FileNotFoundError, or CheckpointError if the file is damaged, holds other objects or no weights.
    """
    path = Path(path).expanduser()
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
    if problem := explain_numbers(content):
        raise CheckpointError(
            f"{path} is damaged, or its training diverged: {problem}. Nothing was loaded. Fetch it again."
        )
    if whole := [name for name, t in content.items() if t.dim() and not t.is_floating_point()]:
        raise CheckpointError(
            f"{path} has whole numbers as weights, as quantised networks have: {whole[0]} is "
            f"{content[whole[0]].dtype}. Nothing was loaded. Give the network from before it was quantised."
        )
    weights = {name.replace("_orig_mod.", ""): tensor for name, tensor in content.items()}
    parallel = all(name.startswith("module.") for name in weights)
    return {name.removeprefix("module.") if parallel else name: tensor for name, tensor in weights.items()}


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(explain_folder(path, "file", ".pth"))
    with path.open("rb") as file:
        start = file.read(9)
    if start.endswith(b"{"):  # the header of a safetensors file, after the eight bytes of its length
        raise CheckpointError(
            f"{path} is a safetensors file. If the kit wrote it, leave out format; else it is not of this "
            "kind. Nothing was loaded."
        )
    if is_resume_file(path):
        raise CheckpointError(explain_resume(path))
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():  # torch.load does not look at the sums
                    raise zipfile.BadZipFile(f"{damaged} is not what was written")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old kinds of files that it can still read
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        other = explain_other_kind(path, "Fetch it again, or give another file.")
        pickled = "is a pickle" in other or not other
        raise CheckpointError(_explain_unreadable(path, error) if pickled else other) from error


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
    train_head. SSKD's own files ("backbone.…" and "proj_head.…", format "repdistiller") bring a trained head.
    Names and shapes must fit strictly.
    Raises ValueError for an unknown format or model, FileNotFoundError, or CheckpointError if the file cannot
    be read or does not fit.
    """
    if format not in FORMATS:
        raise ValueError(f"there is no format {format!r}. The formats of others are: {', '.join(FORMATS)}.")
    convention, weights = FORMATS[format], read_pth(path)
    weights, head = _split_head(weights)
    weights = _with_batch_counts({convention.prefix + name: tensor for name, tensor in weights.items()})
    rows = next((len(t) for t in reversed(weights.values()) if t.dim() == 2), 1)
    num_classes = rows if num_classes is None else num_classes
    if model is None and num_classes != rows:
        raise CheckpointError(
            f"the classifier in {path} has {rows} classes, not {num_classes}. Nothing was loaded. Leave "
            "num_classes out, and use the network on images of its own classes."
        )
    if model is None:
        model = next(iter(_fitting_models(weights, num_classes)), None)
    if model is None:
        raise CheckpointError(
            f"the weights in {path} are those of no backbone of the CIFAR zoo ({len(weights)} tensors, from "
            f"{next(iter(weights))} on). Say which one it is with model=. Nothing was loaded."
        )
    spec = {
        "model": model,
        "num_classes": num_classes,
        "in_channels": 3,
        "projection": bool(head) or projection,
    }
    network = build_network(spec, convention.mean, convention.std)
    if misfit := explain_misfit(network.backbone.state_dict(), weights):
        raise CheckpointError(
            f"{path} does not fit {model} with {num_classes} classes: {misfit}. Nothing was loaded. "
            f"{_advise(weights, num_classes)}"
        )
    if head and (misfit := explain_misfit(network.head.state_dict(), head)):
        raise CheckpointError(f"the head in {path} does not fit {model}: {misfit}. Nothing was loaded.")
    network.backbone.load_state_dict(weights)
    if head:
        network.head.load_state_dict(head)
        network.head_trained = True
    return network.eval()


def _split_head(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of a backbone and of a projection head, by the names that the published SSKD gives.

    Its networks are "backbone.…" and "proj_head.…"; its MobileNetV2 has a classifier of one layer.
    """
    head = {n.removeprefix("proj_head."): t for n, t in weights.items() if n.startswith("proj_head.")}
    rest = {name: tensor for name, tensor in weights.items() if not name.startswith("proj_head.")}
    if all(name.startswith("backbone.") for name in rest):
        rest = {name.removeprefix("backbone."): tensor for name, tensor in rest.items()}
    if any(name.startswith("blocks.") for name in rest):
        rest = {re.sub(r"^classifier\.(weight|bias)$", r"classifier.0.\1", n): t for n, t in rest.items()}
    return rest, head


def _advise(weights: dict[str, Tensor], num_classes: int) -> str:
    """Return what to do with weights that do not fit the model that was named."""
    if fits := _fitting_models(weights, num_classes):
        return f"It fits {' and '.join(fits)}: pass model={fits[0]!r}."
    rows = {len(t) for t in weights.values() if t.dim() == 2}
    return f"Check model and num_classes (its linear layers have {', '.join(map(str, sorted(rows)))} rows)."
