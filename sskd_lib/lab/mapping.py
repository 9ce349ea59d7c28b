"""What the atlas shows: t-SNE maps of what networks make of the same images, and who is next to whom.

A t-SNE map costs seconds, so what is found for a network is kept in the user's cache folder, under a name
made of its weights, the images and the settings. Those of the shipped networks lie in data/atlas.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..data.load import DATA_FOLDER
from ..evaluation import predict
from ..files import cache_folder, tensors_hash, write_atomically
from ..losses import soften
from ..models.network import Network
from ..runtime.device import Runtime
from .tsne import align, embed

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
NEAREST = 6  # neighbours of each image
PERPLEXITY = 12  # keeps as many neighbours as 30 does with 400 images, and its groups are less of a blot
FEWEST, MOST = 20, 1000  # images: a map of fewer says nothing, one of more takes minutes and shows blots
SHIPPED = DATA_FOLDER / "atlas"
LAYOUT = "atlas 1"  # part of every key: maps of another recipe are other maps


class Atlas(NamedTuple):
    """N networks on the same M images, each mapped in S spaces: one a temperature, then the features."""

    networks: tuple[str, ...]
    temperatures: tuple[float, ...]
    logits: np.ndarray  # float32 [N, M, K]
    points: np.ndarray  # float32 [N, S, M, 2], within -1 and 1
    neighbours: np.ndarray  # int16 [N, S, M, 6], nearest first, in the mapped space


def atlas_maps(
    networks: Mapping[str, Network],
    images: torch.Tensor,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    seed: int = 0,
    runtime: Runtime | None = None,
    folder: str | Path | None = None,
) -> Atlas:
    """Map what networks make of images: softened outputs at each temperature, and features, by t-SNE.

    Outputs p are mapped as √p, so that the distance is Hellinger's, and ‖√p - √q‖² ≈ KL(p ‖ q) / 2 for
    near ones: who is near on the map is near in the sense of the loss that distils. Features are mapped
    as they are. Each map is turned and mirrored onto the first network's map of features, and scaled to
    fit its frame. Neighbours are found in the mapped space, by plain distance, not on the map.

    networks: name → network, all of the same K classes; images: uint8 [M, C, H, W], M from 20 to 1,000;
    folder: where maps are kept, else in the user's cache folder; damaged ones are made anew.
    Raises ValueError for no networks, other images or numbers of them, temperatures that are not above 0 and
    finite, or networks whose classes differ or whose outputs cannot be mapped.
    """
    temperatures = tuple(float(t) for t in temperatures)
    _check(networks, images, temperatures)
    folder = cache_folder() / "atlas" if folder is None else Path(folder)
    found = [_find(name, n, images, temperatures, seed, runtime, folder) for name, n in networks.items()]
    classes = {name: part["logits"].shape[1] for name, part in zip(networks, found, strict=True)}
    if len(set(classes.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in classes.items())
        raise ValueError(f"networks in one atlas tell the same classes apart, but these have: {told}.")
    first = found[0]["points"][-1]
    points = [[_framed(align(first, flat), first) for flat in part["points"]] for part in found]
    stacked = [np.stack([part[name] for part in found]) for name in ("logits", "neighbours")]
    return Atlas(tuple(networks), temperatures, stacked[0], np.array(points, np.float32), stacked[1])


def _check(networks: Mapping[str, Network], images: Any, temperatures: tuple[float, ...]) -> None:
    if not networks:
        raise ValueError("an atlas needs at least one network: pass a dict of name → network.")
    if not isinstance(images, torch.Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError("images are a uint8 tensor [M, C, H, W]; of an ImageSet pass its .images.")
    if not FEWEST <= len(images) <= MOST:
        raise ValueError(
            f"an atlas shows {FEWEST} to {MOST:,} images, but these are {len(images):,}. About 400 are good "
            "to look at: load_images(name, 'test').take(400).images."
        )
    if not temperatures or not all(0 < t < np.inf for t in temperatures):
        raise ValueError(f"temperatures are numbers above 0 and finite, at least one, not {temperatures}.")


def _framed(flat: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Move the middle of a map to 0 and scale it to lie within -1 and 1."""
    centred = flat - first.mean(0)
    return centred / np.abs(centred).max()


