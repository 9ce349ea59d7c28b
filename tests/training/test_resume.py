"""Runs that survive: killed anywhere, started again by the same call, they end with the same bits."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from helpers.killing import die_while_writing
from helpers.training import Stop, metrics, pictures, same, state, train
from sskd_lib.files import CheckpointError
from sskd_lib.models.checkpoint import load_checkpoint, read_card
from sskd_lib.recipes import Recipe, Schedule
from sskd_lib.runtime.device import Runtime, choose_runtime
from sskd_lib.training import create_network, distill, resume
from sskd_lib.training.loader import ViewLoader
from sskd_lib.training.resume import RESUME_FILE, load_saved

FILES = {"teacher": "teacher.safetensors", "head": "teacher.safetensors"}  # else student.safetensors
EPOCHS = 8
unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and a fork server")


def run_here(kind: str, out: Path, fault: tuple[str, int] | None = None) -> None:
    """What a killed process does: one training of 8 epochs of 5 steps, in the format this machine prefers."""
    torch.set_num_threads(1)
    if fault:
        die_while_writing(*fault)
    schedule = Schedule(epochs=EPOCHS, batch_size=8, lr=0.02)
    train(kind, pictures(40), pictures(16, seed=5), out=out, schedule=schedule, runtime=choose_runtime("cpu"))


def start(*arguments):
    """A process of its own that trains; forked from a server that has imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sskd_lib", "pytest", "torch._dynamo"])  # all that takes time
    process = context.Process(target=run_here, args=arguments)
    process.start()
    return process


def finish(process) -> None:
    process.join(600)
    assert process.exitcode == 0


