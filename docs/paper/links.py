"""The links of docs/paper.md: from names in the code and headings of notebooks to places in files."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sskd_lib.files import did_you_mean

ROOT = Path(__file__).resolve().parents[2]


class Span(NamedTuple):
    """Where a definition is in its file: the first line, which has its name, and the last."""

    first: int
    last: int


def code_link(symbol: str, root: Path = ROOT) -> str:
    """Return the Markdown link of "FILE::NAME", a function, class, method (CLASS.NAME) or constant."""
    file, name = symbol.split("::")
    return f"[`{name}`](../{file}#L{find_span(symbol, root).first})"


def find_span(symbol: str, root: Path = ROOT) -> Span:
    """Return the lines of "FILE::NAME". Raises ValueError if the file or the name is not there."""
    file, _, name = symbol.partition("::")
    spans = _spans(root / file)
    if name not in spans:
        raise ValueError(
            f"{file} has no {name!r}.{did_you_mean(name, spans)} "
            "Give the definition's name of today in docs/paper/."
        )
    return spans[name]


@cache
def _spans(path: Path) -> dict[str, Span]:
    """Return the lines of every definition of a file, by its name."""
    if not path.is_file():
        raise ValueError(f"{path} is missing. Give the file's name of today in docs/paper/.")
    return dict(_definitions(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def _definitions(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[str, Span]]:
    for node in body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        for name in names:
            yield prefix + name, Span(node.lineno, node.end_lineno or node.lineno)
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")


def notebook_link(place: str, root: Path = ROOT) -> str:
    """Return the Markdown link of "NN · HEADING", a section or the title of a notebook, without its number.

    The anchor is that of JupyterLab and nbconvert: the heading, with a hyphen for each space.
    Raises ValueError if there is no such notebook or section.
    """
    number, _, wanted = place.partition(" · ")
    files = sorted((root / "notebooks").glob(f"{number}_*.ipynb"))
    if len(files) != 1:
        raise ValueError(f"there are {len(files)} notebooks {number}_*.ipynb, one is expected: {place!r}.")
    sections = {re.sub(r"^\d+ · ", "", heading): heading for heading in headings(files[0])}
    if wanted not in sections:
        raise ValueError(
            f"{files[0].name} has no section {wanted!r}.{did_you_mean(wanted, sections)} "
            "Give the heading of today in docs/paper/."
        )
    anchor = quote(sections[wanted].replace(" ", "-"), safe=",?")
    return f"[{place}](../notebooks/{files[0].name}#{anchor})"


@cache
def headings(notebook: Path) -> tuple[str, ...]:
    """Return the title and the sections' headings of a notebook, in their order."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return tuple(heading.strip() for text in texts for heading in re.findall(r"(?m)^##? (.+)$", text))


def section_anchor(heading: str) -> str:
    """Return the anchor of a heading in a Markdown page, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
