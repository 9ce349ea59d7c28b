"""README and the pages around it: they fit, their links lead somewhere, and their Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sskd_lib as sskd
from helpers.documents import PAGES, ROOT, blocks, page

LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_readme_is_one_page():
    lines = page("README.md").splitlines()
    assert len(lines) <= 150
    assert lines.index("## What is where") <= 62  # what comes before is the first screen


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name):
    for target in LINK.findall(page(name)):
        if not target.startswith(("http", "#")):
            assert (ROOT / name).parent.joinpath(target.partition("#")[0]).exists(), target


def test_every_page_is_linked_from_another():
    linked = {
        (ROOT / name).parent.joinpath(target).resolve().relative_to(ROOT).as_posix()
        for name in PAGES
        for target in LINK.findall(page(name))
        if not target.startswith(("http", "#"))
    }
    assert set(PAGES) - {"README.md"} - linked == set()


def paths_in_the_tree(text: str) -> list[str]:
    """The paths that a tree of files names, each with the folder it is indented under."""
    found, folder = [], ""
    for line in text.splitlines():
        name = line.split("  ")[0] if line[:1] != " " else line.split()[0]
        folder = name if line[:1] != " " else folder
        if re.fullmatch(r"[\w./]+(/|\.py)", name):
            found.append(name if line[:1] != " " else folder + name)
    return found


def test_the_tree_is_the_repository():
    (tree,) = [block for block in blocks("README.md", "") if "sskd_lib/" in block]
    paths = paths_in_the_tree(tree)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    shown = {path for path in paths if path.startswith("sskd_lib/")} - {"sskd_lib/"}
    library = {p.name + "/" * p.is_dir() for p in (ROOT / "sskd_lib").iterdir()} - {
        "py.typed",
        "__pycache__/",
    }
    assert {path.removeprefix("sskd_lib/") for path in shown} == library


def test_the_six_lines_run_as_they_are_printed(monkeypatch, capsys):
    """But for the schedule, which only takes time."""
    (code,) = blocks("README.md", "python")
    assert len(code.strip().splitlines()) == 6
    assert code.count("sskd.SHORT") == 1
    shorter = code.replace("sskd.SHORT", "sskd.Schedule(epochs=1)")
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(compile(shorter, "README.md", "exec"), names)
    assert 0 < float(capsys.readouterr().out) < 100
    assert isinstance(names["run"], sskd.training.state.Run)
    assert names["run"].summary["epochs"] == 1


@pytest.mark.kill  # about a minute of training
def test_the_six_lines_teach_something(monkeypatch, capsys):
    """As printed. A student that guesses is right once in ten."""
    (code,) = blocks("README.md", "python")
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 70


def test_versions_agree():
    project = dict(re.findall(r'^([\w-]+) = "(.+)"$', page("pyproject.toml"), flags=re.MULTILINE))
    assert f"## {project['version']}" in page("CHANGELOG.md")
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in page("README.md")


def test_readme_has_the_commands_of_the_makefile():
    targets = set(re.findall(r"^(\w[\w-]*):", page("Makefile"), flags=re.MULTILINE))
    for name in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", page(name), flags=re.MULTILINE):
            assert "".join(target) in targets, (name, target)


def test_only_programs_that_exist_are_named():
    pattern = re.compile(r"((?:benchmarks|docs|notebooks|tests)/[\w/]+\.py|python data/\w+\.py)")
    for name in PAGES:
        missing = [
            path
            for path in pattern.findall(page(name))
            if not Path(ROOT, path.removeprefix("python ")).exists()
        ]
        assert missing == [], name


def test_the_plan_of_a_lab_names_sections_that_exist():
    """A row's minutes follow those of the row before; the last one is the reserve."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    plan = re.findall(
        r"^\| (\d+)–(\d+) \|.*\|(.*)\|$",
        text.split("## A plan for 90 minutes")[1].split("\n## ")[0],
        re.M,
    )
    assert [int(end) for _, end, _ in plan] == [*(int(start) for start, *_ in plan[1:]), 90]
    assert plan[0][0] == "0" and not plan[-1][2].strip()
    for *_, place in plan[:-1]:
        number, _, sections = place.strip().partition(", ")
        (source,) = ROOT.glob(f"notebooks/source/{number}_*.py")
        headings = re.findall(r"^# ## (\d+)", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(re.findall(r"\d+", sections)) <= set(headings), place