def epochs_done(out: Path) -> int:
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(kind) → folder of a run that nobody disturbed."""
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp("whole") / kind
            finish(start(kind, folders[kind]))
        return folders[kind]

    return folder


def visible(out: Path) -> set[str]:
    """Names in a folder, without the file that is locked and stays."""
    return {path.name for path in out.iterdir() if path.name != ".lock"}


def check_equal(out: Path, whole: Path, kind: str) -> None:
    """Same weights and momenta bit for bit, same records, each epoch once, nothing left lying about."""
    name = FILES.get(kind, "student.safetensors")
    assert same(state(load_checkpoint(out / name)), state(load_checkpoint(whole / name)))
    ours, theirs = (load_saved(folder / RESUME_FILE) for folder in (out, whole))
    assert all(same(ours[part], theirs[part]) for part in ("network", "method"))
    momenta, expected_momenta = (saved["optimizer"]["state"] for saved in (ours, theirs))
    assert momenta and momenta.keys() == expected_momenta.keys()
    assert all(same(momenta[number], expected_momenta[number]) for number in momenta)
    records, expected = metrics(out), metrics(whole)
    assert [record["epoch"] for record in records] == list(range(1, EPOCHS + 1))
    for record in records + expected:
        del record["seconds"]
    assert records == expected
    assert len(ours["history"]) == EPOCHS
    assert visible(out) == {name, RESUME_FILE, "metrics.jsonl", "summary.json"}


# ---- killed processes ----------------------------------------------------------------------------


# Number of the file at which each life of a process ends: the first state, unless an epoch is saved already,
# metrics.jsonl, a state an epoch, weights, summary.
LIVES = {
    "half": (1, 2, 3, 4, 3, EPOCHS, 3),
    "unnamed": (1, 2, 3, 4, 3, EPOCHS, 3),
    "named": (1, 2, 4, EPOCHS - 1, 2, 3),
}


@unix
@pytest.mark.parametrize(("moment", "kind"), [("half", "sskd"), ("unnamed", "head"), ("named", "teacher")])
def test_killed_while_it_writes_any_of_its_files(moment, kind, tmp_path, whole):
    reference, out = whole(kind), tmp_path / "run"
    weights = out / FILES.get(kind, "student.safetensors")
    for number in LIVES[moment]:
        process = start(kind, out, (moment, number))
        process.join(300)
        assert process.exitcode == -signal.SIGKILL
        if (out / RESUME_FILE).exists():
            load_saved(out / RESUME_FILE)  # whole, whatever happened
        if weights.exists():
            load_checkpoint(weights)
    assert weights.exists()
    assert (out / "summary.json").exists() == (moment == "named")
    finish(start(kind, out))
    check_equal(out, reference, kind)


# ---- interruptions in one process ----------------------------------------------------------------


RUNTIMES = {
    "plain": Runtime(),
    "channels_last": Runtime(channels_last=True),
    "bfloat16": Runtime(dtype=torch.bfloat16, channels_last=True),
}


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
@pytest.mark.parametrize("kind", ["teacher", "head", "sskd"])
def test_interrupted_in_a_notebook_it_goes_on_in_every_format(kind, runtime, tmp_path, monkeypatch):
    data = pictures(24)
    with monkeypatch.context() as patch:
        Stop(patch, batch=8)  # in the third of three epochs of three steps
        with pytest.raises(KeyboardInterrupt):
            train(kind, data, out=tmp_path, runtime=runtime)
    assert [record["epoch"] for record in metrics(tmp_path)] == [1, 2]
    resumed = train(kind, data, out=tmp_path, runtime=runtime)
    assert same(state(resumed.network), state(train(kind, data, runtime=runtime).network))
    assert [record["epoch"] for record in metrics(tmp_path)] == [1, 2, 3]


def test_a_state_is_saved_at_most_every_so_many_seconds(tmp_path, monkeypatch):
    saves = []
    save_state = resume.save_state
    monkeypatch.setattr(
        "sskd_lib.training.loop.save_state",
        lambda state: (saves.append(len(state.history)), save_state(state)),
    )
    train("ce", pictures(16), out=tmp_path / "often", save_seconds=0)
    assert saves == [1, 2, 3]
    saves.clear()
    train("ce", pictures(16), out=tmp_path / "seldom", save_seconds=3600)
    assert saves == [3]  # the end is saved in any case


def test_without_a_saved_epoch_it_starts_anew_with_these_settings_or_others(tmp_path, monkeypatch):
    for changes in ({}, {"seed": 1}):
        with monkeypatch.context() as patch:
            Stop(patch, batch=5)
            with pytest.raises(KeyboardInterrupt):
                train("ce", pictures(16), out=tmp_path, save_seconds=3600)
        assert len(metrics(tmp_path)) == 2 and load_saved(tmp_path / RESUME_FILE)["history"] == []
        run = train("ce", pictures(16), out=tmp_path, **changes)
        assert [record["epoch"] for record in metrics(tmp_path)] == [1, 2, 3]
        assert same(state(run.network), state(train("ce", pictures(16), **changes).network))
        shutil.rmtree(tmp_path)


def test_a_full_disk_keeps_the_earlier_state(tmp_path, monkeypatch):
    fsync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 4:  # the first state, metrics.jsonl, the state of epoch 1, that of epoch 2
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            OSError, match="cannot write .*No space left.*Free some space.*goes on from there"
        ):
            train("ce", pictures(16), out=tmp_path)
    assert len(load_saved(tmp_path / RESUME_FILE)["history"]) == 1
    assert visible(tmp_path) == {RESUME_FILE, "metrics.jsonl"}
    run = train("ce", pictures(16), out=tmp_path)
    assert same(state(run.network), state(train("ce", pictures(16)).network))


def test_a_record_that_cannot_be_written_stops_the_run_with_advice(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(resume, "open", full, raising=False)  # metrics.jsonl is the one file appended to
    with pytest.raises(OSError, match="cannot write .*metrics.jsonl: No space left.*Free some space"):
        train("ce", pictures(16), out=tmp_path)


# ---- asked again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["teacher", "head", "sskd"])
def test_a_finished_run_is_returned_and_not_trained_again(kind, tmp_path, monkeypatch):
    data, test = pictures(16), pictures(16, seed=5)
    first = train(kind, data, test, out=tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def never(*_):
        raise AssertionError("it trains")

    monkeypatch.setattr(ViewLoader, "epoch", never)
    other_day = {"kind": kind, "date": "2999-01-01", "runtime": {}, "versions": {}}
    for module in ("prepare", "head"):
        monkeypatch.setattr(f"sskd_lib.training.{module}.make_card", lambda *_, **__: other_day)
    again = train(kind, data, test, out=tmp_path)
    assert same(state(again.network), state(first.network)) and not again.network.training
    assert again.history == first.history and again.summary == first.summary
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_deleted_result_is_written_again(tmp_path):
    train("sskd", pictures(16), out=tmp_path)
    content = (tmp_path / "student.safetensors").read_bytes()
    for name in ("student.safetensors", "summary.json", "metrics.jsonl"):
        (tmp_path / name).unlink()
    train("sskd", pictures(16), out=tmp_path)
    assert (tmp_path / "student.safetensors").read_bytes() == content
    assert len(metrics(tmp_path)) == 3


def test_the_card_tells_where_a_resumed_run_began(tmp_path, monkeypatch):
    data = pictures(16)
    plain, fast = Runtime(), Runtime(channels_last=True)
    for runtime, batch in ((plain, 3), (fast, 3)):  # each does one epoch of two steps
        with monkeypatch.context() as patch:
            Stop(patch, batch=batch)
            with pytest.raises(KeyboardInterrupt):
                train("ce", data, out=tmp_path, runtime=runtime)
    train("ce", data, out=tmp_path, runtime=fast)
    card = read_card(tmp_path / "student.safetensors")
    assert card["runtime"] == fast.describe() and card["began_on"]["runtime"] == plain.describe()
    assert "began_on" not in train("ce", data, runtime=fast).summary["card"]


# ---- another run ---------------------------------------------------------------------------------


def test_another_setting_is_refused_by_name(tmp_path):
    data, test = pictures(24), pictures(16, seed=5)

    def ask(*, teacher_seed=1, student_seed=0, train=data, measured=test, model="resnet8", **changes):
        student = create_network(model, data, projection=True, seed=student_seed)
        teacher = create_network("resnet8", data, projection=True, seed=teacher_seed)
        teacher.head_trained = True
        settings = {"schedule": Schedule(epochs=2, batch_size=8), "progress": False, "runtime": Runtime()}
        return distill(student, teacher, train, measured, out=tmp_path, **settings | changes)

    result = ask()
    content = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    cases = [
        ({"seed": 3}, ["seed (0 there, 3 wanted)"]),
        ({"schedule": Schedule(epochs=4, batch_size=8)}, ["schedule.epochs (2 there, 4 wanted)"]),
        (
            {"schedule": Schedule(epochs=2, batch_size=4, lr=0.1)},
            ["schedule.batch_size (8 there, 4 wanted)", "schedule.lr (0.05 there, 0.1 wanted)"],
        ),
        ({"train": pictures(24, seed=9)}, ["data"]),
        ({"train": data.with_label_noise(0.2)}, ["data"]),
        ({"measured": data}, ["test"]),
        ({"measured": None}, ["test"]),
        ({"method": "kd+rotations"}, ["method (sskd there, kd+rotations wanted)", "recipe.ss (10.0"]),
        ({"method": "ce"}, ["method (sskd there, ce wanted)", "teacher_weights"]),
        ({"recipe": Recipe(tf=1.0)}, ["recipe.tf (2.7 there, 1.0 wanted)"]),
        ({"teacher_seed": 2}, ["teacher_weights"]),
        ({"student_seed": 1}, ["initial_weights", "make yours again with create_network"]),
        ({"model": "resnet14"}, ["network.model (resnet8 there, resnet14 wanted)", "initial_weights"]),
    ]
    names = {"seed", "schedule", "data", "test", "method", "recipe", "teacher_weights", "initial_weights"}
    for changes, words in cases:
        with pytest.raises(CheckpointError) as error:
            ask(**changes)
        message = str(error.value)
        for word in (
            str(tmp_path),
            "another run",
            "Choose another output folder",
            "delete the folder",
            *words,
        ):
            assert word in message
        listed = message.split("what differs: ")[1].split(". ")[0]
        other = names - {word.split(" ")[0].split(".")[0] for word in words} - {"network"}
        assert not [
            name for name in other if name in listed.replace("initial_weights", "") and name != "test"
        ]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == content
    assert same(state(ask().network), state(result.network))


def test_a_file_of_another_kind_in_the_place_of_the_state(tmp_path):
    torch.save({"format": "other"}, tmp_path / RESUME_FILE)
    with pytest.raises(CheckpointError, match="no saved training of this version.*delete the folder"):
        train("ce", pictures(16), out=tmp_path)


def test_the_state_of_an_earlier_version_is_named_and_kept(tmp_path):
    (tmp_path / "resume.safetensors").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="an earlier version of the kit saved.*delete the folder"):
        train("ce", pictures(16), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["resume.safetensors"]


class Evil:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return self.path.write_text, ("it ran",)


def test_a_state_that_is_damaged_or_holds_code_is_refused(tmp_path):
    train("ce", pictures(16), out=tmp_path)
    path, content = tmp_path / RESUME_FILE, (tmp_path / RESUME_FILE).read_bytes()
    largest = max(zipfile.ZipFile(path).infolist(), key=lambda entry: entry.file_size)
    flipped = bytearray(content)
    flipped[largest.header_offset + largest.compress_size // 2] ^= 1
    for damaged in (bytes(flipped), content[:-100], content[: len(content) // 2], b"", b"no zip"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="Nothing was loaded. Delete it"):
            train("ce", pictures(16), out=tmp_path)
    torch.save({"format": "sskd-kit-resume-3", "plan": Evil(tmp_path / "trace")}, path)
    with pytest.raises(CheckpointError, match="Nothing was loaded. Delete it"):
        train("ce", pictures(16), out=tmp_path)
    assert not (tmp_path / "trace").exists()
