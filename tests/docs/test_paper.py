"""docs/paper.md: nothing of the paper is missing, every link lands, and the page is fresh."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbconvert.filters import markdown2html

from helpers.documents import ROOT, page, words

TEXT = page("docs/paper.md")
SECTIONS = dict(re.findall(r"(?ms)^### (.+?)$(.+?)(?=^##|\Z)", TEXT))
CODE = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w./]+\.py)#L(\d+)\)", TEXT)
NOTEBOOKS = re.findall(r"\[(\d\d) · ([^\]]+)\]\(\.\./(notebooks/[\w.]+)#(\S+)\)", TEXT)
SCREEN = 20  # lines that a link may be away from its definition

EQUATIONS = [f"Eq. {number}" for number in range(1, 9)]
TABLES = [f"Table {number}" for number in range(1, 7)]
FIGURES = ["Fig. 3a", "Fig. 3b", "Fig. 4a", "Fig. 4b"]  # 1 and 2 are drawings of the method


# ---- nothing is missing --------------------------------------------------------------------------


def test_every_equation_table_and_figure_has_one_section():
    numbers = [heading.split(" · ")[0] for heading in SECTIONS]
    assert len(numbers) == len(set(numbers))
    assert [n for n in numbers if n.startswith(("Eq.", "Table", "Fig."))] == EQUATIONS + TABLES + FIGURES


def test_the_overview_links_every_section():
    shown = re.findall(r"(?m)^\| \[(.+?)\]\(#(\S+?)\) \| (.+?) \|", TEXT)
    assert [f"{number} · {title}" for number, _, title in shown] == list(SECTIONS)
    for number, anchor, title in shown:  # GitHub's rule: small letters, hyphens for spaces, no punctuation
        letters = f"{number} · {title}".lower()
        assert anchor == "".join(c for c in letters if c.isalnum() or c in " -_").replace(" ", "-")


def test_equations_that_the_library_quotes_are_linked_to_what_quotes_them():
    source = page("sskd_lib/losses/sskd.py")
    quoted = {
        (number, name)
        for name, body in re.findall(r"(?ms)^def (\w+)(.+?)(?=^def |^class |\Z)", source)
        for number in re.findall(r"Eq\. (\d)", body)
    }
    assert {number for number, _ in quoted} == {"4", "5", "6", "7", "8"}
    for number, name in quoted:
        (section,) = [text for heading, text in SECTIONS.items() if heading.startswith(f"Eq. {number} ·")]
        assert f"- **Library:** [`{name}`](../sskd_lib/losses/sskd.py#L" in section


def test_every_section_has_code_a_test_and_what_was_measured_or_says_that_it_was_not():
    for heading, text in SECTIONS.items():
        assert "**The paper:** " in text
        assert re.search(r"- \*\*Library:\*\* \[`", text), heading
        assert re.search(r"- \*\*Test:\*\* \[`", text), heading
        assert re.search(r"- \*\*Notebook:\*\* (\[|none)", text), heading
        equation = heading.startswith("Eq.") or "the rule" in heading
        if equation:
            assert "**Tested as code:** " in text, heading
        elif "**Measured here:** " not in text:
            assert "**Not tested:** " in text, heading
        assert ("**Measured here:** " in text) == ("| compared | runs |" in text), heading
    assert "this cannot be tested here, because " in " ".join(SECTIONS["Table 5 · ImageNet"].split())


def test_the_overview_says_what_was_done():
    states = dict(re.findall(r"(?m)^\| \[(.+?)\]\(#\S+?\) \| .+? \| (.+?) \|$", TEXT))
    for heading, text in SECTIONS.items():
        places = re.findall(r"(?m)\| (contains zero|above zero|below zero) \|$", text)
        state = states[heading.split(" · ")[0]]
        if places:
            zero = places.count("contains zero")
            assert state == f"smaller setting: {zero} of {len(places)} intervals contain zero"
        elif "cannot be tested here" in text:
            assert state == "cannot be tested here"
        else:
            assert state == ("not tested" if "**Not tested:** " in text else "tested as code")


# ---- every link lands ----------------------------------------------------------------------------


def definition_lines(file: str, name: str) -> list[int]:
    """The lines of a file that define a function, class, method or constant of this name."""
    *owner, last = name.split(".")
    indent = " {4}" if owner else ""
    pattern = re.compile(rf"{indent}(?:def|class) {last}\b|{indent}{last}(?:: .+)? = ")
    return [n for n, line in enumerate(page(file).splitlines(), start=1) if pattern.match(line)]


def test_links_into_the_code_land_on_definitions():
    assert len(CODE) > 80
    for name, file, line in CODE:
        lines = definition_lines(file, name)
        assert len(lines) == 1, f"{file}: {name}"
        assert abs(int(line) - lines[0]) <= SCREEN, (
            f"{file}: {name} is in line {lines[0]}, the link in {line}"
        )


def test_tests_are_tests_and_the_library_is_the_library():
    for kind, folder in (("Library", "sskd_lib/"), ("Test", "tests/")):
        for line in re.findall(rf"(?m)^- \*\*{kind}:\*\* (.+)$", TEXT):
            links = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w./]+)#L\d+\)", line)
            assert ", ".join(re.findall(r"\[[^\]]+\]\([^)]+\)", line)) == line and links
            assert all(file.startswith(folder) for _, file in links)
            if kind == "Test":
                assert all(name.startswith("test_") and "/test_" in file for name, file in links)


@pytest.fixture(scope="module")
def anchors() -> dict[str, dict[str, str]]:
    """Notebook → heading without its number → anchor, as nbconvert makes it."""
    made: dict[str, dict[str, str]] = {}
    for name in {name for *_, name, _ in NOTEBOOKS}:
        cells = nbformat.read(ROOT / name, as_version=4).cells
        html = "".join(markdown2html(cell.source) for cell in cells if cell.cell_type == "markdown")
        identities = [unquote(unescape(identity)) for identity in re.findall(r'<h[12] id="(.+?)">', html)]
        made[name] = {re.sub(r"^\d+ · ", "", i.replace("-", " ")): i for i in identities}
    return made


def test_links_into_notebooks_land_on_headings(anchors):
    assert len(NOTEBOOKS) > 30
    for number, heading, name, anchor in NOTEBOOKS:
        assert Path(name).name.startswith(f"{number}_")
        assert unquote(anchor) == anchors[name][heading.replace("-", " ")]


def test_sections_name_each_other_rightly():
    numbers = [heading.split(" · ")[0] for heading in SECTIONS]
    named = re.findall(r"see ((?:Fig\.|Table|Abstract,|Appendix|Eq\.) [\d.]*\d[ab]?)", words("docs/paper.md"))
    assert len(named) >= 5
    assert set(named) <= set(numbers)


# ---- the page is fresh ---------------------------------------------------------------------------


def test_the_page_is_what_the_program_writes(make_paper):
    assert make_paper.find_differences(TEXT, make_paper.page()) == []


def moved(text: str, lines: int) -> str:
    return re.sub(r"#L(\d+)\)", lambda found: f"#L{int(found[1]) + lines})", text)


def test_lines_may_drift_by_a_screen_and_nothing_else_may_change(make_paper):
    assert make_paper.find_differences(moved(TEXT, SCREEN), TEXT) == []
    stale = make_paper.find_differences(moved(TEXT, SCREEN + 1), TEXT)
    assert len(stale) == len(CODE)
    assert all(re.fullmatch(r"\S+\.py is linked at line \d+, and .+ line \d+ today", line) for line in stale)
    for old, new in (("+0.38 ± 0.54", "+0.39 ± 0.54"), ("`transfer_mask`", "`mask`"), ("sskd.py", "kd.py")):
        assert old in TEXT
        assert make_paper.find_differences(TEXT.replace(old, new, 1), TEXT) != []


def test_the_command_writes_and_checks(make_paper, tmp_path, capsys):
    file = tmp_path / "paper.md"
    assert make_paper.main(["--check"], file) == 1  # there is none
    assert "Write it again with: python docs/make_paper.py" in capsys.readouterr().out
    assert make_paper.main([], file) == 0
    assert make_paper.main(["--check"], file) == 0
    assert "paper.md is fresh" in capsys.readouterr().out
    file.write_text(file.read_text(encoding="utf-8").replace("zero", "one", 1), encoding="utf-8")
    assert make_paper.main(["--check"], file) == 1
    assert "+" in capsys.readouterr().out


SOURCE = '''"""A file."""

LIMIT: int = 3


@decorated
def late():
    """Late."""


class Box:
    def late(self):
        return LIMIT
'''


def test_definitions_are_found_by_their_name(make_paper, tmp_path):
    from paper import links

    (tmp_path / "a.py").write_text(SOURCE)
    places = {"LIMIT": 3, "late": 7, "Box": 11, "Box.late": 12}
    for name, line in places.items():
        assert links.find_span(f"a.py::{name}", tmp_path).first == line
        assert links.code_link(f"a.py::{name}", tmp_path) == f"[`{name}`](../a.py#L{line})"
    with pytest.raises(ValueError, match=r"a\.py has no 'lates'\. Did you mean 'late'\? Give"):
        links.code_link("a.py::lates", tmp_path)
    with pytest.raises(ValueError, match=r"b\.py is missing"):
        links.code_link("b.py::late", tmp_path)


def test_sections_are_found_by_their_heading(make_paper):
    from paper import links

    with pytest.raises(ValueError, match=r"no section 'One matrices'\. Did you mean 'One matrix'\?"):
        links.notebook_link("03 · One matrices")
    with pytest.raises(ValueError, match=r"there are 0 notebooks 77_"):
        links.notebook_link("77 · One matrix")
