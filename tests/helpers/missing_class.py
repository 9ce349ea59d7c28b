"""A small explorer of the missing class, on random images and logits."""

from __future__ import annotations

import torch

from sskd_lib.lab.explorers import explore_missing_class

CLASSES = tuple(f"class {k}" for k in "ABCD")


def made(count: int = 40):
    """Return (images, labels, logits of two students); no two leads are equal."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    logits = {name: torch.randn(count, len(CLASSES), generator=generator) for name in ("ce", "kd")}
    return images, torch.arange(count) % len(CLASSES), logits


def explorer():
    images, labels, logits = made()
    return explore_missing_class(images, labels, logits, classes=CLASSES, missing=2)
