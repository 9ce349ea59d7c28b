"""Write docs/claims.md, docs/claims.png and the headline of README.md from the record of the claims.

    python docs/make_claims.py            # trains nothing
    python docs/make_claims.py --check    # says whether page and README are fresh; writes nothing

Every number is computed from data/claims: plan.yaml, runs.jsonl, probes.jsonl and why.jsonl.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import statistics
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sskd_lib.evaluation import interval
from sskd_lib.files import write_atomically
from sskd_lib.lab.claims.plan import FOLDER, Comparison, read_plan
from sskd_lib.lab.claims.reasons import reasons_in_words
from sskd_lib.lab.claims.rows import Row, read_rows, values_of
from sskd_lib.lab.claims.verdicts import Estimate, Verdict, estimate, p_words, verdicts
from sskd_lib.lab.comparison.statistics import holm

DOCS = Path(__file__).resolve().parent
PAGE, FIGURE, README = DOCS / "claims.md", DOCS / "claims.png", DOCS.parent / "README.md"
LEAST_SEEDS = 5  # of a setting that is counted
BLOCK = re.compile(r"(?s)(<!-- claims: written by docs/make_claims.py -->\n).*?(<!-- end of claims -->)")
PLACES = {
    "hundred-50": "100 classes, 50 labels each, 30 epochs",
    "hundred-500": "100 classes, 500 labels each, 15 epochs",
    "fashion-100": "Fashion-MNIST, 100 labels, 54 epochs",
    "fashion-300": "Fashion-MNIST, 300 labels, 20 epochs",
    "cifar10-1000": "CIFAR-10, 1,000 labels, 20 epochs",
    "grocery-810": "groceries, 810 labels, 20 epochs",
}
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
    "effect that would have shown stands beside it: four of five such experiments find a true effect of "
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
    keys = ("sskd-over-kd", "same-views", "l-ss", "trained-head", "equal-compute")
    kd, views, l_ss, head, compute = (effect(decided[key]) for key in keys)
    words = {key: decided[key].word for key in keys}
    return (
        f"On 100 classes with 50 labels each, SSKD minus KD is {kd} points (95 % interval, "
        f"{decided['l-ss'].primary[0].seeds} seeds). The rotated views alone, in KD, bring {views}. What the "
        f"self-supervised term L_ss adds to them is {l_ss} (claim: {words['l-ss']}). SSKD minus SSKD with a "
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
    )
    return f"**In short:** {answer(decided)} Of the {len(words)} claims: {told}."


def effect(verdict: Verdict) -> str:
    """Return the effect of a claim's first comparison."""
    return points(verdict.primary[0])


def points(each: Estimate) -> str:
    """Return mean ± half width, or a dash."""
    if not each.seeds:
        return "–"
    return f"{each.mean:+.2f}" + ("" if math.isnan(each.half) else f" ± {each.half:.2f}")


def number(value: float) -> str:
    """Return a number with two digits, or a dash."""
    return "–" if math.isnan(value) else f"{value:.2f}"


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


def place_of(comparison: Comparison) -> str:
    """Return where a comparison was made, in words."""
    return PLACES.get(comparison.place, comparison.place)


def unit(comparison: Comparison) -> str:
    """Return what an effect is measured in, where that is not accuracy."""
    return "" if comparison.outcome == "accuracy" else f" ({comparison.outcome})"


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


