"""The Makefile, with a Python that only writes down what it is asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.commands import run

ROOT = Path(__file__).resolve().parents[2]
STUB = """#!/bin/sh
case "$1 $2" in
  "-c "*) case "$2" in
    *version_info*) exit ${OLD:-0};;
    *urlopen*) echo "asks $2" >> log; exit ${OFFLINE:-1};;
    *) exit ${BARE:-0};;
  esac;;
  "--version "*) echo "Python 3.8.1"; exit;;
  "-m venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/lint-imports;;
esac
case "$0" in */lint-imports) echo lint-imports >> log; exit;; esac
echo "$*${SSKD_DATASET:+ on $SSKD_DATASET}" >> log
case "$2" in pip) exit ${BROKEN:-0};; esac
"""


SYSTEM = {"nvidia-smi": "exit ${GPU:-0}", "uname": 'echo "${SYSTEM:-Linux}"'}  # with a GPU, unless told so


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and a stub; returns a function that runs make and tells what Python did.

    The machine has Linux and a GPU. Variables: GPU="1", it has none; SYSTEM="…", another system; OFFLINE="0",
    the index of builds for CPUs answers.
    """
    if not shutil.which("make") or os.name == "nt":
        pytest.skip("needs make")
    folder = tmp_path / "a kit é"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    stub = folder / "stub"
    stub.write_text(STUB, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name, line in SYSTEM.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    for program in (stub, *(tmp_path / "bin").iterdir()):
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def make(*arguments: str, **variables: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
        log = folder / "log"
        log.unlink(missing_ok=True)
        done = run("make", f"PYTHON={stub}", *arguments, cwd=folder, PATH=path, **variables)
        return (log.read_text(encoding="utf-8").splitlines() if log.exists() else []), done

    make.folder = folder
    return make


CREATE, PIP = "-m venv --clear .venv", "-m pip install --quiet pip>=21.3"
INSTALL, FOR_TESTS = "-m pip install --editable .", "-m pip install --editable .[test]"
GRADER = "-m pip install --editable .[grading]"
MADE = [CREATE, PIP, INSTALL, FOR_TESTS]
LONG = "notebook or browser or environment or kill"
TEST = f"-m pytest -n 2 --dist worksteal -m not ({LONG})"
REST = f"-m pytest -n 2 --dist worksteal -m {LONG}"


def test_make_creates_the_environment_once(checkout):
    assert checkout("test")[0] == [*MADE, TEST]
    assert checkout("test", "PYTEST_FLAGS=-x")[0] == [f"{TEST} -x"]
    os.utime(checkout.folder / ".venv" / "ready", (1, 1))  # as if pyproject.toml had changed since
    assert checkout("test")[0] == [PIP, INSTALL, FOR_TESTS, TEST]
    assert checkout("tour")[0] == ["notebooks/build.py --html build"]
    assert checkout("notebooks")[0] == ["notebooks/build.py"]


def test_make_colab_passes_repository_and_branch_on(checkout):
    """Those of the command line alone: a BRANCH in the environment is often another program's."""
    checkout("test")
    assert checkout("colab", "REPO=ada/kit", BRANCH="theirs")[0] == ["notebooks/colab.py ada/kit main"]
    assert checkout("colab", "REPO=ada/kit", "BRANCH=x")[0] == ["notebooks/colab.py ada/kit x"]
    assert checkout("colab", REPO="theirs/kit")[0] == ["notebooks/colab.py  main"]


def test_make_writes_copies_for_a_class(checkout):
    """OUT names the folder, which may have spaces; one from the environment is another program's."""
    checkout("test")
    for kind in ("student", "instructor"):
        program = f"notebooks/variants.py {kind}"
        assert checkout(kind, OUT="theirs")[0] == [f"{program} build/{kind}"]
        assert checkout(kind, "OUT=a class é")[0] == [f"{program} a class é"]
    assert checkout("class")[0] == ["notebooks/classroom.py folder build/class"]
    branch = "notebooks/classroom.py branch ada/kit --branch"
    assert checkout("class", "REPO=ada/kit")[0] == [f"{branch}=student"]
    assert checkout("class", "REPO=ada/kit", "BRANCH=autumn")[0] == [f"{branch}=autumn"]


def test_make_installs_nbgrader_once_and_only_to_grade(checkout):
    assert checkout("assignments")[0] == [*MADE, GRADER, "notebooks/assignments.py build/assignments"]
    assert checkout("assignments", "OUT=x")[0] == ["notebooks/assignments.py x"]
    assert checkout("grade", "SUBMISSIONS=their work")[0] == [
        "notebooks/grade.py build/assignments their work"
    ]
    log, done = checkout("grade")
    assert log == [] and done.returncode != 0 and "make grade SUBMISSIONS=folder" in done.stdout


def test_make_bundle_passes_the_chosen_machine_on(checkout):
    checkout("test")
    program = "notebooks/bundle.py"
    assert checkout("bundle", PLATFORM="theirs")[0] == [
        f"{program} build/bundle --platform= --python-version= --torch-index="
    ]
    assert checkout("bundle", "PLATFORM=win_amd64", "PYTHON_VERSION=3.12", "OUT=x", "TORCH_INDEX=i")[0] == [
        f"{program} x --platform=win_amd64 --python-version=3.12 --torch-index=i"
    ]


def test_make_lab_leaves_what_only_tests_need_to_make_test(checkout):
    assert checkout("lab")[0][:-1] == [CREATE, PIP, INSTALL]
    assert checkout("test")[0] == [FOR_TESTS, TEST]
    assert len(checkout("lab")[0]) == 1


def test_make_test_all_runs_every_test_once(checkout):
    assert checkout("test-all")[0] == [*MADE, TEST, REST]
    assert checkout("test-rest", "WORKERS=4", "PYTEST_FLAGS=-x")[0] == [REST.replace("-n 2", "-n 4") + " -x"]


def test_make_lint_runs_every_check(checkout):
    checkout("test")
    rest = ["lint-imports", "-m mypy", "notebooks/build.py --check"]
    assert checkout("lint")[0] == ["-m ruff check .", "-m ruff format --check .", *rest]


@pytest.mark.parametrize("update", [False, True])
def test_an_unfinished_environment_is_made_anew(checkout, update):
    if update:
        checkout("test")
        os.utime(checkout.folder / ".venv" / "ready", (1, 1))
    log, done = checkout("test", BROKEN="1")
    assert done.returncode != 0
    assert TEST not in log
    assert checkout("test")[0] == [*MADE, TEST]


def test_make_lab_opens_the_first_notebook_on_the_chosen_data(checkout):
    opened = "-m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"
    assert checkout("lab")[0][-1] == opened
    assert checkout("lab", SSKD_DATASET="cifar10")[0] == [f"{opened} on cifar10"]
    assert checkout("lab", "SSKD_DATASET=cifar10", "LAB_FLAGS=--no-browser")[0] == [
        f"{opened} --no-browser on cifar10"
    ]


def test_make_takes_torch_from_a_chosen_index(checkout):
    log, _ = checkout("test", "TORCH_INDEX=https://example.org/cpu")
    assert log == [CREATE, PIP, TORCH.format("https://example.org/cpu"), INSTALL, FOR_TESTS, TEST]


CPU = "https://download.pytorch.org/whl/cpu"
ONLINE = {"GPU": "1", "OFFLINE": "0"}
TORCH = "-m pip install --index-url {} torch torchvision"


@pytest.mark.parametrize(
    ("variables", "asks", "index", "says"),
    [
        ({}, False, None, ""),  # a GPU
        (ONLINE, True, CPU, f"torch comes in its build for CPUs, from {CPU}"),
        ({"GPU": "1", "OFFLINE": "1"}, True, None, f"{CPU} does not answer: torch comes from pip's own"),
        (ONLINE | {"SYSTEM": "Darwin"}, False, None, ""),
        (ONLINE | {"TORCH_INDEX": "https://example.org"}, False, "https://example.org", ""),
    ],
)
def test_make_takes_the_build_for_cpus_where_it_is_enough(checkout, variables, asks, index, says):
    log, done = checkout("lab", **variables)
    questions = [line for line in log if line.startswith("asks")]
    assert len(questions) == asks
    assert all(f'urlopen("{CPU}/torch/", timeout=5)' in line for line in questions)
    steps = [line for line in log if line not in questions]
    assert steps[:-1] == [CREATE, PIP, *([TORCH.format(index)] if index else []), INSTALL]
    assert says in done.stdout
    assert ("torch comes" in done.stdout) == bool(says)
    os.utime(checkout.folder / ".venv" / "ready", (1, 1))
    again = checkout("lab", **{k: v for k, v in variables.items() if k != "TORCH_INDEX"})[0]
    assert again[:-1] == [PIP, INSTALL]  # torch stays what it is


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"OLD": "1"}, ["3.10", "Python 3.8.1", "PYTHON=python3.12"]),
        ({"BARE": "1"}, ["apt install python3-venv"]),
    ],
)
def test_make_says_what_python_lacks(checkout, variables, parts):
    log, done = checkout("lab", **variables)
    assert done.returncode != 0
    assert log == []
    assert [part for part in parts if part not in done.stdout] == []


def test_make_says_that_there_is_no_python(checkout):
    _, done = checkout("lab", "PYTHON=python-nowhere")
    assert done.returncode != 0
    assert "python-nowhere" in done.stdout
    assert "3.10" in done.stdout


def test_make_alone_lists_what_there_is(checkout):
    log, done = checkout()
    assert log == []
    assert done.returncode == 0
    for word in (
        "make lab",
        "make test",
        "make tour",
        "make notebooks",
        "make colab",
        "make student",
        "make instructor",
        "make assignments",
        "make grade",
        "make bundle",
        "make class",
        "OUT",
        "PLATFORM",
        "TORCH_INDEX",
        "SSKD_DATASET",
        "PYTHON",
    ):
        assert word in done.stdout
