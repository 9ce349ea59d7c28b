"""t-SNE: a map of points that keeps neighbours together, and a way to lay two maps over each other."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from ..files import write_atomically


def embed(
    vectors, seed: int = 0, perplexity: float = 30.0, folder: str | Path | None = None, start: str = "pca"
) -> np.ndarray:
    """Place vectors on a plane so that near ones stay near. float [M, D] → float32 [M, 2].

    The same vectors give the same map on the same machine. Distances between
    far groups, sizes of groups and axes mean nothing; look at who is next to whom.

    start: "pca", the first two principal components, or "random", which makes the seed matter.
    folder: keep the map there, under a name made of the content, and read it back next time; a damaged one
    is made anew.
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
        what = "are all the same" if np.isfinite(array).all() else "hold nan or inf"
        raise ValueError(f"the vectors {what}: there is no map. Take a network whose training did not fail.")
    file = None
    if folder is not None:
        name = hashlib.sha256(
            array.tobytes() + repr((array.shape, seed, perplexity, start)).encode()
        ).hexdigest()
        file = Path(folder) / f"tsne-{name[:20]}.npy"
        if (kept := _read(file, len(array))) is not None:
            return kept
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
        flat = model.fit_transform(array).astype(np.float32)
    if file is not None:
        buffer = io.BytesIO()
        np.save(buffer, flat)
        write_atomically(file, buffer.getvalue())
    return flat


def _read(file: Path, count: int) -> np.ndarray | None:
    """A map kept before, float32 [count, 2]; None if there is none, or a damaged one."""
    try:
        flat = np.load(file, allow_pickle=False)
    except Exception:  # missing or damaged in whatever way: it can be made anew
        return None
    fits = flat.dtype == np.float32 and flat.shape == (count, 2) and np.isfinite(flat).all()
    return flat if fits else None


def align(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Turn, mirror and shift map b so that its points fall as near as they can on those of map a.

    Orthogonal Procrustes: with both maps centred, R = U Vᵀ from the SVD bᵀ a = U S Vᵀ minimises
    ‖a - b R‖. No scaling: sizes stay as t-SNE made them. a, b: float [M, D], row by row the same
    images. Returns float [M, D]. Raises ValueError if the shapes differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"maps to be aligned show the same images in the same order, but they are {list(a.shape)} "
            f"and {list(b.shape)}."
        )
    middle = a.mean(0)
    centred = b - b.mean(0)
    u, _, v = np.linalg.svd(centred.T @ (a - middle))
    return centred @ (u @ v) + middle
