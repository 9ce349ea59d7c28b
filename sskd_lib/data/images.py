"""Image sets: uint8 images [M, C, H, W] with int64 labels [M]."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .shards import Shards


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """A labelled set of M square images held as two tensors on one device.

    images: uint8 [M, C, H, H], C = 1 or 3, or Shards: the same on disk, read batch by batch; labels: int64
    [M] in 0 .. K-1; classes: K names; name: its origin.
    window: side of the square that a view shows, where that is less than H; None: all of it, shifted over
    black. Every seeded method draws from its own private generator and gives the same images on every device.
    Raises ValueError where shapes, dtypes, devices or labels do not fit.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    window: int | None = None

    def __post_init__(self) -> None:
        x, y = self.images, self.labels
        if x.dtype != torch.uint8 or x.dim() != 4:
            raise ValueError(f"images must be uint8 [M, C, H, W]; these are {x.dtype} {list(x.shape)}.")
        if x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3]:
            raise ValueError(
                f"images must be square, with 1 or 3 channels; these are [M, C, H, W] = {list(x.shape)}."
            )
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(x)}], one for each image; these are {y.dtype} {list(y.shape)}."
            )
        if self.window is not None and not 1 <= self.window <= x.shape[2]:
            raise ValueError(
                f"window={self.window}: a view is cut from images of {x.shape[2]} pixels a side."
            )
        if len(x) == 0:
            raise ValueError(f"the image set {self.name!r} is empty; it needs at least one image.")
        if x.device != y.device:
            raise ValueError(f"images are on {x.device} and labels on {y.device}; put both on one device.")
        if not isinstance(self.classes, tuple) or not all(isinstance(c, str) for c in self.classes):
            raise ValueError(f"classes must be a tuple of names; this is {self.classes!r}.")
        low, high, k = int(y.min()), int(y.max()), len(self.classes)
        if low < 0 or high >= k:
            raise ValueError(
                f"labels run from {low} to {high}, but {k} classes have the labels 0 to {k - 1}."
            )

    def __repr__(self) -> str:
        shape = "x".join(str(s) for s in self.images.shape[1:])
        return f"ImageSet({self.name}: {len(self)} images {shape}, {self.num_classes} classes)"

    def __len__(self) -> int:
        return len(self.images)

    @property
    def on_disk(self) -> bool:
        """Whether the images are read from disk batch by batch."""
        return isinstance(self.images, Shards)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return self.images.shape[1]

    def to(self, device: torch.device | str) -> ImageSet:
        """The same set on `device`; images on disk stay there, and so do their labels."""
        images = self.images.to(device)
        return replace(self, images=images, labels=self.labels.to(images.device))

    def take(self, n: int, seed: int = 0) -> ImageSet:
        """A balanced subset of n images: n // K of each class, and one more of each of n % K random classes.

        With one seed a smaller subset lies within a larger one. The images keep their order.
        Raises ValueError if n is below 1 or a class has too few images.
        """
        n = operator.index(n)
        if n < 1:
            raise ValueError(f"take(n={n}): n must be at least 1.")
        generator = _generator("take", seed)
        groups = self._shuffled_by_class(generator)
        counts = torch.full((self.num_classes,), n // self.num_classes)
        counts[torch.randperm(self.num_classes, generator=generator)[: n % self.num_classes]] += 1
        for group, count, label in zip(groups, counts.tolist(), self.classes, strict=True):
            if len(group) < count:
                most = self.num_classes * min(len(g) for g in groups)
                raise ValueError(
                    f"take(n={n}) needs {count} images of the class {label!r}, "
                    f"but {self.name} has {len(group)}; a balanced subset of it has at most {most} images."
                )
        chosen = [group[:count] for group, count in zip(groups, counts.tolist(), strict=True)]
        return self._select(torch.cat(chosen))

    def with_label_noise(self, rate: float, seed: int = 0) -> ImageSet:
        """Symmetric label noise: round(rate * M) labels turn into one of the K - 1 others, all as likely.

        Raises ValueError if rate is outside [0, 1] or there is only one class.
        """
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"with_label_noise(rate={rate}): the rate is a fraction from 0 to 1.")
        if self.num_classes < 2:
            raise ValueError("label noise needs at least two classes: with one there is no wrong label.")
        generator = _generator("label noise", seed)
        hit = torch.randperm(len(self), generator=generator)[: round(rate * len(self))]
        shift = torch.randint(1, self.num_classes, (len(hit),), generator=generator)
        labels = self.labels.cpu().clone()
        labels[hit] = (labels[hit] + shift) % self.num_classes
        return replace(self, labels=labels.to(self.labels.device))

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """(kept, held_out): two disjoint sets; held_out has round(fraction * M) images, stratified by class.

        Each class gives fraction * (its count), rounded down, or one more (largest remainders).
        Raises ValueError if fraction is outside (0, 1) or one of the two would be empty.
        """
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"split(fraction={fraction}): the held-out fraction lies between 0 and 1.")
        total = round(fraction * len(self))
        if total in (0, len(self)):
            raise ValueError(
                f"split(fraction={fraction}) of {len(self)} images leaves one side empty; "
                "load more images or choose a fraction nearer to a half."
            )
        groups = self._shuffled_by_class(_generator("split", seed))
        shares = torch.tensor([fraction * len(group) for group in groups], dtype=torch.float64)
        counts = shares.floor().long()
        largest = torch.argsort(shares - counts, descending=True, stable=True)
        counts[largest[: total - int(counts.sum())]] += 1
        pairs = list(zip(groups, counts.tolist(), strict=True))
        kept = torch.cat([group[count:] for group, count in pairs])
        return self._select(kept), self._select(torch.cat([group[:count] for group, count in pairs]))

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterator of (x uint8 [B, C, H, W], y int64 [B]); every image once, the last batch may be short.

        The generator (of any device) shuffles; without one the images come in their order.
        Raises ValueError if batch_size is below 1.
        """
        if operator.index(batch_size) < 1:
            raise ValueError(f"batches(batch_size={batch_size}): a batch holds at least one image.")
        if generator is None:
            return zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)
        order = torch.randperm(len(self), generator=generator, device=generator.device).to(self.images.device)
        return ((self.images[index], self.labels[index]) for index in order.split(batch_size))

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the shape, the images and the labels: equal on every device and machine."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        if isinstance(self.images, Shards):
            digest.update(self.images.sha256().encode())
        else:
            digest.update(self.images.cpu().contiguous().numpy().reshape(-1))
        digest.update(self.labels.cpu().numpy().astype("<i8"))
        return digest.hexdigest()

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of each channel over all pixels, C floats each, on the [0, 1] scale.

        Of images on disk the first 4,096 are counted; shards hold them in random order.
        std is at least one grey level, 1/255, so that images of a single shade can be normalised.
        """
        values = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        images = self.images[:4096] if isinstance(self.images, Shards) else self.images
        for channel in range(self.in_channels):
            histogram = torch.bincount(images[:, channel].flatten(), minlength=256).cpu().double()
            weights = histogram / histogram.sum()
            mean = (weights * values).sum()
            means.append(mean.item())
            stds.append(max((weights * (values - mean) ** 2).sum().sqrt().item(), 1 / 255))
        return tuple(means), tuple(stds)

    def _shuffled_by_class(self, generator: torch.Generator) -> list[Tensor]:
        labels = self.labels.cpu()
        counts = torch.bincount(labels, minlength=self.num_classes).tolist()
        groups = torch.argsort(labels, stable=True).split(counts)
        return [group[torch.randperm(len(group), generator=generator)] for group in groups]

    def _select(self, index: Tensor) -> ImageSet:
        index = index.sort().values.to(self.images.device)
        streamed = isinstance(self.images, Shards)
        images = self.images.select(index) if streamed else self.images[index]
        return replace(self, images=images, labels=self.labels[index])


def _generator(purpose: str, seed: int) -> torch.Generator:
    """A private generator; the purpose is mixed in: take(seed=0) and split(seed=0) draw independently."""
    digest = hashlib.sha256(f"{purpose}:{operator.index(seed)}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
