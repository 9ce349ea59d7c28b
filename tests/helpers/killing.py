"""Processes that are killed while they write."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable

from sskd_lib.files import write_atomically


def die_while_writing(moment: str, number: int) -> None:
    """Kill this process at its `number`-th file: half of it written, all but its name, or just renamed."""
    fsync, replace, calls = os.fsync, os.replace, []

    def count(now: str) -> bool:
        calls.append(now)
        return now == moment and calls.count(now) == number

    def dying_fsync(handle: int) -> None:
        if count("half"):
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(handle)

    def dying_replace(source, target) -> None:
        if count("unnamed"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if count("named"):
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync, os.replace = dying_fsync, dying_replace


def write_for_ever(path: str, size: int) -> None:
    """Write a file again and again, whole: `size` bytes that are all equal, each time another value."""
    number = 0
    while True:
        write_atomically(path, bytes([number % 256]) * size)
        number += 1


def write_once(path: str, data: bytes, moment: str) -> None:
    """Write a file, and die at this moment of it."""
    die_while_writing(moment, 1)
    write_atomically(path, data)


def in_own_process(target: Callable[..., None], *arguments: object) -> multiprocessing.Process:
    """Start a process that calls `target`; a server that has imported torch already forks it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sskd_lib", "torch._dynamo"])  # all that takes time
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
