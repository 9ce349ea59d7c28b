"""Peak memory of a row of step.py: one process a row, a few steps in each.

    python benchmarks/memory.py "kit"          # bytes, with what Python, torch and the networks take

On a CPU it is the highest resident memory of the process; on a GPU the most bytes that tensors had at once,
and the most that torch had reserved (a captured step holds its memory for good). A process that builds the
networks and takes no step is the zero of the figures of `peaks`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import tyro

import sskd_lib as sskd
from rows import Setting, builders, random_images
from sskd_lib.runtime.cuda_graph import WARM_UP
from sskd_lib.training.estimate import peak_memory
from timing import runtime_from_text, runtime_to_text

NOTHING = "nothing"
ROWS = ("kit, exact", "networks, exact", "kit", "networks, kit", "three students")


def peaks(setting: Setting, rows: tuple[str, ...] = ROWS) -> dict[str, dict[str, int]]:
    """Bytes at the peak of each row, above those of a process that only builds the networks."""
    zero = peak_in_own_process(NOTHING, setting)
    return {
        row: {name: value - zero[name] for name, value in peak_in_own_process(row, setting).items()}
        for row in rows
    }


def peak_in_own_process(row: str, setting: Setting) -> dict[str, int]:
    """Return the figures that `main` prints for a row."""
    command = [sys.executable, __file__, row, "--pair", *setting.pair, "--batch", str(setting.batch)]
    command += ["--classes", str(setting.data.num_classes), "--runtime", runtime_to_text(setting.kit)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process that measures the memory of {row!r} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def measure(row: str, setting: Setting) -> dict[str, int]:
    """Bytes at the peak of this process, which takes a few steps of a row."""
    device = setting.kit.device
    if row == NOTHING:
        built = [setting.kit.place(n) for n in (setting.teacher(), *setting.students())]  # noqa: F841 - alive
    else:
        made = builders(setting)[row]()
        made.runtime.prepare()
        for _ in range(WARM_UP + 2):
            made.take()
    if device.type == "cuda":
        return {"tensors": peak_memory(device), "reserved": torch.cuda.max_memory_reserved(device)}
    return {"resident": highest_resident(device)}


def highest_resident(device: torch.device) -> int:
    """Bytes. Linux's count of a child (ru_maxrss) begins with its parent's memory, so VmHWM is read."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return peak_memory(device)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main(
    row: tyro.conf.Positional[str],
    pair: tuple[str, str] = ("wrn_40_2", "wrn_16_2"),
    batch: int = 64,
    classes: int = 100,
    runtime: str = "",
) -> None:
    """Print the peak of a row, as JSON.

    Args:
        row: one of the rows of step.py, or "nothing".
        runtime: the kit's format as runtime_to_text writes it; empty: choose_runtime().
    """
    kit = runtime_from_text(runtime) if runtime else sskd.choose_runtime()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(
            pair=pair, batch=batch, data=random_images(2 * batch, classes), kit=kit, folder=Path(folder)
        )
        print(json.dumps(measure(row, setting)))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__.partition("\n")[0])
