"""What a class gets: a folder, or a branch for nbgitpuller that leaves the working tree alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

import bundle
import classroom
from helpers.commands import run
from kernels import NotebookFailure

NAMES = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def git(root: Path, *arguments: str) -> str:
    """Run git and return what it printed."""
    done = run("git", *arguments, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A small kit under git: two notebooks, a file for lecturers, and one file that nobody committed."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "a kit é"
    source = root / "notebooks" / "source"
    source.mkdir(parents=True)
    code = "# %% tags=['exercise']\ndef f():\n    # BEGIN SOLUTION\n    return 42\n    # END SOLUTION\n"
    for name in ("00_first", "01_second"):
        (source / f"{name}.py").write_text(f"# %% [markdown]\n# # {name}\n\n{code}", encoding="utf-8")
        (root / "notebooks" / f"{name}.ipynb").write_text("return 42", encoding="utf-8")
    (root / "README.md").write_text("for all", encoding="utf-8")
    (root / "ä b.txt").write_bytes(b"a\r\n\0b")
    (root / "docs").mkdir()
    (root / "docs" / "teaching.md").write_text("answers", encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "the kit")
    (root / "private.txt").write_text("marks", encoding="utf-8")
    (root / "README.md").write_text("for all, changed", encoding="utf-8")
    (root / "staged.txt").write_text("staged", encoding="utf-8")
    git(root, "add", "staged.txt")
    return root


def tree(root: Path) -> dict[Path, bytes]:
    """The files of the working tree."""
    return {
        p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".git" not in p.parts
    }


def test_the_branch_has_the_students_copies_and_nothing_else_changes(kit) -> None:
    before = (tree(kit), git(kit, "status", "--porcelain"), git(kit, "ls-files", "-s"))
    words = classroom.make_branch("ada/kit", "student", kit)
    assert (tree(kit), git(kit, "status", "--porcelain"), git(kit, "ls-files", "-s")) == before
    assert git(kit, "rev-parse", "--abbrev-ref", "HEAD") == "main"
    names = git(kit, "-c", "core.quotePath=off", "ls-tree", "-r", "--name-only", "student").splitlines()
    assert sorted(names) == [
        "README.md",
        "notebooks/00_first.ipynb",
        "notebooks/01_second.ipynb",
        "staged.txt",
        "ä b.txt",
    ]
    assert git(kit, "log", "--format=%s", "student") == "The notebooks for students"
    notebook = git(kit, "show", "student:notebooks/01_second.ipynb")
    nbformat.validate(nbformat.reads(notebook, as_version=4))
    assert "42" not in notebook and "write this part" in notebook
    assert "git push origin student" in words


def test_the_branch_has_every_byte_of_the_other_files(kit, tmp_path) -> None:
    classroom.make_branch("ada/kit", "student", kit)
    git(tmp_path, "clone", "--quiet", "--branch=student", str(kit), "class")
    assert (tmp_path / "class" / "ä b.txt").read_bytes() == b"a\r\n\0b"
    assert "write this part" in (tmp_path / "class" / "README.md").read_text(encoding="utf-8")


def test_the_branch_grows_only_when_something_changed(kit) -> None:
    classroom.make_branch("ada/kit", "student", kit)
    first = git(kit, "rev-parse", "student")
    classroom.make_branch("ada/kit", "student", kit)
    assert git(kit, "rev-parse", "student") == first
    (kit / "README.md").write_text("new", encoding="utf-8")
    (kit / "ä b.txt").write_text("new", encoding="utf-8")
    classroom.make_branch("ada/kit", "student", kit)
    assert git(kit, "rev-parse", "student~1") == first
    assert git(kit, "show", "student:ä b.txt") == "new"


def test_a_learner_s_clone_can_always_fast_forward(kit, tmp_path) -> None:
    """A file that the kit drops stays on the branch: a learner may have changed it (nbgitpuller #254)."""
    classroom.make_branch("ada/kit", "student", kit)
    git(tmp_path, "clone", "--quiet", "--branch=student", str(kit), "learner")
    git(kit, "rm", "--quiet", "notebooks/01_second.ipynb", "notebooks/source/01_second.py")
    classroom.make_branch("ada/kit", "student", kit)
    learner = tmp_path / "learner"
    git(learner, "pull", "--quiet", "--ff-only")
    assert (learner / "notebooks" / "01_second.ipynb").is_file()


def test_the_link_opens_the_first_notebook_of_the_branch(kit) -> None:
    link = urlsplit(classroom.make_branch("ada/kit", "student", kit).splitlines()[-1])
    assert link.path == "/hub/user-redirect/git-pull"
    assert parse_qs(link.query) == {
        "repo": ["https://github.com/ada/kit"],
        "branch": ["student"],
        "urlpath": ["lab/tree/kit/notebooks/00_start_here.ipynb"],
    }


def test_a_branch_with_other_commits_is_never_overwritten(kit) -> None:
    git(kit, "branch", "theirs")
    for branch in ("theirs", "main"):
        before = git(kit, "rev-parse", branch)
        with pytest.raises(NotebookFailure, match=f"BRANCH={branch}"):
            classroom.make_branch("ada/kit", branch, kit)
        assert git(kit, "rev-parse", branch) == before


def test_names_that_cannot_be_are_refused(kit) -> None:
    with pytest.raises(ValueError, match="REPO='https://github.com/ada/kit'"):
        classroom.make_branch("https://github.com/ada/kit", "student", kit)
    with pytest.raises(ValueError, match="BRANCH='a..b'"):
        classroom.make_branch("ada/kit", "a..b", kit)


def test_files_of_a_folder_without_git_cannot_be_listed(tmp_path) -> None:
    with pytest.raises(bundle.BundleFailure, match="git cannot list the files"):
        bundle.kit_files(tmp_path)


def test_the_folder_has_notebooks_a_readme_and_a_place_to_hand_in(tmp_path, capsys) -> None:
    folder = tmp_path / "a class é"
    assert classroom.main(["folder", str(folder)]) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"00_start_here.ipynb", "01_vanilla_kd.ipynb", "README.md", "handed-in"} <= names
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert 'lab.export_progress("progress-for-class.json")' in text and "handed-in/" in text
    (folder / "handed-in" / "theirs.json").write_text("{}", encoding="utf-8")
    assert classroom.main(["folder", str(folder)]) == 0
    assert (folder / "handed-in" / "theirs.json").is_file()
    assert "handed-in" in capsys.readouterr().out
