"""Texts of an exercise, from data/course/exercises: worked example, lines to order, and blanks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...data import DATA_FOLDER
from ...files import did_you_mean

FOLDER = DATA_FOLDER / "course" / "exercises"
WORKED, LINES = "# %% worked\n", "# %% lines\n"


@dataclass(frozen=True, kw_only=True)
class ExerciseText:
    """One exercise as text: worked through with loops, as lines to put in order, with blanks, and as a stub.

    imports: what both functions need. worked: a whole function. lines: a short solution, its def line first.
    blanks: (place in `lines`, text that is blanked out there); the text occurs once in its line.
    stub: the def line, one line of docstring and `...`.
    """

    imports: str
    worked: str
    lines: tuple[str, ...]
    blanks: tuple[tuple[int, str], ...]
    stub: str


def exercise_text(name: str) -> ExerciseText:
    """Read the texts of an exercise.

    Raises ValueError for a name without texts, and for a file without its two sections.
    """
    names = sorted(file.stem for file in FOLDER.glob("*.py"))
    if name not in names:
        raise ValueError(
            f"there are no texts of an exercise {name!r}.{did_you_mean(name, names)} There are texts of: "
            f"{', '.join(names)}."
        )
    file = FOLDER / f"{name}.py"
    content = file.read_text(encoding="utf-8")
    if content.count(WORKED) != 1 or content.count(LINES) != 1:
        raise ValueError(
            f"{file} needs one section {WORKED.strip()!r} and, behind it, one {LINES.strip()!r}."
        )
    head, rest = content.split(WORKED)
    worked, last = (part.strip() for part in rest.split(LINES))
    pairs = [_without_blank(line) for line in last.splitlines()]
    return ExerciseText(
        imports="\n".join(line for line in head.splitlines() if re.match(r"(import|from) ", line)),
        worked=worked,
        lines=tuple(code for code, _ in pairs),
        blanks=tuple((place, text) for place, (_, text) in enumerate(pairs) if text),
        stub="\n".join([*worked.splitlines()[:2], "    ..."]),
    )


def _without_blank(line: str) -> tuple[str, str]:
    """Return the code of a line, and the text of its blank; "" without one."""
    code, _, text = line.partition("  # blank: ")
    return code, text.strip()
