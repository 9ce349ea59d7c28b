"""What recorded runs show: labels, gaps and findings as text, and the value of pairing by seed."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...evaluation import interval
from ...losses import create_method
from .runs import by_method
from .statistics import holm, p_value, paired

Seeds = Mapping[int, float]  # seed → accuracy in per cent
CONTROL = "kd+rotations"  # soft targets on the same four views
MARK = "†"


def last_and_best(histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> tuple[dict, dict]:
    """Return the test accuracies after the last and in the best epoch: method → place of the seed → per cent.

    histories: of `recorded`.
    """
    accuracy = {
        method: [[row["test_accuracy"] for row in history] for history in runs]
        for method, runs in histories.items()
    }
    last = {method: {seed: run[-1] for seed, run in enumerate(runs)} for method, runs in accuracy.items()}
    best = {method: {seed: max(run) for seed, run in enumerate(runs)} for method, runs in accuracy.items()}
    return last, best


def method_labels(methods: Collection[str], marked: Collection[str] = ()) -> dict[str, str]:
    """Return the text of each method: ×4 for one that sees four views of an image, † for a marked one."""
    labels = {}
    for method in methods:
        views = create_method(method).needs.views
        labels[method] = (
            f"{method}{f' ×{views}' if views > 1 else ''}{f' {MARK}' if method in marked else ''}"
        )
    return labels


def describe_runs(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return a line of text for each pair of networks: its methods, seeds, images and epochs."""
    lines = []
    for pair in dict.fromkeys(run["pair"] for run in runs):
        mine = [run for run in runs if run["pair"] == pair]
        values = {key: ", ".join(dict.fromkeys(str(run[key]) for run in mine)) for key in mine[0]}
        lines.append(
            f"{pair}: {len(by_method(runs, pair))} methods, seeds {values['seed']}; {values['condition']} of "
            f"{values['data']}, {values['epochs']} epochs"
        )
    return "\n".join(lines)


def describe_changes(changed: Mapping[str, str]) -> str:
    """Return a line of text for each method that `changed_since` names; "" for none."""
    return "\n".join(f"{MARK} {method} was run with {words}" for method, words in changed.items())


def pairing(values: Mapping[str, Seeds], against: str = "kd") -> dict[str, float]:
    """Return how far pairing by seed narrows each difference to one method: s_d / √(s_a² + s_b²).

    s_a, s_b: spreads of the two methods; s_d: spread of their differences seed by seed. 1 is what runs give
    that share nothing; below 1 the seeds have something in common. Over the seeds that both methods have.
    """
    base, ratios = values[against], {}
    for method, differences in paired(values, against).items():
        seeds = [seed for seed in values[method] if seed in base]
        if len(seeds) < 2:
            continue
        spreads = [statistics.variance([runs[seed] for seed in seeds]) for runs in (values[method], base)]
        ratios[method] = statistics.stdev(differences) / sum(spreads) ** 0.5 if sum(spreads) else 1.0
    return ratios


def pairing_words(accuracy: Mapping[str, Mapping[str, Seeds]]) -> str:
    """Return lines for each pair of networks: the median of `pairing`, and that of the half widths.

    accuracy: pair → method → seed → per cent.
    """
    lines = []
    for pair, values in accuracy.items():
        ratio = statistics.median(pairing(values).values())
        half = [interval(differences)[1] for differences in paired(values).values()]
        lines.append(
            f"{pair}, medians of {len(half)} methods:\n"
            f"  spread of a paired difference over that of unrelated runs {ratio:.2f}"
            f"\n  half width of an interval {statistics.median(half):.2f} points"
        )
    return "\n".join(lines)


def gap_shapes(gaps: Mapping[str, Sequence[float]], alpha: float = 0.05) -> dict[str, str]:
    """Return the shape of each gap in `method_rows`: its interval excludes zero alone, or after Holm, or "".

    gaps: method → differences, one per seed. "different": p ≤ alpha; "corrected": also after Holm.
    """
    p_values = {method: p_value(differences) for method, differences in gaps.items()}
    corrected = holm(p_values)
    return {
        method: "corrected" if corrected[method] <= alpha else "different" if p <= alpha else ""
        for method, p in p_values.items()
    }


