"""Commands as a person gives them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SETTINGS = {"PYTHON", "TORCH_INDEX", "LAB_FLAGS", "PYTEST_FLAGS", "WORKERS", "SSKD_DATASET"}
MAKE = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"}


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output captured, free of an outer make's settings."""
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS | MAKE}
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True)
