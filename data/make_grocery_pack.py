"""Make data/grocery.npz and its card from the photographs of the Grocery Store Dataset.

    python data/make_grocery_pack.py SOURCE CLASSES

SOURCE is a folder, or a .tar.gz of it, with square photographs train/CLASS/*.jpg and test/CLASS/*.jpg.
CLASSES is a table (csv) with the columns fine and coarse.

Each photograph is reduced to 32 pixels a side by Pillow's LANCZOS filter. Its numbers, 0 to 255, are then
rounded to multiples of 5: else the pack would be too large, and JPEG of the same size loses more.
The order is random, with a fixed seed. All images of a split are stored as one lossless WebP picture.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from make_lab_pack import write_npz

FOLDER = Path(__file__).resolve().parent
SPLITS = ("train", "test")
SIDE, STEP, COLUMNS = 32, 5, 64  # pixels; grey levels; tiles in a row of a sheet
SEED = 2006_07114  # the number of the paper on arXiv
LIMIT = 8_000_000  # bytes
ORIGIN = {
    "source": "Grocery Store Dataset, https://github.com/marcusklasson/GroceryStoreDataset; Klasson, Zhang, "
    "Kjellström: A Hierarchical Grocery Store Image Dataset with Visual and Semantic Labels, WACV 2019, "
    "arXiv 1901.00711",
    "licence": "MIT, Copyright (c) 2019 Marcus Klasson; see LICENSE-grocery.txt",
    "split": "train: the dataset's sets train (2,640) and val (296); test: its test set, from other shops",
    "changes": "before this script: the middle square of each photograph, reduced to 64 pixels a side, "
    f"stored as JPEG; by this script: reduced to {SIDE} pixels by Pillow's LANCZOS filter, numbers (0..255) "
    f"rounded to multiples of {STEP}, in random order; names with spaces for hyphens",
    "stored_as": "all images of a split as one lossless WebP picture; sskd_lib/data/packs.py reads it",
}


def read_photographs(source: Path) -> dict[str, bytes]:
    """The files of a folder or a .tar.gz by their path, split/class/name, sorted."""
    if source.is_dir():
        files = {p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*.jpg")}
    else:
        with tarfile.open(source, "r:gz") as archive:
            files = {m.name: archive.extractfile(m).read() for m in archive if m.name.endswith(".jpg")}
    return dict(sorted(files.items()))


def reduced(photograph: bytes) -> np.ndarray:
    """A photograph with 32 pixels a side: uint8 [32, 32, 3]."""
    with Image.open(io.BytesIO(photograph)) as image:
        if image.width != image.height:
            raise SystemExit(f"a photograph has {image.width} x {image.height} pixels; each must be square.")
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def make_sheet(levels: np.ndarray) -> np.ndarray:
    """The bytes (uint8 [n]) of one lossless WebP picture of all images, levels uint8 [M, side, side, 3]."""
    rows = -(-len(levels) // COLUMNS)
    tiles = np.zeros((rows * COLUMNS, SIDE, SIDE, 3), np.uint8)
    tiles[: len(levels)] = levels
    sheet = tiles.reshape(rows, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
    content = io.BytesIO()
    picture = Image.fromarray(sheet.reshape(rows * SIDE, COLUMNS * SIDE, 3))
    picture.save(content, "WEBP", lossless=True, quality=100, method=6)
    return np.frombuffer(content.getvalue(), np.uint8)


def source_sha256(photographs: dict[str, bytes]) -> str:
    """Hash of all paths and files."""
    digest = hashlib.sha256()
    for path, content in photographs.items():
        digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def make_arrays(photographs: dict[str, bytes], names: list[str]) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of the pack, and what the rounding cost and saved."""
    random = np.random.RandomState(SEED)  # its stream is the same in every version of numpy
    arrays: dict[str, np.ndarray] = {}
    changed, exact_bytes = [], 0
    for split in SPLITS:
        paths = [path for path in photographs if path.startswith(f"{split}/")]
        paths = [paths[row] for row in random.permutation(len(paths))]
        pixels = np.stack([reduced(photographs[path]) for path in paths])
        levels = ((pixels.astype(int) + STEP // 2) // STEP).astype(np.uint8)
        changed.append((levels.astype(int) * STEP - pixels).ravel())
        exact_bytes += len(make_sheet(pixels))
        labels = np.array([names.index(path.split("/")[1]) for path in paths], np.uint8)
        arrays |= {f"{split}_sheet": make_sheet(levels), f"{split}_labels": labels}
    change = np.concatenate(changed)
    return arrays, {
        "mean_change_of_a_number": round(float(np.abs(change).mean()), 2),
        "largest_change_of_a_number": int(np.abs(change).max()),
        "psnr_db": round(float(10 * np.log10(255**2 / np.square(change).mean())), 1),
        "bytes_of_the_images_without_it": exact_bytes,
    }


def main(source: tyro.conf.Positional[Path], classes: tyro.conf.Positional[Path], /) -> None:
    """Make the pack and its card."""
    with open(classes, encoding="utf-8", newline="") as file:
        table = {row["fine"]: row["coarse"] for row in csv.DictReader(file)}
    photographs = read_photographs(source)
    arrays, rounding = make_arrays(photographs, list(table))
    pack = FOLDER / "grocery.npz"
    write_npz(pack, arrays)
    content = pack.read_bytes()
    if len(content) > LIMIT:
        raise SystemExit(f"{pack.name} has {len(content)} bytes; the limit is {LIMIT}.")
    counts = {split: np.bincount(arrays[f"{split}_labels"], minlength=len(table)) for split in SPLITS}
    card = {
        "name": "grocery",
        "file": pack.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "arrays": {name: f"{array.dtype.name} {list(array.shape)}" for name, array in arrays.items()},
        "sheet": {"side": SIDE, "step": STEP},
        "images": {split: int(count.sum()) for split, count in counts.items()},
        "fewest_and_most_of_a_class": {s: f"{count.min()} to {count.max()}" for s, count in counts.items()},
        "classes": [name.replace("-", " ") for name in table],
        "coarse": [name.replace("-", " ") for name in table.values()],
        **ORIGIN,
        "source_sha256_of_paths_and_files": source_sha256(photographs),
        "rounding": rounding,
        "made_by": "python data/make_grocery_pack.py SOURCE CLASSES",
        "seed": SEED,
    }
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (FOLDER / "grocery.json").write_text(text, encoding="utf-8")
    print(f"{pack}: {len(content)} bytes, sha256 {card['sha256']}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
