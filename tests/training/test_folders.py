"""No network trains twice by accident; no files of others are overwritten; one process writes; it fits."""

from __future__ import annotations

import copy
import multiprocessing
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.killing import in_own_process
from helpers.training import SETTINGS, Stop, metrics, networks, pictures, same, state, train
from sskd_lib.files import CheckpointError, locked, read_tensors
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill, train_head, train_teacher
from sskd_lib.training.estimate import estimate
from sskd_lib.training.loader import ViewLoader
from sskd_lib.training.resume import RESUME_FILE, load_saved

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and a fork server")
AGAIN = "has been trained before, to the end or until it was stopped.*create_network.*trained_from = None"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- trained again -------------------------------------------------------------------------------


def test_a_trained_student_is_not_trained_again_by_accident():
    """A notebook's cell run twice; a run that was cut; a copy of the trained network."""
    data = pictures(24)
    student, teacher = networks(data)
    distill(student, teacher, data, **SETTINGS)
    before = state(student)
    for again in (student, copy.deepcopy(student)):
        for method in ("sskd", "ce"):
            with pytest.raises(ValueError, match=f"this student {AGAIN}"):
                distill(again, teacher, data, method=method, **SETTINGS)
        assert not again.training and same(state(again), before)
    with pytest.raises(ValueError, match=f"this network {AGAIN}"):
        train_teacher(student, data, **SETTINGS)
    assert estimate([student], teacher, data, progress=False).steps == 1  # on copies, whatever their weights


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_cut_run_does_not_go_on_from_spoilt_weights(error, monkeypatch):
    data = pictures(24)
    student, teacher = networks(data)
    for batch in (1, 2):  # before the first step, and after it
        with monkeypatch.context() as patch:
            Stop(patch, batch=batch, error=error)
            with pytest.raises(error):
                distill(student, teacher, data, **SETTINGS)
    with pytest.raises(ValueError, match=f"this student {AGAIN}"):
        distill(student, teacher, data, **SETTINGS)


def test_the_same_call_with_the_same_network_goes_on_in_its_folder(tmp_path, monkeypatch):
    data = pictures(24)
    student, teacher = networks(data)
    call = {"out": tmp_path, "save_seconds": 3600}  # so only the first state and the last are saved
    for batch in (2, 5):
        with monkeypatch.context() as patch:
            Stop(patch, batch=batch)
            with pytest.raises(KeyboardInterrupt):
                distill(student, teacher, data, **SETTINGS | call)
    ended = state(distill(student, teacher, data, **SETTINGS | call).network)
    assert same(ended, state(train("sskd", data).network))
    again = distill(student, teacher, data, **SETTINGS | call)
    assert same(state(again.network), ended) and len(metrics(tmp_path)) == 3
    with pytest.raises(CheckpointError, match=r"another run; what differs: seed \(0 there, 1 wanted\)\."):
        distill(student, teacher, data, **SETTINGS | call | {"seed": 1})
    with pytest.raises(ValueError, match=AGAIN):
        distill(student, teacher, data, **SETTINGS | {"out": tmp_path / "other"})
    assert not (tmp_path / "other").exists()


def test_on_purpose_training_goes_on_from_trained_weights(tmp_path):
    data = pictures(24)
    student, _ = networks(data)
    distill(student, None, data, method="ce", out=tmp_path / "1", **SETTINGS)
    loaded = load_checkpoint(tmp_path / "1" / "student.safetensors")
    student.trained_from = None
    for network, out in ((student, None), (loaded, tmp_path / "2")):
        distill(network, None, data, method="ce", out=out, **SETTINGS)
    assert same(state(student), state(loaded))


def test_the_stages_of_a_teacher_and_a_student_that_becomes_one(tmp_path):
    data = pictures(24)
    network, _ = networks(data)
    folders = {"teacher": tmp_path / "teacher", "head": tmp_path / "head"}
    for _ in range(2):  # a notebook that is run twice from its second cell on
        train_teacher(network, data, out=folders["teacher"], **SETTINGS)
        assert not network.head_trained
        train_head(network, data, out=folders["head"], **SETTINGS)
    assert same(state(network), state(load_checkpoint(folders["head"] / "teacher.safetensors")))
    with pytest.raises(ValueError, match="the head of this teacher has been trained before.*load_checkpoint"):
        train_head(network, data, **SETTINGS)
    train_head(network, data, task="rotation", **SETTINGS)  # a fresh head
    student, teacher = networks(data)
    distill(student, teacher, data, **SETTINGS)
    train_head(student, data, **SETTINGS)
    distill(create_network("resnet8", data, projection=True), student, data, **SETTINGS)


