"""docs/architecture.md against the library."""

from __future__ import annotations

import re

from helpers.documents import ROOT, blocks, page, rows

LIBRARY = ROOT / "sskd_lib"


def test_the_rooms_are_those_of_the_library():
    tree = blocks("docs/architecture.md", "")[0].splitlines()
    assert tree[0] == "sskd_lib/"
    shown = [line.split()[0] for line in tree[1:]]
    found = {p.name + "/" * p.is_dir() for p in LIBRARY.iterdir()} - {"__pycache__/", "py.typed"}
    assert sorted(shown) == sorted(found)


def test_the_order_of_imports_is_the_contract():
    """What the page shows is what import-linter checks."""
    contract = re.search(r"^layers = \[\n(.*?)^\]", page("pyproject.toml"), flags=re.MULTILINE | re.DOTALL)[1]
    layers = [line.replace("sskd_lib.", "") for line in re.findall(r'"(.+)"', contract)]
    shown = blocks("docs/architecture.md", "")[1].splitlines()
    assert [re.split(r"  +", line)[0] for line in shown] == layers


def test_the_files_to_begin_with_are_as_long_as_the_page_says():
    """Give or take twenty lines."""
    table = [row for row in rows("docs/architecture.md") if (LIBRARY / row[0].strip("`")).is_file()]
    counts = [len((LIBRARY / row[0].strip("`")).read_text(encoding="utf-8").splitlines()) for row in table]
    assert len(table) >= 15
    for (file, lines, _), count in zip(table, counts, strict=True):
        assert abs(count - int(lines)) <= 20, (file, count)
    total = int(re.search(r"about ([\d,]+) lines", page("docs/architecture.md"))[1].replace(",", ""))
    assert abs(sum(counts) - total) <= 100, sum(counts)


def test_the_library_is_as_large_as_the_page_says():
    """Give or take three per cent: the page speaks of the day of the restructuring."""
    after = {row[0]: row[2] for row in rows("docs/architecture.md") if row[0].startswith("lines in")}
    for name, folder in (("lines in `sskd_lib/`", LIBRARY), ("lines in `tests/`", ROOT / "tests")):
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in folder.rglob("*.py"))
        assert abs(lines / int(after[name].split()[0].replace(",", "")) - 1) < 0.03, (name, lines)
