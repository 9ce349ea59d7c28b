"""A class that a student never saw: how much of it do soft targets show, for every class and several seeds?

    python benchmarks/missing_class.py          # trains what is not recorded; continues where it was stopped

The two students of notebook 00 (`lab.train_without_class`): 300 images of the embedded Fashion-MNIST without
one class, the short schedule. One learns from labels, the other from soft targets alone. Each row has the
percentage of the hidden class's test images that get its name when a bias gives it as many images as really
show it.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import tyro

from sskd_lib import lab
from sskd_lib.lab.demonstrations import MISSING_ROWS
from sskd_lib.lab.explorers.missing import name_with_bias


def main(seeds: tuple[int, ...] = (0, 1, 2), rows: Path = MISSING_ROWS) -> None:
    """Train the pairs of students that are not recorded, and append a row for each as it ends.

    Args:
        seeds: of images, first weights and order; each with every class.
        rows: the record.
    """
    lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    done = {(row["missing"], row["seed"]) for row in map(json.loads, lines)}
    kit = lab.start()
    labels, classes = kit.test.labels.numpy(), kit.test.classes
    for seed in seeds:
        for missing, name in enumerate(classes):
            if (name, seed) in done:
                continue
            row = {"missing": name, "seed": seed}
            for student, logits in lab.train_without_class(kit, missing, seed=seed).items():
                own = float((labels == missing).mean())
                row[student] = round(name_with_bias(logits.numpy(), labels, missing, own).missing_right, 2)
            row |= {"images": kit.test.name, "torch": torch.__version__}
            with open(rows, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
