"""What an exercise is: random cases, the right answer, known mistakes with their words, three hints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Case = Mapping[str, Any]  # the arguments of one call, by name
Answer = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A known mistake: what a wrong function computes, and what is said to who makes it."""

    name: str  # a few words, for the class board
    message: str  # what is wrong and where to look, not what to write
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Something that the values alone do not show, such as a gradient that must not flow.

    fails: called with the learner's function and one case; returns whether the demand is broken.
    """

    name: str
    message: str
    fails: Callable[[Answer, Case], bool]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One function to write. `cases(seed)` makes its arguments; `right` is the library's answer.

    observe: what is compared, made of the arguments after the call and of the returned value. Without it the
    returned value is compared. A function that changes a network needs it.
    """

    name: str
    task: str
    returns: str  # what is expected back, in words
    cases: Callable[[int], dict[str, Any]]
    right: Answer
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    demands: tuple[Demand, ...] = ()
    draw: Callable[[Case, Any, Any], Any] | None = None  # (case, wrong, right) → a Figure
    observe: Callable[[Case, Any], Any] | None = None  # (arguments after the call, value) → what is compared
    tolerance: float = 1e-6