# ---- files of others -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["student.safetensors", "metrics.jsonl", "summary.json"])
@pytest.mark.parametrize("kind", ["sskd", "teacher", "head"])
def test_files_without_a_saved_state_are_not_overwritten(kind, name, tmp_path):
    name = name if kind == "sskd" else name.replace("student", "teacher")
    (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=rf"has {name}, but no resume.pt.*Nothing was changed.*another"):
        train(kind, pictures(16), out=tmp_path)
    assert content(tmp_path) == before
    (tmp_path / name).unlink()
    train(kind, pictures(16), out=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine too"


def test_one_folder_of_several_with_files_of_others_stops_them_all(tmp_path):
    data = pictures(16)
    pair = [create_network("resnet8", data, seed=seed) for seed in (0, 1)]
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "summary.json").write_text("{}")
    with pytest.raises(CheckpointError, match="summary.json, but no resume.pt"):
        distill(pair, None, data, method="ce", out=tmp_path, **SETTINGS)
    assert not (tmp_path / "1").exists() and list(content(tmp_path / "2")) == ["summary.json"]


# ---- two processes -------------------------------------------------------------------------------


def train_here(out: str, seed: int, epochs: int = 3) -> None:
    """One short training, by the public function."""
    torch.set_num_threads(1)
    data = pictures(8)
    schedule = Schedule(epochs=epochs, batch_size=8)
    settings = SETTINGS | {"schedule": schedule, "seed": seed, "save_seconds": 0}
    distill(create_network("resnet8", data, seed=seed), None, data, method="ce", out=out, **settings)


def train_against_another(folder: str, seed: int, rounds: int, start) -> None:
    """What one of two processes does: both begin each round at one moment, and note how it ended."""
    for number in range(rounds):
        text = f"{os.getpid()}\n"
        start.wait()
        try:
            train_here(f"{folder}/{number}", seed)
        except (OSError, CheckpointError) as error:
            text += f"{type(error).__name__}: {error}"
        Path(f"{folder}/{number}-{seed}.txt").write_text(text)


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    train("ce", pictures(16), out=tmp_path)
    before = content(tmp_path)
    with locked(tmp_path / ".lock"):
        message = rf"{tmp_path} is in use by process {os.getpid()} on .* since \d{{4}}-.*; wait .* or choose"
        for changes in ({}, {"seed": 1}):
            with pytest.raises(OSError, match=message):
                train("ce", pictures(16), out=tmp_path, **changes)
    assert content(tmp_path) == before


@unix
@pytest.mark.kill
def test_two_processes_on_one_folder_a_hundred_times(tmp_path):
    """One trains, the other is refused; whichever that is, all files are of one run, from start to end."""
    start = multiprocessing.get_context("forkserver").Barrier(2)
    pair = [in_own_process(train_against_another, str(tmp_path), seed, 100, start) for seed in (0, 1)]
    for process in pair:
        process.join()
        assert process.exitcode == 0
    in_use = 0
    for number in range(100):
        notes = [(tmp_path / f"{number}-{seed}.txt").read_text().split("\n", 1) for seed in (0, 1)]
        winner = [error for _, error in notes].index("")
        error = notes[1 - winner][1]
        if f"is in use by process {notes[winner][0]} on " in error:
            in_use += 1
        else:  # the one had ended before the other began
            assert "holds another run; what differs: initial_weights, seed" in error
        check_whole(tmp_path / str(number), seed=winner, epochs=3)
    assert in_use > 0


