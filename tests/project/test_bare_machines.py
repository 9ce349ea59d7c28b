"""A notebook begins well without seaborn, without ipywidgets, and in a checkout that is read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import build

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
code = [cell for cell in notebook.cells if cell.cell_type == "code"]
last = next(i for i, cell in enumerate(code) if "lab.explore_temperature(" in cell.source)
notebook.cells = code[: last + 1]
NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(output.get("text", ""), output.get("data", {}).get("text/plain", ""), *output.get("data", {}))
"""
READ_ONLY = (
    'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1/notebooks" && shift && exec "$@"'
)


def begin(tmp_path: Path, *before: str, missing: str = "") -> subprocess.CompletedProcess[str]:
    """Run the first cells of notebook 01 in a kernel, up to its explorer; return what its cells wrote.

    before: of the command. missing: a module that cannot be imported there.
    """
    home, patch = tmp_path / "a home é", tmp_path / "patch"
    for folder in (home, patch):
        folder.mkdir()
    if missing:
        line = f"import sys; sys.modules[{missing!r}] = None\n"
        (patch / "sitecustomize.py").write_text(line, encoding="utf-8")
    variables = {key: value for key, value in os.environ.items() if not key.startswith("SSKD_")} | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHONPATH": os.pathsep.join((str(patch), str(ROOT))),
        "SSKD_PROGRESS": str(home / "progress.json"),
    }
    (source,) = build.find_sources(["01"])
    nbformat.write(build.read_source(source), tmp_path / "01.ipynb")
    command = [*before, sys.executable, "-c", BEGIN, str(tmp_path / "01.ipynb")]
    folder = ROOT / "notebooks"
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("missing", "says"),
    [("seaborn", "widget-view"), ("ipywidgets", "ipywidgets is not installed (pip install ipywidgets")],
)
def test_a_notebook_begins_without_a_package(missing, says, tmp_path) -> None:
    done = begin(tmp_path, missing=missing)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "soften: right in" in done.stdout and "image/png" in done.stdout
    assert says in done.stdout


@pytest.mark.notebook
def test_a_notebook_begins_in_a_checkout_that_is_read_only(tmp_path) -> None:
    unshare = shutil.which("unshare") or ""
    before = [unshare, "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh", str(ROOT)]
    touch = [*before, "touch", "may-not-be-written"]
    if not unshare or b"Read-only" not in subprocess.run(touch, capture_output=True).stderr:
        pytest.skip("this system lets nobody make a folder read-only for one process (unshare --mount)")
    done = begin(tmp_path, *before)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "soften: right in" in done.stdout and "widget-view" in done.stdout
    assert (tmp_path / "a home é" / "progress.json").is_file()
