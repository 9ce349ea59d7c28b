"""Prepare what the students of a class open: a folder, or a branch that nbgitpuller fetches.

    python notebooks/classroom.py folder DIR                          `make class` runs this
    python notebooks/classroom.py branch OWNER/NAME [--branch NAME]   `make class REPO=OWNER/NAME` runs this

The folder has the notebooks without solutions, a README, and an empty folder for what students hand in. The
kit itself must be installed on the machine: see docs/teaching.md. The branch has the whole kit without the
lecturer's parts; nothing in the working tree is touched, and nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import nbformat

import build
import colab
from bundle import kit_files
from kernels import NotebookFailure
from sskd_lib.files import write_atomically
from variants import student_copy, write_copies
from wheels import BundleFailure

ROOT = build.NOTEBOOKS.parent
HANDED_IN = "handed-in"
README = """\
# SSKD: your notebooks

1. Open `00_start_here.ipynb` in JupyterLab, on a machine where the kit is installed.
2. Guess first, then run the next cell. Write your function where a cell has the words *write this part*.
3. At the end, run this in any notebook. It writes a file without your name, your machine or the time:

   ```python
   from sskd_lib import lab
   lab.export_progress("progress-for-class.json")
   ```

4. Put that file into `{folder}/` of the class, under a name that no other learner has. You may open it first.
   It has a random name, your guesses and answers, and which checks you passed.
"""
FOR_LECTURERS = ("docs/teaching", "notebooks/source/", "tests/", ".ci/")


def write_folder(folder: Path) -> list[Path]:
    """Write a class's folder; return what was written. Files of the same names are replaced, others stay.

    Raises NotebookFailure where a source has no student's copy.
    """
    written = write_copies("student", folder)
    written.append(write_atomically(folder / "README.md", README.format(folder=HANDED_IN).encode()))
    (folder / HANDED_IN).mkdir(exist_ok=True)
    return written


def is_for_students(name: str) -> bool:
    """Return whether a file of the kit belongs on the students' branch. name: with "/", from the top."""
    return not name.startswith(FOR_LECTURERS)


def branch_files(root: Path = ROOT) -> dict[str, bytes]:
    """Return the students' files by their names: the kit's, with students' copies for notebooks."""
    names = {path.relative_to(root).as_posix(): path for path in kit_files(root)}
    files = {name: path.read_bytes() for name, path in names.items() if is_for_students(name)}
    for source in build.find_sources(folder=root / "notebooks"):
        text = nbformat.writes(student_copy(source)) + "\n"
        files[f"notebooks/{source.stem}.ipynb"] = text.encode()
    return files | {"README.md": README.format(folder=HANDED_IN).encode()}


def run_git(root: Path, *arguments: str, text: str = "", **variables: str) -> str:
    """Run git and return its output. Raises NotebookFailure with git's own words where it fails."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={root}", *arguments],
        cwd=root, env=os.environ | variables, input=text.encode(), capture_output=True,
    )  # fmt: skip
    if done.returncode:
        raise NotebookFailure(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()


def commit(root: Path, branch: str, files: Mapping[str, bytes]) -> str:
    """Commit files to a branch, which begins without a past; return the commit. An unchanged branch stays.

    Neither the working tree nor its index is touched: the files go through an index of their own. A file
    that the branch had and the kit no longer has stays, because nbgitpuller stops where a learner
    changed a file that is deleted later.
    """
    earlier = run_git(root, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
    with tempfile.TemporaryDirectory() as place:
        index = {"GIT_INDEX_FILE": str(Path(place, "index"))}
        if earlier:
            run_git(root, "read-tree", earlier, **index)
        for i, data in enumerate(files.values()):
            Path(place, f"{i:06d}").write_bytes(data)
        paths = "".join(f"{Path(place, f'{i:06d}')}\n" for i in range(len(files)))
        hashes = run_git(root, "hash-object", "-w", "--no-filters", "--stdin-paths", text=paths).split()
        lines = [f"100644 {h}\t{n}\0" for n, h in zip(files, hashes, strict=True)]
        run_git(root, "update-index", "-z", "--index-info", text="".join(lines), **index)
        tree = run_git(root, "write-tree", **index)
    if earlier and run_git(root, "rev-parse", f"{earlier}^{{tree}}") == tree:
        return earlier
    parent = ["-p", earlier] if earlier else []
    new = run_git(root, "commit-tree", tree, *parent, "-m", "The notebooks for students")
    run_git(root, "update-ref", f"refs/heads/{branch}", new, earlier or "0" * 40)
    return new


def check_branch(root: Path, branch: str) -> None:
    """Raise NotebookFailure where the branch is checked out, or has commits of its own."""
    if run_git(root, "rev-parse", "--abbrev-ref", "HEAD") == branch:
        raise NotebookFailure(
            f"BRANCH={branch} is the branch that you work on. Give another, for example student"
        )
    if run_git(root, "for-each-ref", f"refs/heads/{branch}"):
        subjects = set(run_git(root, "log", "--format=%s", branch, "--").splitlines())
        if subjects != {"The notebooks for students"}:
            raise NotebookFailure(
                f"BRANCH={branch} has commits of its own. Give a branch that only `make class` writes"
            )


def pull_link(repository: str, branch: str) -> str:
    """Return the end of nbgitpuller's link, to put after the address of a JupyterHub."""
    start = f"lab/tree/{repository.split('/')[1]}/notebooks/00_start_here.ipynb"
    query = {"repo": f"https://github.com/{repository}", "branch": branch, "urlpath": start}
    return f"/hub/user-redirect/git-pull?{urlencode(query)}"


def make_branch(repository: str, branch: str, root: Path = ROOT) -> str:
    """Write the students' branch; return what to do next. Raises ValueError for names that cannot be."""
    colab.check_repository(repository, branch)
    check_branch(root, branch)
    new = commit(root, branch, branch_files(root))
    return (
        f"The branch {branch} is at {new[:10]}. Send it: git push origin {branch}\n"
        f"Then the link for your students is the address of your JupyterHub, and:\n"
        f"{pull_link(repository, branch)}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("folder", "branch"))
    parser.add_argument("place", help="the folder, or owner/name on GitHub")
    parser.add_argument("--branch", default="student")
    options = parser.parse_args(arguments)
    try:
        if options.what == "branch":
            print(make_branch(options.place, options.branch))
            return 0
        folder = Path(options.place).expanduser()
        written = write_folder(folder)
    except (NotebookFailure, BundleFailure, ValueError) as failure:
        print(failure, file=sys.stderr)
        return 1
    print(
        f"{len(written)} files in {folder}. Give the folder to your students; they hand in into {HANDED_IN}/."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
