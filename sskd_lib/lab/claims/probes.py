"""Linear probes: how well a student's features tell the classes of images it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ...data.images import ImageSet
from ...data.load import load_images
from ...evaluation import predict
from ...models.checkpoint import load_checkpoint
from ...models.network import Network

MOST = 5000  # training images of a probe


@lru_cache(maxsize=4)
def read_sets(name: str) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) images of a probe; of more than 5,000 training images the same 5,000 of seed 0."""
    train, test = load_images(name), load_images(name, "test")
    return (train.take(MOST, seed=0) if len(train) > 2 * MOST else train), test


def probe(network: Network, train: ImageSet, test: ImageSet) -> float:
    """Return the test accuracy, in percent, of logistic regression on a network's frozen features.

    Features are standardised; C = 1, at most 2,000 steps of lbfgs. Source: scikit-learn's LogisticRegression.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(predict(network, train).features.numpy(), train.labels.numpy())
    hits = torch.from_numpy(model.predict(predict(network, test).features.numpy())) == test.labels
    return 100 * hits.double().mean().item()


def probe_cell(weights: Path, cell: str, arm: str, seed: int, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with the accuracy of a probe on each set. names: set → name for load_images."""
    student = load_checkpoint(weights)
    figures = {f"probe {key}": round(probe(student, *read_sets(name)), 3) for key, name in names.items()}
    return {"cell": cell, "arm": arm, "seed": seed, **figures}
