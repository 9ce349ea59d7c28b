"""A small atlas explorer."""

from __future__ import annotations

import numpy as np
import torch

from sskd_lib.lab.atlas_data import Atlas
from sskd_lib.lab.explorers.atlas import explore_atlas

COUNT, CLASSES = 60, tuple(f"class {k}" for k in "ABCDEFGHIJ")
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)


def data(classes: int = 10, networks: int = 3) -> dict:
    """Images, labels and maps whose dots stand on a grid, shuffled for each map: none covers another."""
    generator = np.random.default_rng(0)
    spaces = len(TEMPERATURES) + 1
    grid = np.array([(x, y) for x in np.linspace(-0.9, 0.9, 10) for y in np.linspace(-0.9, 0.9, 6)])
    points = [[generator.permutation(grid) for _ in range(spaces)] for _ in range(networks)]
    near = [
        [
            [generator.permutation(np.delete(np.arange(COUNT), i))[:6] for i in range(COUNT)]
            for _ in range(spaces)
        ]
        for _ in range(networks)
    ]
    logits = generator.normal(0, 2, (COUNT, classes)) + generator.normal(0, 0.3, (networks, COUNT, classes))
    logits = logits.astype(np.float32)
    labels = logits[0].argmax(1)
    labels[::5] = (labels[::5] + 1) % classes
    names = ("teacher", "kd", "mine")[:networks]
    maps = Atlas(names, TEMPERATURES, logits, np.array(points, np.float32), np.array(near, np.int16))
    images = torch.as_tensor(generator.integers(0, 256, (COUNT, 1, 28, 28), dtype=np.uint8))
    return {"images": images, "maps": maps, "labels": labels, "classes": CLASSES[:classes]}


def explorer(**changes):
    given = data() | changes
    return explore_atlas(given.pop("images"), given.pop("maps"), **given)
