"""Predict, then see: each notebook asks before it computes, and its answers come from data."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

import build
from sskd_lib.lab.course.bank import questions_of, read_questions

SOURCES = build.find_sources()
WITH_RECALL = {q.key[:2] for q in read_questions().values() if q.kind == "recall"}
LESSONS = [source for source in SOURCES if source.stem[:2] < "10" or source.stem[:2] in WITH_RECALL]
MOST = 6  # predictions in one notebook


def calls(source) -> list[tuple[int, str, list[ast.expr]]]:
    """Every call of a function of `lab` in a notebook, in order: (number of the cell, name, arguments)."""
    listed = []
    for number, cell in enumerate(build.read_source(source).cells):
        if cell.cell_type == "code" and not cell.source.lstrip().startswith(("%", "!")):
            nodes = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
            nodes.sort(key=lambda node: (node.lineno, node.col_offset))
            listed += [(number, name, node.args) for node in nodes if (name := name_of(node.func))]
    return listed


def name_of(function: ast.expr) -> str:
    """The f of `lab.f`, or nothing."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return function.attr if function.value.id == "lab" else ""
    return ""


def with_key(source, name: str) -> list[tuple[int, str, list[ast.expr]]]:
    """The calls of one function of `lab`: (number of the cell, its key, all arguments)."""
    return [(cell, ast.literal_eval(args[0]), args) for cell, called, args in calls(source) if called == name]


def is_constant(expression: ast.expr) -> bool:
    """Whether an expression contains no name, so that it does not depend on data: a number, "b", 2 / 3."""
    return not any(isinstance(node, ast.Name) for node in ast.walk(expression))


@pytest.mark.parametrize(
    ("text", "constant"),
    [("'b'", True), ("2 / 3", True), ("-1.5", True), ("size[8] / size[4]", False), ("max(a)", False)],
)
def test_a_constant_is_told_from_a_computed_answer(text: str, constant: bool) -> None:
    assert is_constant(ast.parse(text, mode="eval").body) is constant


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_each_prediction_is_answered_later_once_and_from_data(source) -> None:
    asked, answered = with_key(source, "predict"), with_key(source, "reveal")
    assert Counter(key for _, key, _ in asked) == Counter(key for _, key, _ in answered)
    assert max(Counter(key for _, key, _ in asked).values(), default=1) == 1
    assert len(asked) <= MOST
    place = {key: cell for cell, key, _ in answered}
    for cell, key, args in asked:
        assert key.startswith(source.stem[:2]) and place[key] > cell, key
        assert len(args) == 1, f"{key}: its text belongs to data/course/{key[:2]}.yaml"
    for _, key, args in answered:
        assert len(args) >= 2 and not is_constant(args[1]), f"{key}: its answer is not computed"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_prediction_is_a_cell_of_its_own(source) -> None:
    cells = build.read_source(source).cells
    for name in ("predict", "recall", "exit_ticket"):
        for cell, key, _ in with_key(source, name):
            assert cells[cell].source.strip() == f'lab.{name}("{key}")'


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_no_prediction_is_left_in_the_prose(source) -> None:
    for cell in build.read_source(source).cells:
        if cell.cell_type == "markdown":
            assert "Predict." not in cell.source
            assert "Answer (" not in cell.source and "answer is (" not in cell.source


@pytest.mark.parametrize("source", LESSONS, ids=lambda source: source.stem)
def test_a_lesson_begins_with_recall_and_ends_with_an_exit_ticket(source) -> None:
    number, cells = source.stem[:2], build.read_source(source).cells
    ((first, before, _),), ((last, after, _),) = with_key(source, "recall"), with_key(source, "exit_ticket")
    assert before == after == number
    assert questions_of(number, "recall") and questions_of(number, "exit")
    headings = [i for i, cell in enumerate(cells) if cell.source.startswith("## 1 · ")]
    assert headings and first < headings[0] < last
    assert cells[last + 1].source.startswith("## Check yourself")
    assert all(cell < last for name in ("predict", "reveal") for cell, _, _ in with_key(source, name))


def test_every_prediction_of_the_course_is_in_exactly_one_notebook() -> None:
    numbers = {source.stem[:2] for source in SOURCES}
    predictions = {key for key, question in read_questions().items() if question.kind == "predict"}
    used = Counter(key for source in SOURCES for _, key, _ in with_key(source, "predict"))
    assert used == Counter(key for key in predictions if key[:2] in numbers)
    assert sum(used.values()) >= 20
