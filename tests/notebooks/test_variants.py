"""Copies for students and instructors: what they have, what they lack, and that both run."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest

import build
import colab
import variants
from kernels import NotebookFailure, execute
from sskd_lib.lab.course.bank import read_questions

SOURCES = build.find_sources()
WITH_EXERCISES = [s for s in SOURCES if any(map(variants.is_exercise, build.read_source(s).cells))]
RUN = [s for s in WITH_EXERCISES if s.stem[:2] in ("01", "02")]  # 02 uses below what is written
KD = next(source for source in SOURCES if source.stem.startswith("01"))


def text_of(notebook) -> str:
    """All cells of a notebook as one text."""
    return "\n".join(cell.source for cell in notebook.cells)


def solutions(source) -> list[list[str]]:
    """The lines of each solution in a source, read by hand: between the two marks."""
    blocks, inside = [], False
    for line in source.read_text(encoding="utf-8").splitlines():
        if "# BEGIN SOLUTION" in line:
            blocks.append([])
            inside = True
        elif "# END SOLUTION" in line:
            inside = False
        elif inside:
            blocks[-1].append(line.strip())
    return blocks


def test_there_are_exercises() -> None:
    assert {"01_vanilla_kd", "12_your_own_sskd"} <= {source.stem for source in WITH_EXERCISES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_student_s_copy_has_no_solution_no_answer_and_no_output(source) -> None:
    copy = variants.student_copy(source)
    nbformat.validate(copy)
    exercises = "\n".join(cell.source for cell in copy.cells if variants.is_exercise(cell))
    blocks = solutions(source)
    assert exercises.count(variants.STUB) == len(blocks)
    for block in blocks:
        assert block
        assert "\n".join(block) not in "\n".join(line.strip() for line in exercises.splitlines())
    text = text_of(copy)
    assert "SOLUTION" not in text and "<details" not in text and "colab-badge" not in text
    for cell in copy.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            ast.parse(re.sub(r"^[%!].*$", "", cell.source, flags=re.MULTILINE))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
@pytest.mark.parametrize("make", [variants.student_copy, variants.instructor_copy])
def test_ids_of_cells_are_unique_and_stay(source, make) -> None:
    first, second = ([cell.id for cell in make(source).cells] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


def test_all_else_of_a_student_s_copy_is_the_source_s() -> None:
    for source in SOURCES:
        theirs = {cell.id: cell for cell in build.read_source(source).cells}
        for cell in variants.student_copy(source).cells:
            if cell.cell_type == "code" and not variants.is_exercise(cell):
                assert cell.source == theirs[cell.id].source


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_an_instructor_s_copy_has_the_solutions_and_the_answers(source) -> None:
    copy = variants.instructor_copy(source)
    nbformat.validate(copy)
    text = text_of(copy)
    assert "SOLUTION" not in text and variants.STUB not in text
    flat = "\n".join(line.strip() for line in text.splitlines())
    assert all("\n".join(block) in flat for block in solutions(source))
    asked = {q.key: q for q in read_questions().values() if f'lab.predict("{q.key}")' in text}
    for key, question in asked.items():
        assert f"**{key}.**" in text
        assert all(option.because in text for option in question.options)


def test_an_instructor_s_copy_begins_with_the_page_of_its_notebook() -> None:
    page = (build.NOTEBOOKS.parent / "docs" / "teaching" / "01.md").read_text(encoding="utf-8")
    heading = next(line for line in page.splitlines() if line.startswith("## "))
    first = variants.instructor_copy(KD).cells[0]
    assert first.metadata.tags == ["instructor"] and heading in first.source


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    return 1\n",
        "def f():\n    # BEGIN SOLUTION\n    return 1\n",
        "def f():\n    # END SOLUTION\n    # BEGIN SOLUTION\n    return 1\n",
    ],
)
def test_a_solution_without_both_marks_is_refused(code) -> None:
    with pytest.raises(NotebookFailure, match="no whole solution between # BEGIN SOLUTION"):
        variants.without_solution(code)


def test_a_stub_keeps_the_indentation_and_what_stands_around_the_solution() -> None:
    code = (
        "def f(a):\n    b = a\n    # BEGIN SOLUTION\n    b += 1\n    # END SOLUTION\n    return b\n\n\nf(1)"
    )
    stub = variants.without_solution(code)
    assert stub == f"def f(a):\n    b = a\n    {variants.STUB}\n    return b\n\n\nf(1)"
    assert variants.without_marks(code) == "def f(a):\n    b = a\n    b += 1\n    return b\n\n\nf(1)"


def test_the_command_writes_the_chosen_copies(tmp_path, capsys) -> None:
    folder = tmp_path / "for a class é"
    assert variants.main(["student", str(folder), "01", "12"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["01_vanilla_kd.ipynb", "12_your_own_sskd.ipynb"]
    assert "2 notebooks" in capsys.readouterr().out
    assert variants.main(["student", str(folder), "nowhere"]) == 1
    assert "no notebook source starts with 'nowhere'" in capsys.readouterr().err


def test_answers_to_predictions_are_folded_in_the_committed_notebooks() -> None:
    folded = 0
    for source in SOURCES:
        for cell in build.read_source(source).cells:
            answers = cell.cell_type == "code" and "lab.reveal(" in cell.source
            assert (cell.metadata.get("jupyter", {}).get("outputs_hidden") is True) == answers
            folded += answers
    assert folded > 20


def printed(cell) -> str:
    """What a cell that has run printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.mark.notebook
@pytest.mark.parametrize("source", RUN, ids=lambda source: source.stem)
def test_a_student_s_copy_runs_to_its_end_and_says_what_to_do(source, tmp_path) -> None:
    """Elsewhere than in the kit, in a path with a space and an accent."""
    folder = tmp_path / "a class é"
    folder.mkdir()
    copy = variants.student_copy(source)
    execute(copy, source.stem, folder)
    exercises = [cell for cell in copy.cells if variants.is_exercise(cell)]
    assert len(exercises) == len(solutions(source))
    for cell in exercises:
        assert "✗" in printed(cell) and "returns nothing" in printed(cell) and "lab.hint(" in printed(cell)


@pytest.mark.notebook
def test_an_instructor_s_copy_is_written_with_its_outputs(tmp_path) -> None:
    (path,) = variants.write_copies("instructor", tmp_path / "for me é", ["01"])
    notebook = nbformat.read(path, as_version=4)
    assert build.find_faults(notebook) == []
    exercises = [cell for cell in notebook.cells if variants.is_exercise(cell)]
    assert exercises and all("✓" in printed(cell) for cell in exercises)
    assert not any(colab.is_for_colab(cell) and cell.get("outputs") for cell in notebook.cells)
