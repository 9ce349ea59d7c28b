"""The recorded runs of the clinic: data/make_clinic.py writes them."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...files import did_you_mean
from ..time_machine_data import FOLDER, read_npz

FILE = FOLDER / "fashion-mnist-clinic.npz"
HEALTHY = "healthy"
KEY = "clinic 130"  # shuffles the patients
TERMS = ("ce", "kd", "tf", "ss")  # the order of the last axis of gradients and first_steps


@dataclass(frozen=True, kw_only=True)
class Record:
    """The runs of one mistake, or the healthy ones, measured after E of N epochs, with S seeds.

    arrays: name → array, whose first axis is the seed; the pictures (matrices, kept, ranks, views) are those
    of the first seed and have no such axis.
    """

    fault: str
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array by its name."""
        return self.arrays[name]

    @property
    def epochs(self) -> np.ndarray:
        """The epochs after which networks were measured: int [E]."""
        return self.arrays["epochs"][0].astype(int)

    def last_accuracy(self) -> np.ndarray:
        """Return the test accuracy after the last epoch, in percent: float [S]."""
        return self.arrays["test_accuracy"][:, -1].astype(np.float64)


@functools.cache
def load_clinic() -> tuple[dict[str, Record], dict[str, Any]]:
    """Read the recorded runs: mistake → record, and their card.

    Raises FileNotFoundError for a missing file, ValueError for a damaged one.
    """
    repair = "Take it back with: git checkout -- data/recordings; or make it: see data/make_clinic.py."
    for file in (FILE, FILE.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing. {repair}")
    content, card = FILE.read_bytes(), json.loads(FILE.with_suffix(".json").read_bytes())
    if (sha256 := hashlib.sha256(content).hexdigest()) != card["sha256"]:
        raise ValueError(
            f"{FILE} is damaged: its sha256 is {sha256}, its card says {card['sha256']}. {repair}"
        )
    arrays = read_npz(io.BytesIO(content))
    records = {
        fault: Record(fault=fault, arrays={name: array[row] for name, array in arrays.items()})
        for row, fault in enumerate(card["faults"])
    }
    return records, card


def healthy() -> Record:
    """Return the runs without a mistake."""
    return load_clinic()[0][HEALTHY]


def diagnoses() -> tuple[str, ...]:
    """Return the names of the mistakes, in the order of the card."""
    return tuple(name for name in load_clinic()[0] if name != HEALTHY)


@functools.cache
def patients() -> dict[str, Record]:
    """Return the patients by name, "patient 1" and so on, in an order that a fixed key shuffles."""
    records = load_clinic()[0]
    shuffled = sorted(diagnoses(), key=lambda name: hashlib.sha256(f"{KEY} {name}".encode()).hexdigest())
    return {f"patient {number}": records[name] for number, name in enumerate(shuffled, start=1)}


def find_patient(name: object) -> Record:
    """Return a patient's record. Raises ValueError for another name."""
    known = patients()
    if name not in known:
        hint = did_you_mean(name, known) if isinstance(name, str) else ""
        raise ValueError(f"there is no {name!r} in the clinic.{hint} Its patients are: {', '.join(known)}.")
    return known[str(name)]
