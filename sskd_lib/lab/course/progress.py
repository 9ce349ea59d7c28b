"""Keep what a learner has done in one JSON file on this machine: guesses, quizzes, checks. Nothing leaves it.

The file carries a random name for the learner and no other mark of a person or a machine: no user name, no
host, no time. SSKD_PROGRESS names another file; "off" keeps everything in memory only.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from ...files import locked, write_atomically

KIND, VERSION = "sskd progress", 1
_memory: dict[str, Any] = {}  # used where no file can be written
_warned: set[str] = set()


def progress_file() -> Path | None:
    """Return the file, which need not exist yet; None where SSKD_PROGRESS is "off"."""
    place = os.environ.get("SSKD_PROGRESS", "")
    if place == "off":
        return None
    return Path(place).expanduser() if place else platformdirs.user_data_path("sskd", False) / "progress.json"


def read_progress(path: Path | None = None) -> dict[str, Any]:
    """Return the content of the file: of this learner, or of `path`; an empty record where there is none.

    A learner's file that cannot be read is put aside with the ending .broken, and a new one is begun.
    Raises ValueError for a `path` that is no such file.
    """
    file = path or progress_file()
    if file is None or not file.is_file():
        return _memory or _empty()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise ValueError("it is not a learner's record")
        return _empty() | content
    except ValueError as error:
        if path:
            raise ValueError(f"{file} is no record of a learner: {error}.") from error
        aside = file.with_suffix(".broken")
        os.replace(file, aside)
        print(f"Your record {file} could not be read ({error}). It is now {aside.name}; a new one begins.")
        return _empty()


def change_progress(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Read the record, change it, and write it, atomically and under a lock. Returns the new record.

    Where it cannot be written, it is kept in memory, and that is said once.
    """
    global _memory
    file = progress_file()
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with locked(file.with_name(f"{file.name}.lock"), wait=True):
                record = read_progress()
                change(record)
                write_atomically(file, json.dumps(record, indent=1, ensure_ascii=False).encode())
            _memory = {}
            return record
        except OSError as error:
            _say_once(f"{file} cannot be written ({error}): what you do is kept until the kernel stops.")
    record = read_progress() if file is None or not file.is_file() else _memory or read_progress()
    change(record)
    _memory = record
    return record


def keep_goal(key: str) -> None:
    """Keep that the task of an explorer was fulfilled. key: the explorer's."""
    change_progress(lambda record: record["goals"].update({key: True}))


def export_progress(path: str | Path = "progress-for-class.json") -> Path:
    """Write a copy of the record to hand in: without names, places and times. Returns its path."""
    target = Path(path).expanduser()
    record = read_progress()
    return write_atomically(target, json.dumps(record, indent=1, ensure_ascii=False).encode())


def _empty() -> dict[str, Any]:
    groups: dict[str, Any] = {name: {} for name in ("guesses", "answers", "checks", "goals", "runs")}
    return {"kind": KIND, "version": VERSION, "learner": secrets.token_hex(4)} | groups


def _say_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        print(text)
