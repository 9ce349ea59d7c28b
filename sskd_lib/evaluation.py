"""Measures of a network (accuracy, calibration, pretext task), of two networks, and intervals of results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data.images import ImageSet
from .data.views import four_views, one_view
from .losses import Batch, create_task
from .losses.pretext import JIGSAWS
from .models.network import Network, Output
from .runtime.arguments import checked
from .runtime.device import Runtime

BATCH = 500  # images in one forward pass of `predict`


@checked
@torch.no_grad()
def predict(network: Network, images: Tensor | ImageSet, runtime: Runtime | None = None) -> Output:
    """Run a network in eval mode over upright images without augmentation.

    images: uint8 [M, C, H, W], or an ImageSet; if that has a window, its middle is taken. Returns Output with
    float32 CPU tensors of M rows: logits, projection (None without a head) and features.
    Raises TypeError for other than images, ValueError if they have another number of channels.
    """
    images, window = (images.images, images.window) if isinstance(images, ImageSet) else (images, None)
    runtime = runtime or Runtime()
    with eval_mode(runtime.place(network)):
        outputs = [
            runtime.run(network, one_view(chunk.to(runtime.device), None, False, window))
            for chunk in images.split(BATCH)
        ]
    return Output(
        torch.cat([output.logits for output in outputs]).cpu(),
        _joined(output.projection for output in outputs),
        _joined(output.features for output in outputs),
    )


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for the block, and back into its mode afterwards."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _joined(parts: Iterable[Tensor | None]) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors).cpu() if tensors else None


@checked
def evaluate(network: Network, data: ImageSet, runtime: Runtime | None = None) -> dict[str, float]:
    """Measure accuracy, mean cross-entropy ("loss") and calibration error of a network on labelled images.

    The first and the last are in percent.
    Raises ValueError if the network has other classes than the images, by number or by name.
    """
    check_classes(network, data, "network")
    logits, labels = predict(network, data, runtime).logits, data.labels.cpu()
    if logits.shape[1] != data.num_classes:
        raise ValueError(
            f"the network has {logits.shape[1]} classes, but {data.name} has {data.num_classes}. "
            "Use a network trained on the same classes, or other images (command: --data)."
        )
    return {
        "accuracy": 100 * (logits.argmax(1) == labels).float().mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "calibration_error": calibration_error(logits, labels),
    }


def check_classes(network: Network, data: ImageSet, who: str) -> None:
    """Raise ValueError if images have other channels or other classes than a network, or another order.

    Classes are compared by their names.

    A network that does not know them passes here: it was made by hand, published by others or saved by a
    version before 0.2, and only the number of its classes can be checked.
    """
    channels = network.backbone.in_channels
    if channels != data.in_channels:
        kinds = {1: "grey images (1 channel)", 3: "colour images (3 channels)"}
        raise ValueError(
            f"the {who} is for {kinds.get(channels, f'{channels} channels')}, but {data.name} has "
            f"{kinds[data.in_channels]}. Use a {who} trained on such images, or other images (command: "
            "--data)."
        )
    names = network.classes
    if names is None or len(names) != data.num_classes or names == data.classes:
        return
    if sorted(names) == sorted(data.classes):
        place = next(i for i, pair in enumerate(zip(names, data.classes, strict=True)) if len(set(pair)) > 1)
        raise ValueError(
            f"the {who} has the classes of {data.name} in another order: class {place} of the {who} is "
            f"{names[place]!r}, of the images {data.classes[place]!r}. Give the images the order of "
            f"{who}.classes."
        )
    lost = [name for name in names if name not in data.classes]
    new = [name for name in data.classes if name not in names]
    raise ValueError(
        f"the {who} is for other classes than those of {data.name}: it knows {_few(lost)}, and the images "
        f"show {_few(new)}. Use a {who} of these classes. If only the names differ, rename the "
        f"folders, or set {who}.classes = images.classes."
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + " …" * (len(names) > 3)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Return the gap between confidence and accuracy in percent, Σ_b (n_b / M) |accuracy_b - confidence_b|.

    logits: float [M, K]; labels: int [M]; b: 15 equal bins of confidence. Source: Guo et al. 2017.
    """
    confidence, guess = F.softmax(logits, 1).max(1)
    bins = (confidence * 15).long().clamp(0, 14)  # NaN gives NaN
    gap = torch.zeros(15).index_add_(0, bins, (guess == labels).float() - confidence)
    return 100 * gap.abs().sum().item() / len(labels)


