"""Fetch the wheels of a chosen platform and Python, on any machine.

`pip download --platform` chooses files for another system, but asks *this* system whether a requirement such
as `pywinpty; os_name == "nt"` counts. So pip runs here with the other system's answers: `run_pip`.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OLDEST = (3, 10)
FAMILIES = "win_amd64, macosx_14_0_arm64, manylinux_2_28_x86_64, manylinux_2_28_aarch64"
NO_TORCH = (
    (r"macosx_\d+_\d+_x86_64", "torch 2.6 and newer has no wheels for Macs with an Intel chip"),
    (r"win_arm64", "torch has no wheels on pip's index for Windows on ARM"),
    (r"win32|.*_i686", "torch has no wheels for systems of 32 bits"),
    (r"musllinux_.*", "torch has no wheels for Alpine Linux and others with musl"),
)
# Beside the newest glibc, every older one will do.
OLDER = ("2014", "2010", "1", *(f"_2_{minor}" for minor in range(5, 28)))
MARKERS = """
import json, sys
import pip._vendor.packaging.markers as markers
theirs = json.loads(sys.argv.pop(1))
ours = markers.default_environment
markers.default_environment = lambda: ours() | theirs
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class BundleFailure(Exception):
    """A bundle cannot be made; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The machine that the wheels are for: a platform as wheels name it, and a Python such as (3, 12)."""

    platform: str
    python: tuple[int, int]

    @property
    def version(self) -> str:
        """Return the Python as text: "3.12"."""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def is_windows(self) -> bool:
        """Return whether this is Windows."""
        return self.platform.startswith("win")

    @property
    def is_linux(self) -> bool:
        """Return whether this is Linux."""
        return self.platform.startswith("manylinux")

    def tags(self) -> list[str]:
        """Return the platforms of wheels that run there, the best first."""
        if not self.is_linux:
            return [self.platform]
        minor, machine = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", self.platform).groups()
        older = [name for name in OLDER if not name.startswith("_2_") or int(name[3:]) < int(minor)]
        between = [f"_2_{m}" for m in range(28, int(minor))]
        return [self.platform, *(f"manylinux{name}_{machine}" for name in (*between[::-1], *older))]

    def markers(self) -> dict[str, str]:
        """Return what this machine's Python answers to the markers of requirements."""
        machine = self.platform.rsplit("_", 2 if self.platform.endswith("x86_64") else 1)
        names = {
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64" if self.platform.endswith("x86_64") else machine[-1],
            "platform_release": "",
            "platform_version": "",
        }
        if self.is_windows:
            names |= {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
            names["platform_machine"] = "AMD64"
        elif self.platform.startswith("macosx"):
            names |= {"sys_platform": "darwin", "platform_system": "Darwin"}
        versions = {"python_version": self.version, "python_full_version": f"{self.version}.0"}
        return (
            names | versions | {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
        )


def this_machine() -> str:
    """Return this machine's platform as wheels name it; on Linux with glibc 2.28, which torch needs."""
    name = re.sub(r"\W", "_", sysconfig.get_platform())
    if name.startswith("linux"):
        return f"manylinux_2_28_{platform.machine()}"
    return f"macosx_14_0_{platform.machine()}" if name.startswith("macosx") else name


def make_target(name: str = "", version: str = "") -> Target:
    """Return the target of a platform and a Python; "" means this machine's.

    Raises BundleFailure for a platform without wheels of torch, and for a Python that is too old.
    """
    name = name or this_machine()
    version = version or f"{sys.version_info[0]}.{sys.version_info[1]}"
    for pattern, reason in NO_TORCH:
        if re.fullmatch(pattern, name):
            raise BundleFailure(f"PLATFORM={name}: {reason}. There, use conda: see README.md")
    if not re.fullmatch(r"win_amd64|macosx_\d+_0_arm64|manylinux_2_\d+_(x86_64|aarch64)", name):
        raise BundleFailure(
            f"PLATFORM={name!r} is no platform of wheels that is known here. Give one of: {FAMILIES}"
        )
    glibc = re.match(r"manylinux_2_(\d+)_", name)
    if glibc and int(glibc[1]) < 28:
        raise BundleFailure(
            f"PLATFORM={name}: torch needs glibc 2.28. Give manylinux_2_28_x86_64 or a newer one"
        )
    if not re.fullmatch(r"3\.\d+", version):
        raise BundleFailure(
            f"PYTHON_VERSION={version!r} is no version of Python. Give two numbers, as in 3.12"
        )
    python = (3, int(version[2:]))
    if python < OLDEST:
        raise BundleFailure(f"PYTHON_VERSION={version} is too old: the kit needs Python 3.10 or newer")
    return Target(platform=name, python=python)


def answers(index: str) -> bool:
    """Return whether an index of packages answers within five seconds."""
    import urllib.request

    try:
        urllib.request.urlopen(f"{index}/torch/", timeout=5).close()
    except (OSError, ValueError):
        return False
    return True


def run_pip(target: Target, *arguments: str) -> None:
    """Run pip for another machine. Raises BundleFailure with pip's own words where it fails."""
    command = [sys.executable, "-c", MARKERS, json.dumps(target.markers()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = "\n".join(errors) or done.stderr.strip()
        raise BundleFailure(
            f"pip found no wheels for {target.platform} and Python {target.version}:\n{reason}"
        )


def download(target: Target, requirements: Sequence[str], folder: Path, index: str = "") -> list[Path]:
    """Fetch the wheels of the requirements, and of all that they need, into a folder; return their paths.

    index: of torch's builds for CPUs; "" takes the usual index alone. Raises BundleFailure without wheels.
    """
    options = ["download", "--quiet", "--only-binary=:all:", "--implementation=cp", "--dest", str(folder)]
    options += [f"--platform={tag}" for tag in target.tags()] + [f"--python-version={target.version}"]
    chosen = list(requirements)
    if index:
        torch = [name for name in requirements if name.startswith("torch")]
        run_pip(target, *options, "--no-deps", f"--index-url={index}", *torch)
        options.append(f"--find-links={folder}")
        chosen += [exactly(path) for path in sorted(folder.glob("torch*.whl"))]
    run_pip(target, *options, *chosen)
    return sorted(folder.glob("*.whl"))


def exactly(wheel: Path) -> str:
    """Return the requirement that only this wheel's version fulfils."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version}"
