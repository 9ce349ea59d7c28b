"""The class board: guesses, mistakes and one pooled experiment of a class, from a folder of JSON files.

The files are those of `export_progress`. They carry a random name per learner, so the board can count a
learner once, and can show nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..comparison.statistics import verdict
from ..curves import difference_figure
from ..display import show
from ..style import INK, METHOD_STYLES, QUIET, WIDTH, clean_axes, new_figure, short
from .bank import LETTERS, Question, find_question, read_questions
from .progress import read_progress

Record = Mapping[str, Any]
SHOWN = 12  # mistakes at most


def read_class(folder: str | Path) -> list[Record]:
    """Read the files of a class, *.json in a folder; one record per learner, the newest file of each.

    A file that is no record is left out, and that is printed. Raises FileNotFoundError without any record.
    """
    place = Path(folder).expanduser()
    files = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime) if place.is_dir() else []
    records: dict[str, Record] = {}
    for file in files:
        try:
            record = read_progress(file)
        except (ValueError, OSError) as error:
            print(f"Left out: {error}")
            continue
        records[str(record["learner"])] = record
    if not records:
        raise FileNotFoundError(
            f"{place} has no file of a learner. Each learner runs lab.export_progress() and hands in the "
            "file; put all of them into this folder."
        )
    print(f"{len(records)} learners.")
    return [records[learner] for learner in sorted(records)]


def guess_counts(records: Sequence[Record], key: str) -> tuple[Counter[Any], Counter[Any]]:
    """Return how often each answer to a question was given at first, and in the end."""
    guesses = [r["guesses"].get(key) or r["answers"].get(key) for r in records]
    given = [guess for guess in guesses if guess and "last" in guess]
    return Counter(g["first"] for g in given), Counter(g["last"] for g in given)


def most_answered(records: Sequence[Record], most: int = 6) -> list[str]:
    """Return the predictions that the most learners answered and that have options, the first ones first."""
    questions = read_questions()
    counts = Counter(key for r in records for key in r["guesses"] if key in questions)
    known = [key for key, _ in counts.most_common() if questions[key].options]
    return sorted(known[:most])


def show_class_guesses(records: Sequence[Record], key: str) -> None:
    """Draw a class's answers to a question, before the discussion and after it, and the right one.

    A first guess counts as before, the last one as after. Raises ValueError for an unknown question, or one
    that asks for a number.
    """
    question = find_question(key)
    if not question.options:
        raise ValueError(f"{key} asks for a number; the board draws questions with options.")
    first, last = guess_counts(records, key)
    if not first:
        print(f"Nobody has answered {key} yet.")
        return
    right = right_option(records, question)
    figure = guess_figure(question, first, last, right)
    words = ", ".join(f"({LETTERS[i]}) {first[i]} → {last[i]}" for i in range(len(question.options)))
    show(figure, alt=f"{question.text} Answers before and after the discussion: {words}.")
    print(f"{key}: {question.text}")
    for i, option in enumerate(question.options):
        mark = "✓" if i == right else " "
        print(f"{mark} ({LETTERS[i]}) {option.text}")


def right_option(records: Sequence[Record], question: Question) -> int | None:
    """Return the right option: the file's, or what the notebooks of most learners computed."""
    if question.answer is not None:
        return question.answer
    truths = Counter(r["guesses"].get(question.key, {}).get("truth") for r in records)
    del truths[None]
    return truths.most_common(1)[0][0] if truths else None


def guess_figure(question: Question, first: Counter[Any], last: Counter[Any], right: int | None) -> Figure:
    """Draw two bars per option: answers before (hollow) and after (filled) the discussion."""
    count = len(question.options)
    figure = new_figure(WIDTH, 0.75 * count + 1.0)
    axes = figure.subplots()
    colour = METHOD_STYLES["kd"].colour
    for i in range(count):
        axes.barh(i - 0.17, first[i], 0.3, facecolor="white", edgecolor=colour, linewidth=2)
        axes.barh(i + 0.17, last[i], 0.3, color=colour, edgecolor=colour, linewidth=2)
        axes.text(first[i], i - 0.17, f"  {first[i]} before", va="center", color=QUIET)
        axes.text(last[i], i + 0.17, f"  {last[i]} after", va="center", color=INK)
    names = [f"{'✓ ' if i == right else ''}({LETTERS[i]}) {short(o.text, 34)}"
             for i, o in enumerate(question.options)]  # fmt: skip
    axes.set_yticks(range(count), names)
    axes.set(ylim=(count - 0.5, -0.5), xlim=(0, 1.2 * max([1, *first.values(), *last.values()])))
    axes.set_xlabel("learners")
    axes.locator_params(axis="x", integer=True)
    clean_axes(axes)
    return figure


def mistake_counts(records: Sequence[Record]) -> Counter[str]:
    """Return how many learners made each mistake in a check: "exercise: mistake" → learners."""
    return Counter(
        f"{name}: {mistake}"
        for record in records
        for name, kept in record["checks"].items()
        for mistake in set(kept["mistakes"])
    )


def show_class_mistakes(records: Sequence[Record]) -> None:
    """Draw the most frequent mistakes of a class, and print how many learners passed each check."""
    counts = mistake_counts(records)
    if not counts:
        print("No mistake was recorded.")
    else:
        most = counts.most_common(SHOWN)
        figure = new_figure(WIDTH, 0.4 * len(most) + 1.0)
        axes = figure.subplots()
        axes.barh(range(len(most)), [n for _, n in most], 0.62, color=METHOD_STYLES["sskd"].colour)
        axes.set_yticks(range(len(most)), [name for name, _ in most])
        axes.set(ylim=(len(most) - 0.5, -0.5), xlabel="learners")
        axes.locator_params(axis="x", integer=True)
        clean_axes(axes)
        words = "; ".join(f"{name}, {n}" for name, n in most)
        show(figure, alt=f"The most frequent mistakes, with the number of learners: {words}.")
    tried = {name for record in records for name in record["checks"]}
    for name in sorted(tried):
        kept = [record["checks"][name] for record in records if name in record["checks"]]
        passed = sum(k["passed"] for k in kept)
        tries = sum(k["tries"] for k in kept) / len(kept)
        print(f"{name:18} {passed} of {len(kept)} right, {tries:.1f} tries on average")


def pooled_gaps(records: Sequence[Record], a: str = "sskd", b: str = "kd+rotations") -> list[float]:
    """Return accuracy of a minus accuracy of b, one number per run that a learner trained of both."""
    runs = [run for record in records for run in record["runs"].values()]
    return [run[a] - run[b] for run in runs if a in run and b in run]


def show_class_experiment(records: Sequence[Record]) -> None:
    """Draw the class's pooled experiment: SSKD minus its control, one dot per learner's seed."""
    gaps = pooled_gaps(records)
    if len(gaps) < 2:
        print(f"{len(gaps)} learners trained both students; at least two are needed.")
        return
    name = "SSKD − (KD + rotations)"
    show(difference_figure({name: gaps}), alt=f"{name}, {len(gaps)} seeds of the class: {verdict(gaps)}.")
    print(f"{name}, {len(gaps)} seeds: {verdict(gaps).strip()}")
