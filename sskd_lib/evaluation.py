"""How good a network is, and how alike two networks are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .data.images import ImageSet
from .data.views import four_views, one_view
from .losses import pretext_loss
from .losses.pretext import rows_judged
from .models.network import Network, Output
from .runtime.device import Runtime

BATCH = 500  # images a forward pass of a plain evaluation


@torch.no_grad()
def predict(network: Network, images: Tensor | ImageSet, runtime: Runtime | None = None) -> Output:
    """Run a network in eval mode over upright, unaugmented images.

    images: uint8 [M, C, H, W], or an ImageSet, of whose window the middle is taken. Returns Output with
    float32 CPU tensors of M rows: logits, projection (if there is a head) and features.
    """
    runtime = runtime or Runtime()
    images, window = (images.images, images.window) if isinstance(images, ImageSet) else (images, None)
    was_training = network.training
    runtime.place(network).eval()
    parts = []
    for chunk in images.split(BATCH):
        parts.append(runtime.run(network, one_view(chunk.to(runtime.device), None, False, window)))
    network.train(was_training)
    columns = zip(*parts, strict=True)
    return Output(*(None if column[0] is None else torch.cat(column).cpu() for column in columns))


def evaluate(network: Network, data: ImageSet, runtime: Runtime | None = None) -> dict[str, float]:
    """Measure a network on labelled images: accuracy in percent, mean cross-entropy, calibration error.

    calibration_error: Σ_b (n_b / M) |accuracy_b - confidence_b| in percent, over 15 equal bins of
    confidence (Guo et al. 2017).
    """
    logits, labels = predict(network, data, runtime).logits, data.labels.cpu()
    if logits.shape[1] != data.num_classes:
        raise ValueError(
            f"the network tells {logits.shape[1]} classes apart, but {data.name} has {data.num_classes}. "
            "Use a network trained on the same classes."
        )
    confidence, guess = F.softmax(logits, 1).max(1)
    right = (guess == labels).float()
    bins = (confidence * 15).long().clamp(max=14)
    gap = torch.zeros(15).index_add_(0, bins, right - confidence).abs().sum() / len(labels)
    return {
        "accuracy": 100 * right.mean().item(),
        "loss": F.cross_entropy(logits, labels).item(),
        "calibration_error": 100 * gap.item(),
    }


def contrastive_accuracy(
    network: Network, data: ImageSet, batch_size: int = 64, runtime: Runtime | None = None
) -> float:
    """Share, in percent, of rotated views whose nearest upright view is their own image.

    Batches of `batch_size` images in the order they come, no augmentation; a shorter last batch is left
    out, since the task is easier among fewer images. Chance is 100 / batch_size.
    """
    if network.head is None or network.task != "contrastive":
        other = "" if network.head is None else f" (its head is for the task {network.task!r})"
        raise ValueError(f"this network has no projection head{other}; train one with train_head.")
    return pretext_accuracy(network, data, batch_size, runtime)


@torch.no_grad()
def pretext_accuracy(
    network: Network, data: ImageSet, batch_size: int = 64, runtime: Runtime | None = None
) -> float:
    """Share, in percent, of views for which a network's head gives the right answer to its task.

    As `contrastive_accuracy`, which it is for that task; jigsaws are shuffled in orders drawn from seed 0.
    Raises ValueError for a network without a head, and for the task "exemplar", whose classes are the images
    of its own training set.
    """
    if network.head is None:
        raise ValueError("this network has no projection head; train one with train_head.")
    if network.task == "exemplar":
        raise ValueError(
            "the task 'exemplar' can be asked of the images it was taught on only: they are its classes. Its "
            "accuracy on those is in the history of train_head."
        )
    if len(data) < batch_size:
        raise ValueError(
            f"{data.name} has {len(data)} images, fewer than one batch of {batch_size}; lower batch_size."
        )
    runtime = runtime or Runtime()
    was_training = network.training
    runtime.place(network).eval()
    hits = rows = 0
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(data) - batch_size + 1, batch_size):
        here = slice(start, start + batch_size)
        x, labels = (part[here].to(runtime.device) for part in (data.images, data.labels))
        order = torch.randint(0, 24, (batch_size, 3), generator=generator).to(runtime.device)
        views = four_views(x, None, False, data.window, order if network.task == "jigsaw" else None)
        said = runtime.run(network, views).projection
        hits += pretext_loss(network.task, said, labels, torch.zeros_like(labels), order)[1].item()
        rows += rows_judged(network.task) * batch_size
    network.train(was_training)
    return 100 * hits / rows


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval: t · s / √n, with t of n - 1 degrees of freedom.

    values: n numbers. The half width is nan for a single value: one run says nothing of its own uncertainty.
    """
    from scipy import stats

    values = [float(value) for value in values]
    mean = statistics.fmean(values)  # rounded once, so that a table shows the same digits on every machine
    if len(values) < 2:
        return mean, math.nan
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return mean, float(half)


def agreement(logits_a: Tensor, logits_b: Tensor) -> float:
    """Share of images, in percent, on which two networks name the same class. logits: float [M, K]."""
    return 100 * (logits_a.argmax(1) == logits_b.argmax(1)).float().mean().item()


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Likeness of two sets of features, from 0 to 1, whatever their rotation and scale.

    CKA = ‖ÂᵀB̂‖² / (‖ÂᵀÂ‖ ‖B̂ᵀB̂‖) with centred columns and Frobenius norms.
    a: float [M, D1]; b: float [M, D2]. Source: Kornblith et al. 2019, Eq. 3.
    """
    a, b = (x.double() - x.double().mean(0) for x in (a, b))
    cross, own_a, own_b = (torch.linalg.norm(x.T @ y) for x, y in ((a, b), (a, a), (b, b)))
    return (cross**2 / (own_a * own_b)).item()
