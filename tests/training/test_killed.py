"""Every writer of the kit, killed at fifty random moments: the next process goes on, and nothing is lost.

A process makes one item after the other (a training with all its files, a teacher table, a folder of shards,
a group of recordings) until it is killed. The next one goes on with the same item.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.image_folders import shaded_folder
from helpers.killing import in_own_process
from helpers.training import metrics, networks, pictures, same, train
from sskd_lib.data import convert
from sskd_lib.data.folder import make_shards
from sskd_lib.files import read_tensors
from sskd_lib.lab.time_machine_data import read_npz
from sskd_lib.recipes import Schedule
from sskd_lib.training import teacher_cache
from sskd_lib.training.resume import RESUME_FILE, load_saved

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and a fork server")
KILLS = 50
SCHEDULE = Schedule(epochs=3, batch_size=4, lr=0.02)
LISTED = ("student.safetensors", RESUME_FILE, "metrics.jsonl", "summary.json")


def write_training(out: Path) -> None:
    """Weights, saved state, metrics and summary."""
    train("kd", pictures(8), pictures(8, seed=5), out=out, schedule=SCHEDULE)


def read_training(out: Path) -> dict:
    """What the files hold, of those that are there; without times."""
    content: dict = {name: None for name in LISTED}
    if (out / "student.safetensors").exists():
        content["student.safetensors"] = read_tensors(out / "student.safetensors")[0]
    if (out / RESUME_FILE).exists():
        saved = load_saved(out / RESUME_FILE)
        content[RESUME_FILE] = saved["network"] | {"epochs": torch.tensor(len(saved["history"]))}
    if (out / "metrics.jsonl").exists():
        content["metrics.jsonl"] = [record | {"seconds": 0} for record in metrics(out)]
    if (out / "summary.json").exists():
        content["summary.json"] = json.loads((out / "summary.json").read_text())["last"] | {"seconds": 0}
    return content


def write_table(out: Path) -> None:
    teacher_cache.DRAWS_PER_FORWARD, teacher_cache.SAVE_SECONDS = 8, 0
    teacher_cache.cache_teacher(networks(pictures(16))[1], pictures(16), out, draws=4, progress=False)


def write_shards(out: Path) -> None:
    """Of a folder of images beside the items."""
    convert.SAVE_EVERY = 4
    make_shards(out.parent / "images", out, side=16, progress=False)


def read_bytes(out: Path) -> dict:
    """Content of the visible files."""
    return {path.name: path.read_bytes() for path in sorted(out.glob("[!.]*"))} if out.exists() else {}


def write_recording(out: Path) -> None:
    """A group of two students: a part for each epoch, then one file of all."""
    import make_recordings as recordings

    small = {"SCHEDULES": {8: SCHEDULE}, "PERCENT": (0, 34, 67, 100), "DOTS": 2, "SHOWN": (0, 3)}
    for constant, value in (small | {"SAVE_SECONDS": 0.0}).items():
        setattr(recordings, constant, value)
    settings = [
        {"temperature": t, "tf_keep": 0.5, "ss_keep": 0.5, "labels": 8.0, "seed": 0.0} for t in (1.0, 4.0)
    ]
    group = recordings.Group(8, 0, settings, out)
    if not group.file.exists():
        group.train(networks(pictures(16))[1], pictures(16), pictures(16, seed=5))


def read_recording(out: Path) -> dict:
    """The arrays of the group's file, or else of its parts."""
    files = sorted(out.glob("*.npz")) or sorted(out.glob("*/*.npz"))
    return {f"{file.name} {name}": array for file in files for name, array in arrays_of(file).items()}


def arrays_of(file: Path) -> dict:
    return {name: array for name, array in read_npz(file).items() if name != "facts"}


WRITERS = {
    "training": (write_training, read_training),
    "table": (write_table, read_bytes),
    "shards": (write_shards, read_bytes),
    "recording": (write_recording, read_recording),
}


def work(name: str, folder: str) -> None:
    """Make items until killed, beginning with the first that is not finished."""
    torch.set_num_threads(1)
    sys.stdout = open("/dev/null", "w")  # noqa: SIM115 - for the life of this process
    (Path(folder) / "alive").touch()
    for number in itertools.count():
        out = Path(folder) / str(number)
        if not out.with_suffix(".done").exists():
            WRITERS[name][0](out)
            out.with_suffix(".done").touch()


def equal(one, other) -> bool:
    if isinstance(one, dict) and one and all(isinstance(value, torch.Tensor) for value in one.values()):
        return same(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return np.array_equal(one, other, equal_nan=True) if isinstance(one, np.ndarray) else one == other


@unix
@pytest.mark.kill
@pytest.mark.parametrize("name", WRITERS)
def test_killed_at_fifty_random_moments_nothing_is_lost(name, tmp_path):
    write, read = WRITERS[name]
    rng, midway = random.Random(name), 0
    if name == "shards":
        shaded_folder(tmp_path / "images")
    for _ in range(KILLS):
        (tmp_path / "alive").unlink(missing_ok=True)
        process = in_own_process(work, name, str(tmp_path))
        while not (tmp_path / "alive").exists():
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        interrupted = tmp_path / str(len(list(tmp_path.glob("*.done"))))
        read(interrupted)  # what is there is whole
        midway += interrupted.exists()
    if interrupted.exists():
        write(interrupted)
    assert midway >= 1
    items = [path for path in tmp_path.iterdir() if path.name.isdecimal()]
    whole = tmp_path / "whole"
    write(whole)
    expected = read(whole)
    for item in items:
        assert equal(read(item), expected), item
        assert not list(item.glob(".*.part"))
