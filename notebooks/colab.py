"""Make the notebooks run in Colab with one click: a badge, and a first cell that fetches the kit.

    python notebooks/colab.py OWNER/NAME [BRANCH]     what `make colab REPO=OWNER/NAME` runs

It writes the repository's name into repository.txt, into the first two cells of every notebook, and into
README. All other cells and all outputs stay as they are. Nothing is run.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sskd_lib.files import write_atomically

NOTEBOOKS = Path(__file__).resolve().parent
TAG = "colab"  # of both cells: pages without a kernel leave them out
REPOSITORY = re.compile(
    r"[A-Za-z\d](?:[A-Za-z\d]|-(?=[A-Za-z\d])){0,38}/(?!\.{1,2}$|.*\.git$)[\w.-]{1,100}", re.ASCII
)
BRANCH = re.compile(r"(?!.*(?:\.\.|//|/$|\.lock$))[A-Za-z\d_][\w./-]*", re.ASCII)
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{name}.ipynb)"
)
NO_BADGE = "<!-- `make colab REPO=owner/name` writes the badge “Open in Colab” here. -->"
README_MARK = "<!-- colab -->"
NO_README_BADGE = "`make colab REPO=owner/name` writes a badge *Open in Colab* into all notebooks of a copy."
CELL = """\
# @title Colab: fetch the kit (this cell does nothing where the kit is installed)
import importlib.util, os, pathlib, subprocess, sys

if importlib.util.find_spec("sskd_lib") is None:
    address, folder = os.environ.get("SSKD_REPOSITORY", "{address}"), pathlib.Path.cwd()
    places = [folder / "sskd-kit", folder, *folder.parents]
    kit = next((p for p in places if (p / "sskd_lib" / "__init__.py").is_file()), places[0])
    if not (kit / "sskd_lib").is_dir():
        command = ["git", "clone", "--quiet", "--depth=1", "--branch={branch}", address, str(kit)]
        never_ask = os.environ | {{"GIT_TERMINAL_PROMPT": "0"}}
        done = subprocess.run(command, env=never_ask, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr + "`make colab REPO=owner/name` writes the address here.")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "tyro"], capture_output=True)
    sys.path.insert(0, str(kit))
    os.environ["PYTHONPATH"] = str(kit) + os.pathsep + os.environ.get("PYTHONPATH", "")  # for !python"""


def read_repository(folder: Path = NOTEBOOKS) -> tuple[str, str]:
    """Return owner/name and branch, as repository.txt has them; without that file an empty name and main.

    Raises ValueError if that file has anything else.
    """
    file = folder / "repository.txt"
    if not file.is_file():
        return "", "main"
    words = file.read_text(encoding="utf-8").split()
    if len(words) != 2:
        raise ValueError(
            f"{file} must be one line: owner/name branch. `make colab REPO=owner/name` writes it"
        )
    check_repository(*words)
    return words[0], words[1]


def check_repository(name: str, branch: str) -> None:
    """Raise ValueError where the name is not owner/name, or the branch cannot be a branch of git."""
    if not REPOSITORY.fullmatch(name):
        raise ValueError(
            f"REPO={name!r} is not the name of a repository on GitHub. Give owner/name, without https:// and "
            "without .git, for example: make colab REPO=ada/sskd"
        )
    if not BRANCH.fullmatch(branch):
        raise ValueError(f"BRANCH={branch!r} is not a name that git allows. Give a branch, for example main")


def make_badge(name: str, folder: Path = NOTEBOOKS) -> str:
    """Return the Markdown of a notebook's badge. It is empty where the repository's name is not known."""
    repository, branch = read_repository(folder)
    return BADGE.format(repository=repository, branch=branch, name=name) if repository else ""


def make_cells(name: str, folder: Path = NOTEBOOKS) -> list[NotebookNode]:
    """Return a notebook's first two cells: the badge, and the code that fetches the kit."""
    repository, branch = read_repository(folder)
    address = f"https://github.com/{repository}" if repository else ""
    tags = {"tags": [TAG]}
    hidden = tags | {"cellView": "form", "jupyter": {"source_hidden": True}}  # in Colab; in JupyterLab
    code = CELL.format(address=address, branch=branch)
    return [
        nbformat.v4.new_markdown_cell(make_badge(name, folder) or NO_BADGE, metadata=tags, id="colab-badge"),
        nbformat.v4.new_code_cell(code, metadata=hidden, id="colab-kit"),
    ]


def is_for_colab(cell: NotebookNode) -> bool:
    """Return whether a cell is one of the two that `add_cells` writes."""
    return TAG in cell.metadata.get("tags", ())


def without_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return a notebook's cells without those for Colab."""
    return [cell for cell in notebook.cells if not is_for_colab(cell)]


def add_cells(notebook: NotebookNode, name: str, folder: Path = NOTEBOOKS) -> None:
    """Put the two cells at the top of a notebook, in the place of older ones; other cells stay."""
    notebook.cells = [*make_cells(name, folder), *without_cells(notebook)]


def rewrite(path: Path) -> None:
    """Write the two cells into a built notebook without running it, as if a run had numbered its cells."""
    notebook = nbformat.read(path, as_version=4)
    add_cells(notebook, path.stem, path.parent)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    write_atomically(path, (nbformat.writes(notebook) + "\n").encode())


def readme_line(folder: Path = NOTEBOOKS) -> str:
    """Return the line of README that has the badge of the first notebook, or says how to get one."""
    return f"**Colab:** {make_badge('00_start_here', folder) or NO_README_BADGE} {README_MARK}"


def rewrite_all(name: str, branch: str, folder: Path = NOTEBOOKS) -> list[Path]:
    """Write a repository's name into repository.txt, the notebooks and README; return what was written.

    Raises ValueError if the name or the branch is malformed; nothing is written then.
    """
    check_repository(name, branch)
    written = [write_atomically(folder / "repository.txt", f"{name} {branch}\n".encode())]
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        rewrite(path)
        written.append(path)
    readme = folder.parent / "README.md"
    if readme.is_file():
        line = f"^.*{re.escape(README_MARK)}$"
        text = re.sub(line, readme_line(folder), readme.read_text(encoding="utf-8"), flags=re.MULTILINE)
        written.append(write_atomically(readme, text.encode()))
    return written


def main(arguments: Sequence[str] | None = None, folder: Path = NOTEBOOKS) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", help="owner/name on GitHub")
    parser.add_argument("branch", nargs="?", default="main", help="the branch that the badges open")
    options = parser.parse_args(arguments)
    try:
        written = rewrite_all(options.repository, options.branch, folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(written)} files name {options.repository}, branch {options.branch}. Commit and push them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
