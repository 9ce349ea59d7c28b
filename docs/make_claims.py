"""Write docs/claims.md, docs/claims.png and the headline of README.md from the record of the claims.

    python docs/make_claims.py            # trains nothing
    python docs/make_claims.py --check    # says whether page and README are fresh; writes nothing

Every number is computed from data/claims: plan.yaml, runs.jsonl, probes.jsonl and why.jsonl.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from claims_settings import everywhere, settings_figure
from claims_tables import accuracy_table, filled, number, place_of, points, trained, unit, why

from sskd_lib.files import write_atomically
from sskd_lib.lab.claims.figures import verdict_figure
from sskd_lib.lab.claims.plan import read_plan
from sskd_lib.lab.claims.rows import Row, read_rows
from sskd_lib.lab.claims.verdicts import Verdict, p_words, verdicts

DOCS = Path(__file__).resolve().parent
PAGE, FIGURE, SETTINGS = DOCS / "claims.md", DOCS / "claims.png", DOCS / "claims_l_ss.png"
README = DOCS.parent / "README.md"
BLOCK = re.compile(r"(?s)(<!-- claims: written by docs/make_claims.py -->\n).*?(<!-- end of claims -->)")
TITLE = "# Claims on trial: does self-supervision help, and when?"
HOW_TO_READ = (
    "*The plan came first.* [data/claims/plan.yaml](../data/claims/plan.yaml) has each claim, its null "
    "hypothesis, the trainings that decide it and the numbers of seeds. It was committed before the "
    "trainings ran. Its head says what was changed later.",
    "*An effect* is a difference between two ways to train, seed by seed: mean ± half of its 95 % "
    "interval (Student's t). The two share labelled images, first weights, order and views. The student "
    "of the last epoch is measured, on test images. The unit is a point of accuracy where no other is "
    "named. A positive number speaks for the claim.",
    "*p after Holm* is the p of the paired t test, corrected for the number of claims that were tried. A "
    "claim with several deciding comparisons holds only if all of them do; its p is the largest of "
    "theirs.",
    "*holds*: p after Holm is at most 0.05, in the direction of the claim. *contradicted*: the same in "
    "the other direction. *not shown*: neither. That is no proof that there is no effect. The least "
    "effect that would have shown is given beside it: four of five such experiments find a true effect of "
    "this size.",
    "*KD+rotations* is the control: SSKD without L_ss, soft targets on the same four views of each image.",
    "*These are small students and short trainings*, a `resnet8` taught by a `wrn_16_2` where no other "
    "is named. The paper has larger students, 500 labels per class and 240 epochs. Its own tables were "
    "not repeated.",
)
END = """\
This page is made by `python docs/make_claims.py`. Each training is a line of `data/claims/runs.jsonl`, with
its recipe, seed, machine and versions. Delete lines and run the command again to make them again."""
ALT = (
    "Each claim with its effect and 95 % interval. Claims that hold lie right of zero, contradicted ones "
    "left of it, and the "
    "others cross it. The same numbers are in the table below."
)


def page(rows: Sequence[Row]) -> str:
    """Return the page as Markdown."""
    decided = verdicts(rows)
    bullets = (filled(f"- {text}", "  ") for text in HOW_TO_READ)
    parts = [TITLE, filled(summary(decided)), f"![{ALT}](claims.png)"]
    parts += ["How to read this page:", "\n".join(bullets)]
    parts += ["## The verdicts", verdict_table(decided)]
    parts += ["## Where does L_ss help?", *everywhere(rows)]
    parts += ["## Each claim", *("\n\n".join(section(verdict)) for verdict in decided.values())]
    parts += ["## Accuracy of every arm", accuracy_table(rows)]
    if reasons := list(why()):
        parts += ["## Why does L_ss add so little?", *reasons]
    parts += ["## What was trained, and where", *trained(rows)]
    return "\n\n".join([*parts, END]) + "\n"


def answer(decided: Mapping[str, Verdict]) -> str:
    """Return the answer in a few sentences; numbers are points of accuracy, paired by seed."""
    keys = ("sskd-over-kd", "same-views", "l-ss", "trained-head", "equal-compute", "transfer")
    kd, views, l_ss, head, compute, transfer = (effect(decided[key]) for key in keys)
    words = {key: decided[key].word for key in keys}
    return (
        f"On 100 classes with 50 labels each, SSKD minus KD is {kd} points (95 % interval, "
        f"{decided['l-ss'].primary[0].seeds} seeds). The rotated views alone, in KD, bring {views}. What the "
        f"self-supervised term L_ss adds to them is {l_ss} (claim: {words['l-ss']}). In a linear probe on "
        f"other images, Caltech-101, it adds {transfer} (claim: {words['transfer']}). SSKD minus SSKD with a "
        f"random head is {head} (claim: {words['trained-head']}). SSKD minus KD with the same compute, four "
        f"times the epochs, is {compute} (claim: {words['equal-compute']})."
    )


def summary(decided: Mapping[str, Verdict]) -> str:
    """Return the answer, and how many claims hold."""
    words = [verdict.word for verdict in decided.values()]
    told = ", ".join(
        f"{words.count(word)} {said}"
        for word, said in (
            ("holds", "hold"),
            ("contradicted", "contradicted"),
            ("not shown", "not shown"),
            ("not tried", "not tried yet"),
        )
        if word in words
    )
    return f"**In short:** {answer(decided)} Of the {len(words)} claims: {told}."


def effect(verdict: Verdict) -> str:
    """Return the effect of a claim's first comparison."""
    return points(verdict.primary[0])


