"""Atomic writes, tensors with a card and a hash, locks, and the user's cache folder.

A file of tensors is a safetensors file whose metadata has one JSON text, "card". The card contains a sha256
of itself and the tensors. Nothing here is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
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
    path = Path(path)
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
        raise CheckpointError(_unreadable(path, error)) from error
    return tensors, card


def _unreadable(path: Path, error: Exception) -> str:
    """Say why a file cannot be read, and what to do."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError:
        start = b""
    if start == b"PK\x03\x04" or start[:1] == b"\x80":  # torch.save, new and old
        return (
            f"{path} is a pickle, as torch.save writes them (.pth, .pt). A pickle can run any code, so the "
            "kit opens none: it reads the .safetensors files of its own trainings. Nothing was loaded. Of a "
            'published teacher, load_checkpoint(path, format="repdistiller") takes the tensors and no more.'
        )
    return (
        f"{path} is damaged, cut short, or not a safetensors file ({error}). Nothing was loaded. "
        "Delete it and train or fetch it again."
    )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of a block that writes at `path` into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder. What "
            "was there before is as it was; a training goes on from there when it is started again."
        ) from error


def write_atomically(path: str | Path, data: bytes) -> Path:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises OSError, with the older file intact, if it cannot be written.
    """
    path = Path(path)
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


@contextmanager
def locked(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Keep the lock file `path` locked during a block, so that one process at a time is in it.

    wait: wait for the process that has the lock, instead of an error.
    Raises OSError, which names that process, if the lock is taken, or if the file cannot be written.
    """
    import filelock

    path = Path(path)
    holder = path.with_name(f"{path.name}-holder")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout as error:
        name = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise OSError(f"{path.parent} is in use by {name}; wait for its end, or stop it.") from error
    except NotImplementedError:  # a file system that knows no locks
        pass
    try:
        with explained(path):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


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
