"""Checks of a relational loss that a learner wrote: five properties, and a hint for the first that fails."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import torch
from torch import Tensor

from .terms import rotate_channels

Loss = Callable[[Tensor, Tensor], Tensor]
IMAGES, WIDTH_T, WIDTH_S = 16, 6, 4
CASES = 5  # draws of random features


def _positive(loss: Loss, student: Tensor, teacher: Tensor) -> bool:
    value = loss(student, teacher)
    return value.dim() == 0 and bool(value > 0)


def _zero_at_the_teacher(loss: Loss, student: Tensor, teacher: Tensor) -> bool:
    return bool(loss(teacher, teacher).abs() <= 1e-6 * loss(student, teacher).abs() + 1e-9)


def _ignores_rotation(loss: Loss, student: Tensor, teacher: Tensor) -> bool:
    return _same(loss(rotate_channels(student), teacher), loss(student, teacher))


def _ignores_length(loss: Loss, student: Tensor, teacher: Tensor) -> bool:
    return _same(loss(3 * student, teacher), loss(student, teacher))


def _has_slope(loss: Loss, student: Tensor, teacher: Tensor) -> bool:
    learner = student.clone().requires_grad_()
    value = loss(learner, teacher)
    if not value.requires_grad:
        return False
    (slope,) = torch.autograd.grad(value, learner, allow_unused=True)
    return slope is not None and bool(slope.isfinite().all() and slope.any())


def _same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs() <= 1e-6 * b.abs() + 1e-9)


# property, its test, and the usual reason for failing it
PROPERTIES: tuple[tuple[str, Callable[[Loss, Tensor, Tensor], bool], str], ...] = (
    (
        "one number above 0 for networks of different widths",
        _positive,
        "Features of 4 and of 6 numbers have no difference. Compare tables of size N × N: every image with "
        "every other one. End with a mean, so that one number is left.",
    ),
    (
        "0 for a student with the teacher's features",
        _zero_at_the_teacher,
        "A student that equals the teacher is not at the lowest point of your loss. Treat both networks in "
        "the same way before you subtract.",
    ),
    (
        "does not notice a rotation of the student's features",
        _ignores_rotation,
        "Your loss reads single feature numbers. A rotation keeps lengths, distances and products of whole "
        "rows, so use only these.",
    ),
    (
        "does not notice that the student's features are 3 times as long",
        _ignores_length,
        "Distances that are 3 times as large are another table for your loss. Divide each network's table "
        "by a number that grows in the same way, such as its own mean.",
    ),
    (
        "a slope for the student, without nan",
        _has_slope,
        "No usable gradient arrives at the student. A root of 0, a division by 0, `detach`, `argmax` or a "
        "comparison can be the reason.",
    ),
)


def check_loss(loss: Loss) -> int:
    """Print yes or not yet for five properties of a relational loss, and a hint for the first that fails.

    loss: (student float64 [N, D_S], teacher float64 [N, D_T]) → a scalar. Returns how many properties it has.
    """
    hint, found = "", 0
    for text, test, reason in PROPERTIES:
        failed = _first_failure(loss, test)
        print(f"{'yes' if failed is None else 'not yet':8} {text}")
        found += failed is None
        if failed is not None and not hint:
            hint = f"Hint: {failed}{reason}"
    if hint:
        print(textwrap.fill(hint, 100))
    return found


def _first_failure(loss: Loss, test: Callable[[Loss, Tensor, Tensor], bool]) -> str | None:
    """Return None where the property holds in all random cases, else what went wrong in the first other."""
    for seed in range(CASES):
        draw = torch.Generator().manual_seed(seed)
        teacher, student = (
            torch.randn(IMAGES, width, dtype=torch.float64, generator=draw) for width in (WIDTH_T, WIDTH_S)
        )
        try:
            if not test(loss, student, teacher):
                return f"fails with the random features of case {seed + 1}. "
        except Exception as error:  # of a learner's code: any
            first = next(iter(str(error).splitlines()), "no message")
            return f"your loss raised {type(error).__name__}: {first}. "
    return None
