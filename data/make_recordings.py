"""Record trainings, epoch by epoch, for the explorers that look back at them.

    python data/make_recordings.py --dry-run    # what is left, and about how many hours of one core
    python data/make_recordings.py              # goes on where it was cut off
    python data/pack_recordings.py              # data/recordings/*.npz, from what is complete

A resnet8 student and the shipped wrn_16_2 teacher on a few labelled images of the embedded pack, SSKD with
a short schedule. Two sets of runs, see `wanted`: "grid" changes the temperature and the share of wrong rows
kept in L_T or in L_ss, "mix" the four weights; all else is the preset "official-code". After every tenth of a
training the 2,000 test images are classified. Everything runs on the CPU in float32.
All students of one number of labels and one seed are trained together; each such group becomes one file in
runs/recordings. Widen the numbers below, and the runs that are missing are trained.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

import sskd_lib as sskd
from sskd_lib.files import write_atomically
from sskd_lib.lab import time_machine_data
from sskd_lib.lab.time_machine_data import Settings, recipe_of

DATA = Path(__file__).resolve().parent
PARTS = DATA.parent / "runs" / "recordings"
TEACHER = DATA / "weights" / "fashion-mnist" / "teacher_wrn_16_2.safetensors"
FEWER = dataclasses.replace(sskd.SHORT, epochs=54, batch_size=8)  # chosen by benchmarks/short_schedule.py
SCHEDULES = {100: FEWER, 300: sskd.SHORT}  # of each number of labels
PERCENT = tuple(range(0, 101, 10))  # of a training, when the test images are classified
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
BROAD, FINE = (0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of wrong rows kept
# labels: (seeds, temperatures, shares kept in L_T at each of them; at the usual one the FINE shares as well)
GRID = {
    300: ((0, 1, 2, 3, 4), TEMPERATURES, BROAD),
    100: ((0, 1, 2, 3, 4), TEMPERATURES, BROAD),
}
MIX_SEEDS = (0, 1, 2)
MIXED = 300  # labels of the mixes
WEIGHTS = {"ce": (0.0, 0.1), "kd": (0.0, 0.9), "tf": (0.0, 2.7), "ss": (0.0, 10.0)}
FURTHER = {"ss": (30.0, 100.0)}  # weights of one term, the others as in official-code
SAVE_SECONDS = 60.0
DOTS = 10  # test images of a class whose features are kept
# Test images whose outputs are kept: what `chosen_images` finds in bfloat16. Written down, for another number
# format settles close calls in another way.
SHOWN = (791, 624, 905, 489, 122, 1729, 263, 972, 1051, 690, 1059, 1902)


def materials() -> tuple[sskd.Network, sskd.ImageSet, sskd.ImageSet]:
    """(teacher, images that labels are drawn from, test images)."""
    train, test = (sskd.load_images("fashion-mnist-lab", split) for split in ("train", "test"))
    return sskd.load_checkpoint(TEACHER), train, test


def wanted(part: str, labels: int, seed: int) -> list[Settings]:
    """The runs of "grid" or "mix" with so many labelled images and one seed.

    grid: every temperature with every broad share of L_T; at the usual temperature the fine shares of L_T,
    and with all rows of L_T kept those of L_ss. mix: every term on or off, the presets, further weights.
    """
    if part == "grid":
        seeds, temperatures, broad = GRID[labels]
        usual = sskd.Recipe()
        points = [(t, tf, usual.ss_keep_wrong) for t, tf in itertools.product(temperatures, broad)]
        points += [(usual.tf_temperature, share, usual.ss_keep_wrong) for share in FINE]
        points += [(usual.tf_temperature, usual.tf_keep_wrong, share) for share in FINE]
        points = list(dict.fromkeys(points)) if seed in seeds else []
        names = ("temperature", "tf_keep", "ss_keep", "labels", "seed")
        return [dict(zip(names, (*point, labels, seed), strict=True)) for point in points]
    if labels != MIXED or seed not in MIX_SEEDS:
        return []
    mixes = [mix for mix in itertools.product(*WEIGHTS.values()) if any(mix)]
    presets = [tuple(getattr(preset, name) for name in WEIGHTS) for preset in sskd.PRESETS.values()]
    usual = dict(zip(WEIGHTS, presets[0], strict=True))
    further = [tuple((usual | {name: w}).values()) for name, weights in FURTHER.items() for w in weights]
    mixes = list(dict.fromkeys([*mixes, *presets, *further]))
    return [dict(zip(WEIGHTS, mix, strict=True)) | {"seed": seed} for mix in mixes]


def chosen_images(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Choose test images worth watching by the teacher's outputs. Returns int [12].

    Six it gets right by the smallest lead over the second class, three it gets wrong by the largest lead, and
    three it is surest of; each three or six of different classes.
    """
    probabilities = torch.from_numpy(logits).softmax(1)
    best = probabilities.topk(2, 1).values
    lead, right = (best[:, 0] - best[:, 1]).numpy(), logits.argmax(1) == labels
    chosen: list[int] = []
    for order, among, count in ((lead, right, 6), (-lead, ~right, 3), (-lead, right, 3)):
        classes: set[int] = set()
        for i in np.argsort(order, kind="stable"):
            if among[i] and i not in chosen and labels[i] not in classes and len(classes) < count:
                classes.add(labels[i])
                chosen.append(int(i))
    return np.array(chosen)


def dots(labels: np.ndarray) -> np.ndarray:
    """Choose the test images whose features are kept, the first 10 of each class. Returns int [100]."""
    return np.sort(np.concatenate([np.flatnonzero(labels == k)[:DOTS] for k in np.unique(labels)]))


