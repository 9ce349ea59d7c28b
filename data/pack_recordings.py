"""Pack the runs of make_recordings.py into the two files that the kit ships, each with a card.

    python data/pack_recordings.py

Only what is complete is packed, at any time; the card says what is left out. Features become places in a
plane, the same one for all runs: that of the teacher's two principal axes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from scipy.linalg import orthogonal_procrustes

import make_recordings as make
import sskd_lib as sskd
from sskd_lib.files import write_atomically
from sskd_lib.lab import time_machine_data
from sskd_lib.lab.time_machine_data import Settings


def pack(folder: Path = make.PARTS, out: Path = time_machine_data.FOLDER) -> None:
    """Write the files that the kit ships, of what is complete.

    A number of labels and a seed are packed when all their runs are there.

    Args:
        folder: of the groups' files.
        out: of the packed files and their cards.
    """
    runs = make.complete_runs(folder)
    teacher, _, test = make.materials()
    teacher_output = sskd.predict(teacher, test)
    for part in ("grid", "mix"):
        chosen, left_out = complete(part, [settings for settings, *_ in runs])
        if not chosen:
            print(f"{part}: no seed is complete, so nothing is written")
            continue
        rows = [next(run for run in runs if run[0] == settings) for settings in chosen]
        arrays, facts = gather(rows, teacher_output, test)
        card = describe(part, chosen, left_out, facts) | {
            "teacher_accuracy": sskd.evaluate(teacher, test)["accuracy"],
            "classes": list(test.classes),
        }
        path = save_recording(out, part, arrays, card)
        print(f"{path}: {len(chosen)} runs, {path.stat().st_size:,} bytes")


def save_recording(folder: Path, name: str, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> Path:
    """Write a recording and, before it, its card; a reader between the two gets the error of damage."""
    path = Path(folder) / f"fashion-mnist-{name}.npz"
    content = time_machine_data.npz_bytes(arrays)
    shapes = {key: f"{array.dtype} {list(array.shape)}" for key, array in arrays.items()}
    card = card | {
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "arrays": shapes,
    }
    write_atomically(path.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    return write_atomically(path, content)


def rounded_places(places: np.ndarray) -> dict[str, np.ndarray]:
    """Round places float [N, E, Q, 2] to int16: 32,767 steps each way, with one scale per run and epoch."""
    scale = np.maximum(np.abs(places).max((2, 3)), 1e-9) / 32767
    return {
        "features": np.rint(places / scale[:, :, None, None]).astype(np.int16),
        "feature_scale": scale.astype(np.float32),
    }


def complete(part: str, done: list[Settings]) -> tuple[list[Settings], list[str]]:
    """The runs to be packed, and in words what is left out of those wanted."""
    chosen, left_out = [], []
    for labels, (seeds, *_) in sorted(make.GRID.items()):
        for seed in seeds:
            runs = make.wanted(part, labels, seed)
            if runs and all(settings in done for settings in runs):
                chosen += runs
            elif runs:
                left_out.append(f"{labels} labels, seed {seed}")
    return chosen, left_out


def gather(
    rows: list[tuple[Settings, Path, int]], teacher_output: sskd.Output, test: sskd.ImageSet
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """The arrays of some runs, as they are stored, and the facts of their groups."""
    groups = {file: time_machine_data.read_npz(file) for _, file, _ in rows}
    facts = [json.loads(str(group["facts"])) for group in groups.values()]
    check_plans(facts, [file.name for file in groups])
    truth = test.labels.numpy()
    shown, kept = list(make.SHOWN), make.dots(truth)
    teacher_features = principal_plane(teacher_output.features.numpy()[kept])
    columns = {
        name: np.stack([groups[file][name][row] for _, file, row in rows])
        for name in ("accuracy", "outputs", *time_machine_data.TERMS)
    }
    places = [in_plane(groups[file]["features"][row], teacher_features) for _, file, row in rows]
    arrays = {
        "settings": np.array([list(settings.values()) for settings, *_ in rows]),
        "percent": np.array(make.PERCENT),
        "accuracy": columns["accuracy"].astype(np.float32),
        "terms": np.stack([columns[term] for term in time_machine_data.TERMS]),
        "outputs": columns["outputs"].astype(np.float16),
        **rounded_places(np.stack(places)),
        "images": test.images.numpy()[shown],
        "labels": truth[shown],
        "dots": truth[kept],
        "teacher_outputs": teacher_output.logits.numpy()[shown],
        "teacher_features": teacher_features.astype(np.float32),
    }
    return arrays, facts


def check_plans(facts: list[dict], names: list[str]) -> None:
    """Raise ValueError unless all groups have one plan, with the schedule of their number of labels."""
    for group, name in zip(facts, names, strict=True):
        labels = int(name.split("-")[1])
        plan = facts[0]["plan"] | {"schedule": dataclasses.asdict(make.SCHEDULES[labels])}
        plan["schedule"]["milestones"] = list(plan["schedule"]["milestones"])
        epochs = time_machine_data.measured_epochs(make.SCHEDULES[labels].epochs, make.PERCENT).tolist()
        if group["plan"] != plan or group["epochs"] != epochs:
            raise ValueError(f"{name} was not trained by the plan of make_recordings.py. Move it away.")


def principal_plane(features: np.ndarray) -> np.ndarray:
    """Places on the first two principal axes. float [Q, D] → float64 [Q, 2]."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


