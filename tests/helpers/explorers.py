"""Small explorers of temperature and selection, and plain computations of what they show."""

from __future__ import annotations

import math

import torch

from sskd_lib.lab.explorers import explore_selection, explore_temperature

CLASSES = tuple(f"class {k}" for k in "ABCDEFGHIJ")
MATRIX_ROWS, MATRIX_COLUMNS = 48, 16


def temperature_explorer(key: str = "temperature", classes=CLASSES, student: bool = True):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 1, 28, 28), dtype=torch.uint8, generator=generator)
    logits = 3 * torch.randn(2, 6, len(classes), generator=generator)
    labels = torch.arange(6)
    return explore_temperature(
        images, logits[0], logits[1] if student else None, classes=classes, labels=labels, key=key
    )


def selection_explorer(key: str = "selection"):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(MATRIX_ROWS, 3, 32, 32, generator=generator)
    scores = torch.rand(MATRIX_ROWS, MATRIX_COLUMNS, generator=generator)
    own = torch.arange(MATRIX_ROWS) % MATRIX_COLUMNS
    scores[torch.arange(0, MATRIX_ROWS, 3), own[::3]] = 2.0  # every third row is right
    columns = (255 * images[:MATRIX_COLUMNS]).to(torch.uint8)
    return explore_selection(images, scores, own, columns=columns, key=key)


def softened_by_hand(logits, temperature: float) -> list[float]:
    grown = [math.exp(float(z) / temperature) for z in logits]
    return [g / sum(grown) for g in grown]


def bits_by_hand(p: list[float]) -> float:
    return -sum(q * math.log2(q) for q in p)
