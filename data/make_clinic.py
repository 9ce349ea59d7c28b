"""Record trainings with one mistake each, for the clinic of notebook 10.

    python data/make_clinic.py train            # goes on where it was cut off: one file per run
    python data/make_clinic.py pack             # data/recordings/fashion-mnist-clinic.npz and its card

A resnet8 student and the shipped wrn_16_2 teacher on 300 labelled images of the embedded pack, SSKD with the
short schedule. `clinic_faults.py` has the mistakes; one training is healthy. All runs of one seed have the
same labelled images, first weights, order and views. Everything runs on the CPU in float32.
After every second epoch the networks are measured on fixed images, see `Probe`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import tyro

import sskd_lib as sskd
from clinic_faults import FAULTS
from clinic_probe import Observed, Probe
from make_recordings import TEACHER, materials
from pack_recordings import save_recording
from sskd_lib.files import write_atomically
from sskd_lib.lab import time_machine_data
from sskd_lib.lab.time_machine_data import fresh_student
from sskd_lib.training.prepare import prepare
from sskd_lib.training.state import TrainOptions

DATA = Path(__file__).resolve().parent
PARTS = DATA.parent / "runs" / "clinic"
LABELS, SEEDS = 300, (0, 1, 2)
HISTORY = ("ce", "kd", "tf", "ss", "train_accuracy", "test_accuracy")  # of each epoch
PICTURES = ("matrices", "kept", "ranks", "views")  # of the first seed only


def train_group(
    names: Sequence[str], seed: int, schedule: sskd.Schedule = sskd.SHORT
) -> dict[str, dict[str, np.ndarray]]:
    """Train students with mistakes of one group, and return what was measured: mistake → name → array.

    Each ends as if it were trained alone; they share the teacher's forward passes.
    """
    teacher, pool, test = materials()
    clean, labelled = deepcopy(teacher).eval(), pool.take(LABELS, seed=seed)
    faults = [FAULTS[name] for name in names]
    students = [fresh_student(pool, seed) for _ in names]
    for fault, student in zip(faults, students, strict=True):
        fault.networks(student, teacher)
    methods = [Observed(fault) for fault in faults]
    options = TrainOptions(
        schedule=faults[0].schedule(schedule),
        seed=seed,
        runtime=dataclasses.replace(sskd.choose_runtime("cpu"), dtype=torch.float32),
        progress=False,
        evaluate_every=4,
    )
    training = prepare(
        students, teacher, labelled, test, methods=methods, options=options, out=[None] * len(names)
    )
    training.loader.framed = faults[0].frame(labelled.images, float(students[0].mean))
    probes = [Probe(method, labelled, test, clean, training.teacher, schedule.epochs) for method in methods]

    def watch(epoch: int, networks: list[sskd.Network]) -> None:
        for probe, network in zip(probes, networks, strict=True):
            probe.watch(epoch, network)

    runs = training.fit(watch)
    return {name: gather(probe, run) for name, probe, run in zip(names, probes, runs, strict=True)}


def gather(probe: Probe, run: sskd.Run) -> dict[str, np.ndarray]:
    """Return all arrays of one run, with its facts as JSON."""
    arrays = probe.arrays()
    for name in HISTORY:
        rows = [record.get(name, np.nan) for record in run.history]
        arrays[name] = np.array([np.nan, *rows], np.float32)
    card = run.summary["card"]
    facts = {name: card[name] for name in ("versions", "runtime", "date", "seconds")}
    facts["teacher_weights"] = card["plan"]["teacher_weights"]
    return arrays | {"facts": np.array(json.dumps(facts))}


def part_of(folder: Path, name: str, seed: int) -> Path:
    """Return the file of one run."""
    return folder / f"{name.replace(' ', '-')}-{seed}.npz"


def train(
    names: tuple[str, ...] = tuple(FAULTS), seeds: tuple[int, ...] = SEEDS, folder: Path = PARTS
) -> None:
    """Train the runs that are not recorded yet.

    Args:
        names: of the mistakes, and "healthy".
        seeds: one after the other, each with all mistakes.
        folder: of the runs' files.
    """
    for seed in seeds:
        todo = [name for name in names if not part_of(folder, name, seed).exists()]
        for group in dict.fromkeys(FAULTS[name].group for name in todo):
            together = [name for name in todo if FAULTS[name].group == group]
            started = time.time()
            for name, arrays in train_group(together, seed).items():
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(part_of(folder, name, seed), time_machine_data.npz_bytes(arrays))
                print(f"seed {seed}, {name}: {arrays['test_accuracy'][-1]:.2f} %", flush=True)
            print(f"{time.time() - started:.0f} s", flush=True)


def pack(folder: Path = PARTS, out: Path = time_machine_data.FOLDER) -> None:
    """Put the recorded runs into the file that the kit ships. Seeds that are not complete are left out.

    Args:
        folder: of the runs' files.
        out: of the packed file and its card.
    """
    seeds = sorted({int(file.stem.rpartition("-")[2]) for file in folder.glob("*.npz")})
    complete = [s for s in seeds if all(part_of(folder, name, s).exists() for name in FAULTS)]
    if not complete:
        raise ValueError(f"no seed is complete in {folder}. Train first: python data/make_clinic.py train.")
    runs = [[time_machine_data.read_npz(part_of(folder, n, s)) for s in complete] for n in FAULTS]
    arrays = {
        name: np.stack([seed_runs[0][name] for seed_runs in runs])
        if name in PICTURES
        else np.stack([np.stack([run[name] for run in seed_runs]) for seed_runs in runs])
        for name in runs[0][0]
        if name != "facts"
    }
    facts = [json.loads(str(run["facts"])) for seed_runs in runs for run in seed_runs]
    path = save_recording(out, "clinic", arrays, describe(complete, facts))
    print(f"{path}: {len(FAULTS)} x {len(complete)} runs, {path.stat().st_size:,} bytes")


def describe(seeds: list[int], facts: list[dict]) -> dict:
    """Return the card: what was run, how, on which machine, and when."""
    machines = [{name: run[name] for name in ("versions", "runtime", "date")} for run in facts]
    return {
        "name": "fashion-mnist-clinic",
        "made_by": ["python data/make_clinic.py train", "python data/make_clinic.py pack"],
        "faults": list(FAULTS),
        "seeds": seeds,
        "labels": LABELS,
        "all_else": "preset official-code, schedule short",
        "schedule": dataclasses.asdict(sskd.SHORT),
        "student": "resnet8, create_network(..., like=all training images, projection=True, seed=seed)",
        "teacher": TEACHER.relative_to(DATA).as_posix(),
        "teacher_weights": facts[0]["teacher_weights"],
        "labelled_images": f'load_images("fashion-mnist-lab").take({LABELS}, seed=seed)',
        "test": "the pack's 2,000 test images",
        "seconds": round(sum(run["seconds"] for run in facts)),
        "machines": [machine for i, machine in enumerate(machines) if machine not in machines[:i]],
        "note": "first axis: faults; second: seeds (pictures: the first seed alone); see clinic_probe.py",
    }


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict({"train": train, "pack": pack}, description=__doc__)
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