@checked
def contrastive_accuracy(
    network: Network, data: ImageSet, batch_size: int = 64, runtime: Runtime | None = None
) -> float:
    """Return the percentage of rotated views whose nearest upright view shows the same image.

    Nearest: by cosine of the projections, among the images of a batch. Batches have `batch_size` images in
    their order, without augmentation; a shorter last batch is left out, since the task is easier among fewer
    images. Chance is 100 / batch_size. Raises ValueError for a network without a head for this task.
    """
    if network.head is None or network.task != "contrastive":
        other = "" if network.head is None else f" (its head is for the task {network.task!r})"
        raise ValueError(f"this network has no projection head{other}; train one with train_head.")
    return pretext_accuracy(network, data, batch_size, runtime)


@checked
@torch.no_grad()
def pretext_accuracy(
    network: Network, data: ImageSet, batch_size: int = 64, runtime: Runtime | None = None
) -> float:
    """Return the percentage of views for which a network's head answers its pretext task correctly.

    Batches are as in `contrastive_accuracy`, which this is for the contrastive task. The permutations of the
    jigsaw task are drawn from seed 0.
    Raises ValueError for a network without a head, for fewer images than batch_size, and for a task whose
    classes are the images of the head's training set ("exemplar").
    """
    if network.head is None:
        raise ValueError("this network has no projection head; train one with train_head.")
    task = create_task(network.task)
    if task.only_training_images:
        raise ValueError(
            f"the classes of the task {task.name!r} are the images its head was trained on, so it cannot be "
            "measured on others. Its accuracy on those is in the history of train_head."
        )
    if batch_size < task.fewest_images:
        raise ValueError(
            f"batch_size is {batch_size}, but the task {task.name!r} needs batches of at least "
            f"{task.fewest_images} image(s): among one, every answer is right."
        )
    if len(data) < batch_size:
        raise ValueError(
            f"{data.name} has {len(data)} images, fewer than one batch of {batch_size}; lower batch_size."
        )
    runtime = runtime or Runtime()
    hits, rows = 0.0, 0
    generator = torch.Generator().manual_seed(0)
    with eval_mode(runtime.place(network)):
        for start in range(0, len(data) - batch_size + 1, batch_size):
            part = slice(start, start + batch_size)
            x, labels = (tensor[part].to(runtime.device) for tensor in (data.images, data.labels))
            permutation = None
            if task.needs.jigsaw:
                permutation = torch.randint(0, JIGSAWS, (batch_size, 3), generator=generator)
                permutation = permutation.to(runtime.device)
            batch = Batch(labels=labels, permutation=permutation)
            output = runtime.run(network, four_views(x, None, False, data.window, permutation))
            hits += task.count_correct(output, batch).item()
            rows += task.rows_per_image * batch_size
    return 100 * hits / rows


def pretext_figures(network: Network, data: ImageSet, runtime: Runtime | None = None) -> dict[str, float]:
    """Return "TASK_accuracy" of a network's head, in percent, beside that of a guess ("by_chance").

    {} for a network without a head, for a task that can only be measured on the head's training set, and for
    the contrastive task on a single image, which has nothing to choose from.
    Batches have 64 images, or all if there are fewer.
    """
    if network.head is None:
        return {}
    task = create_task(network.task)
    if task.only_training_images or len(data) < task.fewest_images:
        return {}
    size, head = min(64, len(data)), network.spec["projection"]
    classes = head["outputs"] if isinstance(head, Mapping) else size  # or one image of a batch
    return {
        f"{network.task}_accuracy": pretext_accuracy(network, data, size, runtime),
        "by_chance": 100 / classes,
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of n values and the half width of its 95 % interval, t · s / √n.

    s: standard deviation of the values; t: 97.5 % quantile of Student's t with n - 1 degrees of freedom. The
    half width is nan for a single value, whose uncertainty is unknown.
    """
    from scipy import stats

    values = [float(value) for value in values]
    mean = statistics.fmean(values)  # rounded once, so that a table shows the same digits on every machine
    if len(values) < 2:
        return mean, math.nan
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return mean, float(half)


def agreement(logits_a: Tensor, logits_b: Tensor) -> float:
    """Return the percentage of images for which two networks predict the same class. logits: float [M, K]."""
    return 100 * (logits_a.argmax(1) == logits_b.argmax(1)).float().mean().item()


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Return the similarity (linear CKA, from 0 to 1) of two sets of features, whatever rotation and scale.

    CKA = ‖ÂᵀB̂‖² / (‖ÂᵀÂ‖ ‖B̂ᵀB̂‖) with centred columns and Frobenius norms, in float64.
    a: float [M, D1]; b: float [M, D2]. Source: Kornblith et al. 2019, Eq. 3.
    """
    a, b = (x.double() - x.double().mean(0) for x in (a, b))
    cross, norm_a, norm_b = (torch.linalg.norm(x.T @ y) for x, y in ((a, b), (a, a), (b, b)))
    return (cross**2 / (norm_a * norm_b)).item()
