"""What `make colab` writes (badges, the cell that fetches the kit, nothing else), and that cell at work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import build
import colab
from helpers.commands import run

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "# %% [markdown]\n# # A sum\n\n# %%\n1 + 1\n\n# %%\n2 + 2\n"
README = f"# A kit\n\n{colab.readme_line()}\nMore.\n"
WHERE = "\nimport sskd_lib\nprint(sskd_lib.__file__)\nprint(os.environ.get('PYTHONPATH', ''))\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder notebooks/ with one notebook that ran, and a README beside it."""
    folder = tmp_path_factory.mktemp("kit") / "notebooks"
    (folder / "source").mkdir(parents=True)
    (folder / "source" / "01_sum.py").write_text(SOURCE, encoding="utf-8")
    (folder.parent / "README.md").write_text(README, encoding="utf-8")
    assert build.main([], folder) == 0
    return folder


def test_only_the_cells_for_colab_change(built: Path, capsys) -> None:
    """And what a run would write is the same, to the byte."""
    before = nbformat.read(built / "01_sum.ipynb", as_version=4)
    assert colab.main(["ada/my.kit", "spring-2027"], built) == 0
    assert "3 files name ada/my.kit, branch spring-2027" in capsys.readouterr().out
    after = nbformat.read(built / "01_sum.ipynb", as_version=4)
    assert colab.without_cells(after) == colab.without_cells(before)
    assert [output.data["text/plain"] for cell in after.cells[3:] for output in cell.outputs] == ["2", "4"]
    badge, fetch = after.cells[:2]
    address = "https://colab.research.google.com/github/ada/my.kit/blob/spring-2027/notebooks/"
    assert f"]({address}01_sum.ipynb)" in badge.source
    assert '"https://github.com/ada/my.kit"' in fetch.source and '"--branch=spring-2027"' in fetch.source
    readme = (built.parent / "README.md").read_text(encoding="utf-8")
    assert f"]({address}00_start_here.ipynb)" in readme
    assert [readme.splitlines()[i] for i in (0, 1, 3)] == ["# A kit", "", "More."]
    assert build.find_differences(built) == []
    written = (built / "01_sum.ipynb").read_bytes()
    assert build.main([], built) == 0
    assert (built / "01_sum.ipynb").read_bytes() == written


def test_a_notebook_from_before_is_numbered_as_a_run_numbers_it(built: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(built / "01_sum.ipynb", as_version=4)
    notebook.cells = colab.without_cells(notebook)
    for number, cell in enumerate(notebook.cells[1:], start=1):
        cell.execution_count = cell.outputs[0].execution_count = number
    path = tmp_path / "01_sum.ipynb"
    nbformat.write(notebook, path)
    colab.rewrite(path)
    counts = [
        (cell.execution_count, [o.execution_count for o in cell.outputs])
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    assert counts == [(1, []), (2, [2]), (3, [3])]


@pytest.mark.parametrize(
    "name",
    ["", "kit", "ada/", "/kit", "ada/kit/x", "https://github.com/ada/kit", "ada/kit.git", "ada kit/x",
     "-ada/kit", "ada--b/kit", "ada/..", "ada/ki\"t", "ada/kit\n"],
)  # fmt: skip
def test_a_malformed_name_is_refused_and_nothing_is_written(name: str, tmp_path: Path, capsys) -> None:
    assert colab.main(["--", name], tmp_path) == 2
    message = capsys.readouterr().err
    assert f"REPO={name!r}" in message and "owner/name" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("branch", ["", "a b", "a..b", "-a", "a/", 'a"b', "a.lock", "a//b"])
def test_a_malformed_branch_is_refused(branch: str, tmp_path: Path, capsys) -> None:
    assert colab.main(["--", "ada/kit", branch], tmp_path) == 2
    assert f"BRANCH={branch!r}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "repository.txt").write_text("ada/kit", encoding="utf-8")
    with pytest.raises(ValueError, match=r"repository\.txt must be one line: owner/name branch"):
        colab.read_repository(tmp_path)


def test_every_notebook_begins_with_both_cells_and_readme_has_their_line() -> None:
    for source in build.find_sources():
        first, second, *rest = build.read_source(source).cells
        assert (first.id, second.id) == ("colab-badge", "colab-kit")
        assert [first.cell_type, second.cell_type] == ["markdown", "code"]
        assert not any(map(colab.is_for_colab, rest)) and rest[0].source.startswith("# ")
        assert "does nothing where the kit is installed" in second.source.splitlines()[0]
        assert len(second.source.splitlines()) <= 18
    assert colab.readme_line() in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def run_cell(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the second cell, and `code` after it, in a Python that knows no kit but has its packages."""
    (cell,) = [cell.source for cell in colab.make_cells("01_sum", folder) if cell.cell_type == "code"]
    without_kit = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
    without_kit += f"sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n"
    program = folder / "cell.py"
    program.write_text(without_kit + cell + code, encoding="utf-8")
    return run(sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", str(program), cwd=folder,
               **({"PYTHONPATH": ""} | variables))  # fmt: skip


def make_kit(folder: Path) -> Path:
    (folder / "sskd_lib").mkdir(parents=True)
    (folder / "sskd_lib" / "__init__.py").touch()
    return folder


@pytest.mark.parametrize("place", ["..", "../..", "sskd-kit", "."])
def test_the_cell_finds_a_kit_beside_or_above_and_fetches_none(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "a folder é" / "inner"
    folder.mkdir(parents=True)
    kit = make_kit((folder / place).resolve())
    done = run_cell(folder, WHERE, SSKD_REPOSITORY="file:///nowhere", PYTHONPATH="before")
    assert done.returncode == 0, done.stderr
    where, path = done.stdout.splitlines()
    assert Path(where).parents[1] == kit
    imported = place == "." and sys.version_info < (3, 11)  # a program's folder is on the path there
    assert path.split(os.pathsep) == [*([] if imported else [str(kit)]), "before"]


def test_the_cell_does_nothing_where_the_kit_is_installed(tmp_path: Path) -> None:
    make_kit(tmp_path / "sskd-kit")  # it is not taken
    installed = make_kit(tmp_path / "installed")
    done = run_cell(tmp_path, WHERE, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    where, path = done.stdout.splitlines()
    assert Path(where).parents[1] == installed and path == str(installed)


def test_the_cell_says_what_to_do_where_the_address_is_wrong(tmp_path: Path) -> None:
    for address in ("", (tmp_path / "nowhere").as_uri()):
        done = run_cell(tmp_path, WHERE, SSKD_REPOSITORY=address)
        assert done.returncode and "make colab REPO=owner/name" in done.stderr.splitlines()[-1]
        assert f"repository '{address}' does not exist" in done.stderr or "does not appear" in done.stderr
    assert not (tmp_path / "sskd-kit").exists()
