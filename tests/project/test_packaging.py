"""The entrance: two files that name the same dependencies, a light import, a clone that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from helpers.colab import VERSIONS
from helpers.commands import run

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
    *from_pip, kit = conda["dependencies"][-1]["pip"]  # what conda-forge does not have, and the kit
    assert found | {r.name: r.specifier for r in map(Requirement, from_pip)} == wanted
    assert kit == "-e ."


def test_conda_uses_conda_forge_alone(conda):
    assert conda["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml", "Makefile"])
def test_no_version_is_pinned(name):
    assert "==" not in (ROOT / name).read_text(encoding="utf-8")


def test_bounds_admit_colab(project):
    """Colab's preinstalled packages in 2026 satisfy every bound, so nothing there is ever upgraded."""
    bounds = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    both = VERSIONS.keys() & bounds.keys()
    assert {"torch", "torchvision", "numpy", "ipywidgets", "scikit-learn"} <= both
    assert [name for name in both if not bounds[name].contains(VERSIONS[name])] == []


HEAVY = {"matplotlib", "torchvision", "sklearn", "scipy", "ipywidgets", "seaborn", "pooch", "tqdm.notebook"}


def test_import_is_light():
    """`import sskd_lib` brings nothing that faces a notebook; benchmarks/import_time.py prints the time."""
    script = "import json, sys, torch; before = set(sys.modules); import sskd_lib; "
    done = run(
        sys.executable, "-c", script + "print(json.dumps(sorted(set(sys.modules) - before)))", cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert HEAVY.isdisjoint(json.loads(done.stdout))


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
    """And nothing twice: what `make test` leaves out comes after it; then the oldest packages."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    commands = [re.split(r"\s+#", line)[0].strip() for block in blocks for line in block.splitlines()]
    steps = ["make lint", "make test", "make test-rest", ".ci/lower-bounds"]
    assert script.strip().splitlines()[-4:] == steps
    assert "make test" in commands
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "lower-bounds"))


@pytest.mark.environment
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
            assert Path(place).is_relative_to(clone)
            assert size == "10000"
