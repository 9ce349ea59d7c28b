"""The notebooks as they are committed: built from their sources, and fit to read without a kernel."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest

import build
import colab

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
