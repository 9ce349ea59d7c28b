"""Every notebook in an imitation of Colab, as if opened from an address: an empty folder, nothing installed.

pytest tests/project/test_colab.py -s                            prints what was measured
SSKD_COLAB_NOTEBOOKS=all pytest tests/project/test_colab.py      all notebooks to their ends
SSKD_COLAB_ENVIRONMENT=DIR pytest tests/project/test_colab.py    makes the environment there, or takes it
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

import build
import colab as cells
from helpers import colab

pytestmark = pytest.mark.environment
NO_INDEX = re.compile("No matching distribution found|Could not fetch|Temporary failure|ConnectionError")
WHOLE, COMMANDS = "01_vanilla_kd", "06_train_on_gpu"  # run to its end; runs a command too
TO_THE_END = os.environ.get("SSKD_COLAB_NOTEBOOKS") == "all"
WIDGET = "application/vnd.jupyter.widget-view+json"
WHERE = "import sskd_lib; print(sskd_lib.__file__)"
STOPS = (CellExecutionError, CellTimeoutError, DeadKernelError)
COMMAND = "!python -m sskd_lib doctor"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment with Colab's versions; it is removed again where the caller has not named its place."""
    kept = os.environ.get("SSKD_COLAB_ENVIRONMENT")
    folder = Path(kept).absolute() if kept else tmp_path_factory.mktemp("colab") / "environment"
    if not folder.exists():
        python, start = colab.find_python(), time.perf_counter()
        if python is None:
            pytest.skip("there is no Python 3.12 or 3.13 here, as Colab has")
        done = colab.make_environment(python, folder)
        if done.returncode and NO_INDEX.search(done.stderr):
            pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
        print(f"\nthe environment: {time.perf_counter() - start:.0f} s")
    yield folder
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository with the working tree, in place of the one on GitHub."""
    if not (colab.ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    return colab.make_repository(tmp_path_factory.mktemp("repository"), cells.read_repository()[1])


def as_opened(source: Path) -> NotebookNode:
    """A notebook as Colab opens it. Without SSKD_COLAB_NOTEBOOKS=all most end after `lab.start()`."""
    notebook = build.read_source(source)
    if not TO_THE_END and source.stem != WHOLE:
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        start = next(i for i, cell in enumerate(code) if "lab.start()" in cell.source)
        notebook.cells = code[: start + 1]
    after = [COMMAND, WHERE] if source.stem == COMMANDS else [WHERE]
    notebook.cells += map(nbformat.v4.new_code_cell, after)
    return notebook


def run_there(source: Path, environment: Path, address: str, folder: Path) -> None:
    """Run one notebook: it fetches the kit without a word, and its explorers are live."""
    notebook, kernel = as_opened(source), colab.Kernel(environment, folder, address)
    start = time.perf_counter()
    kernel.run(notebook)
    print(
        f"{source.stem}: {time.perf_counter() - start:.0f} s, fetching {fetching(notebook):.1f} s", flush=True
    )
    outputs = colab.outputs_of(notebook)
    assert not outputs[0][1], "the cell that fetches the kit printed something"
    for code, shown in outputs:
        assert any(WIDGET in output.get("data", {}) for output in shown) or "lab.explore_" not in code
    doctor, place = (colab.printed(shown) for _, shown in outputs[-2:])
    assert Path(place.strip()).is_relative_to(kernel.folder / "sskd-kit")
    if source.stem == COMMANDS:
        assert "All is well." in doctor and "jupyterlab" not in doctor
        assert "[ok]      ipywidgets: 7.7.1" in doctor and "[ok]      torch: 2.11.0" in doctor


def fetching(notebook: NotebookNode) -> float:
    """Seconds that the first code cell took, by the times that the kernel sent."""
    (cell,) = [cell for cell in notebook.cells if cell.id == "colab-kit"]
    times = [cell.metadata.execution[key] for key in ("iopub.status.busy", "iopub.status.idle")]
    begin, end = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in times)
    return (end - begin).total_seconds()


def test_every_notebook_runs_where_there_is_nothing_but_colab(environment, address, tmp_path) -> None:
    """And Colab's packages stay as they are. One test for all, so that only one environment is made."""
    before, failures = colab.installed(environment), {}
    for source in build.find_sources():
        try:
            run_there(source, environment, address, tmp_path / source.stem / "content")
        except (*STOPS, AssertionError) as failure:
            failures[source.stem] = str(failure)[-2000:]
    after = colab.installed(environment)
    names = {package.partition("-")[0].lower() for package in after - before}
    assert before <= after and names <= {"tyro", "docstring_parser"}
    assert not failures, "\n\n".join(f"{name}: {text}" for name, text in failures.items())