def everywhere(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table of SSKD minus KD+rotations in every cell, and what it says together."""
    found: dict[str, Estimate] = {}
    for name, cell in read_plan().cells.items():
        if {"sskd", "kd+rotations"} <= set(cell.arms) and cell.split == "test":
            weights = {(name, "sskd"): 1.0, (name, "kd+rotations"): -1.0}
            comparison = Comparison(
                name="sskd − kd+rotations", place=name, outcome="accuracy", weights=weights
            )
            each = estimate(rows, comparison)
            if each.seeds >= LEAST_SEEDS:
                found[name] = each
    corrected = holm({name: each.p for name, each in found.items()})
    above = [name for name, each in found.items() if each.side == "above zero"]
    below = [name for name, each in found.items() if each.side == "below zero"]
    kept = [name for name in above if corrected[name] <= 0.05]
    mean = statistics.fmean(each.mean for each in found.values())
    yield filled(
        f"SSKD minus KD+rotations in all {len(found)} settings that were trained. The interval is above "
        f"zero in {len(above)} "
        f"({', '.join(above) or 'none'}) and below zero in {len(below)}; by chance alone about "
        f"{0.05 * len(found):.1f} would "
        f"miss zero. After Holm's correction over these settings {len(kept)} stay above zero"
        + (
            f": {', '.join(kept)}."
            if kept
            else ". **No setting was found, among those tried, in which L_ss helps for sure.**"
        )
        + f" The mean of the {len(found)} effects is {mean:+.2f} points; the settings share images and "
        f"teachers, so it has no "
        "interval of its own."
    )
    lines = [
        "| setting | images, labels | student | effect of L_ss | seeds | p | after Holm | least |",
        "|---" * 8 + "|",
    ]
    for name, each in found.items():
        cell = read_plan().cells[name]
        noise = f", {cell.noise:.0%} of them wrong" if cell.noise else ""
        cells = [name, f"{cell.images}, {cell.labels:,}{noise}", cell.student, points(each), str(each.seeds)]
        cells += [p_words(p).removeprefix("= ") for p in (each.p, corrected[name])]
        lines.append(f"| {' | '.join(cells)} | {number(each.least)} |")
    yield "\n".join(lines)


def accuracy_table(rows: Sequence[Row]) -> str:
    """Return the mean accuracy of every arm of every cell, with its interval."""
    lines = ["| setting | arm | seeds | accuracy (%) |", "|---|---|---|---|"]
    for (cell, arm), values in values_of(rows, "accuracy").items():
        mean, half = interval(list(values.values()))
        lines.append(f"| {cell} | {arm} | {len(values)} | {mean:.2f} ± {number(half)} |")
    return "\n".join(lines)


# kind of a measurement → what it is, and the digits it is printed with
REASONS = {
    "gradient": (
        "**The pull of L_ss on the weights.** Norm of each weighted term's gradient in the student's "
        "backbone, as a share of the "
        "sum of the four norms, and the cosine between the gradient of L_ss and that of the other three "
        "together. Measured on 64 "
        "labelled images after so many epochs of SSKD."
    ),
    "nats": (
        "**What there is to learn.** Mean KL of a softened row to an even spread, in nats: how much more "
        "a row says than nothing."
    ),
    "explained": (
        "**Is the matrix in the logits already?** Share of the variance of the teacher's matrix, pairs "
        "of different test images "
        "alone, that is explained by a map to projections. The map was fitted on training images, from "
        "the teacher's logits, or "
        "from a student's features. A student trained without L_ss can be compared with one trained with it."
    ),
    "head": (
        "**Trained and random heads.** Correlation of two matrices of the same teacher, pairs of different "
        "test images alone: from its trained head, from a head with random weights, and from the features "
        "without a head."
    ),
    "match": (
        "**Does a student match the matrix without being told to?** L_ss on test images, with the "
        "student's own head, or with a "
        "new head fitted to its frozen features."
    ),
}


def why() -> Iterator[str]:
    """Yield the tables of data/claims/why.jsonl."""
    record = FOLDER / "why.jsonl"
    if not record.is_file():
        return
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    yield from in_short(rows)
    for kind, words in REASONS.items():
        groups: dict[tuple, list[float]] = {}
        for row in rows:
            if row["kind"] == kind:
                key = (row["place"], row["what"], row.get("epoch", ""))
                groups.setdefault(key, []).append(row["value"])
        if not groups:
            continue
        yield filled(words)
        timed = any(key[2] != "" for key in groups)
        lines = [f"| setting | what |{' epochs |' * timed} value | seeds |", "|---" * (4 + timed) + "|"]
        for (place, what, epoch), values in groups.items():
            mean, half = interval(values)
            shown = f"{mean:.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")
            lines.append(f"| {place} | {what} |{f' {epoch} |' * timed} {shown} | {len(values)} |")
        yield "\n".join(lines)


def in_short(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the most telling of these numbers, place by place."""
    for place in dict.fromkeys(row["place"] for row in rows):
        told = reasons_in_words(place, rows).splitlines()
        pairs = zip(told[::2], told[1::2], strict=True)
        bullets = (filled(f"- {question} {answers.strip()}.", "  ") for question, answers in pairs)
        yield f"*{PLACES[place]}:*\n\n" + "\n".join(bullets)


def trained(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what was trained on which machine, what is missing, and the commands."""
    machines: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if "device" in row:
            key = (row["device"], row["dtype"], row["torch"].partition("+")[0], row["date"])
            machines.setdefault(key, []).append(row)
    lines = ["| machine | format | torch | date | students | settings |", "|---|---|---|---|---|---|"]
    for (device, dtype, torch, date), part in machines.items():
        cells = ", ".join(dict.fromkeys(row["cell"] for row in part))
        lines.append(f"| {device} | {dtype} | {torch} | {date} | {len(part)} | {cells} |")
    yield "\n".join(lines)
    done = {(row["cell"], row["arm"], row["seed"]) for row in rows if "device" in row}
    missing = {}
    for name, cell in read_plan().cells.items():
        wanted = {(name, arm, seed) for arm in cell.arms for seed in cell.seeds}
        if left := len(wanted - done):
            missing[name] = f"{name} ({left} of {len(wanted)})"
    yield filled(
        "**Planned and not trained yet** (students): "
        + (", ".join(missing.values()) if missing else "none")
        + "."
    )
    yield """\
```sh
python benchmarks/claims.py run --dry-run            # the hours on your machine, cell by cell
python benchmarks/claims.py run --hundred folder:PATH --cifar10 folder:PATH      # an hour; until all is done
python benchmarks/claims.py probe --caltech101 folder:PATH --cifar10 folder:PATH
python benchmarks/why.py run --hundred folder:PATH
python docs/make_claims.py
```

`hundred` are every second class of Tiny ImageNet at 32 pixels, 500 training and 50 test images each (for
research, not part of this repository). `--hundred cifar100 --teacher FILE` runs the same plan on CIFAR-100;
give that its own `--rows FILE`. The teacher of the 100 classes is shipped (`data/weights/hundred`, made by
`python data/make_weights.py hundred teacher --folder PATH`)."""


def headline(rows: Sequence[Row]) -> str:
    """Return the paragraph of README.md."""
    return filled(f"{answer(verdicts(rows))} [All claims](docs/claims.md).")


def filled(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most 125 characters; the later ones begin with the indent."""
    return textwrap.fill(text, 125, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def draw(rows: Sequence[Row]) -> bytes:
    """Return the figure of the page as PNG."""
    from sskd_lib.lab.claims.figures import verdict_figure

    buffer = io.BytesIO()
    verdict_figure(verdicts(rows)).savefig(buffer, format="png", dpi=110, metadata={"Software": None})
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
    write_atomically(FIGURE, draw(rows))
    print(f"{PAGE.name}: {len(rows)} rows, {len(read_plan().claims)} claims")
    return 0


if __name__ == "__main__":
    sys.exit(main())
