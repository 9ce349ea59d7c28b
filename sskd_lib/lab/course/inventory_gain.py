"""What a class has gained between the two concept inventories, from the files that the learners handed in.

Only learners who answered every question both times are compared, each with themselves. No name is in the
files (see progress.py), so none is in the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation import interval
from .bank import Question, questions_of
from .progress import read_progress

MOMENTS = ("before", "after")
ENOUGH = 10  # learners; with fewer a bootstrap interval is too narrow to be shown
DRAWS = 4000
NAN_PAIR = (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class QuestionGain:
    """One question: how many learners were right, and how many changed to right or to wrong."""

    key: str
    concept: str
    before: int
    after: int
    to_right: int
    to_wrong: int


@dataclass(frozen=True, kw_only=True)
class InventoryGain:
    """Gain of n learners. `before` and `after` are mean scores in 0 to 1; intervals are of 95 %.

    change: mean of after minus before, and the half width of its t interval. normalised: Hake's ⟨g⟩.
    d_z, d_av: effect sizes, d_av with Hedges' correction. `*_interval`: (low, high), nan below 10 learners.
    """

    learners: int
    before: float
    after: float
    change: tuple[float, float]
    normalised: float
    normalised_interval: tuple[float, float]
    d_z: float
    d_z_interval: tuple[float, float]
    d_av: float
    d_av_interval: tuple[float, float]
    questions: tuple[QuestionGain, ...] = field(repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)


def inventory_gain(folder: str | Path) -> InventoryGain:
    """Print and return what a class has gained, from a folder of files of `lab.export_progress()`.

    A file that is no record, or of a learner who left out a question, is not counted, and that is printed.
    Raises FileNotFoundError for a folder without such files, ValueError if no learner can be compared.
    """
    questions = questions_of("inventory", "inventory")
    answers, notes = read_answers(folder, questions)
    if not answers:
        raise ValueError(
            f"no learner in {folder} answered all {len(questions)} questions before and after the course. "
            'Each learner runs lab.inventory("before") and lab.inventory("after"), then '
            f"lab.export_progress(). {' '.join(notes[:3])}{' …' * (len(notes) > 3)}".strip()
        )
    gain = compute_gain(np.array([answers[learner] for learner in sorted(answers)]), questions, notes)
    print(gain_words(gain))
    return gain


def read_answers(
    folder: str | Path, questions: Sequence[Question]
) -> tuple[dict[str, NDArray[np.bool_]], list[str]]:
    """Return right answers, bool [2, Q] (before, after), by learner, and what was left out, in sentences.

    Of two complete files of one learner the later name counts. Raises FileNotFoundError if there is no
    *.json file.
    """
    place = Path(folder).expanduser()
    files = sorted(place.glob("*.json")) if place.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{place} has no *.json files. Put the files of lab.export_progress() there.")
    answers: dict[str, NDArray[np.bool_]] = {}
    notes = []
    for file in files:
        try:
            record = read_progress(file)
            right = right_answers(record["answers"], questions)
        except (ValueError, TypeError, AttributeError) as error:
            notes.append(f"{file.name} was left out: {error}.")
            continue
        missing = sum(value is None for row in right for value in row)
        if missing:
            notes.append(f"{file.name} was left out: {missing} of {2 * len(questions)} answers are missing.")
            continue
        learner = str(record["learner"])
        if learner in answers:
            notes.append(f"{file.name} replaces another file of the same learner.")
        answers[learner] = np.array(right, dtype=bool)
    return answers, notes


def right_answers(answers: Mapping[str, Any], questions: Sequence[Question]) -> list[list[bool | None]]:
    """Return, before and after, whether the last answer to each question was right; None if it is missing."""
    return [[answers.get(f"{q.key}-{moment}", {}).get("right") for q in questions] for moment in MOMENTS]


def compute_gain(
    right: NDArray[np.bool_], questions: Sequence[Question], notes: Sequence[str] = ()
) -> InventoryGain:
    """Return the gain of right answers, bool [n, 2, Q]: learners, before and after, questions."""
    before, after = right.mean(2).T  # scores [n]
    effects = effect_sizes(before, after)
    intervals = bootstrap_intervals(before, after) if len(before) >= ENOUGH else [NAN_PAIR] * 3
    first, last = right[:, 0], right[:, 1]
    counts = zip(
        questions, first.sum(0), last.sum(0), (~first & last).sum(0), (first & ~last).sum(0), strict=True
    )
    return InventoryGain(
        learners=len(right),
        before=float(before.mean()),
        after=float(after.mean()),
        change=interval([float(d) for d in after - before]),
        normalised=float(effects[0]),
        normalised_interval=intervals[0],
        d_z=float(effects[1]),
        d_z_interval=intervals[1],
        d_av=float(effects[2]),
        d_av_interval=intervals[2],
        questions=tuple(
            QuestionGain(
                key=q.key, concept=q.source, before=int(b), after=int(a), to_right=int(up), to_wrong=int(down)
            )
            for q, b, a, up, down in counts
        ),
        notes=tuple(notes),
    )


def effect_sizes(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return normalised gain, d_z and Hedges-corrected d_av [3, …] of scores [n, …] in 0 to 1.

    ⟨g⟩ = (mean after - mean before) / (1 - mean before), of the means of the class (Hake 1998).
    d_z = mean(d) / s(d), and d_av = J · mean(d) / ((s_before + s_after) / 2), with d = after - before and
    J = 1 - 3 / (4 (n - 1) - 1) (Lakens 2013). nan where a divisor is 0; the last two need three learners.
    """
    n, difference = len(before), after - before
    mean = difference.mean(0)
    nothing = np.full_like(mean, math.nan)
    if n < 3:
        spread = average = nothing
    else:
        spread = difference.std(0, ddof=1)
        average = (before.std(0, ddof=1) + after.std(0, ddof=1)) / 2
    correction = 1 - 3 / (4 * (n - 1) - 1)
    room = 1 - before.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = [mean / room, mean / spread, correction * mean / average]
        return np.stack(
            [np.where(d > 1e-12, v, nothing) for v, d in zip(values, (room, spread, average), strict=True)]
        )


