"""The bundle: the kit with the wheels of a chosen machine, and its installation without a network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags, sys_tags

import build
import bundle
import wheels
from helpers.commands import run
from restricted import network_prefix

ROOT = Path(__file__).resolve().parents[2]
WINDOWS = wheels.make_target("win_amd64", "3.12")
MAC = wheels.make_target("macosx_14_0_arm64", "3.13")
ARM = wheels.make_target("manylinux_2_34_aarch64", "3.10")
LINUX = wheels.make_target("manylinux_2_28_x86_64", "3.11")
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.mark.parametrize(
    ("platform", "python", "words"),
    [
        ("macosx_11_0_x86_64", "3.12", "Macs with an Intel chip.*conda"),
        ("win_arm64", "3.12", "Windows on ARM.*conda"),
        ("win32", "3.12", "systems of 32 bits"),
        ("manylinux_2_28_i686", "3.12", "systems of 32 bits"),
        ("musllinux_1_2_x86_64", "3.12", "Alpine"),
        ("manylinux_2_17_x86_64", "3.12", "torch needs glibc 2.28"),
        ("windows", "3.12", "no platform of wheels.*win_amd64, macosx_14_0_arm64"),
        ("win_amd64", "3.9", "too old.*3.10"),
        ("win_amd64", "2.7", "two numbers"),
        ("win_amd64", "3", "two numbers"),
        ("win_amd64", "3.12.1", "two numbers"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(platform, python, words, tmp_path, capsys):
    with pytest.raises(wheels.BundleFailure, match=words):
        wheels.make_target(platform, python)
    options = ["--platform", platform, "--python-version", python]
    assert bundle.main([str(tmp_path / "out"), *options]) == 1
    output = capsys.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "true", "false"),
    [
        (WINDOWS, "os_name == 'nt' and platform_machine == 'AMD64'", "sys_platform == 'linux'"),
        (MAC, "platform_system == 'Darwin' and platform_machine == 'arm64'", "platform_system == 'Linux'"),
        (LINUX, "platform_system == 'Linux' and platform_machine == 'x86_64'", "os_name == 'nt'"),
        (ARM, "platform_machine == 'aarch64'", "python_version >= '3.11'"),
    ],
)
def test_requirements_are_read_with_the_other_machine_s_answers(target, true, false):
    version = f"python_version == '{target.version}' and python_full_version >= '{target.version}'"
    assert Marker(f"{true} and {version}").evaluate(target.markers())
    assert not Marker(false).evaluate(target.markers())


def test_a_linux_takes_every_wheel_for_an_older_glibc():
    """The tags that `packaging` counts for this machine, as far as they are not newer than the target."""
    names = wheels.make_target("manylinux_2_31_x86_64", "3.12").tags()
    assert names[:4] == [f"manylinux_2_{minor}_x86_64" for minor in (31, 30, 29, 28)]
    assert len(set(names)) == len(names)
    assert {
        "manylinux2014_x86_64",
        "manylinux2010_x86_64",
        "manylinux1_x86_64",
        "manylinux_2_17_x86_64",
    } <= set(names)
    assert "manylinux_2_34_x86_64" not in names


def test_this_machine_is_a_target_whose_wheels_run_here():
    if not (sys.platform.startswith("linux") or sys.platform in ("win32", "darwin")):
        pytest.skip("no wheels of torch for this system")
    target = wheels.make_target()
    assert target.version == HERE
    ours = {tag.platform for tag in sys_tags()}
    if sys.platform.startswith("linux") and f"{target.platform}" not in ours:
        pytest.skip("this Linux has no glibc 2.28")
    python, names = target.python, target.tags()
    every = [*cpython_tags(python, platforms=names), *compatible_tags(python, platforms=names)]
    theirs = {tag.platform for tag in every}
    assert theirs <= ours | {"any"}


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """The files of this kit as git would have them after a commit, in a repository of their own."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    root = tmp_path_factory.mktemp("bundle") / "kit"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "shared/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (first,) = build.find_sources(["01"])  # as it is built next; the committed one may be older
    built = root / "notebooks" / f"{first.stem}.ipynb"
    built.write_text(nbformat.writes(build.read_source(first)), encoding="utf-8")
    for arguments in (["init", "--quiet"], ["add", "-A"]):
        assert run("git", *arguments, cwd=root).returncode == 0
    (root / "private.txt").write_text("marks", encoding="utf-8")
    return root


