"""Write docs/paper.md: each equation, table, figure and claim of the SSKD paper, and where the kit has it.

    python docs/make_paper.py            # writes docs/paper.md; takes a few seconds, trains nothing
    python docs/make_paper.py --check    # says whether the page is fresh; writes nothing

docs/paper/ names what is on the page: sections of notebooks, definitions, recorded runs. Line numbers and
measured numbers are computed when the page is written.

A link has the line of its definition, because editors and GitHub jump there; --check lets it drift by SCREEN
lines, so that the definition stays in sight and not every edit of the library makes the page stale.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from paper.claims import CLAIMS, FIGURES
from paper.entry import Entry
from paper.equations import EQUATIONS
from paper.links import code_link, notebook_link, section_anchor
from paper.rows import Measured, everywhere
from paper.tables import TABLES

from sskd_lib.files import write_atomically

PAGE = Path(__file__).resolve().parent / "paper.md"
SCREEN = 20  # lines that a link may be away from its definition
LINE = re.compile(r"(\]\([^)\s#]+\.py)#L(\d+)\)")
SECTIONS = {
    "Equations and the selection": EQUATIONS,
    "Tables": TABLES,
    "Figures with results": FIGURES,
    "Other claims": CLAIMS,
}
PLACES = {"contains zero": "with zero inside", "above zero": "above zero", "below zero": "below zero"}
ENTRIES = tuple(entry for entries in SECTIONS.values() for entry in entries)
INTRODUCTION = """\
# The paper, claim by claim

What the SSKD paper ([Xu, Liu, Li and Loy, ECCV 2020](https://arxiv.org/abs/2006.07114)) says, and for each
thing: the section of a notebook that teaches it, the lines of the library that do it, the test that proves
these lines, and what was measured here.

{summary}

How to read this page:

- *A difference* is in points of accuracy on test images after the last epoch, seed by seed: mean ± half of
  its 95 % interval (Student's t). In words the interval is above zero, is below zero, or contains zero.
- *One in twenty* of such intervals misses zero by chance alone. There are many on this page, so a single one
  proves little.
- *Nothing here was trained on CIFAR-100 or ImageNet.* All runs on this page have few labels
  and a `resnet8` student, whose teacher is a `wrn_16_2` where no other is named ([results.md](results.md)).
  They can neither confirm nor refute the paper's tables. "CIFAR-10" means a part of its training images.
- *A trial with a plan that was written first*, on 100 classes and others: [claims.md](claims.md). Its runs
  are not counted on this page.
- *Printed* figures are the paper's. Why they are hard to compare: [reproduce.md](reproduce.md).
- *The paper's full text was not at hand.* What it says was collected from its abstract, from the authors'
  repository and the questions asked there, and from published re-runs. The numbers of Eq. 4 to 8 are those
  that the library quotes; Eq. 1 to 3 are numbered by their order in a re-run's report.
- *To learn the method*, begin with [notebook 00](../notebooks/00_start_here.ipynb), not with this page."""
END = """\
This page is made by `python docs/make_paper.py`. Its numbers are computed from the records that it names. To
change a sentence, a link or a comparison, edit the files in `docs/paper/`."""


def page() -> str:
    """Return the page as Markdown."""
    parts = [INTRODUCTION.format(summary=summary()), "## What is here", overview()]
    for title, entries in SECTIONS.items():
        parts += [f"## {title}", *("\n\n".join(section(entry)) for entry in entries)]
    return "\n\n".join([*parts, END]) + "\n"


def summary() -> str:
    """Return in one sentence how often SSKD is above KD, and above the control without L_ss."""
    over_kd, over_control = (
        [comparison.place for comparison in everywhere("sskd", other)] for other in ("kd", "kd+rotations")
    )
    return filled(
        "**In one sentence:** at equal numbers of epochs SSKD is above KD in "
        f"{over_kd.count('above zero')} of {len(over_kd)} recorded comparisons, but in "
        f"{over_control.count('contains zero')} of {len(over_control)} its difference to KD+rotations, which "
        "is SSKD without the self-supervised term L_ss, cannot be distinguished from zero."
    )


def overview() -> str:
    """Return the table of all entries, with what was done about each."""
    lines = ["| in the paper | what it is about | here |", "|---|---|---|"]
    for entry in ENTRIES:
        lines.append(
            f"| [{entry.number}](#{section_anchor(entry.heading)}) | {entry.title} | {entry.state} |"
        )
    return "\n".join(lines)


def section(entry: Entry) -> Iterator[str]:
    """Yield the paragraphs of one entry."""
    yield f"### {entry.heading}"
    printed = "; ".join(figures.words() for figures in entry.printed)
    yield filled(f"**The paper:** {entry.says}" + (f" Printed: {printed}." if printed else ""))
    links = {
        "Notebook": [notebook_link(place) for place in entry.notebooks],
        "Library": [code_link(symbol) for symbol in entry.code],
        "Test": [code_link(symbol) for symbol in entry.tests],
    }
    yield "\n".join(f"- **{name}:** " + (", ".join(found) or "none") for name, found in links.items())
    if entry.checked:
        yield filled(f"**Tested as code:** {entry.checked}")
    if entry.measured:
        yield filled(f"**Measured here:** {entry.reading} {count(entry.measured)}".rstrip())
        yield table(entry.measured)
    if entry.not_tested:
        yield filled(f"**Not tested:** {entry.not_tested}")
    if entry.because:
        yield filled(f"**Not tested:** this cannot be tested here, because {entry.because}.")


def count(measured: Sequence[Measured]) -> str:
    """Return in words where the intervals are, for three or more of them."""
    places = [comparison.place for comparison in measured]
    each = (f"{places.count(place)} {words}" for place, words in PLACES.items() if place in places)
    return f"Of {len(places)} intervals: {', '.join(each)}." if len(places) > 2 else ""


def table(measured: Sequence[Measured]) -> str:
    """Return the comparisons as a table, each with a link to its record."""
    lines = ["| compared | runs | seeds | points | interval |", "|---|---|---|---|---|"]
    for comparison in measured:
        seeds, points, place = comparison.cells()
        runs = f"[{comparison.setting}](../{comparison.record})"
        lines.append(f"| {comparison.compared} | {runs} | {seeds} | {points} | {place} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """Return a paragraph in lines of at most 125 characters."""
    return textwrap.fill(text, 125, break_long_words=False, break_on_hyphens=False)


# ---- is the page fresh? --------------------------------------------------------------------------


def find_differences(old: str, new: str) -> list[str]:
    """Return how a page differs from the one of today, one sentence each; lines may drift by SCREEN."""
    shown, today = (LINE.sub(r"\1)", text).splitlines() for text in (old, new))
    changed = list(difflib.unified_diff(shown, today, "the page", "today", n=0, lineterm=""))
    if changed:
        return ["docs/paper.md differs from what the program writes today:", *changed]
    pairs = zip(LINE.finditer(old), LINE.finditer(new), strict=True)
    return [
        f"{before[1][2:]} is linked at line {before[2]}, and its definition is at line {after[2]} today"
        for before, after in pairs
        if abs(int(before[2]) - int(after[2])) > SCREEN
    ]


def main(arguments: Sequence[str] | None = None, path: Path = PAGE) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare the page with today's, write nothing")
    options = parser.parse_args(arguments)
    if not options.check:
        print(f"{write_atomically(path, page().encode())}: {len(ENTRIES)} entries")
        return 0
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    differences = find_differences(old, page())
    print("\n".join(differences) or f"{path.name} is fresh")
    if differences:
        print("Write it again with: python docs/make_paper.py")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
