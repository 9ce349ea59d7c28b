"""The texts of the course: questions of data/course/*.yaml, and the instructor's pages made from them."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from itertools import pairwise

import pytest
import yaml

from helpers.documents import ROOT, page
from sskd_lib.evaluation import interval
from sskd_lib.lab.course.bank import LETTERS, read_questions
from sskd_lib.lab.exercises.registry import EXERCISES

COURSE = ROOT / "data" / "course"
CONTENTS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in COURSE.glob("*.yaml")}
NUMBERS = [f"{n:02}" for n in range(10)]  # the notebooks with a guide
GUIDES = {number: CONTENTS[number]["guide"] for number in NUMBERS}
QUESTIONS = [question for question in read_questions().values() if question.kind != "predict"]
ORDER = ["predict", "recall", "exit", "vote", "guide"]
CHECKS = set(EXERCISES)


def of(number, kind):
    return [q for q in QUESTIONS if q.kind == kind and q.key.split("-")[0] == number]


def headings(number):
    (source,) = ROOT.glob(f"notebooks/source/{number}_*.py")
    return re.findall(r"^# ## (.+)$", source.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("make_teaching", ROOT / "docs" / "make_teaching.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- questions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_each_notebook_has_its_questions(number):
    for kind, mark, count in (("recall", "r", 3), ("exit", "x", 1), ("vote", "v", 8)):
        keys = [f"{number}-{mark}{i}" for i in range(1, count + 1)] if count > 1 else [f"{number}-{mark}"]
        assert [q.key for q in of(number, kind)] == keys
    sections = [name for name in CONTENTS[number] if name in ORDER]
    assert sections == sorted(sections, key=ORDER.index)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.key)
def test_each_answer_is_explained(question):
    texts = [option.text for option in question.options]
    reasons = [option.because for option in question.options]
    assert 2 <= len(texts) <= 4 and len(set(texts)) == len(texts)
    assert all(len(reason.split()) >= 3 for reason in reasons)
    assert not {text.rstrip(".") for text in texts} & {reason.rstrip(".") for reason in reasons}
    assert not re.search("all of the above|none of the above", " ".join(texts).lower())


def picked(questions, extreme):
    """How often the right option is the only longest one, or the only shortest one."""
    lengths = [[len(option.text) for option in question.options] for question in questions]
    only = [n.index(extreme(n)) if n.count(extreme(n)) == 1 else None for n in lengths]
    return sum(place == question.answer for place, question in zip(only, questions, strict=True))


def test_neither_letter_nor_length_gives_the_answer_away():
    for questions in [QUESTIONS, *([q for q in QUESTIONS if q.key.split("-")[0] == n] for n in CONTENTS)]:
        if len(questions) < 8:
            continue
        letters = Counter(LETTERS[q.answer] for q in questions)
        assert set(letters) == {"a", "b", "c"} and max(letters.values()) <= len(questions) / 2
        assert picked(questions, max) < len(questions) / 2, questions[0].key
        assert picked(questions, min) <= len(questions) / 2, questions[0].key


@pytest.mark.parametrize("number", NUMBERS)
def test_recall_is_about_earlier_notebooks(number):
    sources = {q.source for q in of(number, "recall")}
    if number == "00":
        assert sources == {"before"}
        return
    assert sources <= {n for n in NUMBERS if n < number}
    assert len(sources) == (1 if number == "01" else 2)


def test_the_inventory_has_ten_questions_on_ten_concepts():
    questions = [q for q in QUESTIONS if q.kind == "inventory"]
    assert [q.key for q in questions] == [f"inventory-{i:02}" for i in range(1, 11)]
    assert len({q.source for q in questions} - {""}) == 10


def test_no_question_is_asked_twice():
    assert max(Counter(q.text for q in QUESTIONS).values()) == 1


# Differences that a question makes up, and the interval that it prints for them.
MADE_UP = {"+0.5 ± 0.9": (0.2, 0.9, 0.4), "0.4 ± 0.5": (0.6, 0.2, 0.4)}


def test_intervals_of_the_examples_are_computed():
    for text, differences in MADE_UP.items():
        mean, half = interval(differences)
        assert f"{mean:.1f} ± {half:.1f}" == text.lstrip("+")


def test_every_measured_interval_is_recorded():
    """Each "x ± y" of the course is on the page of the results, or was printed by a notebook."""
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    printed = results + "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("notebooks/*.ipynb"))
    known = {
        re.sub(r"\s+", " ", text).lstrip("+") for text in re.findall(r"[+-]?\d+\.\d+ ± +\d+\.\d+", printed)
    }
    for path in COURSE.glob("*.yaml"):
        text = path.read_text(encoding="utf-8").replace("−", "-")
        for found in re.findall(r"[+-]?\d+\.\d+ ± \d+\.\d+", text):
            assert found in MADE_UP or found.lstrip("+") in known, (path.name, found)


# ---- guides --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_objectives_name_sections_and_checks_that_exist(number):
    existing = headings(number)
    for objective in GUIDES[number]["objectives"]:
        assert objective["section"] in existing
        assert set(objective.get("check", ())) <= CHECKS


def test_every_check_belongs_to_an_objective():
    named = {name for guide in GUIDES.values() for o in guide["objectives"] for name in o.get("check", ())}
    assert named == CHECKS
    listed = page("docs/teaching.md").split("The checks, in the order of the course:")[1].split(".")[0]
    assert re.findall(r"`(\w+)`", listed) == list(EXERCISES)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("minutes", [50, 90, 180])
def test_a_plan_fills_its_time(number, minutes):
    plan = GUIDES[number]["plans"][minutes]
    clocks = [tuple(map(int, step["clock"].split("–"))) for step in plan]
    assert clocks[0][0] == 0 and clocks[-1][1] == minutes
    assert all(before[1] == after[0] for before, after in pairwise(clocks))
    assert all(start < end for start, end in clocks)
    existing = {heading.split(" · ")[0] for heading in headings(number)}
    for step in plan:
        assert set(re.findall(r"section (\d+)", step.get("where", ""))) <= existing, step
        votes = set(re.findall(r"\d\d-v\d", step["what"]))
        assert votes <= {q.key for q in of(number, "vote")}, step


# ---- pages ---------------------------------------------------------------------------------------


def test_the_pages_are_fresh(program):
    assert program.differing() == []


def test_a_page_that_differs_is_found(program, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "PAGES", tmp_path / "teaching")
    assert program.main([]) == 0 and program.main(["--check"]) == 0
    (program.PAGES / "03.md").write_text("changed", encoding="utf-8")
    (program.PAGES / "77.md").write_text("left over", encoding="utf-8")
    (program.PAGES / "05.md").unlink()
    assert program.main(["--check"]) == 1
    assert "03.md, 05.md, 77.md" in capsys.readouterr().out


@pytest.mark.parametrize("number", NUMBERS)
def test_a_page_has_every_vote_and_its_links_lead_to_files(number):
    name = f"docs/teaching/{number}.md"
    text = page(name)
    for question in of(number, "vote"):
        assert question.text in text
        assert all(option.text in text and option.because in text for option in question.options)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert (ROOT / name).parent.joinpath(target).exists(), target
    assert f"(teaching/{number}.md)" in page("docs/teaching.md")


def test_votes_named_in_the_guide_exist():
    named = set(re.findall(r"\d\d-v\d", page("docs/teaching.md")))
    assert named and named <= {q.key for q in QUESTIONS if q.kind == "vote"}
