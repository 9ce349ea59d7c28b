"""Draw the t-SNE maps that the kit ships: Fashion-MNIST teacher, KD and SSKD students, 400 test images.

    python data/make_atlas.py

Writes data/atlas/, one file a network, under the name that `lab.atlas_maps` looks for, and a card. It takes
about half a minute. Another machine or version may draw other maps, as good as these.
"""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np

import sskd_lib as sskd
from sskd_lib.files import write_atomically
from sskd_lib.lab import atlas_data as maps
from sskd_lib.lab.shipped import TEACHER, student_file, weights_folder
from sskd_lib.lab.time_machine_data import npz_bytes

DATASET, IMAGES, SEED = "fashion-mnist-lab", 400, 0
FILES = {"teacher": TEACHER, "kd": student_file("kd"), "sskd": student_file("sskd")}


def main() -> None:
    """Draw all maps again and write them with their card."""
    runtime = sskd.Runtime()  # plain float32 on the CPU
    images = sskd.load_images(DATASET, "test").take(IMAGES, seed=SEED).images
    card = {
        "command": "python data/make_atlas.py",
        "images": f"{DATASET}, test, take({IMAGES}, seed={SEED})",
        "settings": {
            "temperatures": maps.TEMPERATURES,
            "perplexity": maps.PERPLEXITY,
            "start": "pca",
            "iterations": 1000,
            "seed": SEED,
        },
        "machine": runtime.describe()["device_name"],
        "versions": {name: version(name) for name in ("torch", "numpy", "scikit-learn")},
        "files": {},
    }
    for name, file in FILES.items():
        network = sskd.load_checkpoint(weights_folder(DATASET) / file)
        key = maps.maps_key(network, images, maps.TEMPERATURES, SEED)
        part = maps.make_maps(network, images, maps.TEMPERATURES, SEED, runtime)
        content = npz_bytes({"key": np.array(key), **part})
        path = write_atomically(maps.SHIPPED / f"{key[:20]}.npz", content)
        card["files"][path.name] = {"network": name, "weights": file, "key": key}
        print(f"{name}: {path.name}, {path.stat().st_size:,} bytes")
    text = json.dumps(card, indent=2) + "\n"
    write_atomically(maps.SHIPPED / "card.json", text.encode())
    for path in maps.SHIPPED.glob("*.npz"):
        if path.name not in card["files"]:  # of weights that are no longer shipped
            path.unlink()


if __name__ == "__main__":
    main()
