"""Check the files of this bundle, make the environment .venv, and install the kit from wheels/ alone."""

import hashlib
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
WANTED, PLATFORM = "@PYTHON@", "@PLATFORM@"
SYSTEMS = {"win": "Windows", "macosx": "Darwin", "manylinux": "Linux"}


def wrong_machine():
    """Return why this machine is not the one that the bundle was made for; "" where it is."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    system = SYSTEMS[PLATFORM.split("_")[0]]
    machine = {"AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    wanted = "x86_64" if PLATFORM.endswith(("x86_64", "amd64")) else PLATFORM.rsplit("_", 1)[1]
    if version != WANTED:
        return f"This bundle needs Python {WANTED}, and this is {version}."
    if (platform.system(), machine) != (system, wanted):
        return (
            f"This bundle is for {PLATFORM}, and this machine is {platform.system()} on {platform.machine()}."
        )
    return ""


def broken_files():
    """Return the files that are missing or differ from their checksums."""
    broken = []
    for line in (HERE / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ", 1)
        file = HERE / name
        if name.startswith("kit/notebooks/") and file.is_file():
            continue  # a learner may have written into it, and install once more
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            broken.append(name)
    return broken


def install():
    """Make the environment and install the kit; return the exit status."""
    if reason := wrong_machine():
        print(reason)
        return 1
    if broken := broken_files():
        print("The bundle is damaged. Copy it once more. Broken or missing:", *broken[:5], sep="\n  ")
        return 1
    venv.create(HERE / ".venv", with_pip=True, clear=True, symlinks=os.name != "nt")
    python = str(HERE / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    pip = [python, "-m", "pip", "--isolated", "install", "--no-index", "--find-links", str(HERE / "wheels")]
    for what in (
        ["--upgrade", "pip"],
        ["setuptools>=77"],
        ["--no-build-isolation", "--editable", str(HERE / "kit")],
    ):
        if status := subprocess.run([*pip, "--quiet", *what]).returncode:
            print("The installation failed; the lines above say why. Send them to your teacher.")
            return status
    print("Installed. Now start", "lab.bat" if os.name == "nt" else "sh lab.sh")
    return 0


if __name__ == "__main__":
    sys.exit(install())
