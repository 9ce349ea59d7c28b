"""Write docs/teaching/NN.md, the instructor's page of each notebook, from data/course/NN.yaml.

    python docs/make_teaching.py            # writes the pages; takes a second or two
    python docs/make_teaching.py --check    # writes nothing; says which pages differ, and ends with 1

The votes are those of the course (section `vote` of the file). Everything else is in its section `guide`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sskd_lib.files import write_atomically
from sskd_lib.lab.course.bank import LETTERS, Question, read_questions

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
COURSE = ROOT / "data" / "course"
PAGES = DOCS / "teaching"
NOTE = "<!-- Made by `python docs/make_teaching.py` from data/course/{number}.yaml: change that file. -->"
CHECKS = (
    "A name in the column *check* is the first argument of `lab.check`, in this notebook or in another one."
)


def guides() -> dict[str, dict[str, Any]]:
    """Return the section `guide` of each file that has one, by the number of its notebook."""
    contents = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in COURSE.glob("*.yaml")}
    return {number: contents[number]["guide"] for number in sorted(contents) if "guide" in contents[number]}


def notebook_source(number: str) -> Path:
    """Return the source of a notebook. Raises ValueError if there is none of this number, or several."""
    sources = sorted((ROOT / "notebooks" / "source").glob(f"{number}_*.py"))
    if len(sources) != 1:
        raise ValueError(
            f"data/course/{number}.yaml has a guide, so there should be one notebook of this number in "
            f"notebooks/source/, and there are {len(sources)}. Rename the file, or take its guide out."
        )
    return sources[0]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; a | in a cell is escaped."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def plans(guide: Mapping[str, Any]) -> Iterator[str]:
    """Yield the three plans, each as a table, and what to leave out first."""
    for minutes, steps in guide["plans"].items():
        yield from (f"### {minutes} minutes", "")
        rows = [(step["clock"], step["what"], step.get("where", "")) for step in steps]
        yield from table(("minutes", "what happens", "where"), rows)
    yield from (f"**Short of time?** {guide['cut_first']}", "")


def vote(question: Question) -> Iterator[str]:
    """Yield one vote: the question as it is projected, and folded below it what to say to each answer."""
    yield from (f"### {question.key}", "", question.text, "")
    for letter, option in zip(LETTERS, question.options, strict=False):
        yield f"- ({letter}) {option.text}"
    yield from ("", "<details><summary>Answer, and what to say</summary>", "")
    for i, option in enumerate(question.options):
        mark = " **right.**" if i == question.answer else ""
        yield f"- ({LETTERS[i]}){mark} {option.because}"
    if question.why:
        yield from ("", question.why)
    yield from ("", "</details>", "")


def page(number: str, guide: Mapping[str, Any], votes: Sequence[Question]) -> str:
    """Return the page of one notebook."""
    source = notebook_source(number)
    titles = [line for line in source.read_text(encoding="utf-8").splitlines() if line.startswith("# # ")]
    rows = [
        (
            o["text"],
            o["section"],
            ", ".join(f"`{name}`" for name in o.get("check", ())),
            o["exam"],
            o["expected"],
        )
        for o in guide["objectives"]
    ]
    lines = [NOTE.format(number=number), "", f"# Teaching {titles[0].removeprefix('# # ')}", ""]
    lines += [
        f"Notebook: [{source.stem}](../../notebooks/{source.stem}.ipynb), {guide['minutes']} minutes for one"
    ]
    lines += [
        "reader alone. How to vote, to grade and to examine: [the instructor's guide](../teaching.md).",
        "",
    ]
    lines += ["## Objectives, checks, exam questions", "", CHECKS, ""]
    lines += table(("after this, a learner can", "section", "check", "exam question", "a good answer"), rows)
    lines += [
        "## Plans",
        "",
        "The times are estimates. No class has been taught with them yet.",
        "",
        *plans(guide),
    ]
    lines += ["## What to say", "", *(f"- {text}" for text in guide["talking_points"]), ""]
    lines += ["## Misconceptions", ""]
    pairs = [(m["idea"], m["say"]) for m in guide["misconceptions"]]
    lines += table(("a learner may think", "what to say or show"), pairs)
    lines += ["## Eight votes", "", *(line for question in votes for line in vote(question))]
    lines += ["## When something is missing", "", f"**No network.** {guide['without_network']}", ""]
    lines += [f"**Slow machines.** {guide['slow_machine']}", ""]
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    """Return the text of each page by its path."""
    votes = [question for question in read_questions().values() if question.kind == "vote"]
    return {
        PAGES / f"{number}.md": page(number, guide, [q for q in votes if q.key.split("-")[0] == number])
        for number, guide in guides().items()
    }


def differing() -> list[str]:
    """Return the names of pages that are missing, out of date, or left over."""
    wanted = pages()
    existing = {path: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    return sorted(
        path.name for path in wanted.keys() | existing.keys() if wanted.get(path) != existing.get(path)
    )


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or compare them with their sources."""
    if "--check" in arguments:
        names = differing()
        print(
            f"differ: {', '.join(names)}. Run: python docs/make_teaching.py"
            if names
            else "The pages are fresh."
        )
        return int(bool(names))
    PAGES.mkdir(exist_ok=True)
    for path, text in pages().items():
        write_atomically(path, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
