"""The tables of docs/claims.md, computed from the record: settings, outcomes, reasons, machines."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterator, Sequence

from sskd_lib.evaluation import interval
from sskd_lib.lab.claims.plan import Comparison, read_plan
from sskd_lib.lab.claims.reasons import read_reasons, reasons_in_words
from sskd_lib.lab.claims.rows import Row, values_of
from sskd_lib.lab.claims.verdicts import Estimate, estimate, p_words
from sskd_lib.lab.comparison.statistics import holm

LEAST_SEEDS = 5  # of a setting that is counted
PLACES = {
    "hundred-50": "100 classes, 50 labels each, 30 epochs",
    "hundred-500": "100 classes, 500 labels each, 15 epochs",
    "fashion-100": "Fashion-MNIST, 100 labels, 54 epochs",
    "fashion-300": "Fashion-MNIST, 300 labels, 20 epochs",
    "cifar10-1000": "CIFAR-10, 1,000 labels, 20 epochs",
    "grocery-810": "groceries, 810 labels, 20 epochs",
}


def points(each: Estimate) -> str:
    """Return mean ± half width, or a dash."""
    if not each.seeds:
        return "–"
    return f"{each.mean:+.2f}" + ("" if math.isnan(each.half) else f" ± {each.half:.2f}")


def number(value: float) -> str:
    """Return a number with two digits, or a dash."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def place_of(comparison: Comparison) -> str:
    """Return where a comparison was made, in words."""
    return PLACES.get(comparison.place, comparison.place)


def unit(comparison: Comparison) -> str:
    """Return what an effect is measured in, where that is not accuracy."""
    return "" if comparison.outcome == "accuracy" else f" ({comparison.outcome})"


def filled(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most 125 characters; the later ones begin with the indent."""
    return textwrap.fill(text, 125, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


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
    yield "**Other outcomes than accuracy**, where they were measured:"
    yield other_outcomes(rows)


def other_outcomes(rows: Sequence[Row]) -> str:
    """Return the table of what L_ss changes besides accuracy, once for each place and outcome."""
    lines = ["| setting | outcome | effect of L_ss | seeds | p |", "|---|---|---|---|---|"]
    for claim in read_plan().claims.values():
        for comparison in (*claim.primary, *claim.other):
            each = estimate(rows, comparison)
            plain = comparison.name == "sskd − kd+rotations" and comparison.place in read_plan().cells
            if plain and comparison.outcome != "accuracy" and each.seeds >= LEAST_SEEDS:
                cells = [comparison.place, comparison.outcome, points(each), str(each.seeds)]
                lines.append(f"| {' | '.join(cells)} | {p_words(each.p).removeprefix('= ')} |")
    return "\n".join(lines)


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
    rows = read_reasons()
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
