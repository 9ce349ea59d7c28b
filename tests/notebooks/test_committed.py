"""The notebooks as they are committed: built from their sources, and fit to read without a kernel."""

from __future__ import annotations

import ast
import re
from html import escape

import nbformat
import pytest

import build
import colab
from sskd_lib.lab.course.bank import find_question, questions_of

SOURCES = build.find_sources()
REPAIR = "`git restore notebooks` undoes edits, `make notebooks` builds from the sources"


def test_every_source_has_its_notebook_and_the_same_cells():
    assert SOURCES
    assert SOURCES[0].stem == "00_start_here"
    assert build.find_differences() == [], REPAIR


def shows(statement: ast.stmt) -> bool:
    """Whether a statement prints, displays, or calls something named show… or explore…."""
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return False
    called = statement.value.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in {"print", "display"} or name.startswith(("show", "explore"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_committed_notebook_is_fit_to_read(source):
    path = build.NOTEBOOKS / f"{source.stem}.ipynb"
    assert path.stat().st_size <= build.MAX_BYTES
    notebook = nbformat.read(path, as_version=4)
    assert build.find_faults(notebook) == [], REPAIR
    assert len(notebook.cells) <= 60
    for cell in colab.without_cells(notebook):
        if cell.cell_type == "code":
            python = re.sub(r"^[%!].*$", "", cell.source, flags=re.MULTILINE)
            assert cell.outputs or not any(map(shows, ast.parse(python).body)), cell.source


ASKED = re.compile(r'lab\.(predict|recall|exit_ticket)\("([\w-]+)"\)')


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_questions_are_those_of_the_course(source):
    """A question that was changed in data/course after the notebook was built shows here."""
    notebook = nbformat.read(build.NOTEBOOKS / f"{source.stem}.ipynb", as_version=4)
    for cell in notebook.cells:
        for what, key in ASKED.findall(cell.source if cell.cell_type == "code" else ""):
            kind = {"predict": "predict", "recall": "recall", "exit_ticket": "exit"}[what]
            questions = [find_question(key)] if kind == "predict" else questions_of(key, kind)
            pages = "".join(output.data["text/html"] for output in cell.outputs)
            for question in questions:
                shown = [question.text, *(option.text for option in question.options)]
                if kind != "predict":
                    shown += [option.because for option in question.options]
                assert [text for text in shown if escape(text) not in pages] == [], (
                    f"{question.key}: {REPAIR}"
                )
