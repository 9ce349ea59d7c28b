"""Image sets: uint8 images [M, C, H, W] with int64 labels [M]."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .checks import check_fraction, check_labels, check_memory, check_pixels, whole_number


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """A labelled set of M square images: two tensors on one device.

    images: uint8 [M, C, H, H], C = 1 or 3; labels: int64 [M] in 0 .. K-1; classes: K names; name: its origin.
    coarse: K names in the order of `classes`: the larger class above each ("Apple" above "Granny Smith").
    None: there are none.
    window: side of the square that a view shows, where that is less than H. None: a view shows the whole
    image, shifted over black.
    sha256: hash of images that are mapped from a file (`on_disk`), kept beside it; None: images in memory.
    noise: what each call of `with_label_noise` did: its rate, and how many of how many labels it changed.
    Every seeded method draws from a private generator and gives the same images on every device.
    Raises ValueError where shapes, dtypes, devices or labels do not fit, TypeError for other than tensors.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    window: int | None = None
    sha256: str | None = None
    coarse: tuple[str, ...] | None = None
    noise: tuple[dict[str, float], ...] = ()

    def __post_init__(self) -> None:
        x, y = self.images, self.labels
        check_pixels(x)
        if isinstance(y, Tensor) and x.device != y.device:
            raise ValueError(f"images are on {x.device} and labels on {y.device}; put both on one device.")
        check_labels(y, len(x), self.classes)
        if self.window is not None and not 1 <= self.window <= x.shape[2]:
            raise ValueError(
                f"window={self.window}: a view is cut from images of {x.shape[2]} pixels a side."
            )
        k, coarse = len(self.classes), self.coarse
        if coarse is not None and (not isinstance(coarse, tuple) or len(coarse) != k):
            raise ValueError(f"coarse must be a tuple of {k} names, one for each class; not {coarse!r}.")

    def __repr__(self) -> str:
        shape = "x".join(str(s) for s in self.images.shape[1:])
        return f"ImageSet({self.name}: {len(self)} images {shape}, {self.num_classes} classes)"

    def __len__(self) -> int:
        return len(self.images)

    @property
    def on_disk(self) -> bool:
        """Whether the images are mapped from a file, to be read batch by batch."""
        return self.sha256 is not None

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return self.images.shape[1]

    def without_images(self) -> tuple[str, ...]:
        """Return the names of the classes that have no image."""
        counts = torch.bincount(self.labels, minlength=self.num_classes).tolist()
        return tuple(name for name, count in zip(self.classes, counts, strict=True) if count == 0)

    def to(self, device: torch.device | str) -> ImageSet:
        """Return the same set on `device`; a set on disk stays as it is."""
        if self.on_disk:
            return self
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, n: int, seed: int = 0) -> ImageSet:
        """Return a balanced subset of n images: n // K of each class, and one more of n % K random classes.

        For one seed, a smaller subset is part of a larger one. The images keep their order. Images on disk
        are read into memory.
        Raises ValueError if n is below 1, a class has too few images or memory is short.
        """
        n = whole_number("n", n)
        if n < 1:
            raise ValueError(f"take(n={n}) (command: --labels): n must be at least 1.")
        generator = _generator("take", seed)
        groups = _shuffled_by_class(self.labels.cpu(), self.num_classes, generator)
        counts = torch.full((self.num_classes,), n // self.num_classes)
        counts[torch.randperm(self.num_classes, generator=generator)[: n % self.num_classes]] += 1
        for group, count, label in zip(groups, counts.tolist(), self.classes, strict=True):
            if len(group) < count:
                most = self.num_classes * min(len(g) for g in groups)
                raise ValueError(
                    f"take(n={n}) (command: --labels) needs {count} images of the class {label!r}, "
                    f"but {self.name} has {len(group)}; a balanced subset of it has at most {most} images."
                )
        chosen = [group[:count] for group, count in zip(groups, counts.tolist(), strict=True)]
        return self._select(torch.cat(chosen))

    def with_label_noise(self, rate: float, seed: int = 0) -> ImageSet:
        """Return the set with round(rate * M) labels turned into one of the K - 1 others, all as likely.

        Raises ValueError if rate is outside [0, 1], if it is so small that no label would change, or if there
        is only one class.
        """
        check_fraction(f"with_label_noise(rate={rate!r}) (command: --label-noise)", rate)
        if rate and round(rate * len(self)) == 0:
            raise ValueError(
                f"with_label_noise(rate={rate}) (command: --label-noise) changes none of {len(self)} labels. "
                f"One label is a rate of {1 / len(self):.2g}: choose at least that, or 0."
            )
        if self.num_classes < 2:
            raise ValueError("label noise needs at least two classes: with one there is no wrong label.")
        generator = _generator("label noise", seed)
        hit = torch.randperm(len(self), generator=generator)[: round(rate * len(self))]
        shift = torch.randint(1, self.num_classes, (len(hit),), generator=generator)
        labels = self.labels.cpu().clone()
        labels[hit] = (labels[hit] + shift) % self.num_classes
        fact = {"rate": rate, "changed": len(hit), "of": len(self)}
        noise = (*self.noise, fact) if rate else self.noise
        return replace(self, labels=labels.to(self.labels.device), noise=noise)

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Return (kept, held_out), two disjoint sets stratified by class.

        held_out has round(fraction * M) images (see `split_rows`). Images on disk are read into memory.
        Raises ValueError if fraction is outside (0, 1), one of the two would be empty, or memory is short.
        """
        kept, held_out = split_rows(self.labels.cpu(), self.num_classes, fraction, seed)
        return self._select(kept), self._select(held_out)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an iterator of (x uint8 [B, C, H, W], y int64 [B]) with every image once.

        The last batch may be short. The generator (of any device) shuffles; without one the images come in
        their order. Raises ValueError if batch_size is below 1.
        """
        if whole_number("batch_size", batch_size) < 1:
            raise ValueError(f"batches(batch_size={batch_size}): a batch has at least one image.")
        if generator is None:
            return zip(self.images.split(batch_size), self.labels.split(batch_size), strict=True)
        order = torch.randperm(len(self), generator=generator, device=generator.device).to(self.images.device)
        return ((self.images.index_select(0, rows), self.labels[rows]) for rows in order.split(batch_size))

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of the shape, the images and the labels: equal on every device and machine.

        Of images on disk their stored sha256 is used: no pixel is read.
        """
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        if self.sha256 is not None:
            digest.update(self.sha256.encode())
        else:
            digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(self.labels.cpu().numpy().astype("<i8").data)
        return digest.hexdigest()

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return (mean, std) of each channel over all pixels, C floats each, on the [0, 1] scale.

        Of images on disk, which are in random order, the first 4,096 are counted.
        std is at least one grey level, 1/255, so that images of a single shade can be normalised.
        Warns if no pixel is above 1 of 255, as in floats from 0 to 1 that were cut to uint8.
        """
        values = torch.arange(256, dtype=torch.float64) / 255
        means, stds, highest = [], [], 0
        images = self.images[:4096] if self.on_disk else self.images
        for channel in range(self.in_channels):
            histogram = torch.bincount(images[:, channel].flatten(), minlength=256).cpu().double()
            highest = max(highest, int(histogram.nonzero().max()))
            weights = histogram / histogram.sum()
            mean = (weights * values).sum()
            means.append(mean.item())
            stds.append(max((weights * (values - mean) ** 2).sum().sqrt().item(), 1 / 255))
        if highest == 1:
            warnings.warn(
                f"the pixels of {self.name} are 0 or 1, so all images are black (white is 255). Were they "
                "floats from 0 to 1? Convert those with (255 * images).round().to(torch.uint8).",
                stacklevel=2,
            )
        return tuple(means), tuple(stds)

    def _select(self, rows: Tensor) -> ImageSet:
        rows = rows.sort().values.to(self.images.device)
        if self.on_disk:
            check_memory(len(rows) * self.images[0].nbytes, f"a set of {len(rows)} images of {self.name}")
        images = self.images.index_select(0, rows)
        return replace(self, images=images, labels=self.labels[rows], sha256=None)


def split_rows(labels: Tensor, num_classes: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split the rows of a set at random, stratified by class. Returns (kept, held out), int64 row numbers.

    labels: int64 [M] in 0 .. num_classes - 1. held out has round(fraction * M) rows.
    Each class gives fraction * (its count), rounded down, or one more (largest remainders).
    Raises ValueError if fraction is outside (0, 1) or one of the two would be empty.
    """
    check_fraction(f"split(fraction={fraction!r}) (command: --held-out)", fraction, ends=False)
    total = round(fraction * len(labels))
    if total in (0, len(labels)):
        raise ValueError(
            f"split(fraction={fraction}) (command: --held-out) of {len(labels)} images leaves one side "
            "empty; load more images or choose a fraction nearer to a half."
        )
    groups = _shuffled_by_class(labels, num_classes, _generator("split", seed))
    exact = torch.tensor([fraction * len(group) for group in groups], dtype=torch.float64)
    counts = exact.floor().long()
    largest = torch.argsort(exact - counts, descending=True, stable=True)
    counts[largest[: total - int(counts.sum())]] += 1
    pairs = list(zip(groups, counts.tolist(), strict=True))
    kept = torch.cat([group[count:] for group, count in pairs])
    return kept, torch.cat([group[:count] for group, count in pairs])


def _shuffled_by_class(labels: Tensor, num_classes: int, generator: torch.Generator) -> list[Tensor]:
    counts = torch.bincount(labels, minlength=num_classes).tolist()
    groups = torch.argsort(labels, stable=True).split(counts)
    return [group[torch.randperm(len(group), generator=generator)] for group in groups]


def _generator(purpose: str, seed: int) -> torch.Generator:
    """Return a private generator; the purpose is mixed in, so that take(seed=0) and split(seed=0) differ."""
    digest = hashlib.sha256(f"{purpose}:{whole_number('seed', seed)}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
