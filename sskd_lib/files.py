"""Atomic writes, tensors with a card and a hash, locks, the user's cache folder, and names that are near.

A file of tensors is a safetensors file whose metadata has one JSON text, "card". The card contains a sha256
of itself and the tensors. Nothing here is ever unpickled.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import safetensors
import safetensors.torch
import torch
from torch import Tensor

TEMPORARY = ".part"  # ends the name of a file that is being written


class CheckpointError(RuntimeError):
    """A file of weights cannot be used; the message says why and what to do."""


def cache_folder() -> Path:
    """Return the user's cache folder for this kit, which need not exist yet."""
    return platformdirs.user_cache_path("sskd", appauthor=False, opinion=False)


def tensors_hash(tensors: dict[str, Tensor], card: dict[str, Any] | None = None) -> str:
    """Return the sha256 of a card and named tensors: names, dtypes, shapes, bytes. Equal on every device."""
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(path: str | Path, tensors: dict[str, Tensor], card: dict[str, Any]) -> Path:
    """Write tensors and a card, with a sha256 over both, as one safetensors file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    card = json.loads(json.dumps(card))  # as it will be read: texts as keys, lists for tuples
    text = json.dumps(card | {"sha256": tensors_hash(tensors, card)})
    return write_atomically(path, safetensors.torch.save(tensors, {"card": text}))


def read_tensors(path: str | Path, only_card: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `write_tensors`. Returns (tensors on the CPU, card).

    Raises FileNotFoundError, or CheckpointError if the file is cut short, changed or of another kind.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.safetensors")) if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"there is no checkpoint {path}. "
            + (f"That folder has: {', '.join(near)}." if near else "Train one first, or check the path.")
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {} if only_card else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        card = json.loads(metadata.get("card", "{}"))
        if not isinstance(card, dict):
            raise ValueError("its card is no JSON object")
        written = card.pop("sha256", None)
        if not only_card and written not in (None, tensors_hash(tensors, card)):
            raise ValueError("its content is not what was written: the sha256 differs")
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged, cut short, or not a safetensors file ({error}). Nothing was loaded. "
            "Delete it and train or fetch it again."
        ) from error
    return tensors, card


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of a block that writes at `path` into one that says what to do."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise OSError(f"cannot write {path}: {_in_the_way(Path(path))}. Choose another folder.") from error
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder. What "
            "was there before is as it was; a training goes on from there when it is started again."
        ) from error


def _in_the_way(path: Path) -> str:
    """Say what is in the place of a folder that a path needs."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to {os.readlink(place)}, which is not there"
        if place.is_file():
            return f"{place} is a file, where a folder is needed"
    return f"{path} is in the way"


def write_atomically(path: str | Path, data: bytes) -> Path:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises OSError, with the older file intact, if it cannot be written.
    """
    path = Path(path).expanduser()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return path


def remove_leftovers(folder: Path, *names: str) -> None:
    """Remove what a process that was killed while it wrote files of these names has left in a folder."""
    for name in names:
        for leftover in folder.glob(f".{name}.*{TEMPORARY}"):
            leftover.unlink(missing_ok=True)


@contextmanager
def locked(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Keep the lock file `path` locked during a block, so that one process at a time is in it.

    wait: wait for the process that has the lock, instead of an error. A killed process frees its lock.
    Raises OSError, which names that process, if the lock is taken, or if the file cannot be written.
    """
    import filelock

    path = Path(path)
    holder = path.with_name(f"{path.name}-holder")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    for attempt in itertools.count(1):
        if _acquired(lock, wait):
            break
        name = _text(holder)
        if name or attempt == 100:  # without a name, the other process is about to write it, or to end
            raise OSError(
                f"{path.parent} is in use by {name or 'another process'}; wait for its end, stop it, or "
                "choose another folder. Nothing was changed."
            )
        time.sleep(0.02)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with explained(path):
            text = f"process {os.getpid()} on {socket.gethostname()} since {since}"
            holder.write_text(text, encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _acquired(lock: Any, wait: bool) -> bool:
    import filelock

    with explained(Path(lock.lock_file)):
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            return False
        except NotImplementedError:  # a file system that knows no locks
            pass
    return True


def _text(path: Path) -> str:
    """Return the text of a file that may have gone; "" then."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def check_space(folder: Path, need: int, what: str, remedy: str = "") -> None:
    """Raise OSError, before anything is written, if the disk has no room for `need` more bytes in a folder.

    what: the things that need the room, and their verb; remedy: further advice.
    """
    free = shutil.disk_usage(
        next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    ).free
    if need > free:
        raise OSError(
            f"{what} {need / 1e6:,.1f} MB, and the disk has {free / 1e6:,.1f} MB free: "
            f"{(need - free) / 1e6:,.1f} MB are missing. Nothing was written. Free some space or choose a "
            f"folder on another disk{remedy}."
        )


def differences(saved: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Name the entries in which two plans or cards differ, with both values where they are short."""
    names = []
    for name in wanted | saved:
        old, new = saved.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            names += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            values = f" ({old} there, {new} wanted)"
            names.append(prefix + name + (values if len(values) < 80 else ""))
    return names


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a question that suggests the nearest of some names, after a space; "" if none is near.

    Capitals do not count, and the beginning of just one name is near.

    >>> did_you_mean("SSKD", ["kd", "sskd"]) + did_you_mean("temp", ["image", "temperature"])
    " Did you mean 'sskd'? Did you mean 'temperature'?"
    """
    spelled, wrong = {each.casefold(): each for each in known}, str(name).casefold()
    near = difflib.get_close_matches(wrong, spelled, n=1)
    near = near or [each for each in spelled if wrong and each.startswith(wrong)]
    return f" Did you mean {spelled[near[0]]!r}?" if len(near) == 1 else ""
