"""The texts of the repository, cut up for comparison with what they speak of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("data/*.md"),
        *ROOT.glob("benchmarks/*.md"),
    )
)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def words(name: str) -> str:
    """A page with its line breaks taken out."""
    return " ".join(page(name).split())


def rows(name: str) -> list[list[str]]:
    """The cells of each table row of a page."""
    lines = [line for line in page(name).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def cells(name: str) -> dict[str, list[str]]:
    """The cells of each table row of a page, by the first one."""
    return {row[0]: row[1:] for row in rows(name)}


def blocks(name: str, language: str) -> list[str]:
    """The code of a page in one language."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page(name), flags=re.MULTILINE | re.DOTALL)
    return [code for kind, code in fences if kind == language]


def record(name: str) -> dict[str, Any]:
    """A record of benchmarks/results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