def test_a_bundle_has_the_kit_the_wheels_and_right_checksums(kit, tmp_path):
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    (kit / "site").mkdir(exist_ok=True)
    (kit / "site" / "index.html").write_text("pages", encoding="utf-8")
    path = tmp_path / "out é" / "sskd-win.zip"
    size = bundle.write_bundle(path, dict(bundle.contents(WINDOWS, [wheel], kit)))
    assert size == path.stat().st_size and [p.name for p in path.parent.iterdir()] == ["sskd-win.zip"]
    with zipfile.ZipFile(path) as archive:
        files = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
        assert {name.split("/")[0] for name in archive.namelist()} == {"sskd-win"}
        assert archive.getinfo("sskd-win/install.sh").external_attr >> 16 == 0o755
    sums = dict(reversed(line.split("  ", 1)) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert {"START.txt", "install.sh", "install.bat", "install.py", "lab.sh", "lab.bat"} <= files.keys()
    assert {"wheels/a-1-py3-none-any.whl", "site/index.html"} <= files.keys()
    assert {"kit/pyproject.toml", "kit/docs/by_hand.md", "kit/notebooks/00_start_here.ipynb"} <= files.keys()
    assert any(name.startswith("kit/data/weights/") for name in files)
    assert "kit/private.txt" not in files
    again = tmp_path / "again" / "sskd-win.zip"
    bundle.write_bundle(again, dict(bundle.contents(WINDOWS, [wheel], kit)))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("target", [WINDOWS, MAC, LINUX])
def test_start_has_three_steps_for_each_system_and_names_the_python(target):
    files = {name: data.decode() for name, data in bundle.start_files(target).items()}
    start = files["START.txt"].replace("\r\n", "\n")
    for system in ("Windows", "macOS", "Linux"):
        steps = start.split(f"\n{system}\n")[1].split("\n\n")[0].splitlines()
        assert [step.strip()[:2] for step in steps] == ["1.", "2.", "3."]
    assert f"{target.platform} and Python {target.version}" in start
    assert not any(
        "@" in files[name].replace("$@", "").replace('"$@"', "").replace("@echo", "") for name in files
    )
    assert files["install.bat"].count("\r\n") == files["install.bat"].count("\n")
    assert "\r" not in files["install.sh"]


def test_every_shell_program_of_a_bundle_can_be_parsed(tmp_path):
    if not shutil.which("sh"):
        pytest.skip("needs sh")
    for name, data in bundle.start_files(LINUX).items():
        if name.endswith(".sh"):
            (tmp_path / name).write_bytes(data)
            assert run("sh", "-n", name, cwd=tmp_path).returncode == 0


@pytest.fixture
def unpacked(tmp_path):
    """A bundle for this machine without wheels, unpacked; with what a kit has at the least."""
    folder = tmp_path / "a stick é"
    target = wheels.make_target("", HERE)
    files = bundle.start_files(target) | {"kit/pyproject.toml": b"x", "wheels/a.whl": b"a"}
    path = tmp_path / "b.zip"
    bundle.write_bundle(path, files)
    shutil.unpack_archive(path, folder)
    return folder / "b"


def test_a_damaged_bundle_is_not_installed(unpacked):
    (unpacked / "wheels" / "a.whl").write_bytes(b"b")
    done = run(sys.executable, "install.py", cwd=unpacked)
    assert done.returncode == 1
    assert "damaged" in done.stdout and "wheels/a.whl" in done.stdout
    assert not (unpacked / ".venv").exists()


@pytest.mark.parametrize(("wrong", "word"), [("WANTED", "needs Python"), ("PLATFORM", "is for")])
def test_a_bundle_for_another_machine_says_so(unpacked, wrong, word):
    program = unpacked / "install.py"
    other = "win_amd64" if not sys.platform.startswith("win") else "macosx_14_0_arm64"
    value = {"WANTED": "3.99", "PLATFORM": other}[wrong]
    script = f"import install; install.{wrong} = {value!r}; raise SystemExit(install.install())"
    done = run(sys.executable, "-c", script, cwd=program.parent)
    assert done.returncode == 1 and word in done.stdout
    assert not (unpacked / ".venv").exists()


HEAVY = ("torch", "torchvision", "triton", "nvidia", "cuda")  # 2.7 GB with CUDA: from this environment
FIRST_CHECK = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read("notebooks/01_vanilla_kd.ipynb", as_version=4)
code = [cell for cell in notebook.cells if cell.cell_type == "code"]
last = next(i for i, cell in enumerate(code) if "lab.check(" in cell.source)
notebook.cells = code[: last + 1]
NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
print(json.dumps("".join(o.get("text", "") for o in notebook.cells[-1].outputs)))
"""


def link_heavy(folder: Path) -> Path:
    """Link torch, and what comes with its build for CUDA, into a folder; all else must come from wheels."""
    folder.mkdir()
    for distribution in importlib.metadata.distributions():
        if (
            distribution.metadata["Name"].lower().startswith(HEAVY)
            and distribution.metadata["Name"] != "torchdistill"
        ):
            for top in {Path(file).parts[0] for file in distribution.files if ".." not in Path(file).parts}:
                place, link = Path(distribution.locate_file(top)), folder / top
                if not link.exists() and top != "__pycache__":
                    link.symlink_to(place, target_is_directory=place.is_dir())
    return folder


@pytest.fixture(scope="module")
def bundled(kit, tmp_path_factory):
    """A bundle for this machine, made by its own program; without the heavy wheels."""
    folder = tmp_path_factory.mktemp("made")
    target = wheels.make_target("", HERE)
    wanted = [*bundle.read_requirements(kit), *importlib.metadata.requires("torch")]
    needed = [line for line in wanted if not line.startswith(HEAVY) and "extra ==" not in line]
    try:
        files = wheels.download(target, needed, folder / "wheels")
    except wheels.BundleFailure as failure:
        pytest.skip(f"no index of packages: {str(failure)[:300]}")
    path = folder / "sskd.zip"
    bundle.write_bundle(path, dict(bundle.contents(target, files, kit)))
    return path


@pytest.mark.environment
@pytest.mark.skipif(os.name == "nt", reason="links to packages need rights there")
def test_a_bundle_installs_and_runs_with_the_cable_out(bundled, tmp_path):
    """In a path with a space and an accent, without any index, and where `unshare` can, without a network."""
    shutil.unpack_archive(bundled, tmp_path / "a stick é")
    folder = tmp_path / "a stick é" / "sskd"
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "SSKD_"))} | {
        "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path), "SSKD_PROGRESS": "off",
        "PYTHON": sys.executable, "PYTHONPATH": str(link_heavy(tmp_path / "heavy")), "SSKD_STATIC": "1",
    }  # fmt: skip

    def offline(*command: str, cwd: Path) -> str:
        done = subprocess.run(
            [*network_prefix(), *command], cwd=cwd, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    assert "Installed." in offline(shutil.which("sh"), "install.sh", cwd=folder)
    python = str(folder / ".venv" / "bin" / "python")
    place = "import numpy, sskd_lib; print(numpy.__file__); print(sskd_lib.__file__)"
    for line in offline(python, "-c", place, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(folder)
    assert "soften: right in" in json.loads(
        offline(python, "-c", FIRST_CHECK, cwd=folder / "kit").splitlines()[-1]
    )
    assert offline(shutil.which("sh"), "lab.sh", "--version", cwd=folder)[0].isdigit()
