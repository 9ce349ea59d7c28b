"""Files: whole or as they were before, whatever happens to the process, the disk or the bytes.

This is the one place where processes are killed at random moments: every file of the kit is written by
`write_atomically`. What is built of such files (a training's state, a teacher cache, a folder of images) has
one test each, with a kill at a chosen moment.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

import sskd_lib as sskd
from helpers.killing import in_own_process, write_for_ever, write_once
from helpers.training import same
from sskd_lib.files import (
    CheckpointError,
    cache_folder,
    locked,
    read_tensors,
    tensors_hash,
    write_atomically,
    write_tensors,
)

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and a fork server")
CARD = {"kind": "test", "plan": {"seed": 7}, "text": "86,5 % — größer"}


def some_tensors(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(8, 3, 3, 3, generator=generator),
        "half": torch.randn(5, generator=generator).half(),
        "count": torch.tensor(seed),
        "empty": torch.zeros(0, 4),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_tensors(tmp_path / "net.safetensors", some_tensors(), CARD)


def refused(path: Path, *words: str) -> str:
    """The message with which a file is refused; it holds all the words."""
    with pytest.raises(CheckpointError) as error:
        read_tensors(path)
    message = str(error.value)
    for word in (str(path), "Nothing was loaded", *words):
        assert word in message
    return message


# ---- killed --------------------------------------------------------------------------------------


@unix
@pytest.mark.kill
def test_killed_at_random_moments_a_file_is_whole(tmp_path):
    """A process writes a file without pause and is killed; fifty times, each into what the last one left."""
    path, size, rng = tmp_path / "file", 1_000_000, random.Random(0)
    for _ in range(50):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = in_own_process(write_for_ever, str(path), size)
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        content = path.read_bytes()
        assert len(content) == size
        assert len(set(content)) == 1
    assert len(list(tmp_path.glob(".file.*"))) >= 5  # so many kills came in the middle of a write


@unix
@pytest.mark.parametrize("moment", ["half", "unnamed", "named"])
def test_killed_while_it_writes_the_old_file_or_the_new_one_is_there(moment, tmp_path):
    path = write_atomically(tmp_path / "file", b"old")
    process = in_own_process(write_once, str(path), b"new content", moment)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == (b"new content" if moment == "named" else b"old")
    write_atomically(path, b"newest")
    assert path.read_bytes() == b"newest"


def test_an_interrupted_write_leaves_nothing_else(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file", b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


# ---- a disk that is full, a folder that may not be used ------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_keeps_the_old_file_and_says_what_to_do(path, monkeypatch, call, code):
    before = path.read_bytes()

    def fail(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match=r"Free some space or choose another folder.*as it was") as error:
            write_tensors(path, some_tensors(1), {})
    assert str(path) in str(error.value)
    assert os.strerror(code) in str(error.value)
    assert error.value.__cause__.errno == code
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@unix
def test_a_disk_that_is_full_halfway_keeps_the_old_file(tmp_path):
    """The system itself stops the write, by its limit on the size of a file."""
    import resource

    path = write_atomically(tmp_path / "file", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*File too large.*as it was"):
            write_atomically(path, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_where_a_folder_should_be(path):
    with pytest.raises(OSError, match=r"cannot write .*a file, where a folder is needed.*Choose another"):
        write_atomically(path / "net.safetensors", b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do all")
def test_a_folder_without_permission(tmp_path):
    path = write_tensors(tmp_path / "folder" / "net.safetensors", some_tensors(), {})
    path.parent.chmod(0o500)
    try:
        with pytest.raises(OSError, match=r"Permission denied.*choose another folder"):
            write_atomically(path, b"")
        path.chmod(0)
        refused(path, "Permission denied")
    finally:
        path.parent.chmod(0o700)


def test_folders_are_made_and_all_may_read(tmp_path):
    path = write_atomically(tmp_path / "new" / "folder" / "file", b"content")
    assert path.read_bytes() == b"content"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o644


# ---- tensors and their card ----------------------------------------------------------------------


def test_tensors_and_card_come_back_bit_for_bit(path):
    tensors, card = read_tensors(path)
    assert same(tensors, some_tensors())
    assert card == CARD
    assert all(tensor.dtype == some_tensors()[name].dtype for name, tensor in tensors.items())


def test_a_card_comes_back_as_json_says_it(tmp_path):
    card = {"milestones": (0.5, 0.75), "by_class": {10: 1 / 3, 9: 2}, "none": None, "text": CARD["text"]}
    path = write_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)}, card)
    assert read_tensors(path)[1] == json.loads(json.dumps(card))


def test_the_card_is_read_without_the_tensors(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last tensor
    path.write_bytes(content)
    assert read_tensors(path, only_card=True) == ({}, CARD)
    refused(path, "sha256")


def test_the_hash_sees_names_values_shapes_and_dtypes():
    a = torch.arange(6, dtype=torch.float32)
    variants = [{"a": a}, {"b": a}, {"a": a + 1}, {"a": a.view(2, 3)}, {"a": a.view(torch.int32)}, {}]
    assert len({tensors_hash(v) for v in variants} | {tensors_hash({"a": a}, {"card": 1})}) == 7
    assert tensors_hash({"a": a, "b": a + 1}) == tensors_hash({"b": a + 1, "a": a})
    strided = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    assert tensors_hash({"a": strided}) == tensors_hash({"a": strided.contiguous()})


# ---- damaged files -------------------------------------------------------------------------------


def header_size(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_a_file_cut_anywhere_is_refused(path):
    content = path.read_bytes()
    start, end = header_size(content), len(content)
    cuts = {*range(10), start // 2, start - 1, start, start + 1, (start + end) // 2, end - 4, end - 1}
    cuts |= {random.Random(0).randrange(end) for _ in range(40)}
    for cut in cuts:
        path.write_bytes(content[:cut])
        refused(path, "train or fetch it again")
        if cut < start:
            with pytest.raises(CheckpointError):
                read_tensors(path, only_card=True)
    path.write_bytes(content + b"\0")
    refused(path)


def test_no_flipped_bit_goes_unseen(path):
    """Header and tensors: a file with one bit changed is refused, or gives what it gave before."""
    content, original = path.read_bytes(), read_tensors(path)
    start, rng = header_size(content), random.Random(0)
    unseen = 0
    for place in [*range(8), *(rng.randrange(len(content)) for _ in range(400))]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            tensors, card = read_tensors(path)
        except CheckpointError:
            continue
        assert place < start
        assert not card or card.items() >= original[1].items()
        if card:
            assert same(tensors, original[0])
        unseen += 1
    assert unseen < 20


@pytest.mark.parametrize("card", ["not json", "[1, 2]", '"text"', '{"format": '])
def test_a_card_that_is_no_json_object_is_refused(path, card):
    path.write_bytes(safetensors.torch.save(some_tensors(), {"card": card}))
    refused(path)


class Bomb:
    """Makes a folder if it is ever unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_pickle_is_refused_and_not_run(tmp_path, form):
    place, path = tmp_path / "ran", tmp_path / "net.pth"
    if form == "bare":
        path.write_bytes(pickle.dumps(Bomb(place)))
    else:
        torch.save({"state": Bomb(place)}, path, _use_new_zipfile_serialization=form == "zip")
    refused(path, "not a safetensors file")
    assert not place.exists()


