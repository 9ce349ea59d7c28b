"""Run a notebook in a fresh kernel, and keep of its outputs what a page without a kernel can show."""

from __future__ import annotations

import math
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
LIMIT_SECONDS = 1200.0  # a notebook that takes longer hangs, and is stopped
WIDGET = "application/vnd.jupyter.widget-view+json"
# The high-water mark of the kernel's own memory in MB; prints nothing on Windows.
PEAK_MEMORY = """
import os, sys
if os.path.exists("/proc/self/status"):
    print(next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmHWM")))
elif sys.platform == "darwin":
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


class NotebookFailure(Exception):
    """A notebook did not run, or is not fit to be published; the message says which cell and why."""


@dataclass
class Result:
    """What became of one notebook: seconds of running, the kernel's peak memory, bytes written."""

    name: str
    seconds: float = math.nan
    peak_mb: float = math.nan
    size: int = 0
    failure: str = ""


def kernel_environment(profile: str, dataset: str | None = None, pictures: str = "1") -> dict[str, str]:
    """Return a publishing kernel's variables: static outputs, this checkout's library, no user profile.

    pictures: what explorers become: "1", still pictures; "page", HTML that moves without a kernel.
    """
    variables = {key: value for key, value in os.environ.items() if key != "SSKD_DATASET"}
    if dataset:
        variables["SSKD_DATASET"] = dataset
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return variables | {
        "SSKD_STATIC": pictures,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "IPYTHONDIR": profile,
    }


def execute(
    notebook: NotebookNode,
    name: str,
    folder: Path,
    limit: float = LIMIT_SECONDS,
    dataset: str | None = None,
    pictures: str = "1",
) -> Result:
    """Run the notebook in place, in a fresh kernel inside `folder`, and clean its outputs.

    Raises NotebookFailure with the cell and its error, or when `limit` seconds have passed.
    """
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout_func=lambda cell: max(1, math.ceil(start + limit - time.perf_counter())),
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        iopub_timeout=60,
        raise_on_iopub_timeout=True,  # on a busy machine, rather late outputs than lost ones
    )
    cells, probe = list(notebook.cells), nbformat.v4.new_code_cell(PEAK_MEMORY)
    notebook.cells.append(probe)
    index, cell = 0, probe
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            environment = kernel_environment(profile, dataset, pictures)
            with client.setup_kernel(cwd=str(folder), env=environment):
                for index, cell in enumerate(cells):
                    client.execute_cell(cell, index)
                seconds = time.perf_counter() - start
                client.execute_cell(probe, len(cells))
    except CellExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback).rstrip()
        raise NotebookFailure(f"{name}: cell {index} raised {error.ename}\n{trace}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        reason = "died" if isinstance(error, DeadKernelError) else f"was stopped after {limit:.0f} s"
        raise NotebookFailure(f"{name}: the kernel {reason} in cell {index}:\n{cell.source}") from None
    finally:
        notebook.cells.remove(probe)
    peak = float(probe.outputs[0].text) if probe.outputs else math.nan
    for line in clean(notebook):
        print(f"{name}: left out of the notebook, from stderr: {line}", file=sys.stderr)
    return Result(name, seconds, peak)


def clean(notebook: NotebookNode) -> list[str]:
    """Take away what a page without a kernel cannot use; return the lines that stood on stderr."""
    notebook.metadata.pop("widgets", None)
    lines: list[str] = []
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        kept = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                lines += output.text.splitlines()
            elif not (WIDGET in output.get("data", {}) and set(output.data) <= {WIDGET, "text/plain"}):
                output.get("data", {}).pop(WIDGET, None)
                kept.append(output)
        if "outputs" in cell:
            cell.outputs = kept
    return lines