def bootstrap_intervals(
    before: NDArray[np.float64], after: NDArray[np.float64], seed: int = 0
) -> list[tuple[float, float]]:
    """Return 95 % percentile intervals of the three `effect_sizes`: learners are drawn with replacement.

    (nan, nan) where more than 1 % of the draws have no value, as in a class without spread.
    """
    rows = np.random.default_rng(seed).integers(len(before), size=(len(before), DRAWS))
    intervals = []
    for values in effect_sizes(before[rows], after[rows]):
        finite = values[np.isfinite(values)]
        low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) >= 0.99 * DRAWS else NAN_PAIR
        intervals.append((float(low), float(high)))
    return intervals


def gain_words(gain: InventoryGain) -> str:
    """Return a gain as lines of text: the class, then each question, then what was left out."""
    mean, half = gain.change
    points = f"{100 * mean:+.0f} points" + (f" ± {100 * half:.0f}" if math.isfinite(half) else "")
    sizes = (
        ("normalised gain ⟨g⟩", gain.normalised, gain.normalised_interval),
        ("effect size d_z", gain.d_z, gain.d_z_interval),
        ("effect size d_av", gain.d_av, gain.d_av_interval),
    )
    lines = [
        f"learners with both inventories: {gain.learners}",
        f"right answers: {100 * gain.before:.0f} % before, {100 * gain.after:.0f} % after, {points}",
        *(f"{name}: {_number(value)}{_between(ends)}" for name, value, ends in sizes),
    ]
    if gain.learners < ENOUGH:
        lines.append(
            f"Too few learners: with fewer than {ENOUGH} no interval of an effect size is given. "
            "Read the numbers as a description of these learners, and of no others."
        )
    lines += ["There is no comparison group: practice and time may be a part of the gain.", ""]
    lines.append(f"{'question':14}{'before':>8}{'after':>8}{'to right':>10}{'to wrong':>10}  concept")
    lines += [
        f"{q.key:14}{q.before:>8}{q.after:>8}{q.to_right:>10}{q.to_wrong:>10}  {q.concept}"
        for q in gain.questions
    ]
    return "\n".join([*lines, *gain.notes])


def _number(value: float) -> str:
    return (
        f"{value:.2f}" if math.isfinite(value) else "cannot be computed (no spread, or nothing left to gain)"
    )


def _between(ends: tuple[float, float]) -> str:
    return f" (95 %: {ends[0]:.2f} to {ends[1]:.2f})" if math.isfinite(ends[0]) else ""
