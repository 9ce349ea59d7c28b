"""t-SNE: a map of points that keeps neighbours together, and the alignment of one map with another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from joblib import Memory


def embed(
    vectors, seed: int = 0, perplexity: float = 30.0, folder: str | Path | None = None, start: str = "pca"
) -> np.ndarray:
    """Place vectors on a plane so that near ones stay near. float [M, D] → float32 [M, 2].

    The same vectors give the same map on the same machine. Distances between far groups, sizes of groups
    and axes mean nothing; only who is next to whom does.

    start: "pca", the first two principal components, or "random", which makes the seed matter.
    folder: cache the map there (joblib.Memory); a damaged one is computed again.
    Raises ValueError if there are not more points than the perplexity, and for values that are not finite
    or vectors that are all the same.
    Source: van der Maaten and Hinton 2008.
    """
    array = np.ascontiguousarray(np.asarray(vectors, dtype=np.float32))
    if array.ndim != 2 or len(array) <= perplexity:
        raise ValueError(
            f"t-SNE with perplexity {perplexity:g} needs more than {perplexity:g} vectors [M, D]; these are "
            f"{list(array.shape)}. Pass more points or a smaller perplexity."
        )
    if not np.isfinite(array).all() or (array == array[0]).all():
        fault = "are all the same" if np.isfinite(array).all() else "contain nan or inf"
        raise ValueError(f"the vectors {fault}: there is no map. Take a network whose training did not fail.")
    return cache(folder).cache(_fit)(array, seed, float(perplexity), start)


def cache(folder: str | Path | None) -> Memory:
    """Return a joblib.Memory that keeps results in a folder; one that keeps none where it cannot be made."""
    from joblib import Memory

    try:
        return Memory(folder, verbose=0)
    except OSError:  # a cache that cannot be written only costs time
        return Memory(None, verbose=0)


def _fit(array: np.ndarray, seed: int, perplexity: float, start: str) -> np.ndarray:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    model = TSNE(
        n_components=2,
        perplexity=perplexity,
        init=start,
        learning_rate="auto",
        max_iter=1000,
        random_state=seed,
    )
    with threadpool_limits(1):  # so few points gain nothing from threads, and lose minutes on a busy machine
        return model.fit_transform(array).astype(np.float32)


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Turn, mirror and shift map b so that its points come as near as they can to those of map a.

    Orthogonal Procrustes: with both maps centred, the orthogonal R that minimises ‖a - b R‖. No scaling:
    sizes stay as t-SNE made them. a, b: float [M, D], row by row the same images. Returns float64 [M, D].
    Raises ValueError if the shapes differ.
    """
    from scipy.linalg import orthogonal_procrustes

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"maps to be aligned show the same images in the same order, but they are {list(a.shape)} "
            f"and {list(b.shape)}."
        )
    middle, centred = a.mean(0), b - b.mean(0)
    return centred @ orthogonal_procrustes(centred, a - middle)[0] + middle
