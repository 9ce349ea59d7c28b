"""How fast are large images converted, and read at random from disk: this version against an earlier one.

    git worktree add /tmp/before 399c3c5
    python benchmarks/streaming.py --before /tmp/before --out benchmarks/results/streaming_cpu.json

3,000 photograph-like JPEG files of 500 x 375 pixels are converted to squares (`make_shards`). Then every
training image is read, in random batches, as a training reads them, by one thread. cold: the file is not
in the memory of the system; warm: it is. Each figure is of a process of its own, and the versions take turns.
--before is the root of a checkout of the version to compare with. Without it this version alone is timed.
399c3c5 is the last one that wrote many small files. TMPDIR chooses the disk.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

TRAIN = 2500  # of 3,000 images; the others are for the test
PASSES = 5  # over the images in one process, which gives their median
CONVERSIONS = 3  # in all; each takes half a minute


def make_photographs(folder: Path, count: int) -> None:
    """Write smooth noise with some detail, about 40 kB each, in ten classes below train/ and val/."""
    for number in range(count):
        rng = np.random.default_rng(number)
        layers = [
            Image.fromarray(rng.integers(0, 256, (size, size * 4 // 3, 3), np.uint8)).resize((500, 375))
            for size in (12, 94)
        ]
        place = folder / ("train" if number < count * TRAIN // 3000 else "val") / f"class {number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.blend(*layers, 0.2).save(place / f"{number}.jpg", quality=85)


def convert(folder: Path, out: Path, side: int) -> None:
    """Convert the folder, and print images per second. Runs in a process of its own, with either version."""
    import sskd_lib

    start = time.perf_counter()
    sskd_lib.make_shards(folder, out, side=side, progress=False)
    count = sum(1 for _ in folder.rglob("*.jpg"))
    print(count / (time.perf_counter() - start))


def read(out: Path, batch: int, warm: bool) -> None:
    """Read every training image some times, and print images per second. Runs in a process of its own."""
    torch.set_num_threads(1)  # the others are for the training
    print(statistics.median(read_once(out, batch, seed, warm) for seed in range(PASSES)))


def read_once(out: Path, batch: int, seed: int, warm: bool) -> float:
    """Return images per second of one pass over the training images in random order."""
    import sskd_lib

    for path in out.glob("*.npy"):
        if warm:
            path.read_bytes()
        else:
            forget(path)
    images = sskd_lib.load_images(f"shards:{out}").images
    is_tensor = isinstance(images, torch.Tensor)  # it was none in the earlier version
    take = partial(images.index_select, 0) if is_tensor else images.__getitem__
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    start = time.perf_counter()
    for rows in order.split(batch):
        take(rows)
    return len(images) / (time.perf_counter() - start)


def forget(path: Path) -> None:
    """Have the system drop a file from its memory."""
    gc.collect()
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def worker(root: Path, *arguments: object) -> float:
    """Return the figure that a new process prints, with the library of the checkout at `root`."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root)})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout)


def main(
    before: Path | None = None,
    images: int = 3000,
    side: int = 256,
    batch: int = 64,
    rounds: int = 5,
    name: str = "",
    out: Path | None = None,
) -> None:
    """Time conversion and random reading.

    Args:
        before: root of a checkout of the version to compare with.
        images: JPEG files; five of six are for training.
        side: pixels of the squares that they become.
        rounds: 5 or more for a record.
        name: what the record calls the machine.
        out: JSON file for the record.
    """
    from timing import over, start_record, summarise_table, warn_if_wide, write_record

    settings = {"images": images, "side": side, "batch": batch, "rounds": rounds}
    record = start_record(name, torch.device("cpu"), settings)
    versions = {"now": Path(__file__).resolve().parents[1]} | ({"before": before} if before else {})
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photographs"
        make_photographs(folder, images)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for version, root in list(versions.items())[:: -1 if number % 2 else 1]:
                target, figures = Path(place) / f"{version} {min(number, CONVERSIONS - 1)}", {}
                if number < CONVERSIONS:
                    figures["converted"] = worker(root, "convert", folder, target, side)
                figures["read, cold"] = worker(root, "read", target, batch, "cold")
                figures["read, warm"] = worker(root, "read", target, batch, "warm")
                for what, figure in figures.items():
                    speeds.setdefault(f"{what}, {version}", []).append(figure)
    tables = {"images a second": speeds}
    if before:
        tables["now over before, round by round"] = {
            what: over(speeds[f"{what}, now"], speeds[f"{what}, before"])
            for what in ("converted", "read, cold", "read, warm")
        }
    for title, table in tables.items():
        record[title] = summarise_table(title, table)
    record["warning"] = warn_if_wide(speeds)
    write_record(out, record)


if __name__ == "__main__":
    if sys.argv[1:2] == ["convert"]:
        convert(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["read"]:
        read(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "warm")
    else:
        tyro.cli(main, description=__doc__.partition("\n")[0])