def nearest(vectors: np.ndarray, count: int = NEAREST) -> np.ndarray:
    """The nearest others of each vector, by Euclidean distance: float [M, D] → int16 [M, count].

    Nearest first; of equally near ones the lower number leads.
    """
    v = np.asarray(vectors, dtype=np.float64)
    squared = np.stack([((v - row) ** 2).sum(1) for row in v])
    np.fill_diagonal(squared, np.inf)
    return squared.argsort(axis=1, kind="stable")[:, :count].astype(np.int16)


def shared_neighbours(near: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which neighbours of each image are also among as many nearest on the map.

    near: int [M, n]; points: float [M, 2]. Returns bool [M, n].
    """
    on_map = nearest(points, near.shape[1])
    return (near[:, :, None] == on_map[:, None, :]).any(2)


def _find(
    name: str,
    network: Network,
    images: torch.Tensor,
    temperatures: tuple,
    seed: int,
    runtime: Any,
    folder: Path,
) -> dict[str, np.ndarray]:
    """What is kept of this network, or, where nothing is, what is made now."""
    key = maps_key(network, images, temperatures, seed)
    for place in (folder, SHIPPED):
        part = _read(place / file_name(key), key, len(images), len(temperatures) + 1)
        if part is not None:
            return part
    print(f"{name}: drawing {len(temperatures) + 1} t-SNE maps of {len(images)} images; then they are kept")
    part = make_maps(network, images, temperatures, seed, runtime)
    with suppress(OSError):  # a cache that cannot be written only costs time
        keep(folder, key, part)
    return part


def make_maps(
    network: Network, images: torch.Tensor, temperatures: Sequence[float], seed: int, runtime: Runtime | None
) -> dict[str, np.ndarray]:
    """Run one network and map what it makes: logits, points (not yet turned or scaled) and neighbours."""
    output = predict(network, images, runtime)
    spaces = [soften(output.logits.double(), t).sqrt().numpy() for t in temperatures]
    spaces.append(output.features.numpy())
    perplexity = min(PERPLEXITY, (len(images) - 1) / 3)
    return {
        "logits": output.logits.numpy(),
        "points": np.stack([embed(v, seed=seed, perplexity=perplexity) for v in spaces]),
        "neighbours": np.stack([nearest(v) for v in spaces]),
    }


def maps_key(network: Network, images: torch.Tensor, temperatures: Sequence[float], seed: int) -> str:
    """sha256 of all that the maps of a network depend on: its weights, the images and the settings."""
    pixels = np.ascontiguousarray(np.asarray(images.cpu()))
    settings = [LAYOUT, list(temperatures), seed, NEAREST, PERPLEXITY, str(pixels.dtype), list(pixels.shape)]
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(tensors_hash(network.state_dict(), network.spec).encode())
    digest.update(pixels)
    return digest.hexdigest()


def file_name(key: str) -> str:
    """The name of the file that holds the maps of this key."""
    return f"{key[:20]}.npz"


def keep(folder: Path, key: str, part: dict[str, np.ndarray]) -> Path:
    """Write the maps of a network whole or not at all. Raises OSError if that cannot be."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, key=np.array(key), **part)
    return write_atomically(folder / file_name(key), buffer.getvalue())


def _read(path: Path, key: str, images: int, spaces: int) -> dict[str, np.ndarray] | None:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            part = {name: kept[name] for name in ("logits", "points", "neighbours")}
    except Exception:  # missing or damaged in whatever way: it can be made anew
        return None
    logits, points, near = part.values()
    fits = (
        logits.ndim == 2
        and len(logits) == images
        and points.shape == (spaces, images, 2)
        and near.shape == (spaces, images, NEAREST)
        and [array.dtype for array in part.values()] == [np.float32, np.float32, np.int16]
        and np.isfinite(logits).all()
        and np.isfinite(points).all()
        and 0 <= near.min() <= near.max() < images
    )
    return part if fits else None
