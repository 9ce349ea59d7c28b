"""The entrance: two files that name the same dependencies, a Makefile, a light import, a clone that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "seaborn": "seaborn-base",
    "playwright": "playwright-python",
}


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output captured, free of an outer make's settings."""
    outer = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "PYTHON", "TORCH_INDEX", "LAB_FLAGS"}
    environment = {k: v for k, v in os.environ.items() if k not in outer | {"PYTEST_FLAGS", "SSKD_DATASET"}}
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True)


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def conda() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def test_conda_and_pip_name_the_same_dependencies(project, conda):
    lines = project["dependencies"] + project["optional-dependencies"]["test"]
    wanted = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in map(Requirement, lines)}
    found = {
        r.name: r.specifier
        for r in map(Requirement, filter(lambda d: isinstance(d, str), conda["dependencies"]))
    }
    assert str(found.pop("python")) == project["requires-python"]
    found.pop("pip")
    assert found == wanted
    assert conda["dependencies"][-1] == {"pip": ["-e ."]}


def test_conda_uses_conda_forge_alone(conda):
    assert conda["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml", "Makefile"])
def test_no_version_is_pinned(name):
    assert "==" not in (ROOT / name).read_text(encoding="utf-8")


def test_bounds_admit_colab(project):
    """Colab's preinstalled packages in 2026 satisfy every bound, so nothing there is ever upgraded."""
    colab = {
        "torch": "2.11.0+cu128",
        "torchvision": "0.26.0",
        "ipywidgets": "7.7.1",
        "matplotlib": "3.10.0",
        "scikit-learn": "1.6.1",
        "seaborn": "0.13.2",
        "numpy": "2.1.3",
    }
    bounds = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert [name for name, version in colab.items() if not bounds[name].contains(version)] == []


def test_import_is_light():
    """`import sskd_lib` costs at most 0.3 s more than torch, and brings nothing that faces a notebook."""
    script = (
        "import sys, time, json, torch; start = time.perf_counter(); import sskd_lib; "
        "print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))"
    )
    seconds = []
    for _ in range(5):
        done = run(sys.executable, "-c", script, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        took, modules = json.loads(done.stdout)
        heavy = {"matplotlib", "torchvision", "sklearn", "ipywidgets", "seaborn", "tqdm.notebook"}
        assert heavy.isdisjoint(modules)
        seconds.append(took)
        if took <= 0.3:
            return
    pytest.fail(f"import sskd_lib took {min(seconds):.2f} s beyond torch, at best")


def tracked_files() -> list[Path]:
    """The files that git holds."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    done = run("git", "ls-files", "-z", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_repository_stays_small():
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked_files()}
    assert {path: size for path, size in sizes.items() if size >= 10e6} == {}
    assert sum(sizes.values()) < 60e6


def test_ci_runs_the_readme_s_test_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = script.strip().splitlines()[-1]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    commands = [re.split(r"\s+#", line)[0].strip() for block in blocks for line in block.splitlines()]
    assert command == "make test" and command in commands
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.slow
def test_a_clone_in_a_fresh_environment_works(tmp_path):
    """Clone into a path with a space and an accent, install into a new environment, use it.

    The dependencies and pip are this environment's, by a .pth line.
    A real `make test` on a clean clone installs them anew.
    """
    if not (ROOT / ".git").exists() or run("git", "rev-parse", "HEAD", cwd=ROOT).returncode:
        pytest.skip("nothing is committed here")
    clone, venv = tmp_path / "a clone é", tmp_path / "environment"
    for step in (
        ["git", "clone", "--quiet", str(ROOT), str(clone)],
        [sys.executable, "-m", "venv", "--without-pip", str(venv)],
    ):
        done = run(*step, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    python = str(next(p for p in (venv / "bin" / "python", venv / "Scripts" / "python.exe") if p.exists()))
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = run(python, "-c", where, cwd=tmp_path).stdout.strip()
    Path(own, "outer.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = ["-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--editable", "."]
    use = "import sskd_lib as s; print(s.__file__); print(len(s.load_images('fashion-mnist-lab')))"
    for cwd, arguments in (
        (clone, install),
        (tmp_path, ["-c", use]),
        (tmp_path, ["-m", "sskd_lib", "--help"]),
        (clone, ["notebooks/build.py", "--check"]),
    ):
        done = run(python, *arguments, cwd=cwd, PYTHONPATH="")
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        if arguments[0] == "-c":
            place, size = done.stdout.splitlines()
            assert Path(place).is_relative_to(clone) and size == "10000"


# The Makefile, with a Python that only writes down what it is asked to do.

STUB = """#!/bin/sh
case "$1 $2" in
  "-c "*) case "$2" in *version_info*) exit ${OLD:-0};; *) exit ${BARE:-0};; esac;;
  "--version "*) echo "Python 3.8.1"; exit;;
  "-m venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
