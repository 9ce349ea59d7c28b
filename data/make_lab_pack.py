"""Make data/fashion-mnist-lab.npz and its card from the four files of Fashion-MNIST.

    python data/make_lab_pack.py [FOLDER]

FOLDER holds the idx files; without it they are found or downloaded as `load_images("fashion-mnist")` does.
1,000 training and 200 test images of each class are drawn without replacement, with a fixed seed, and kept in
the order of the originals; train_index and test_index say which ones they are. The same files, numpy and zlib
give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from sskd_lib.data.archives import FASHION_CLASSES, FASHION_SHA256, read_fashion_mnist  # noqa: E402

SEED = 2006_07114  # the number of the paper on arXiv
PER_CLASS = {"train": 1000, "test": 200}
LIMIT = 6_000_000  # bytes


def balanced_choice(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Sorted indices (int32) of `per_class` images of each class."""
    random = np.random.RandomState(seed)  # its stream is the same in every version of numpy
    chosen = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in range(10)]
    return np.sort(np.concatenate(chosen)).astype(np.int32)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz with the strongest deflate and a fixed date, so that its bytes depend on the arrays alone."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # the same on every system
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, 9)


def main(folder: str | None = None) -> None:
    arrays: dict[str, np.ndarray] = {}
    for split, per_class in PER_CLASS.items():
        images, labels, _ = read_fashion_mnist(split, folder)
        index = balanced_choice(labels, per_class, SEED)
        arrays |= {
            f"{split}_images": images[index],
            f"{split}_labels": labels[index],
            f"{split}_index": index,
        }
    pack = FOLDER / "fashion-mnist-lab.npz"
    write_npz(pack, arrays)
    content = pack.read_bytes()
    if len(content) >= LIMIT:
        raise SystemExit(f"{pack.name} has {len(content)} bytes; the limit is {LIMIT}.")
    card = {
        "name": "fashion-mnist-lab",
        "file": pack.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "arrays": {name: f"{array.dtype.name} {list(array.shape)}" for name, array in arrays.items()},
        "classes": list(FASHION_CLASSES),
        "images_of_each_class": PER_CLASS,
        "source": "Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist, arXiv 1708.07747",
        "source_sha256_of_unpacked_files": FASHION_SHA256,
        "licence": "MIT, Copyright (c) 2017 Zalando SE; see LICENSE-fashion-mnist.txt",
        "made_by": "python data/make_lab_pack.py",
        "seed": SEED,
        "note": "train images are from the 60,000 for training, test images from the 10,000 for testing; "
        "train_index and test_index hold their positions there",
    }
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (FOLDER / "fashion-mnist-lab.json").write_text(text, encoding="utf-8")
    print(f"{pack}: {len(content)} bytes, sha256 {card['sha256']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
