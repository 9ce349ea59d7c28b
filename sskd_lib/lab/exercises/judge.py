"""Find out which mistake a learner made: on random cases, against the right answer and known wrong ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .exercise import Answer, Case, Exercise
from .guard import SECONDS, Outcome, call, copied

CASES = 5


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Right or not; the name of the mistake, what to say, and the first failing case with both values."""

    right: bool
    mistake: str = ""
    message: str = ""
    number: int = 0
    case: Case | None = None
    wrong: Any = None
    wanted: Any = None
    printed: str = ""


def judge(exercise: Exercise, answer: Answer, seconds: float = SECONDS) -> Verdict:
    """Try a function on random cases, and return what is wrong with the first that fails."""
    if not callable(answer):
        kind = type(answer).__name__
        return Verdict(
            right=False,
            mistake="not a function",
            message=f"Give the function itself, without calling it: lab.check({exercise.name!r}, "
            f"{exercise.name}). This is a value of type {kind}.",
        )
    for number in range(1, CASES + 1):
        case = exercise.cases(number)
        wanted = right_result(exercise, case)  # first: what it imports costs the learner no time
        outcome = call(answer, case, seconds)
        fault = _fault(exercise, outcome, wanted)
        if fault:
            return Verdict(
                right=False, mistake=fault[0], message=fault[1], number=number, case=case,
                wanted=wanted, printed=outcome.printed,
            )  # fmt: skip
        result = observed(exercise, outcome)
        if not same(result, wanted, exercise.tolerance):
            more = [exercise.cases(n) for n in range(number + 1, CASES + 1)]
            tried = [(case, result), *((c, observed(exercise, call(answer, c, seconds))) for c in more)]
            name, message = find_mistake(exercise, tried)
            return Verdict(
                right=False, mistake=name, message=message, number=number, case=case,
                wrong=result, wanted=wanted, printed=outcome.printed,
            )  # fmt: skip
    for demand in exercise.demands:
        outcome = call(demand.fails, {"answer": answer, "case": exercise.cases(1)}, seconds)
        if outcome.value or outcome.fault:
            return Verdict(right=False, mistake=demand.name, message=demand.message)
    return Verdict(right=True)


def observed(exercise: Exercise, outcome: Outcome) -> Any:
    """Return what is compared: the returned value, or what the exercise makes of it; None after an error."""
    if exercise.observe is None or outcome.fault:
        return outcome.value
    return exercise.observe(outcome.arguments, outcome.value)


def right_result(exercise: Exercise, case: Case) -> Any:
    """Return what a right function gives in a case, as it is compared."""
    arguments = copied(case)
    value = exercise.right(*arguments.values())
    return exercise.observe(arguments, value) if exercise.observe else value


def find_mistake(exercise: Exercise, tried: Iterable[tuple[Case, Any]]) -> tuple[str, str]:
    """Return the name and the words of the known mistake that gives the same wrong values in every case."""
    pairs = list(tried)
    for mistake in exercise.mistakes:
        if all(_makes(exercise, mistake.answer, case, value) for case, value in pairs):
            return mistake.name, mistake.message
    case, value = pairs[0]
    wanted = right_result(exercise, case)
    if isinstance(wanted, Mapping):
        return "unknown", f"These are not right: {', '.join(differing(value, wanted, exercise.tolerance))}."
    if _shape(value) != _shape(wanted):
        return "another shape", f"Your result has the shape {_shape(value)}. Expected: {exercise.returns}."
    factor = _factor(exercise, pairs)
    if factor is not None:
        return (
            "a constant factor",
            f"Your result is always {factor:.4g} times the right one: look for a factor.",
        )
    if _reordered(value, wanted):
        return "another order", "The numbers are right, but in another order."
    return "unknown", "Compare the two values below by hand, with the smallest case you can think of."


def _makes(exercise: Exercise, answer: Answer, case: Case, value: Any) -> bool:
    """Return whether a known wrong function gives a value in a case."""
    outcome = call(answer, case, seconds=None)
    return not outcome.fault and same(value, observed(exercise, outcome), exercise.tolerance)


def same(value: Any, wanted: Any, tolerance: float) -> bool:
    """Return whether a learner's value equals the right one: a tensor, an array, a list or a number."""
    if isinstance(wanted, (tuple, list)):
        value = value.tolist() if isinstance(value, (Tensor, np.ndarray)) else value
        if not isinstance(value, (tuple, list)) or len(value) != len(wanted):
            return False
        return all(same(a, b, tolerance) for a, b in zip(value, wanted, strict=True))
    if isinstance(wanted, dict):
        if not isinstance(value, dict) or value.keys() != wanted.keys():
            return False
        return all(same(value[key], wanted[key], tolerance) for key in wanted)
    a, b = numbers(value), numbers(wanted)
    if a is None or b is None or a.shape != b.shape:
        return False
    return bool(torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))


def differing(value: Any, wanted: Mapping[str, Any], tolerance: float) -> list[str]:
    """Return the names of the parts of an observation that are not right."""
    value = value if isinstance(value, Mapping) else {}
    return [
        name for name in wanted if name not in value or not same(value[name], wanted[name], tolerance)
    ] + [name for name in value if name not in wanted]


def numbers(value: Any) -> Tensor | None:
    """Return a value as float64 numbers; None where it is nothing of the kind."""
    try:
        tensor = value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
        return tensor.cpu().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None


def _fault(exercise: Exercise, outcome: Outcome, wanted: Any) -> tuple[str, str] | None:
    """Return why a call gave nothing to compare; None where it did."""
    if outcome.fault:
        stopped = "was stopped" in outcome.fault
        return ("never ends" if stopped else "an error"), outcome.fault
    if outcome.changed:
        return "changes its input", (
            f"Your function changes its argument {outcome.changed!r}. Who calls it will be surprised: make a "
            "new tensor, without operations that end in an underscore, and without assigning into the old "
            "one."
        )
    if outcome.value is None:
        return "returns nothing", f"Your function returns nothing. Expected: {exercise.returns}."
    if outcome.value is Ellipsis or isinstance(outcome.value, str):
        return "returns no numbers", f"Expected: {exercise.returns}. Yours is {outcome.value!r}."
    parts = outcome.value if isinstance(outcome.value, (tuple, list)) else [outcome.value]
    if any(numbers(part) is None for part in parts):
        kind = type(outcome.value).__name__
        return "returns no numbers", f"Expected: {exercise.returns}. Yours is a {kind}."
    return None


def _factor(exercise: Exercise, pairs: list[tuple[Case, Any]]) -> float | None:
    """Return the constant c with value = c · right in every case; None where there is none."""
    factors = []
    for case, value in pairs:
        a, b = numbers(value), numbers(right_result(exercise, case))
        if a is None or b is None or a.shape != b.shape or a.dtype == torch.bool or not b.abs().max() > 0:
            return None
        top = b.abs().argmax()
        factor = float(a.flatten()[top] / b.flatten()[top])
        if not math.isfinite(factor) or not torch.allclose(a, factor * b, rtol=1e-5, atol=1e-8):
            return None
        factors.append(factor)
    steady = all(math.isclose(f, factors[0], rel_tol=1e-4) for f in factors)
    return factors[0] if steady else None


def _reordered(value: Any, wanted: Any) -> bool:
    a, b = numbers(value), numbers(wanted)
    if a is None or b is None or a.dim() == 0 or a.shape != b.shape:
        return False
    return bool(torch.allclose(a.flatten().sort().values, b.flatten().sort().values, atol=1e-6))


def _shape(value: Any) -> list[int] | None:
    tensor = numbers(value)
    return None if tensor is None else list(tensor.shape)
