"""Data of the atlas explorer: t-SNE maps of networks' outputs and features, and neighbours of each image.

A t-SNE map costs seconds, so a network's maps are cached in the user's cache folder, by its weights, the
images and the settings. Those of the shipped networks are in data/atlas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..data.load import DATA_FOLDER
from ..evaluation import predict
from ..files import cache_folder, tensors_hash
from ..losses import soften
from ..models.network import Network
from ..runtime.device import Runtime
from .time_machine_data import read_npz
from .tsne import align, cache, embed

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
NEAREST = 6  # neighbours of each image
PERPLEXITY = 12  # keeps as many neighbours as 30 does with 400 images, and its groups are less dense
FEWEST, MOST = 20, 1000  # images: a map of fewer says nothing, one of more takes minutes and shows blots
SHIPPED = DATA_FOLDER / "atlas"
LAYOUT = "atlas 1"  # part of every key


class Atlas(NamedTuple):
    """N networks on the same M images, each mapped in S spaces: one per temperature, then the features."""

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
    """Map networks' softened outputs at each temperature, and their features, by t-SNE.

    Outputs p are mapped as √p, so that the distance is Hellinger's, and ‖√p - √q‖² ≈ KL(p ‖ q) / 2 for
    near ones: near on the map is near in the sense of the distillation loss. Features are mapped as they
    are. Each map is turned and mirrored onto the first network's map of features, and scaled to fit its
    frame. Neighbours are the nearest by plain distance in the mapped space, not on the map.

    networks: name → network, all of the same K classes; images: uint8 [M, C, H, W], M from 20 to 1,000;
    folder: of the cache, else in the user's cache folder; damaged maps are computed again.
    Raises ValueError for no networks, other images or numbers of them, temperatures that are not above 0 and
    finite, or networks whose classes differ or whose outputs cannot be mapped.
    """
    temperatures = tuple(float(t) for t in temperatures)
    _check(networks, images, temperatures)
    memory = cache(cache_folder() / "atlas" if folder is None else folder)
    settings = temperatures, seed
    parts = [_network_maps(name, n, images, settings, runtime, memory) for name, n in networks.items()]
    classes = {name: part["logits"].shape[1] for name, part in zip(networks, parts, strict=True)}
    if len(set(classes.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in classes.items())
        raise ValueError(f"networks in one atlas have the same classes, but these have: {counts}.")
    first = parts[0]["points"][-1]
    points = [[_framed(align(first, flat), first) for flat in part["points"]] for part in parts]
    stacked = [np.stack([part[name] for part in parts]) for name in ("logits", "neighbours")]
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
    """Move the middle of a map to 0 and scale it to within -1 and 1."""
    centred = flat - first.mean(0)
    return centred / np.abs(centred).max()


def nearest(vectors: np.ndarray, count: int = NEAREST) -> np.ndarray:
    """Return the nearest others of each vector, by Euclidean distance: float [M, D] → int16 [M, count].

    Nearest first; of equally near ones the lower number comes first.
    """
    v = np.asarray(vectors, dtype=np.float64)
    squared = np.stack([((v - row) ** 2).sum(1) for row in v])
    np.fill_diagonal(squared, np.inf)
    return squared.argsort(axis=1, kind="stable")[:, :count].astype(np.int16)


def shared_neighbours(near: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mark those neighbours of each image that are also among as many nearest on the map.

    near: int [M, n]; points: float [M, 2]. Returns bool [M, n].
    """
    on_map = nearest(points, near.shape[1])
    return (near[:, :, None] == on_map[:, None, :]).any(2)


def _network_maps(
    name: str, network: Network, images: torch.Tensor, settings: tuple, runtime: Any, memory: Any
) -> dict[str, np.ndarray]:
    """Return the shipped maps of a network, else the cached ones, else compute and cache them."""
    key = maps_key(network, images, *settings)
    shipped = SHIPPED / f"{key[:20]}.npz"
    if shipped.is_file():
        try:
            return read_npz(shipped)
        except Exception as error:  # damaged in whatever way
            raise ValueError(
                f"{shipped} is damaged ({error!r}). Take it back with: git checkout -- data/atlas."
            ) from error
    cached = memory.cache(_keyed_maps, ignore=["network", "images", "settings", "runtime"])
    given = key, network, images, settings, runtime
    if not cached.check_call_in_cache(*given):
        count = len(settings[0]) + 1
        print(f"{name}: drawing {count} t-SNE maps of {len(images)} images; then they are kept")
    return cached(*given)


def _keyed_maps(key: str, network: Network, images: torch.Tensor, settings: tuple, runtime: Any) -> dict:
    """Compute the maps of a network; `key` alone names them in the cache."""
    return make_maps(network, images, *settings, runtime)


def make_maps(
    network: Network, images: torch.Tensor, temperatures: Sequence[float], seed: int, runtime: Runtime | None
) -> dict[str, np.ndarray]:
    """Run one network and map its outputs: logits, points (not yet turned or scaled) and neighbours."""
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
    """Return the sha256 of all that a network's maps depend on: its weights, the images, the settings."""
    pixels = np.ascontiguousarray(np.asarray(images.cpu()))
    settings = [LAYOUT, list(temperatures), seed, NEAREST, PERPLEXITY, str(pixels.dtype), list(pixels.shape)]
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(tensors_hash(network.state_dict(), network.spec).encode())
    digest.update(pixels)
    return digest.hexdigest()
