"""Build copies of the notebooks for students and for instructors from notebooks/source/*.py.

    python notebooks/variants.py student DIR [NN …]      stubs, no outputs, no solutions
    python notebooks/variants.py instructor DIR [NN …]   solutions, outputs, answers, talking points; runs

A cell with the tag "exercise" holds a function, whose solution is between two lines "# BEGIN SOLUTION" and
"# END SOLUTION". The student's copy has a line to replace there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import build
import colab
from kernels import NotebookFailure, execute
from sskd_lib.files import write_atomically
from sskd_lib.lab.course.bank import LETTERS, Question, read_questions

EXERCISE = "exercise"  # the tag
SOLUTION = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n.*?^[ \t]*# END SOLUTION$", re.DOTALL | re.MULTILINE)
STUB = "...  # write this part, then run the cell"
ANSWERS = re.compile(r"<details>.*?</details>\n*", re.DOTALL)
CALL = re.compile(r"lab\.(predict|recall|exit_ticket)\(\"([\w-]+)\"\)")


def is_exercise(cell: NotebookNode) -> bool:
    """Return whether a cell holds a function that the student writes."""
    return EXERCISE in cell.metadata.get("tags", ())


def without_solution(code: str) -> str:
    """Return an exercise's code with a line to replace instead of each solution.

    Raises NotebookFailure where there is no solution between the two marks.
    """
    stub, found = SOLUTION.subn(lambda match: match[1] + STUB, code)
    if not found or "SOLUTION" in stub:
        raise NotebookFailure(f"no whole solution between # BEGIN SOLUTION and # END SOLUTION:\n{code}")
    return stub


def without_marks(code: str) -> str:
    """Return an exercise's code with its solution, and without the marks around it."""
    return re.sub(r"^[ \t]*# (BEGIN|END) SOLUTION\n", "", code, flags=re.MULTILINE)


def student_text(text: str) -> str:
    """Return a text cell without its folded answers."""
    return ANSWERS.sub("", text).strip()


def student_copy(source: Path) -> NotebookNode:
    """Return the student's copy of a source: stubs for solutions, no folded answers, no outputs.

    The badge for Colab is left out, as it opens the notebook with its solutions.
    """
    notebook = build.read_source(source)
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code" or not colab.is_for_colab(c)]
    for cell in notebook.cells:
        if is_exercise(cell):
            cell.source = without_solution(cell.source)
        elif cell.cell_type == "markdown":
            cell.source = student_text(cell.source)
    return notebook


def instructor_copy(source: Path) -> NotebookNode:
    """Return the instructor's copy of a source, not run yet: solutions, answers, and what to say."""
    notebook = build.read_source(source)
    cells = []
    for cell in notebook.cells:
        if is_exercise(cell):
            cell.source = without_marks(cell.source)
        cells.append(cell)
        if cell.cell_type == "code":
            cells += [note(text) for text in answers_of(cell.source)]
    guide = read_guide(source.stem[:2])
    notebook.cells = [note(guide), *cells] if guide else cells
    for index, cell in enumerate(notebook.cells):
        if "instructor" in cell.metadata.get("tags", ()):
            cell.id = f"note-{index:02d}"
    return notebook


def answers_of(code: str) -> Iterator[str]:
    """Yield what an instructor needs for each question that a cell asks: right answer, and wrong ones."""
    questions = read_questions()
    for what, key in CALL.findall(code):
        kind = {"predict": "predict", "recall": "recall", "exit_ticket": "exit"}[what]
        for question in questions.values():
            if question.kind == kind and (
                question.key == key if kind == "predict" else question.key.startswith(f"{key}-")
            ):
                yield f"**{question.key}.** {question.text}\n\n" + "\n".join(expected(question))


def expected(question: Question) -> Iterator[str]:
    """Yield one line per option: whether it is right, and the thought behind it."""
    for i, option in enumerate(question.options):
        mark = " ✓" if i == question.answer else ""
        yield f"- ({LETTERS[i]}){mark} *{option.text}* {option.because}"
    if question.scale:
        scale = question.scale
        yield f"- A number, right within {scale.text(scale.close)}."
        yield from (
            f"- Too {side}: {text}" for side, text in (("low", scale.below), ("high", scale.above)) if text
        )
    if question.answer is None:
        yield "- The next cell computes the answer."
    if question.why:
        yield f"- To take away: {question.why}"


def read_guide(number: str) -> str:
    """Return the instructor's page of a notebook, from docs/teaching/; "" without one."""
    page = build.NOTEBOOKS.parent / "docs" / "teaching" / f"{number}.md"
    if not page.is_file():
        return ""
    lines = page.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("<!--"))
    return re.sub(r"\]\((?!http)[^)]*\)", "]", text).replace("[", "").replace("]", "").strip()


def note(text: str) -> NotebookNode:
    """Return a cell for the instructor."""
    quoted = "\n".join(f"> {line}".rstrip() for line in f"**For the instructor**\n\n{text}".splitlines())
    return nbformat.v4.new_markdown_cell(quoted, metadata={"tags": ["instructor"]})


def write_copies(kind: str, folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the copies of one kind, "student" or "instructor", into a folder; return their paths.

    An instructor's copy is run first. Raises NotebookFailure for an unknown name, and where a notebook fails.
    """
    written = []
    for source in build.find_sources(names):
        if kind == "student":
            notebook = student_copy(source)
        else:
            notebook = instructor_copy(source)
            execute(notebook, source.stem, build.NOTEBOOKS)
        text = nbformat.writes(notebook) + "\n"
        written.append(write_atomically(folder / f"{source.stem}.ipynb", text.encode()))
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("student", "instructor"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NN")
    options = parser.parse_args(arguments)
    try:
        written = write_copies(options.kind, options.folder.expanduser(), options.names)
    except NotebookFailure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"{len(written)} notebooks in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
