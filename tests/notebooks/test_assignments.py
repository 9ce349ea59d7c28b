"""Assignments: what is graded, and the marks that nbgrader gives to right, empty, wrong and evil work."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import nbformat
import pytest

import assignments
import build
import grade
import restricted
import variants
from helpers.commands import run
from kernels import NotebookFailure

SOURCES = [s for s in build.find_sources() if any(map(variants.is_exercise, build.read_source(s).cells))]
NAME = "01_vanilla_kd"


def marked(notebook) -> dict[str, nbformat.NotebookNode]:
    """The cells of an assignment that nbgrader knows, by their names."""
    return {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_each_exercise_has_one_locked_cell_with_points(source) -> None:
    notebook = assignments.assignment(source)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    cells = marked(notebook)
    imports = cells.pop("imports")
    assert imports.metadata.nbgrader.locked and not imports.metadata.nbgrader.grade
    exercises = [name.removeprefix("solution-") for name in cells if name.startswith("solution-")]
    assert set(cells) == {f"{kind}-{name}" for name in exercises for kind in ("solution", "test")}
    order = list(cells)
    for name in exercises:
        written, test = cells[f"solution-{name}"], cells[f"test-{name}"]
        assert order.index(f"test-{name}") == order.index(f"solution-{name}") + 1
        assert written.metadata.nbgrader.solution and not written.metadata.nbgrader.locked
        assert "# BEGIN SOLUTION" in written.source and not written.metadata.nbgrader.grade
        assert test.source == f'lab.require("{name}", {name})'
        mark = test.metadata.nbgrader
        assert mark.locked and mark.grade and not mark.solution and mark.points > 0


def test_one_cell_has_the_imports_of_all() -> None:
    source = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(
        cells=[
            source("import math, os\nx = 1\nfrom a import b as c"),
            nbformat.v4.new_markdown_cell("import nothing"),
            source("%pip list\nimport math, os\nprint('import z')\nimport a.b"),
        ]
    )
    lines = assignments.imports_of(notebook).source.splitlines()
    assert lines[1:] == ["import math, os", "from a import b as c", "import a.b"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_points_are_given_before_the_kit_s_function_takes_the_place_of_a_wrong_one(source) -> None:
    seen: list[str] = []
    for cell in assignments.assignment(source).cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("grade"):
            seen.append(mark["grade_id"].removeprefix("test-"))
        for name in (e for e in assignments.EXERCISES if f"{e} = lab.checked(" in cell.source):
            assert name in seen


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_questions_give_no_points_and_trainings_are_left_out_of_grading(source) -> None:
    for cell in assignments.assignment(source).cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "nbgrader" not in cell.metadata:
            assert (assignments.SKIP in tags) == (cell.id != "colab-kit"), cell.source
        if re.search(r"lab\.(recall|exit_ticket|predict|reveal)\(", cell.source):
            assert "nbgrader" not in cell.metadata


def test_an_exercise_without_a_check_is_refused() -> None:
    cell = nbformat.v4.new_code_cell("def f():\n    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION")
    for line in ("", '\n\n\nlab.check("no such exercise", f)'):
        cell.source += line
        with pytest.raises(NotebookFailure, match="an exercise needs a line lab.check"):
            list(assignments.graded_cells(cell))


def test_a_course_without_nbgrader_says_how_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", make_empty_python(tmp_path))
    with pytest.raises(NotebookFailure, match="make assignments"):
        assignments.nbgrader(tmp_path, "validate")


def make_empty_python(folder: Path) -> str:
    """A Python without packages."""
    done = run(sys.executable, "-m", "venv", "--without-pip", str(folder / "empty"), cwd=folder)
    assert done.returncode == 0
    return str(folder / "empty" / "bin" / "python")


def test_submissions_must_lie_as_nbgrader_wants_them(tmp_path) -> None:
    course, handed_in = tmp_path / "course", tmp_path / "handed in"
    with pytest.raises(NotebookFailure, match="has no assignments"):
        list(grade.find_submissions(course, handed_in))
    (course / "release" / NAME).mkdir(parents=True)
    with pytest.raises(NotebookFailure, match=f"ada/{NAME}/{NAME}.ipynb"):
        list(grade.find_submissions(course, handed_in))
    for student, name in (("ada", NAME), ("é o", NAME)):
        (handed_in / student / name).mkdir(parents=True)
        (handed_in / student / name / f"{name}.ipynb").touch()
    found = [(student, name) for student, name, _ in grade.find_submissions(course, handed_in)]
    assert found == [("ada", NAME), ("é o", NAME)]
    (handed_in / "ada" / NAME / "other.ipynb").touch()
    with pytest.raises(NotebookFailure, match="other.ipynb belongs to no assignment"):
        list(grade.find_submissions(course, handed_in))


posix = pytest.mark.skipif(os.name == "nt", reason="limits of memory and files need POSIX")
BAD = {
    "memory": ("bytearray(3 * 2**30)", "MemoryError"),
    "file": ("open('big', 'wb').write(bytes(2**21))", "OSError"),
    "home": ("open(os.path.expanduser('~/.secret'))", "FileNotFoundError"),
    "variable": ("os.environ['SECRET']", "KeyError"),
    "network": ("socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)", "ConnectionRefusedError"),
}


@posix
@pytest.mark.parametrize("what", BAD)
def test_a_restricted_process_cannot(what, tmp_path, monkeypatch) -> None:
    """And the same command can, outside."""
    import socket

    if what == "network" and not restricted.network_prefix():
        pytest.skip("unshare cannot take the network away here")
    code, error = BAD[what]
    (tmp_path / ".secret").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SECRET", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        script = (
            f"import os, socket, sys\ntry:\n    {code}\nexcept Exception as e:\n    print(type(e).__name__)"
        )
        command = [sys.executable, "-c", script, port]
        assert run(*command, cwd=tmp_path).stdout == ""
        limits = restricted.Limits(seconds=60, memory=2**30, file_size=2**20)
        ended = restricted.run_restricted(command, tmp_path, tmp_path / "home", limits)
    assert (ended.status, ended.output.strip()) == (0, error)


@posix
def test_a_process_whose_time_is_over_ends_with_all_that_it_started(tmp_path) -> None:
    child = "import time\nwhile True:\n    open('alive', 'a').write('x'); time.sleep(0.05)"
    script = (
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(600)"
    )
    limits = restricted.Limits(seconds=5)
    ended = restricted.run_restricted([sys.executable, "-c", script], tmp_path, tmp_path / "home", limits)
    assert ended.status is None and "stopped after 5 s" in ended.output
    size = (tmp_path / "alive").stat().st_size
    time.sleep(0.5)
    assert size > 0 and (tmp_path / "alive").stat().st_size == size


@pytest.fixture(scope="module")
def nbgrader_python(tmp_path_factory) -> str:
    """A Python that has nbgrader: this one, or a new environment above this one's packages (about 80 MB)."""
    if run(sys.executable, "-m", "nbgrader", "--version", cwd=build.NOTEBOOKS).returncode == 0:
        return sys.executable
    venv = tmp_path_factory.mktemp("nbgrader") / "environment"
    assert run(sys.executable, "-m", "venv", "--without-pip", str(venv), cwd=venv.parent).returncode == 0
    python = str(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    where = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv
    ).stdout.strip()
    outer = [sysconfig.get_path("purelib"), str(build.NOTEBOOKS.parent)]
    Path(where, "outer.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "nbgrader>=0.9.6"]
    done = run(*install, cwd=venv)
    if done.returncode:
        pytest.skip(f"nbgrader cannot be installed here: {done.stderr.strip()[-300:]}")
    return python


def submit(folder: Path, student: str, notebook, **functions: str) -> nbformat.NotebookNode:
    """Hand in a copy of a notebook in which some functions are written."""
    work = copy.deepcopy(notebook)
    for name, code in functions.items():
        marked(work)[f"solution-{name}"].source = code
    path = folder / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(work, path)
    return work


@pytest.mark.environment
def test_nbgrader_gives_right_marks(nbgrader_python, tmp_path) -> None:
    course, handed_in = tmp_path / "a course é", tmp_path / "handed in é"

    def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(nbgrader_python, str(build.NOTEBOOKS / name), *arguments, cwd=tmp_path)

    done = program("assignments.py", str(course), "01")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        f"{NAME}: 6 points (soften 2, kd_loss 2, kd_gradient 2); solutions get all, stubs none" in done.stdout
    )
    released = nbformat.read(course / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    nbformat.validate(released)
    assert "SOLUTION" not in "".join(c.source for c in released.cells)
    solved = marked(nbformat.read(course / "source" / NAME / f"{NAME}.ipynb", as_version=4))
    right = {name: solved[f"solution-{name}"].source for name in ("soften", "kd_loss", "kd_gradient")}
    for name, cell in marked(released).items():
        assert name.startswith("solution-") == cell.metadata.get("editable", True)

    submit(handed_in, "perfect é", released, **right)
    submit(handed_in, "empty", released)
    faulty = right | {"kd_loss": "def kd_loss(student, teacher, tau):\n    return tau * teacher.mean()"}
    submit(handed_in, "faulty", released, **faulty)
    cheat = submit(handed_in, "cheat", released, **right | {"soften": "soften = None"})
    marked(cheat)["test-soften"].source = "pass"
    nbformat.write(cheat, handed_in / "cheat" / NAME / f"{NAME}.ipynb")
    submit(
        handed_in,
        "endless",
        released,
        **right | {"soften": "def soften(logits, tau):\n    while True:\n        pass"},
    )
    submit(handed_in, "broken", released)
    (handed_in / "broken" / NAME / f"{NAME}.ipynb").write_text("{ no", encoding="utf-8")

    done = program("grade.py", str(course), str(handed_in))
    lines = [line.split(NAME)[1].split(maxsplit=3) for line in done.stdout.splitlines() if " of 6" in line]
    names = [line.split(NAME)[0].strip() for line in done.stdout.splitlines() if " of 6" in line]
    marks = {name: float(parts[0]) for name, parts in zip(names, lines, strict=True)}
    assert marks == {"perfect é": 6, "empty": 0, "faulty": 4, "cheat": 4, "endless": 4, "broken": 0}, (
        done.stdout
    )
    assert done.returncode == 1 and "NotJSONError" in done.stdout
    assert "a container is safer" in done.stdout
