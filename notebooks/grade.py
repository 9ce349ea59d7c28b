"""Grade what students handed in, with nbgrader: each notebook in a restricted process.

    python notebooks/grade.py COURSE SUBMISSIONS      what `make grade SUBMISSIONS=folder` runs

COURSE: the folder that `make assignments` made. SUBMISSIONS has one folder per student, in it one per
assignment, in it the notebook: ada/01_vanilla_kd/01_vanilla_kd.ipynb. The marks go into COURSE/marks.csv.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assignments import nbgrader
from kernels import NotebookFailure
from restricted import Limits, restrictions, run_restricted

NO_PRISON = "All else that you may do, their code may do: a container is safer (docs/teaching.md)."


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one student has in one assignment: points, and in words why there are none, if so."""

    student: str
    assignment: str
    points: float
    most: float
    problem: str = ""


def find_submissions(course: Path, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield student, assignment and the folder of each submission, in order.

    Raises NotebookFailure where there is none, and for an assignment that the course does not have.
    """
    known = sorted(path.name for path in course.glob("release/*"))
    if not known:
        raise NotebookFailure(f"{course} has no assignments. `make assignments` writes them")
    files = sorted(folder.glob("*/*/*.ipynb"))
    if not files:
        raise NotebookFailure(
            f"{folder} has no submissions: they must be called student/assignment/assignment.ipynb, for "
            f"example ada/{known[0]}/{known[0]}.ipynb"
        )
    for path in files:
        if path.parent.name not in known or path.stem != path.parent.name:
            raise NotebookFailure(
                f"{path} belongs to no assignment of this course. Expected student/assignment/"
                f"assignment.ipynb, with an assignment out of: {', '.join(known)}"
            )
        yield path.parts[-3], path.stem, path.parent


def grade(course: Path, student: str, name: str, submission: Path, limits: Limits) -> str:
    """Grade one submission in a restricted process; return "", or in words why that was not possible."""
    target = course / "submitted" / student / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(submission, target)
    arguments = ["-m", "nbgrader", "autograde", name, "--student", student, "--force"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        ended = run_restricted([sys.executable, *arguments], course, Path(home), limits)
    if ended.status is None:
        return ended.output
    return "" if ended.status == 0 else f"nbgrader could not grade it: {last_error(ended.output)}"


def last_error(output: str) -> str:
    """Return the last line of nbgrader's output that names an error; the last one where there is none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (named or lines or ["it wrote nothing"])[-1]


def read_marks(course: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Return points and greatest points of each student and assignment, as nbgrader has them."""
    table = course / "marks.csv"
    nbgrader(course, "export", "--to", str(table))
    with table.open(encoding="utf-8", newline="") as file:
        return {
            (row["student_id"], row["assignment"]): (
                float(row["raw_score"] or 0),
                float(row["max_score"] or 0),
            )
            for row in csv.DictReader(file)
        }


def grade_all(course: Path, folder: Path, limits: Limits) -> list[Mark]:
    """Grade every submission; one that fails does not stop the others. Returns a mark for each."""
    problems = {}
    for student, name, submission in list(find_submissions(course, folder)):
        print(f"{student}, {name} …", flush=True)
        problems[student, name] = grade(course, student, name, submission, limits)
    marks = read_marks(course)
    return [
        Mark(student=student, assignment=name, points=points, most=most, problem=problem)
        for (student, name), problem in problems.items()
        for points, most in [marks.get((student, name), (0.0, 0.0))]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("course", type=Path)
    parser.add_argument("submissions", type=Path)
    options = parser.parse_args(arguments)
    course, folder = (path.expanduser().absolute() for path in (options.course, options.submissions))
    print(f"The code of your students gets: {'; '.join(restrictions())}. {NO_PRISON}")
    try:
        marks = grade_all(course, folder, Limits())
    except NotebookFailure as failure:
        print(failure, file=sys.stderr)
        return 1
    for mark in marks:
        points = f"{mark.points:g} of {mark.most:g}"
        print(f"{mark.student:24} {mark.assignment:28} {points}  {mark.problem}".rstrip())
    print(f"The marks are in {course / 'marks.csv'}.")
    return 1 if any(mark.problem for mark in marks) else 0


if __name__ == "__main__":
    sys.exit(main())
