"""Printed figures of the papers (data/published.csv): their gaps to KD, their traps, their noise."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable

import numpy as np

from ...losses import METHODS
from ...reproduce.paper import FOOTNOTES, IMAGENET_PAIR, PAIRS, Figure, Pair, published

LINE = 100  # letters of a line of text


def printed_value(group: str, method: str, pair: Pair) -> float | None:
    """Return the accuracy that a group of papers prints for a method on a pair of networks, or None."""
    found = [figure.value for figure in published(pair.kind, pair, method) if figure.group == group]
    return found[0] if found else None


def printed_gaps(group: str) -> dict[str, list[float]]:
    """Return method → printed accuracy minus that of KD, one for each of the paper's pairs that has both.

    group: "A", with the teachers of CRD's authors, or "B", with those of SSKD's.
    """
    gaps: dict[str, list[float]] = {}
    for method in (m for m in METHODS if m != "kd"):
        both = [(printed_value(group, method, pair), printed_value(group, "kd", pair)) for pair in PAIRS]
        if found := [a - b for a, b in both if a is not None and b is not None]:
            gaps[method] = found
    return gaps


def group_shift(methods: Iterable[str] = ("teacher", "ce", "kd", "crd")) -> str:
    """Return lines of text: how far the figures of group B are from those of group A on the same pairs."""
    lines = []
    for method in methods:
        both = [(printed_value("A", method, pair), printed_value("B", method, pair)) for pair in PAIRS]
        apart = [b - a for a, b in both if a is not None and b is not None]
        lines.append(
            f"{method:8} B minus A on {len(apart)} pairs: mean {np.mean(apart):+.2f}, "
            f"from {min(apart):+.2f} to {max(apart):+.2f}"
        )
    return "\n".join(lines)


def _figures() -> list[Figure]:
    return [figure for pair in PAIRS for m in METHODS for figure in published(pair.kind, pair, m)]


def printed_traps() -> str:
    """Return lines of text: each warning of the table of figures, and how many figures it belongs to."""
    figures, lines = _figures(), []
    for key, text in FOOTNOTES.items():
        if count := sum(key in figure.notes for figure in figures):
            lines.append(
                textwrap.fill(f"{count:3} of {len(figures)}  {text}", LINE, subsequent_indent=" " * 12)
            )
    return "\n".join(lines)


def printed_noise() -> float:
    """Return a rough 95 % half width of the difference of two printed figures: 2 √2 times the median ±."""
    return 2 * math.sqrt(2) * float(np.median([f.spread for f in _figures() if f.spread is not None]))


def printed_findings() -> str:
    """Return lines of text: on how many pairs each method is above or below KD by more than noise."""
    spreads, noise = [f.spread for f in _figures() if f.spread is not None], printed_noise()
    lines = [
        f"{len(spreads)} of {len(_figures())} figures have a ±, median {np.median(spreads):.2f}; "
        f"rough half width of a difference, 2 √2 times that: {noise:.2f} points"
    ]
    for group in "AB":
        lines.append(f"group {group}       mean gap   pairs   above by more   within   below by more")
        for method, gaps in sorted(printed_gaps(group).items(), key=lambda row: -np.mean(row[1])):
            above, below = sum(gap > noise for gap in gaps), sum(gap < -noise for gap in gaps)
            counts = f"{len(gaps):8}{above:16}{len(gaps) - above - below:9}{below:16}"
            lines.append(f"  {method:12}{np.mean(gaps):+8.2f}{counts}")
    return "\n".join(lines)


def paper_claims() -> str:
    """Return lines of text: where the printed SSKD is the highest of group B, and its gap to CRD."""
    lines = []
    for kind, words in (("similar", "one family"), ("cross", "two families")):
        pairs = [pair for pair in PAIRS if pair.kind == kind]
        rows = {m: [printed_value("B", m, pair) for pair in pairs] for m in METHODS}
        best = [
            max(v[i] for m, v in rows.items() if m != "sskd" and v[i] is not None) for i in range(len(pairs))
        ]
        ahead = sum(a >= b for a, b in zip(rows["sskd"], best, strict=True))
        lines.append(
            f"{words}: SSKD highest or equal on {ahead} of {len(pairs)} pairs; "
            f"mean gap to CRD {np.mean(rows['sskd']) - np.mean(rows['crd']):+.2f} points"
        )
    return "\n".join(lines)


def framework_gaps() -> dict[str, tuple[float, float]]:
    """Return each method's gap to KD on ImageNet: as published, and as torchdistill ran both again."""
    found = {
        m: {figure.group: figure.value for figure in reversed(published("imagenet", IMAGENET_PAIR, m))}
        for m in METHODS
    }
    both = {m: row for m, row in found.items() if {"published", "torchdistill"} <= row.keys()}
    kd = both.pop("kd")
    return {
        method: (row["published"] - kd["published"], row["torchdistill"] - kd["torchdistill"])
        for method, row in both.items()
    }


def one_framework() -> str:
    """Return `framework_gaps` as lines of text."""
    lines = ["minus KD  published   one framework"]
    for method, (printed, again) in framework_gaps().items():
        lines.append(f"{method:9}{printed:+10.2f}{again:+16.2f}")
    return "\n".join(lines)