def findings(gaps: Mapping[str, Mapping[str, Sequence[float]]], labels: Mapping[str, str]) -> str:
    """Return lines of text: the methods above KD, below KD, and those that cannot be distinguished from it.

    gaps: pair → method → differences to KD; labels: of `method_labels`.
    """
    lines = []
    for pair, rows in gaps.items():
        shapes = gap_shapes(rows)
        lines.append(f"{pair}: {len(rows)} comparisons, about {0.05 * len(rows):.1f} expected by chance")
        for shape, words in (("corrected", "after Holm"), ("different", "alone")):
            for side, sign in (("above", 1), ("below", -1)):
                found = [m for m, d in rows.items() if shapes[m] == shape and sign * np.mean(d) > 0]
                lines.append(_names(f"{side} KD, {words}", found, labels))
        lines.append(_names("contains zero", [m for m, shape in shapes.items() if not shape], labels))
    return "\n".join(lines)


def _names(title: str, methods: Sequence[str], labels: Mapping[str, str]) -> str:
    """Return the labels of methods as lines of up to 100 letters, none of which is broken."""
    names = ", ".join(labels[method].replace(" ", "\xa0") for method in methods) or "none"
    indent = {"initial_indent": "  ", "subsequent_indent": "      "}
    lines = textwrap.fill(f"{title}: {names}", 100, break_on_hyphens=False, **indent)
    return lines.replace("\xa0", " ")


def equal_views(accuracy: Mapping[str, Mapping[str, Seeds]], labels: Mapping[str, str]) -> str:
    """Return lines of text: each method with four views, minus KD, and minus the control with four views.

    accuracy: title → method → seed → per cent. Raises ValueError where the control was not run.
    """
    lines = []
    for title, values in accuracy.items():
        over_kd, over_control = paired(values), paired(values, CONTROL)
        lines.append(f"{title}: {CONTROL} − kd {_gap(over_kd[CONTROL])}")
        for method, differences in over_control.items():
            if create_method(method).needs.views == 4:
                lines.append(
                    f"  {labels[method]:16} − kd {_gap(over_kd[method])}   − {CONTROL} {_gap(differences)}"
                )
    return "\n".join(lines)


def _gap(differences: Sequence[float]) -> str:
    return "{:+6.2f} ± {:5.2f}".format(*interval(differences))


def same_order(one: Mapping[str, float], other: Mapping[str, float], methods: Sequence[str]) -> float:
    """Return the share of all pairs of methods that are in the same order in both; a tie counts half."""
    signs = [
        np.sign((one[a] - one[b]) * (other[a] - other[b])) for i, a in enumerate(methods) for b in methods[:i]
    ]
    return float(np.mean([(sign + 1) / 2 for sign in signs]))


def order_words(accuracy: Mapping[str, Mapping[str, Seeds]]) -> str:
    """Return lines of text: how much of the order of the methods two seeds, or two pairs of networks, share.

    accuracy: pair of networks → method → seed → per cent. Only methods with the same seeds everywhere count.
    """
    first = next(iter(accuracy.values()))
    seeds = sorted(first["kd"])
    common = [m for m in first if all(sorted(values.get(m, ())) == seeds for values in accuracy.values())]
    lines = [f"{len(common)} methods; share of their pairs in the same order"]
    for pair, values in accuracy.items():
        rows = [{m: values[m][seed] for m in common} for seed in seeds]
        shares = [same_order(a, b, common) for i, a in enumerate(rows) for b in rows[:i]]
        lines.append(f"  two seeds, {pair}: {np.mean(shares):.0%}")
    means = [{m: float(np.mean(list(v[m].values()))) for m in common} for v in accuracy.values()]
    lines += [
        f"  two pairs of networks, means: {same_order(means[0], other, common):.0%}" for other in means[1:]
    ]
    return "\n".join(lines)


def rows_words(panels: Mapping[str, Mapping[str, Sequence[float]]], what: str) -> str:
    """Return the alternative text of a figure of `method_rows`: the mean of every method in every panel."""
    parts = []
    for title, rows in panels.items():
        means = sorted(((float(np.mean(v)), m) for m, v in rows.items() if len(v)), reverse=True)
        parts.append(f"{title}: " + ", ".join(f"{method} {mean:.1f}" for mean, method in means) + ".")
    return f"{what}, mean of each method. " + " ".join(parts)
