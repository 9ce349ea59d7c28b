"""The tables of docs/claims.md, computed from the record: settings, outcomes, reasons, machines."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from sskd_lib.evaluation import interval
from sskd_lib.lab.claims.plan import Comparison, read_plan
from sskd_lib.lab.claims.reasons import REASONS, reasons_in_words
from sskd_lib.lab.claims.rows import Row, read_rows, values_of
from sskd_lib.lab.claims.verdicts import Estimate

LEAST_SEEDS = 5  # of a setting that is counted


def words_of(cell: str) -> str:
    """Return a setting in words, with its student unless that is resnet8; "new seeds" is a repetition."""
    chosen = read_plan().cells[cell]
    noise = f", {100 * chosen.noise:.0f}\N{NO-BREAK SPACE}% wrong" if chosen.noise else ""
    student = "" if chosen.student == "resnet8" else f", {chosen.student}"
    again = ", new seeds" if "-again-" in cell else ""
    images = {
        "hundred": "100 classes",
        "fashion": "Fashion-MNIST",
        "cifar10": "CIFAR-10",
        "grocery": "groceries",
    }
    data = f"{images[chosen.images]}, {chosen.labels:,} labels{noise}"
    return f"{data}{student}, {chosen.schedule.epochs} epochs{again}"


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
    return words_of(comparison.place) if comparison.place in read_plan().cells else comparison.place


def unit(comparison: Comparison) -> str:
    """Return what an effect is measured in, where that is not accuracy."""
    return "" if comparison.outcome == "accuracy" else f" ({comparison.outcome})"


def filled(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most 125 characters; the later ones begin with the indent."""
    return textwrap.fill(text, 125, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def accuracy_table(rows: Sequence[Row]) -> str:
    """Return the mean accuracy of every arm of every cell, with its interval."""
    lines = ["| setting | arm | seeds | accuracy (%) |", "|---|---|---|---|"]
    for (cell, arm), values in values_of(rows, "accuracy").items():
        mean, half = interval(list(values.values()))
        lines.append(f"| {cell} | {arm} | {len(values)} | {mean:.2f} ± {number(half)} |")
    return "\n".join(lines)


# kind of a measurement → what it is
KINDS = {
    "gradient": "**The pull of L_ss on the weights.** Norm of each weighted term's gradient in the student's "
    "backbone, as a share of the sum of the four norms, and the cosine between the gradient of L_ss and that "
    "of the other three together. Measured on 64 labelled images after so many epochs of SSKD.",
    "nats": "**What there is to learn.** Mean KL of a softened row to an even spread, in nats: how much more "
    "a row says than nothing.",
    "explained": "**Is the matrix in the logits already?** Share of the variance of the teacher's matrix, "
    "pairs of different test images alone, that is explained by a map to projections. The map was fitted on "
    "training images, from the teacher's logits, or from a student's features. A student trained without "
    "L_ss can be compared with one trained with it.",
    "head": "**Trained and random heads.** Correlation of two matrices of the same teacher, pairs of "
    "different test images alone: from its trained head, from a head with random weights, and from the "
    "features without a head.",
    "task": "**Is the contrastive task solved?** Share of the rotated views whose most similar upright "
    "image, of so many test images, is their own. Among 64 chance is 0.016. The other images are the "
    "negatives. The half trained head learned for five epochs on the labelled images.",
    "match": "**Does a student match the matrix without being told to?** L_ss on test images, with the "
    "student's own head, or with a new head fitted to its frozen features.",
}


def why() -> Iterator[str]:
    """Yield the tables of data/claims/why.jsonl."""
    rows = read_rows(REASONS)
    yield from in_short(rows)
    for kind, words in KINDS.items():
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
        yield f"*{words_of(place)}:*\n\n" + "\n".join(bullets)


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
