"""The table of bad inputs: what was tried, and the message that a person gets.

An area is a module in tests/refusals/ with one function per bad input, marked `@tried("…")`, and a table of
the same name, AREA.md, with the message of each. `python tests/refusals/write.py` writes them again: read
the change as a reader of English before it is committed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sskd_lib.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "refusals"
AREAS = tuple(sorted(file.stem for file in FOLDER.glob("of_*.py")))
TITLE = "# What is refused, and what is said\n\n| tried | answer |\n|---|---|\n"
Try = Callable[[Path], object]  # gets an empty folder, in which it also runs


class Refused(Exception):
    """A command that ended with another exit status than 0; its text is what it wrote to stderr."""


@dataclass(frozen=True)
class Tried:
    """One bad input, in words and as a function."""

    words: str
    function: Try


def tried(words: str) -> Callable[[Try], Tried]:
    """Mark a function as a bad input: `@tried("a folder without images")`."""
    return lambda function: Tried(words, function)


def of_area(area: str) -> list[Tried]:
    """Return the bad inputs of a module of tests/refusals, in its order."""
    module = importlib.import_module(f"refusals.{area}")
    return [item for item in vars(module).values() if isinstance(item, Tried)]


def command(*arguments: object) -> None:
    """Run a command of the kit in this process. Raises Refused, with its stderr, if it fails."""
    errors, before = io.StringIO(), sys.argv
    sys.argv = ["sskd_lib", *(str(argument) for argument in arguments)]
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
            status: object = 0
        except SystemExit as stop:
            status = stop.code
        finally:
            sys.argv = before
    if isinstance(status, str):
        errors.write(status)
    if status:
        raise Refused(errors.getvalue())


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def answer(bad: Tried, folder: Path) -> str:
    """Try a bad input. Return the error's name and message, or the warnings; else "nothing was said".

    The folder's path becomes FOLDER, the kit's KIT; white space and table bars are evened out.
    """
    with warnings.catch_warnings(record=True) as caught, inside(folder):
        warnings.simplefilter("always")
        try:
            bad.function(folder)
            text = "; ".join(f"{w.category.__name__}: {w.message}" for w in caught) or "nothing was said"
        except Exception as error:  # every kind of error is an answer, and the table shows it
            text = f"{type(error).__name__}: {error}"
    text = text.replace(str(folder), "FOLDER").replace(str(ROOT), "KIT")
    text = re.sub(r"[│╭╮╰╯─]+|-{8,}", " ", text)  # tyro's frames
    return " ".join(text.split()).replace("|", "¦")


def read_table(area: str) -> dict[str, str]:
    """Return the recorded answers of an area, by what was tried."""
    lines = (FOLDER / f"{area}.md").read_text(encoding="utf-8").splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("| ")][1:]
    return {words.strip(): text.strip() for words, text in cells}


def write_table(area: str, answers: dict[str, str]) -> None:
    """Write the answers of an area."""
    rows = "".join(f"| {words} | {text} |\n" for words, text in answers.items())
    (FOLDER / f"{area}.md").write_text(TITLE + rows, encoding="utf-8")
