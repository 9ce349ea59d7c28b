"""Check what a learner wrote, and say which mistake was made; give hints, never the answer."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...files import did_you_mean
from ..course.progress import change_progress
from ..display import show
from .exercise import Answer, Exercise
from .judge import CASES, Verdict, differing, judge
from .registry import EXERCISES

WIDTH = 100


def find_exercise(name: str) -> Exercise:
    """Return an exercise by its name. Raises ValueError that suggests the nearest one."""
    if name not in EXERCISES:
        raise ValueError(
            f"there is no exercise {name!r}.{did_you_mean(name, EXERCISES)} The exercises are: "
            f"{', '.join(EXERCISES)}."
        )
    return EXERCISES[name]


def check(name: str, answer: Answer) -> None:
    """Try a function on five random cases; print whether it is right, or which mistake it makes.

    name: of an exercise. answer: the function itself. The first failing case is
    printed, or drawn. The outcome goes into the local record. Raises ValueError for an unknown name.
    """
    exercise = find_exercise(name)
    _report(exercise, _verdict_of(exercise, answer))


def checked(name: str, answer: Answer) -> Answer:
    """Check a function as `check` does, and return it where it is right; else the kit's own function."""
    exercise = find_exercise(name)
    verdict = _verdict_of(exercise, answer)
    _report(exercise, verdict)
    if not verdict.right:
        print(f"Until yours is right, the cells below use the kit's {name}.")
    return answer if verdict.right else exercise.right


def require(name: str, answer: Answer) -> None:
    """Raise AssertionError with the mistake unless a function is right: for grading. Nothing is recorded."""
    exercise = find_exercise(name)
    verdict = judge(exercise, answer)
    assert verdict.right, f"{name}: {verdict.message}"


def _verdict_of(exercise: Exercise, answer: Answer) -> Verdict:
    verdict = judge(exercise, answer)
    _record(exercise.name, verdict)
    return verdict


def _report(exercise: Exercise, verdict: Verdict) -> None:
    """Print a verdict, and print or draw its first failing case."""
    name = exercise.name
    if verdict.right:
        print(f"✓ {name}: right in {CASES} random cases.")
        return
    print(_wrap(f"✗ {name}: {verdict.message}"))
    if words := case_words(verdict):
        print(words)
    if exercise.draw and verdict.case is not None and verdict.wrong is not None:
        _draw(exercise, verdict)
    print(f'For a hint, run this in a new cell: lab.hint("{name}")')


def hint(name: str) -> None:
    """Print the next of three hints of an exercise. Raises ValueError for an unknown name."""
    exercise = find_exercise(name)

    def more(record: dict[str, Any]) -> None:
        kept = _entry(record, name)
        kept["hints"] = min(kept["hints"] + 1, len(exercise.hints))

    number = change_progress(more)["checks"][name]["hints"]
    for i, text in enumerate(exercise.hints[:number], 1):
        print(_wrap(f"Hint {i} of {len(exercise.hints)}: {text}"))


def case_words(verdict: Verdict) -> str:
    """Return the first failing case, the learner's value and the right one, as text; "" without a case."""
    lines = []
    if verdict.printed:
        lines.append(f"Your function printed: {verdict.printed.strip()[:200]}")
    if verdict.case is not None:
        small = {name: value for name, value in verdict.case.items() if _is_small(value)}
        lines.append(f"Case {verdict.number} of {CASES}:")
        lines += [f"  {name} = {_value(value)}" for name, value in small.items()]
        if isinstance(verdict.wanted, Mapping):
            parts = differing(verdict.wrong, verdict.wanted, 1e-6)
            lines += [f"  not right: {', '.join(parts)}"] if verdict.wrong is not None else []
        elif verdict.wrong is not None and _is_small(verdict.wrong) and _is_small(verdict.wanted):
            lines.append(f"  yours: {_value(verdict.wrong)}")
            lines.append(f"  right: {_value(verdict.wanted)}")
    return "\n".join(lines)


def _draw(exercise: Exercise, verdict: Verdict) -> None:
    assert exercise.draw and verdict.case is not None
    try:
        figure = exercise.draw(verdict.case, verdict.wrong, verdict.wanted)
    except Exception:  # a value of another shape cannot be drawn; the words say enough
        return
    show(figure, alt=f"Case {verdict.number}: your result beside the right one.")


def _record(name: str, verdict: Verdict) -> None:
    def change(record: dict[str, Any]) -> None:
        kept = _entry(record, name)
        if not kept["passed"]:
            kept["tries"] += 1
        kept["passed"] = kept["passed"] or verdict.right
        if verdict.mistake and verdict.mistake not in kept["mistakes"]:
            kept["mistakes"].append(verdict.mistake)

    change_progress(change)


def _entry(record: dict[str, Any], name: str) -> dict[str, Any]:
    return record["checks"].setdefault(name, {"tries": 0, "passed": False, "mistakes": [], "hints": 0})


def _is_small(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() <= 40 and value.dim() <= 2
    if isinstance(value, Mapping):
        return all(map(_is_small, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) <= 12 and all(map(_is_small, value))
    return isinstance(value, (int, float, str))


def _value(value: Any) -> str:
    if isinstance(value, Tensor):
        shown = value.detach()
        return str(shown.double().round(decimals=4).tolist() if shown.is_floating_point() else shown.tolist())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_value(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_value, value))})"
    return str(value)


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")