def in_plane(features: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """One map of a run's features for all its epochs, laid over the teacher's. → float64 [E, Q, 2].

    Principal axes of the last epoch; then turned, mirrored and scaled by one factor so that the last epoch's
    places fall as near as they can on the teacher's (orthogonal Procrustes).
    features: float [E, Q, D]; teacher: float [Q, 2].
    """
    features = features.astype(np.float64)
    features = features - features[-1].mean(0)
    axes = np.linalg.svd(features[-1], full_matrices=False)[2][:2]
    places = features @ axes.T
    turn, fit = orthogonal_procrustes(places[-1], teacher)
    return places @ turn * (fit / max((places[-1] ** 2).sum(), 1e-12))


def describe(part: str, chosen: list[Settings], left_out: list[str], facts: list[dict]) -> dict:
    """The card of a packed file: what was run, how, on which machine, and when."""
    machines = [{name: group[name] for name in ("versions", "runtime", "date")} for group in facts]
    return {
        "name": f"fashion-mnist-{part}",
        "made_by": ["python data/make_recordings.py", "python data/pack_recordings.py"],
        "settings": list(chosen[0]),
        "values": {name: sorted({s[name] for s in chosen}) for name in chosen[0]},
        "runs": len(chosen),
        "left_out": left_out,
        "all_else": f"preset official-code; the mixes: {make.MIXED} labels, a preset's with its shares",
        "student": "resnet8, create_network(..., like=all training images, projection=True, seed=seed)",
        "teacher": make.TEACHER.relative_to(make.DATA).as_posix(),
        "labelled_images": 'load_images("fashion-mnist-lab").take(labels, seed=seed)',
        "test": "the pack's 2,000 test images",
        "plan": {name: value for name, value in facts[0]["plan"].items() if name != "schedule"},
        "schedules": {
            f"{labels:g}": dataclasses.asdict(make.SCHEDULES[int(labels)])
            for labels in sorted({one.get("labels", make.MIXED) for one in chosen})
        },
        "students_trained_together": [len(group["settings"]) for group in facts],
        "seconds": round(sum(group["seconds"] for group in facts)),
        "machines": [m for i, m in enumerate(machines) if m not in machines[:i]],
        "note": "a term of weight 0 is not computed: nan; features are places in a plane, see in_plane",
    }


if __name__ == "__main__":
    try:
        tyro.cli(pack, description=__doc__)
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