def test_a_missing_file_names_its_neighbours(path):
    with pytest.raises(FileNotFoundError, match=r"That folder has: net.safetensors"):
        read_tensors(path.with_name("wrong.safetensors"))
    for missing in (path.parent / "nowhere" / "net.safetensors", path.parent):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
            read_tensors(missing)


# ---- locks and the cache folder ------------------------------------------------------------------


def keep_locked(path: str) -> None:
    """Take the lock and keep it until this process is killed."""
    with locked(path):
        Path(f"{path}-taken").touch()
        time.sleep(600)


@unix
def test_a_second_process_is_told_who_has_the_lock_and_a_kill_frees_it(tmp_path):
    lock = tmp_path / "made" / ".lock"
    process = in_own_process(keep_locked, str(lock))
    while not lock.with_name(".lock-taken").exists():
        time.sleep(0.001)
    message = f"made is in use by process {process.pid} on .*; wait for its end"
    with pytest.raises(OSError, match=message), locked(lock):
        pass
    process.kill()
    process.join()
    with locked(lock):
        pass


def test_one_at_a_time_is_inside_a_lock(tmp_path):
    inside, most = [], []

    def work():
        with locked(tmp_path / ".lock", wait=True):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.002)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_an_error_inside_a_lock_comes_out_as_it_is_and_frees_it(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / ".lock"):
        raise KeyError
    with locked(tmp_path / ".lock"):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"cannot write .*a file, where a folder is needed.*Choose another"),
        locked(tmp_path / "file" / "lock"),
    ):
        pass


def test_a_file_system_without_locks_is_written_without_one(tmp_path, monkeypatch):
    import filelock

    def refuse(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with locked(tmp_path / ".lock"):
        assert tmp_path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the variables of Linux")
def test_the_cache_folder_is_the_platforms(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/sskd")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_folder() == Path("/h/.cache/sskd")


def test_paths_in_the_home_folder(tmp_path, monkeypatch):
    """In the kit's functions ~ is the home folder, as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    train = sskd.load_images("fashion-mnist-lab").take(20)
    network, schedule = sskd.create_network("resnet8", like=train), sskd.Schedule(epochs=1, batch_size=10)
    sskd.train_teacher(
        network,
        train,
        schedule=schedule,
        out="~/run",
        runtime=sskd.choose_runtime("cpu", exact=True),
        progress=False,
    )
    assert (tmp_path / "run" / "teacher.safetensors").is_file()
    assert sskd.load_checkpoint("~/run/teacher.safetensors").spec == network.spec