esac
echo "$*${SSKD_DATASET:+ on $SSKD_DATASET}" >> log
case "$2" in pip) exit ${BROKEN:-0};; esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile and a stub; returns a function that runs make and tells what Python did."""
    if not shutil.which("make") or os.name == "nt":
        pytest.skip("needs make")
    folder = tmp_path / "a kit é"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    stub = folder / "stub"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)

    def make(*arguments: str, **variables: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
        log = folder / "log"
        log.unlink(missing_ok=True)
        done = run("make", f"PYTHON={stub}", *arguments, cwd=folder, **variables)
        return (log.read_text(encoding="utf-8").splitlines() if log.exists() else []), done

    make.folder = folder
    return make


CREATE, INSTALL = "-m venv --clear .venv", "-m pip install --editable .[test]"


def test_make_creates_the_environment_once(checkout):
    assert checkout("test")[0] == [CREATE, INSTALL, "-m pytest"]
    assert checkout("test", "PYTEST_FLAGS=-x")[0] == ["-m pytest -x"]
    os.utime(checkout.folder / ".venv" / "ready", (1, 1))  # as if pyproject.toml had changed since
    assert checkout("test")[0] == [INSTALL, "-m pytest"]
    assert checkout("tour")[0] == ["notebooks/build.py --html build"]
    assert checkout("notebooks")[0] == ["notebooks/build.py"]


@pytest.mark.parametrize("update", [False, True])
def test_an_unfinished_environment_is_made_anew(checkout, update):
    if update:
        checkout("test")
        os.utime(checkout.folder / ".venv" / "ready", (1, 1))
    log, done = checkout("test", BROKEN="1")
    assert done.returncode != 0 and "-m pytest" not in log
    assert checkout("test")[0] == [CREATE, INSTALL, "-m pytest"]


def test_make_lab_opens_the_first_notebook_on_the_chosen_data(checkout):
    opened = "-m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"
    assert checkout("lab")[0][-1] == opened
    assert checkout("lab", SSKD_DATASET="cifar10")[0] == [f"{opened} on cifar10"]
    assert checkout("lab", "SSKD_DATASET=cifar10", "LAB_FLAGS=--no-browser")[0] == [
        f"{opened} --no-browser on cifar10"
    ]


def test_make_takes_torch_from_a_chosen_index(checkout):
    log, _ = checkout("test", "TORCH_INDEX=https://example.org/cpu")
    assert log == [
        CREATE,
        "-m pip install --index-url https://example.org/cpu torch torchvision",
        INSTALL,
        "-m pytest",
    ]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OLD": "1"}, ["3.10", "Python 3.8.1", "PYTHON=python3.12"]),
        ({"BARE": "1"}, ["apt install python3-venv"]),
    ],
)
def test_make_says_what_python_lacks(checkout, variables, said):
    log, done = checkout("lab", **variables)
    assert done.returncode != 0 and log == []
    assert [part for part in said if part not in done.stdout] == []


def test_make_says_that_there_is_no_python(checkout):
    log, done = checkout("lab", "PYTHON=python-nowhere")
    assert done.returncode != 0 and "python-nowhere" in done.stdout and "3.10" in done.stdout


def test_make_alone_lists_what_there_is(checkout):
    log, done = checkout()
    assert log == [] and done.returncode == 0
    for word in (
        "make lab",
        "make test",
        "make tour",
        "make notebooks",
        "TORCH_INDEX",
        "SSKD_DATASET",
        "PYTHON",
    ):
        assert word in done.stdout