@unix
@pytest.mark.kill
def test_the_lock_of_a_killed_process_does_not_block(tmp_path):
    out = tmp_path / "run"
    process = in_own_process(train_here, str(out), 0, 100_000)
    while not (out / RESUME_FILE).exists() or not load_saved(out / RESUME_FILE)["history"]:
        assert process.is_alive()
    with pytest.raises(OSError, match=f"in use by process {process.pid} on"):
        train("ce", pictures(8), out=out)
    process.kill()
    process.join()
    with pytest.raises(CheckpointError, match="another run"):  # it gets as far as the files
        train("ce", pictures(8), out=out)


def check_whole(out: Path, seed: int, epochs: int) -> None:
    """All files of a folder are of the finished run with this seed."""
    saved = load_saved(out / RESUME_FILE)
    weights, card = read_tensors(out / "student.safetensors")
    assert saved["plan"]["seed"] == card["plan"]["seed"] == seed
    assert same(saved["network"], weights)
    assert saved["history"] == metrics(out) and len(metrics(out)) == epochs
    assert {path.name for path in out.iterdir() if path.name != ".lock"} == {
        RESUME_FILE,
        "student.safetensors",
        "metrics.jsonl",
        "summary.json",
    }


# ---- a full disk ---------------------------------------------------------------------------------


def test_a_disk_too_small_is_refused_before_the_first_step(small_disk, monkeypatch):
    data = pictures(16)
    many = [create_network("wrn_16_2", data, seed=seed) for seed in (0, 1)]
    message = r"the training in .* needs [\d.]+ MB, and the disk has 2\.1 MB free: [\d.]+ MB are missing"
    with monkeypatch.context() as patch:
        patch.setattr(ViewLoader, "epoch", lambda *_: pytest.fail("it trains"))
        with pytest.raises(OSError, match=message):
            distill(many, None, data, method="ce", out=small_disk / "runs", **SETTINGS)
    assert not [path for path in small_disk.rglob("*") if path.is_file() and path.name != ".lock"]
    run = train("sskd", data, out=small_disk / "run")  # what is asked for is what is needed
    assert same(state(run.network), state(train("sskd", data).network))


def write_until_full(out: str, number: int) -> None:
    """Train; from the `number`-th file on, the system refuses to write a byte."""
    import resource
    import tempfile

    torch.set_num_threads(1)
    mkstemp, calls = tempfile.mkstemp, []

    def full(*arguments, **keywords):
        calls.append(None)
        if len(calls) == number:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return mkstemp(*arguments, **keywords)

    tempfile.mkstemp = full
    try:
        train("sskd", pictures(16), pictures(16, seed=5), out=Path(out))
    except OSError as error:
        sys.exit(2 if re.search("cannot write .*Free some space or choose another", str(error)) else 3)


@unix
def test_a_disk_that_is_full_at_any_write_loses_nothing(tmp_path):
    """First state, metrics, a state in each of three epochs, weights, summary: the seven files of a run."""
    whole = train("sskd", pictures(16), pictures(16, seed=5), out=tmp_path / "whole")
    for number in range(1, 9):
        out = tmp_path / f"{number}"
        process = in_own_process(write_until_full, str(out), number)
        process.join(600)
        assert process.exitcode == (2 if number < 8 else 0)
        saved = [] if number == 1 else load_saved(out / RESUME_FILE)["history"]
        assert len(saved) == min(max(0, number - 3), 3)
        assert not list(out.glob(".*.part"))
        run = train("sskd", pictures(16), pictures(16, seed=5), out=out)
        assert same(state(run.network), state(whole.network))
        assert [record["total"] for record in metrics(out)] == [record["total"] for record in whole.history]


# ---- memory --------------------------------------------------------------------------------------


def test_images_that_do_not_fit_into_memory_are_named():
    """Four images of a terabyte each, which are one byte that repeats itself."""
    images = replace(
        pictures(4), images=torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(4, 1, 2**20, 2**20)
    )
    with pytest.raises(RuntimeError, match=r"ran out of memory with the 4 training images.*make_shards"):
        distill(create_network("resnet8", pictures(4)), None, images, method="ce", **SETTINGS)


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_for_the_images_is_named():
    data = pictures(4000, channels=3)
    settings = SETTINGS | {"runtime": Runtime(device=torch.device("cuda"))}
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(RuntimeError, match=r"the GPU ran out of memory with .*--labels.*--device cpu"):
            distill(create_network("resnet8", data), None, data, method="ce", **settings)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
