"""Signs: what can be measured on a training, compared with the healthy runs, in a number and in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..time_machine_data import TERM_NAMES
from .recording import TERMS, Record

EQUAL = 5e-5  # a ratio of two terms this near to 1 counts as equal: they are rounded sums


@dataclass(frozen=True, kw_only=True)
class Sign:
    """One sign.

    chart: where it can be seen; measure: (record, healthy record) → the number; level: the number as one of a
    few words, by which two trainings can be told apart; words: the number as the end of a sentence.
    """

    name: str
    chart: str
    measure: Callable[[Record, Record], float]
    level: Callable[[float], str]
    words: Callable[[float], str]


def _first_ratio(term: int) -> Callable[[Record, Record], float]:
    def measure(record: Record, healthy: Record) -> float:
        return float(record["first_steps"][0, 0, term] / healthy["first_steps"][0, 0, term])

    return measure


def _ratio_level(ratio: float) -> str:
    for value, word in ((1.0, "equal"), (1 / 16, "1/16"), (4.0, "4 times")):
        if abs(ratio / value - 1) < EQUAL:
            return word
    return "another number"


def _ratio_words(name: str) -> Callable[[float], str]:
    def words(ratio: float) -> str:
        level = _ratio_level(ratio)
        if level == "equal":
            return f"{name} at the first step is equal to the healthy one"
        times = {"1/16": "1/16 of", "4 times": "4 times"}.get(level, f"{ratio:.4f} times")
        return f"{name} at the first step is {times} the healthy one"

    return words


def _teacher_twice(record: Record, healthy: Record) -> float:
    return float(record["teacher_twice"].mean())


def _matching(record: Record, healthy: Record) -> float:
    """Return by how many points the answers in the loss fit the turn of the view better than another turn.

    Of the turned views: the agreement with a fresh pass of the same turn, minus the best of another turn.
    """
    table = record["matches"][:, 0].mean(0).astype(np.float64)
    same = np.diagonal(table)
    others = np.where(np.eye(len(table), dtype=bool), -np.inf, table).max(1)
    return float((same - others)[1:].mean())


def border(record: Record, healthy: Record) -> float:
    """Return the brightest grey, 0 to 255, of the corner pixels of which the healthy views are black."""
    views, usual = (r["views"].reshape(-1, *r["views"].shape[-2:]) for r in (record, healthy))
    edge = np.zeros(views.shape[-2:], bool)
    edge[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    return float(views[(usual == 0) & edge].max())


def dropped_right(record: Record, healthy: Record) -> float:
    """Return how many rows that the teacher has right are dropped, before the first epoch."""
    return float(((record["ranks"][0] == 0) & ~record["kept"][0]).sum())


def _alone(record: Record, healthy: Record) -> float:
    return float(record["student_alone"].mean())


def moved_ratio(record: Record, healthy: Record) -> float:
    """Return how far the weights are from their start after two epochs, over the same of the healthy runs."""
    return float((record["moved"][:, 1] / healthy["moved"][:, 1]).mean())


SIGNS: dict[str, Sign] = {
    sign.name: sign
    for sign in (
        *(
            Sign(
                name=f"first {term}",
                chart="first step",
                measure=_first_ratio(place),
                level=_ratio_level,
                words=_ratio_words(TERM_NAMES[term]),
            )
            for place, term in enumerate(TERMS)
        ),
        Sign(
            name="repeats",
            chart="teacher",
            measure=_teacher_twice,
            level=lambda moved: "moves" if moved > 0.1 else "repeats",
            words=lambda moved: (
                f"{moved:.1f} % of the teacher's probability moves when other images are in the batch"
            ),
        ),
        Sign(
            name="matching",
            chart="teacher",
            measure=_matching,
            level=lambda points: "same" if points > 0 else "other",
            words=lambda points: (
                f"the teacher's answers fit the turn of the student's view {abs(points):.0f} points "
                f"{'better' if points > 0 else 'worse'} than another turn"
            ),
        ),
        Sign(
            name="border",
            chart="views",
            measure=border,
            level=lambda grey: "grey" if grey > 0 else "black",
            words=lambda grey: f"the frame around the views has the grey {grey:.0f} of 255",
        ),
        Sign(
            name="dropped",
            chart="matrices",
            measure=dropped_right,
            level=lambda rows: "some" if rows > 0 else "none",
            words=lambda rows: f"{rows:.0f} of the rows that the teacher has right are dropped",
        ),
        Sign(
            name="alone",
            chart="student",
            measure=_alone,
            level=lambda percent: "moves" if percent > 0.1 else "repeats",
            words=lambda percent: (
                f"the student's answers to upright views in training change by {percent:.1f} % when the "
                "turned views are taken away"
            ),
        ),
        Sign(
            name="moved",
            chart="weights",
            measure=moved_ratio,
            level=lambda ratio: "far" if ratio > 2 else "near",
            words=lambda ratio: (
                f"after two epochs the weights are {ratio:.1f} times as far from their start as the healthy "
                "ones"
            ),
        ),
    )
}