class Group:
    """Students trained together: same teacher, labelled images, order of images and first weights."""

    def __init__(self, labels: int, seed: int, settings: list[Settings], folder: Path) -> None:
        self.labels, self.seed, self.settings = labels, seed, settings
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
        self.work = folder / f"labels-{labels}-seed-{seed}-{key}"
        self.file = self.work.with_suffix(".npz")
        self.schedule = SCHEDULES[labels]
        self.epochs = time_machine_data.measured_epochs(self.schedule.epochs, PERCENT)

    def train(self, teacher: sskd.Network, train: sskd.ImageSet, test: sskd.ImageSet) -> None:
        """Train the students, or go on where that was cut off, and write the group's file."""
        runtime = dataclasses.replace(sskd.choose_runtime("cpu"), dtype=torch.float32)
        started = time.time()
        truth = test.labels.numpy()

        def watch(epoch: int, students: list[sskd.Network]) -> None:
            file = self.work / f"epoch-{epoch:03}.npz"
            if epoch not in self.epochs or file.exists():
                return  # students that catch up after a kill have been measured here
            outputs = [sskd.predict(student, test, runtime) for student in students]
            logits = np.stack([output.logits.numpy() for output in outputs])
            features = np.stack([output.features.numpy()[dots(truth)] for output in outputs])
            arrays = {
                "accuracy": 100 * (logits.argmax(2) == truth).mean(1, dtype=np.float64),
                "outputs": logits[:, SHOWN],
                "features": features.astype(np.float16),
            }
            write_atomically(file, time_machine_data.npz_bytes(arrays))
            minutes = (time.time() - started) / 60
            print(f"{self.work.name}, epoch {epoch}, {minutes:.1f} minutes", flush=True)

        runs = sskd.distill(
            [time_machine_data.fresh_student(train, self.seed) for _ in self.settings],
            teacher,
            train.take(self.labels, seed=self.seed),
            recipe=[recipe_of(settings) for settings in self.settings],
            schedule=self.schedule,
            seed=self.seed,
            out=self.work,
            runtime=runtime,
            progress=False,
            save_seconds=SAVE_SECONDS,
            watch=watch,
        )
        self.write(runs)

    def write(self, runs: list[sskd.Run]) -> None:
        """Put the measured epochs together with the histories into one file; the working folder goes."""
        epochs = self.epochs.tolist()
        files = [self.work / f"epoch-{epoch:03}.npz" for epoch in epochs]
        measured = [time_machine_data.read_npz(file) for file in files]
        arrays = {name: np.stack([part[name] for part in measured], 1) for name in measured[0]}
        for term in time_machine_data.TERMS:
            rows = [[run.history[n - 1].get(term, np.nan) if n else np.nan for n in epochs] for run in runs]
            arrays[term] = np.array(rows, np.float32)
        card = runs[0].summary["card"]
        facts = {name: card[name] for name in ("versions", "runtime", "date")}
        facts |= {"settings": self.settings, "seconds": card["seconds"], "epochs": epochs}
        facts["plan"] = {name: card["plan"][name] for name in ("schedule", "teacher_weights", "method")}
        arrays["facts"] = np.array(json.dumps(facts))
        write_atomically(self.file, time_machine_data.npz_bytes(arrays))
        shutil.rmtree(self.work)


def complete_runs(folder: Path) -> list[tuple[Settings, Path, int]]:
    """Every recorded run: its settings, its group's file, its row there."""
    runs = []
    for file in sorted(folder.glob("labels-*.npz")):
        facts = json.loads(str(time_machine_data.read_npz(file)["facts"]))
        runs += [(settings, file, row) for row, settings in enumerate(facts["settings"])]
    return runs


def missing(
    labels: Sequence[int], seeds: Sequence[int], folder: Path, parts: Sequence[str] = ("grid", "mix")
) -> list[Group]:
    """The groups that are still to be trained, one seed after the other."""
    done = [settings for settings, *_ in complete_runs(folder)]
    groups = []
    for seed, count in itertools.product(seeds, labels):
        todo = [s for part in parts for s in wanted(part, count, seed) if s not in done]
        groups += [Group(count, seed, todo, folder)] if todo else []
    return groups


def train(
    labels: tuple[int, ...] = tuple(GRID),
    seeds: tuple[int, ...] = GRID[MIXED][0],
    parts: tuple[Literal["grid", "mix"], ...] = ("grid", "mix"),
    dry_run: bool = False,
    folder: Path = PARTS,
) -> None:
    """Train the runs that are not recorded yet.

    Args:
        labels: numbers of labelled images; two processes with different ones can share the work.
        seeds: one after the other, each with all these labels.
        parts: sets of runs; those of one number of labels and seed share their teacher's forward passes.
        dry_run: only say what is left, and about how long one core of 2023 takes.
        folder: of the groups' files.
    """
    hours = 0.0
    groups = missing(labels, seeds, folder, parts)
    for group in groups:
        seconds = len(group.settings) * group.labels * group.schedule.epochs * 0.0027
        hours += seconds / 3600
        print(f"{group.work.name}: {len(group.settings)} runs, about {seconds / 60:.0f} minutes", flush=True)
    print(f"{len(groups)} groups are left, about {hours:.1f} hours", flush=True)
    for group in () if dry_run else groups:
        group.train(*materials())


if __name__ == "__main__":
    try:
        tyro.cli(train, description=__doc__)
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
