"""Build assignments for nbgrader from notebooks/source/*.py: a course with source and release versions.

    python notebooks/assignments.py DIR [NN …]      what `make assignments OUT=DIR` runs

Every notebook with exercises becomes one assignment. After each exercise comes a locked cell that gives the
points. Then nbgrader makes the students' version, and both are tried: the solutions must get all points, the
stubs none. Predictions, recall questions and exit tickets give no points.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import build
import colab
from kernels import NotebookFailure
from restricted import child_environment
from sskd_lib.files import write_atomically
from sskd_lib.lab.exercises.registry import EXERCISES
from variants import STUB, is_exercise, student_text

POINTS, MORE = 2, {"sskd_total": 1, "train_step": 4, "ss_term": 3}  # of an exercise; of those that differ
CHECK = re.compile(r'^(?:\w+ = )?lab\.check(?:ed)?\("(\w+)", (\w+)\)$', re.MULTILINE)
SKIP = "skip-execution"  # nbclient, and so nbgrader, does not run a cell with this tag
GO_ON = "raises-exception"  # "Run all" goes on after an error in a cell with this tag
NOTE = """\
> **An assignment.** Write the functions where a cell has the words *write this part*. After each of them is a
> cell that you cannot change: it gives the points, and its error says what is wrong. For your marks,
> only these cells run: the imports, your functions, the cells with points, and cells that you add. The others
> are for you."""
CONFIG = """\
# Written by `make assignments`. Run nbgrader inside this folder: nbgrader autograde ASSIGNMENT
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "sskd"
c.CourseDirectory.root = {root}
c.ClearSolutions.code_stub = {{"python": {stub}}}
c.Execute.timeout = 120
c.Execute.kernel_name = "python3"
"""


def assignment(source: Path) -> NotebookNode:
    """Return the source version of a notebook: solutions, and a locked cell with points after each exercise.

    Raises NotebookFailure for an exercise without a check, and where two exercises have one name.
    """
    notebook = build.read_source(source)
    cells = [nbformat.v4.new_markdown_cell(NOTE, id="assignment")]
    for cell in notebook.cells:
        if cell.id == "colab-kit":
            cells += [cell, imports_of(notebook)]
            continue
        if is_exercise(cell):
            cells += graded_cells(cell)
        elif cell.cell_type == "markdown" and not colab.is_for_colab(cell):
            cell.source = student_text(cell.source)
            cells.append(cell)
        elif cell.cell_type == "code":
            cell.metadata["tags"] = [*cell.metadata.get("tags", ()), SKIP]
            cells.append(cell)
    notebook.cells = cells
    ids = [cell.id for cell in cells]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise NotebookFailure(
            f"{source.stem}: two cells have the id {', '.join(twice)}; give each its own name"
        )
    return notebook


def imports_of(notebook: NotebookNode) -> NotebookNode:
    """Return a locked cell with all imports of a notebook's code."""
    code = [c for c in notebook.cells if c.cell_type == "code" and not colab.is_for_colab(c)]
    texts = [re.sub(r"^[%!].*$", "", cell.source, flags=re.MULTILINE) for cell in code]
    nodes = [node for text in texts for node in ast.parse(text).body]
    lines = dict.fromkeys(ast.unparse(n) for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom)))
    cell = nbformat.v4.new_code_cell("\n".join(["# The imports of this notebook.", *lines]), id="imports")
    cell.metadata["nbgrader"] = role("imports")
    return cell


def graded_cells(cell: NotebookNode) -> Iterator[NotebookNode]:
    """Yield an exercise, its cell with points, and the line that goes on with the kit's function, if any."""
    check = CHECK.search(cell.source)
    if not check or check[1] not in EXERCISES:
        raise NotebookFailure(
            'an exercise needs a line lab.check("name", function) of an exercise that exists below its '
            f"function:\n{cell.source}"
        )
    name, function = check.groups()
    rebinds = check[0].startswith(f"{function} =")  # then the points must be given before
    if rebinds:
        cell.source = CHECK.sub("", cell.source).strip()
    cell.metadata["nbgrader"] = role(f"solution-{name}", solution=True)
    yield cell
    test = nbformat.v4.new_code_cell(
        f'lab.require("{name}", {function})', id=f"test-{name}".replace("_", "-")
    )
    test.metadata = nbformat.from_dict(
        {"tags": [GO_ON], "nbgrader": role(f"test-{name}", points=MORE.get(name, POINTS))}
    )
    yield test
    if rebinds:
        more = {"tags": [SKIP]}
        yield nbformat.v4.new_code_cell(check[0], id=f"go-on-{name}".replace("_", "-"), metadata=more)


def role(grade_id: str, *, solution: bool = False, points: int = 0) -> dict[str, object]:
    """Return nbgrader's mark of a cell: one that the student writes, or a locked one, with points or not."""
    mark = {"schema_version": 3, "grade_id": grade_id, "solution": solution, "task": False}
    given = {"points": points} if points else {}
    return mark | {"grade": bool(points), "locked": not solution} | given


def points_of(notebook: NotebookNode) -> dict[str, int]:
    """Return the points of each exercise of an assignment, in order."""
    marks = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
    return {mark["grade_id"].removeprefix("test-"): mark["points"] for mark in marks if mark.get("grade")}


def write_course(folder: Path, names: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Write the source versions and nbgrader's settings; return the points of each assignment's exercises.

    Raises NotebookFailure for an unknown name, and where no chosen notebook has an exercise.
    """
    written = {}
    for source in build.find_sources(names):
        if any(map(is_exercise, build.read_source(source).cells)):
            notebook = assignment(source)
            path = folder / "source" / source.stem / f"{source.stem}.ipynb"
            write_atomically(path, (nbformat.writes(notebook) + "\n").encode())
            written[source.stem] = points_of(notebook)
    if not written:
        raise NotebookFailure("none of these notebooks has an exercise to write")
    config = CONFIG.format(root=json.dumps(str(folder.resolve())), stub=json.dumps(STUB))
    write_atomically(folder / "nbgrader_config.py", config.encode())
    return written


def nbgrader(folder: Path, *arguments: str) -> str:
    """Run nbgrader in a course; return what it wrote. Raises NotebookFailure if it fails or is missing."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=folder, env=child_environment(Path(home)), capture_output=True, text=True,
        )  # fmt: skip
    output = done.stdout + done.stderr
    if "No module named nbgrader" in output:
        raise NotebookFailure("nbgrader is not installed here: run `make assignments`, which installs it")
    if done.returncode:
        raise NotebookFailure(f"nbgrader {' '.join(arguments)} failed:\n{output}")
    return output


def release(folder: Path, name: str) -> None:
    """Make the students' version of an assignment, and try both versions.

    Raises NotebookFailure unless the solutions get all points and the stubs get none.
    """
    nbgrader(folder, "generate_assignment", name, "--force")
    for version, options in (("source", []), ("release", ["--invert"])):
        output = nbgrader(folder, "validate", *options, f"{version}/{name}/{name}.ipynb")
        if "Success!" not in output:
            raise NotebookFailure(
                f"{name}: the {version} version gets other points than it should:\n{output}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NN")
    options = parser.parse_args(arguments)
    folder = options.folder.expanduser().absolute()
    try:
        written = write_course(folder, options.names)
        for name, points in written.items():
            release(folder, name)
            each = ", ".join(f"{exercise} {p}" for exercise, p in points.items())
            print(
                f"{name}: {sum(points.values())} points ({each}); solutions get all, stubs none", flush=True
            )
    except NotebookFailure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"Give {folder / 'release'} to your students; `make grade` grades what they hand in.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
