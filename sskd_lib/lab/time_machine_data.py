"""Recorded trainings, epoch by epoch: data/make_recordings.py writes them, two explorers read them."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.images import ImageSet
from ..data.load import DATA_FOLDER
from ..models.network import Network
from ..recipes import PRESETS, Recipe, Schedule
from ..training.train import create_network

FOLDER = DATA_FOLDER / "recordings"
TERMS = ("ce", "kd", "tf", "ss")
TERM_NAMES = dict(zip(TERMS, ("L_ce", "L_kd", "L_T", "L_ss"), strict=True))
USUAL = {  # the settings of official-code, with which the others are compared
    "temperature": Recipe().tf_temperature,
    "tf_keep": Recipe().tf_keep_wrong,
    "ss_keep": Recipe().ss_keep_wrong,
}

Settings = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """N trainings that differ in a few settings, measured E times, from before the first epoch to the end.

    "grid": settings temperature, tf_keep, ss_keep, labels, seed; "mix": ce, kd, tf, ss, seed. Of P test
    images the outputs are recorded, and of Q others the places of their features in one plane for all runs.
    """

    settings: tuple[Settings, ...]  # N
    percent: np.ndarray  # int [E], of the training: 0 to 100
    schedules: dict[int, Schedule]  # of each number of labels
    accuracy: np.ndarray  # float32 [N, E], percent of all test images
    terms: dict[str, np.ndarray]  # float32 [N, E], unweighted means of an epoch; nan at 0 % and at weight 0
    outputs: np.ndarray  # float32 [N, E, P, K] logits
    features: np.ndarray  # float32 [N, E, Q, 2] places
    images: np.ndarray  # uint8 [P, C, H, W]
    labels: np.ndarray  # int [P]
    dots: np.ndarray  # int [Q], labels of the Q images
    teacher_outputs: np.ndarray  # float32 [P, K]
    teacher_features: np.ndarray  # float32 [Q, 2]
    teacher_accuracy: float
    classes: tuple[str, ...]
    card: dict[str, Any]

    def find(self, **settings: float) -> int:
        """Return the number of the run with these settings. Raises ValueError if none has them."""
        if settings in self.settings:
            return self.settings.index(settings)
        recorded = "; ".join(
            f"{name} {', '.join(f'{value:g}' for value in self.values(name))}" for name in self.settings[0]
        )
        wanted = ", ".join(f"{name}={value}" for name, value in settings.items())
        raise ValueError(
            f"no run with {wanted or 'no settings'} is recorded. Give every setting: {recorded}."
        )

    def epochs(self, labels: int) -> np.ndarray:
        """Return the epochs after which runs with so many labels were measured: int [E]."""
        return measured_epochs(self.schedules[labels].epochs, self.percent)

    def values(self, name: str) -> tuple[float, ...]:
        """Return a setting's values, the smallest first. Raises ValueError for another name."""
        if name not in self.settings[0]:
            raise ValueError(
                f"there is no setting {name!r}; the settings are: {', '.join(self.settings[0])}."
            )
        return tuple(sorted({settings[name] for settings in self.settings}))


def load_recording(name: str = "grid", folder: str | Path | None = None) -> Recording:
    """Read recorded trainings: "grid" or "mix" of data/recordings, or of another folder.

    Raises ValueError for another name or a damaged file, FileNotFoundError for a missing one.
    """
    if name not in ("grid", "mix"):
        raise ValueError(f"there is no recording {name!r}; the recordings are 'grid' and 'mix'.")
    path = Path(folder or FOLDER) / f"fashion-mnist-{name}.npz"
    repair = "Take it back with: git checkout -- data/recordings; or make it: see data/make_recordings.py."
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing. {repair}")
    content = path.read_bytes()
    try:
        card = json.loads(path.with_suffix(".json").read_bytes())
        expected = card["sha256"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the card {path.with_suffix('.json')} is damaged ({error!r}). {repair}") from error
    if (sha256 := hashlib.sha256(content).hexdigest()) != expected:
        raise ValueError(f"{path} is damaged: its sha256 is {sha256}, its card says {expected}. {repair}")
    return _unpack(read_npz(io.BytesIO(content)), card)


def _unpack(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Recording:
    """Make a recording of the arrays that `save_recording` wrote."""
    plain = ("accuracy", "images", "teacher_outputs", "teacher_features")
    whole = ("percent", "labels", "dots")
    return Recording(
        settings=tuple(dict(zip(card["settings"], row, strict=True)) for row in arrays["settings"].tolist()),
        terms=dict(zip(TERMS, arrays["terms"], strict=True)),
        outputs=arrays["outputs"].astype(np.float32),
        features=arrays["features"] * arrays["feature_scale"][:, :, None, None],
        teacher_accuracy=card["teacher_accuracy"],
        classes=tuple(card["classes"]),
        schedules={
            int(labels): Schedule(**numbers | {"milestones": tuple(numbers["milestones"])})
            for labels, numbers in card["schedules"].items()
        },
        card=card,
        **{key: arrays[key] for key in plain},
        **{key: arrays[key].astype(np.int64) for key in whole},
    )


def measured_epochs(epochs: int, percent: np.ndarray) -> np.ndarray:
    """Return the whole epochs that are nearest to these percentages of a training: int [E]."""
    return np.rint(epochs * np.asarray(percent) / 100).astype(int)


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Return arrays as the bytes of a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_npz(file: Path | io.BytesIO) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz; nothing in it is unpickled."""
    with np.load(file, allow_pickle=False) as pack:
        return dict(pack)


def recipe_of(settings: Settings) -> Recipe:
    """Return the recipe of a run: official-code with this temperature and these shares, or these weights.

    A mix with the weights of a preset has that preset's ratios of wrong rows too.
    """
    if "temperature" in settings:
        temperature = settings["temperature"]
        return Recipe(
            kd_temperature=temperature,
            tf_temperature=temperature,
            tf_keep_wrong=settings["tf_keep"],
            ss_keep_wrong=settings["ss_keep"],
        )
    weights = {name: settings[name] for name in TERMS}
    for preset in PRESETS.values():
        if all(getattr(preset, name) == weight for name, weight in weights.items()):
            return preset
    return Recipe(**weights)


def fresh_student(train: ImageSet, seed: int) -> Network:
    """Create the student of the recorded runs, before training. train: all images labels are drawn from."""
    return create_network("resnet8", like=train, projection=True, seed=seed)
