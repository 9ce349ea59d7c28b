"""Why L_ss adds so little: the measurements of benchmarks/why.py in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...evaluation import interval
from .plan import FOLDER
from .rows import read_rows

REASONS = FOLDER / "why.jsonl"
# question → (words, kind, what, epoch) of its measurements
QUESTIONS: dict[str, tuple[tuple[str, str, str, int | None], ...]] = {
    "How hard does L_ss pull? Its gradient as a share of the four norms": (
        ("at the start", "gradient", "share ss", 0),
        ("after 10 epochs", "gradient", "share ss", 10),
        ("at the end", "gradient", "share ss", 20),
    ),
    "Does the matrix depend on the head? Correlation of a random head's matrix": (
        ("with the trained head's", "head", "random head and trained head", None),
        ("with the features' own", "head", "random head and the features themselves", None),
    ),
    "Does the task need the head's training? Share of rotated views that find their own image among 64": (
        ("trained head", "task", "teacher, trained head, among 64", None),
        ("half trained", "task", "teacher, half trained head, among 64", None),
        ("random", "task", "teacher, random head, among 64", None),
        ("no head", "task", "teacher's features, no head, among 64", None),
    ),
    "Is the matrix in a student already? Share of its variance that features explain": (
        ("before any training", "explained", "features of a fresh network, linear", None),
        ("after KD+rotations", "explained", "features of kd+rotations, linear", None),
        ("after SSKD", "explained", "features of sskd, linear", None),
    ),
    "Could it be matched without being told to? L_ss with a head fitted afterwards": (
        ("before any training", "match", "a fresh network, fitted head", None),
        ("after KD+rotations", "match", "kd+rotations, fitted head", None),
        ("after SSKD", "match", "sskd, fitted head", None),
    ),
}


def measured(
    rows: Sequence[Mapping[str, Any]], place: str, kind: str, what: str, epoch: int | None = None
) -> str:
    """Return a measurement as text, mean ± half of the 95 % interval over seeds; "" if it was not made."""
    values = [
        row["value"]
        for row in rows
        if (row["place"], row["kind"], row["what"], row.get("epoch")) == (place, kind, what, epoch)
    ]
    if not values:
        return ""
    mean, half = interval(values)
    return f"{mean:.3f} ± {half:.3f}" if len(values) > 1 else f"{mean:.3f}"


def reasons_in_words(place: str = "fashion-300", rows: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Return questions about L_ss with their measured answers, one line each.

    place: "fashion-300" or "hundred-50"; what was not measured there is left out.
    """
    rows = read_rows(REASONS) if rows is None else rows
    lines = []
    for question, parts in QUESTIONS.items():
        answers = [(words, measured(rows, place, *key)) for words, *key in parts]
        told = ", ".join(f"{words} {value}" for words, value in answers if value)
        lines += [f"{question}:\n  {told}"] * bool(told)
    return "\n".join(lines)