def verdict_table(decided: Mapping[str, Verdict]) -> str:
    """Return the table of all claims."""
    lines = [
        "| claim | compared | effect | seeds | p after Holm | least effect that shows: planned, reached "
        "| verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for verdict in decided.values():
        effects = verdict.primary
        cells = [
            verdict.claim.claim,
            "<br>".join(f"{each.comparison.name} ({place_of(each.comparison)})" for each in effects),
            "<br>".join(points(each) + unit(each.comparison) for each in effects),
            "<br>".join(str(each.seeds) for each in effects),
            p_words(verdict.corrected).removeprefix("= ") if verdict.word != "not tried" else "–",
            f"{verdict.planned:.2f}, " + " / ".join(number(each.least) for each in effects),
            f"**{verdict.word}**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def section(verdict: Verdict) -> Iterator[str]:
    """Yield the paragraphs of one claim."""
    claim = verdict.claim
    yield f"### {claim.claim}"
    yield filled(f"**If it is wrong:** {claim.null} **Verdict:** {verdict.word}.")
    lines = ["| compared | where | outcome | effect | seeds | p | least |", "|---|---|---|---|---|---|---|"]
    for kind, estimates in (("decides", verdict.primary), ("", verdict.other)):
        for each in estimates:
            comparison = each.comparison
            name = f"**{comparison.name}**" if kind else comparison.name
            cells = [name, place_of(comparison), comparison.outcome, points(each), str(each.seeds)]
            lines.append(
                f"| {' | '.join(cells)} | {p_words(each.p).removeprefix('= ')} | {number(each.least)} |"
            )
    yield "\n".join(lines)


def headline(rows: Sequence[Row]) -> str:
    """Return the paragraph of README.md."""
    return filled(f"{answer(verdicts(rows))} [All claims](docs/claims.md).")


def as_png(figure: Any) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def with_headline(text: str, words: str) -> str:
    """Return README.md with a new headline. Raises ValueError if it has no place for it."""
    if not BLOCK.search(text):
        raise ValueError("README.md has lost the two comments between which docs/make_claims.py writes")
    return BLOCK.sub(lambda match: f"{match[1]}{words}\n{match[2]}", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare with today's record, write nothing")
    options, rows = parser.parse_args(arguments), read_rows()
    readme = README.read_text(encoding="utf-8")
    wanted = {PAGE: page(rows), README: with_headline(readme, headline(rows))}
    stale = [p.name for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    if options.check:
        print(f"stale: {', '.join(stale)}; run python docs/make_claims.py" if stale else "fresh")
        return bool(stale)
    for path, text in wanted.items():
        write_atomically(path, text.encode())
    write_atomically(FIGURE, as_png(verdict_figure(verdicts(rows))))
    write_atomically(SETTINGS, as_png(settings_figure(rows)))
    print(f"{PAGE.name}: {len(rows)} rows, {len(read_plan().claims)} claims")
    return 0


if __name__ == "__main__":
    sys.exit(main())
