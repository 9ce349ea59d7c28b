"""Run a command that may do anything: in a process of its own, with limits. No prison; a container is one.

What is limited: the time; memory, processor time and the size of files where the system has such limits (not
on Windows); the network where `unshare` may take it away (Linux). The process gets a home folder of its own
and none of the variables of the one who grades. What is not limited: it can read and change every file that
this user can, and it can start other programs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KEPT = {"PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "OMP_NUM_THREADS", "VIRTUAL_ENV"}
GIB = 2**30
# A new network has a loopback interface that is off, and a notebook's kernel is reached through it.
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a command may use: seconds of time and of one processor, bytes of memory and of one file."""

    seconds: int = 900
    memory: int = 12 * GIB  # of addresses; torch alone takes about 4 where it was built for CUDA
    file_size: int = GIB // 4


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended: its status, or None if its time was over, and what it wrote."""

    status: int | None
    output: str


def child_environment(home: Path) -> dict[str, str]:
    """Return the variables of a grading process: a home folder of its own, still pictures, no record."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if key in KEPT}
    folders = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA")}
    kit = str(Path(__file__).resolve().parents[1])
    return kept | folders | {
        "PATH": os.pathsep.join(filter(None, (str(Path(sys.executable).parent), kept.get("PATH")))),
        "PYTHONPATH": kit,
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "SSKD_STATIC": "1",
        "SSKD_PROGRESS": "off",
    }  # fmt: skip


@cache
def network_prefix() -> tuple[str, ...]:
    """Return what to write before a command so that it has no network; () where that is not possible."""
    program = shutil.which("unshare")
    if not program:
        return ()
    prefix = (program, "--map-root-user", "--net", sys.executable, "-c", LOOPBACK)
    tried = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True)
    return () if tried.returncode else prefix


def restrictions() -> list[str]:
    """Return what is limited on this system, in words."""
    words = ["a process with a time limit", "a home folder of its own", "none of your environment variables"]
    if os.name == "posix":
        words.append("limits for memory, processor time and the size of files")
    if network_prefix():
        words.append("no network")
    return words


def run_restricted(command: Sequence[str], folder: Path, home: Path, limits: Limits) -> Ended:
    """Run a command in a folder within the limits, and end all of its processes when its time is over.

    command: begins with the path of a program. Returns how it ended; raises OSError if it cannot be started.
    """

    def set_limits() -> None:
        import resource

        for kind, most in (
            (resource.RLIMIT_CPU, limits.seconds),
            (resource.RLIMIT_FSIZE, limits.file_size),
            (resource.RLIMIT_AS, limits.memory),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))

    posix = os.name == "posix"
    with subprocess.Popen(
        [*network_prefix(), *command],
        cwd=folder, env=child_environment(home), text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=posix, preexec_fn=set_limits if posix else None,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limits.seconds)
            return Ended(status=process.returncode, output=output)
        except subprocess.TimeoutExpired:
            return Ended(status=None, output=f"stopped after {limits.seconds} s")
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process and those that it started, also where it has ended and they have not."""
    if os.name == "posix":
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
    else:
        process.kill()
    process.wait()
