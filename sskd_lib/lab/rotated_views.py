"""What networks make of rotated views: their outputs, the rows they get right, and the images they pick.

`vectors` are float [4, M, D]: of M images one vector per view, in the order upright, 90°, 180°, 270°. Images
are compared in batches of B in their order. A shorter last batch is left out, so M' ≤ M images remain. With
fewer images than B, all are one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..data.images import ImageSet
from ..data.views import four_views
from ..evaluation import eval_mode
from ..losses import error_rank, image_of_row, similarity_matrix
from ..models.network import Network, Output
from ..runtime.device import Runtime


@torch.no_grad()
def view_outputs(
    network: Network,
    images: ImageSet,
    *,
    generator: torch.Generator | None = None,
    runtime: Runtime | None = None,
    batch: int = 64,
) -> Output:
    """Return a network's outputs for the four views of M images, in eval mode.

    The views have no flip and no crop, unless a generator draws them. Returns an Output of float32 tensors on
    the CPU: logits [4, M, K], features [4, M, D] and, from a network with a head, projection [4, M, D].
    """
    runtime, parts = runtime or Runtime(), []
    with eval_mode(runtime.place(network)):
        for pixels, _ in images.batches(batch):
            views = four_views(pixels, generator, generator is not None, images.window)
            output = runtime.run(network, views.to(runtime.device))
            parts.append(output.to("cpu").each(lambda part: part.float().unflatten(0, (4, -1))))
    logits, projection, features = zip(*(part[:3] for part in parts), strict=True)
    projection = None if projection[0] is None else torch.cat(projection, 1)
    return Output(torch.cat(logits, 1), projection, torch.cat(features, 1))


def batch_matrices(vectors: Tensor, batch: int = 64) -> list[Tensor]:
    """Return the similarity matrix of each batch of images, [3B, B] with rows as in `four_views`."""
    size = min(batch, vectors.shape[1])
    parts = [part for part in vectors.split(size, 1) if part.shape[1] == size]
    return [similarity_matrix(part[1:].flatten(0, 1), part[0]) for part in parts]


def picks(vectors: Tensor, batch: int = 64) -> Tensor:
    """Return the image that each rotated view picks: the one with the largest cosine in its batch.

    Returns int64 [3, M'], a row per angle, with numbers from 0 to M' - 1.
    """
    found = [
        matrix.argmax(1).view(3, -1) + number * matrix.shape[1]
        for number, matrix in enumerate(batch_matrices(vectors, batch))
    ]
    return torch.cat(found, 1)


def wrong_rows(vectors: Tensor, batch: int = 64) -> Tensor:
    """Return which rotated views pick another image than their own: bool [3, M']."""
    picked = picks(vectors, batch)
    return picked != torch.arange(picked.shape[1])


def rows_right(vectors: Tensor, batch: int = 64) -> float:
    """Return the percentage of rotated views that pick their own image."""
    return 100 - 100 * wrong_rows(vectors, batch).float().mean().item()


def ranks(vectors: Tensor, batch: int = 64) -> Tensor:
    """Return each rotated view's error rank: how many images of its batch beat its own. int64 [3, M']."""
    matrices = batch_matrices(vectors, batch)
    return torch.cat([error_rank(m, image_of_row(*m.shape)).view(3, -1) for m in matrices], 1)


def same_class(vectors: Tensor, labels: Tensor, batch: int = 64) -> tuple[float, float]:
    """Return how many of the wrong rows pick an image of their own class, and how many would by chance, in %.

    By chance: a wrong row picks each of the other images of its batch equally often. labels: int64 [M].
    nan where no row is wrong.
    """
    picked, wrong = picks(vectors, batch), wrong_rows(vectors, batch)
    size, labels = min(batch, vectors.shape[1]), labels[: picked.shape[1]].cpu()
    groups = labels.view(-1, size)
    others = ((groups[:, :, None] == groups[:, None, :]).sum(2) - 1).flatten() / max(size - 1, 1)
    same = (labels[picked] == labels)[wrong].float().mean()
    return 100 * same.item(), 100 * others.expand(3, -1)[wrong].mean().item()


def ranks_among_rivals(
    vectors: Tensor, image: int, *, batch: int = 64, draws: int = 300, seed: int = 0
) -> Tensor:
    """Return the error ranks of one image's view at 90° in batches of random other images: int64 [draws]."""
    cosine = similarity_matrix(vectors[1, image][None], vectors[0])[0]
    order = torch.rand(draws, len(cosine), generator=torch.Generator().manual_seed(seed))
    order[:, image] = 2.0  # the image is never its own rival
    rivals = order.argsort(1)[:, : min(batch, len(cosine)) - 1]
    return (cosine[rivals] > cosine[image]).sum(1)


def train_on_features(
    head: nn.Module,
    stored: Tensor,
    loss: Callable[[Tensor], Tensor],
    measured: Tensor,
    *,
    epochs: int = 15,
    batch: int = 64,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train a head on stored features by SGD, and measure it after each epoch on features of other images.

    Learning rate 0.05, momentum 0.9, weight decay 5e-4. stored, measured: features [4, M, D];
    loss: projections [4B, D] → scalar; seed: of the order of the images.
    Returns a dict per epoch: "loss", the mean over its batches; "train" and "test", the right rows in %.
    """
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        losses = []
        for part in stored[:, torch.randperm(stored.shape[1], generator=order)].split(batch, 1):
            value = loss(head(part.flatten(0, 1)))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
        with torch.no_grad():
            train, test = (rows_right(head(features), batch) for features in (stored, measured))
        history.append({"loss": sum(losses) / len(losses), "train": train, "test": test})
    return history


def class_groups(images: ImageSet, classes: int = 4, each: int = 3) -> ImageSet:
    """Return the first `each` images of some classes, class after class; the classes are spread over all.

    Classes with fewer images are passed over. Where every class has fewer, `each` is the size of the largest.
    """
    labels = images.labels.cpu()
    each = min(each, int(torch.bincount(labels).max()))
    large = [k for k in range(images.num_classes) if (labels == k).sum() >= each]
    chosen = spread(large, classes)
    rows = torch.cat([(labels == k).nonzero()[:each, 0] for k in chosen])
    return replace(images, images=images.images[rows], labels=images.labels[rows])


def spread(items: list, count: int) -> list:
    """Return `count` items, or all if there are fewer, at even steps from the first to the last.

    >>> spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4)
    [0, 3, 6, 9]
    """
    if len(items) <= count:
        return list(items)
    return [items[round(place * (len(items) - 1) / max(count - 1, 1))] for place in range(count)]
