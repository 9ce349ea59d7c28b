"""Pack the kit and all that it needs into one zip, for machines without a network.

    python notebooks/bundle.py DIR [--platform P] [--python-version V] [--torch-index URL]

`make bundle OUT=DIR PLATFORM=P PYTHON_VERSION=V` runs this. In the zip: the files of the kit that git has,
the wheels for that platform and Python, the pages of `make site` if they were made, programs that install and
open it, START.txt, and the checksums of all files.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wheels import CPU_INDEX, BundleFailure, Target, answers, download, make_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
BUILD_TOOLS = ("pip>=21.3", "setuptools>=77")  # what installs the kit itself
TEMPLATES = Path(__file__).resolve().parent / "bundle_files"


def read_requirements(root: Path = ROOT) -> list[str]:
    """Return what the kit needs, from pyproject.toml, and what installs it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *BUILD_TOOLS]


def kit_files(root: Path = ROOT) -> list[Path]:
    """Return the files of the kit that git has, as they are now. Raises BundleFailure without git."""
    command = ["git", "-c", f"safe.directory={root}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=root, capture_output=True)
    if done.returncode:
        raise BundleFailure(
            f"git cannot list the files of {root}: {done.stderr.decode(errors='replace').strip()}"
        )
    names = [name for name in done.stdout.decode("utf-8").split("\0") if name]
    return [root / name for name in names if (root / name).is_file()]


def start_files(target: Target) -> dict[str, bytes]:
    """Return START.txt and the programs that install and check a bundle: their names and contents."""
    files = {}
    for path in sorted(TEMPLATES.iterdir()):
        text = path.read_text(encoding="utf-8")
        text = text.replace("@PYTHON@", target.version).replace("@PLATFORM@", target.platform)
        ends = "\r\n" if path.suffix in (".bat", ".txt") else "\n"
        files[path.name] = text.replace("\n", ends).encode()
    return files


def contents(target: Target, wheels: Sequence[Path], root: Path = ROOT) -> Iterator[tuple[str, Path | bytes]]:
    """Yield the name of each file in the bundle, and its content or where it is."""
    yield from start_files(target).items()
    for path in kit_files(root):
        yield f"kit/{path.relative_to(root).as_posix()}", path
    for path in sorted((root / "site").rglob("*")):
        if path.is_file():
            yield f"site/{path.relative_to(root / 'site').as_posix()}", path
    for path in wheels:
        yield f"wheels/{path.name}", path


def write_bundle(path: Path, files: Mapping[str, Path | bytes]) -> int:
    """Write the zip whole or not at all, with the checksums of all its files; return its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    sums = []
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                data = content if isinstance(content, bytes) else content.read_bytes()
                sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
                add(archive, f"{path.stem}/{name}", data)
            add(archive, f"{path.stem}/SHA256SUMS", "".join(sums).encode())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add one file to a zip: always with the same date, and what is compressed already as it is."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
    packed = name.endswith((".whl", ".png", ".npz", ".safetensors", ".gz"))
    entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)


def torch_index(target: Target, wanted: str) -> str:
    """Return torch's index: `wanted`, on Linux that of its builds for CPUs if it answers, else ""."""
    if wanted or not target.is_linux:
        return wanted
    if answers(CPU_INDEX):
        return CPU_INDEX
    print(f"{CPU_INDEX} does not answer: torch comes from pip's own index, with CUDA, about 2.5 GB larger")
    return ""


def make_bundle(target: Target, folder: Path, index: str = "", root: Path = ROOT) -> tuple[Path, int]:
    """Fetch the wheels and write the zip into a folder; return its path and its size in bytes."""
    start_files(target), kit_files(root)  # before the download: what is missing should not cost ten minutes
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheels-") as place:
        wheels = download(target, read_requirements(root), Path(place), torch_index(target, index))
        files = dict(contents(target, wheels, root))
        path = folder / f"sskd-{target.platform}-python{target.version}.zip"
        return path, write_bundle(path, files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--platform", default="", help="as wheels name it; none means this machine's")
    parser.add_argument("--python-version", default="", help="such as 3.12; none means this one")
    parser.add_argument("--torch-index", default="", help="where torch comes from; none means the usual rule")
    options = parser.parse_args(arguments)
    try:
        target = make_target(options.platform, options.python_version)
        print(
            f"Fetching the wheels for {target.platform} and Python {target.version}; this takes minutes.",
            flush=True,
        )
        path, size = make_bundle(target, options.folder.expanduser().absolute(), options.torch_index)
    except BundleFailure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"{path}: {size / 1e6:,.0f} MB. Unpack it there, and read START.txt.")
    if not (ROOT / "site").is_dir():
        print("It has no pages to read without Python. `make site` makes them; then run this again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
