"""Exercise of notebook 09: the 95 % interval of paired differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ...evaluation import interval
from .cases import generator_of, normal
from .exercise import Exercise, Mistake

Pair = tuple[float, float]


def _seeds(seed: int) -> dict[str, Any]:
    """Return the accuracies of two methods with the same seeds: what a seed adds, both have in common."""
    generator, count = generator_of(seed), 3 + seed % 4
    level = 75 + 2 * normal(generator, count)
    a, b = (level + better + 0.6 * normal(generator, count) for better in (0.7, 0.0))
    return {"a": a, "b": b}


def _quantile(freedom: float, p: float = 0.975) -> float:
    from scipy import stats

    return float(stats.t.ppf(p, freedom))


def _error(values: Tensor) -> float:
    """Return the standard error of a mean."""
    return float(values.std() / len(values) ** 0.5)


def _with_half(half: Callable[[Tensor], float]) -> Callable[[Tensor, Tensor], Pair]:
    """Return a function with the right mean, and a half width made from the differences."""
    return lambda a, b: (float((a - b).mean()), half(a - b))


def _unpaired(a: Tensor, b: Tensor) -> Pair:
    error = (_error(a) ** 2 + _error(b) ** 2) ** 0.5
    return float(a.mean() - b.mean()), _quantile(2 * len(a) - 2) * error


def _unpaired_welch(a: Tensor, b: Tensor) -> Pair:
    x, y = _error(a) ** 2, _error(b) ** 2
    freedom = (x + y) ** 2 / ((x**2 + y**2) / (len(a) - 1))
    return float(a.mean() - b.mean()), _quantile(freedom) * (x + y) ** 0.5


def _two_half_widths(a: Tensor, b: Tensor) -> Pair:
    return float((a - b).mean()), interval(a.tolist())[1] + interval(b.tolist())[1]


def _bounds(a: Tensor, b: Tensor) -> Pair:
    mean, half = interval((a - b).tolist())
    return mean - half, mean + half


def _relative(a: Tensor, b: Tensor) -> Pair:
    return interval((100 * (a - b) / b).tolist())


PAIRED_INTERVAL = Exercise(
    name="paired_interval",
    task="Two methods, the same n seeds: paired_interval(a, b). a, b: accuracies [n], in percent. Return the "
    "mean of the differences a - b, and the half width of its 95 % t interval.",
    returns="two numbers: (mean, half width)",
    cases=_seeds,
    right=lambda a, b: interval((a - b).tolist()),
    mistakes=(
        Mistake(
            name="unpaired interval",
            message="Your interval treats the two methods as two independent groups. A seed is the same for "
            "both: take the differences first, then what the seeds have in common drops out.",
            answer=_unpaired,
        ),
        Mistake(
            name="unpaired interval (Welch)",
            message="Your interval is Welch's, for two independent groups with different spread. Here each "
            "value of a has a partner in b: the same seed.",
            answer=_unpaired_welch,
        ),
        Mistake(
            name="two half widths added",
            message="You add the half widths of two intervals, one for each method. Make ONE interval, of "
            "the differences.",
            answer=_two_half_widths,
        ),
        Mistake(
            name="1.96 instead of t",
            message="You use 1.96, which is for many seeds. With few seeds the standard deviation is itself "
            "uncertain, and Student's t makes the interval wider.",
            answer=_with_half(lambda d: 1.959964 * _error(d)),
        ),
        Mistake(
            name="standard deviation instead of standard error",
            message="Your half width does not shrink when there are more seeds: you use the spread of single "
            "differences. A MEAN of n differences spreads less.",
            answer=_with_half(lambda d: _quantile(len(d) - 1) * float(d.std())),
        ),
        Mistake(
            name="divided by n instead of √n",
            message="You divide the standard deviation by n. The spread of a mean shrinks more slowly than "
            "that.",
            answer=_with_half(lambda d: _quantile(len(d) - 1) * float(d.std()) / len(d)),
        ),
        Mistake(
            name="standard deviation with n below",
            message="Your standard deviation divides by n. The mean was estimated from the same n numbers, "
            "so one of them is not free. NumPy divides by n unless it is told otherwise; torch does not.",
            answer=_with_half(lambda d: _quantile(len(d) - 1) * float(d.std(correction=0)) / len(d) ** 0.5),
        ),
        Mistake(
            name="degrees of freedom",
            message="Your t belongs to n degrees of freedom. The mean is estimated from the same numbers, "
            "which takes one away.",
            answer=_with_half(lambda d: _quantile(len(d)) * _error(d)),
        ),
        Mistake(
            name="one-sided quantile",
            message="Your interval covers 90 %. Of the 5 % outside, one half lies on each side: which "
            "quantile is that?",
            answer=_with_half(lambda d: _quantile(len(d) - 1, 0.95) * _error(d)),
        ),
        Mistake(
            name="standard error without t",
            message="Your half width is the standard error alone. A 95 % interval is wider than that: a "
            "quantile is missing.",
            answer=_with_half(_error),
        ),
        Mistake(
            name="full width",
            message="You return the whole width of the interval. Half of it is asked for: mean ± half width.",
            answer=_with_half(lambda d: 2 * _quantile(len(d) - 1) * _error(d)),
        ),
        Mistake(
            name="variance instead of standard deviation",
            message="Your half width is in squared points. Somewhere a square root is missing.",
            answer=_with_half(lambda d: (_quantile(len(d) - 1) * _error(d)) ** 2),
        ),
        Mistake(
            name="sign turned round",
            message="Your mean has the wrong sign: it is b minus a. Is a better, then it is above 0.",
            answer=lambda a, b: interval((b - a).tolist()),
        ),
        Mistake(
            name="both ends of the interval",
            message="You return the two ends of the interval. Its middle and its half width are asked for.",
            answer=_bounds,
        ),
        Mistake(
            name="relative differences",
            message="You divide the differences by b. Differences of accuracies stay in percentage points.",
            answer=_relative,
        ),
        Mistake(
            name="pair in the other order",
            message="Both numbers are right, but in the other order: first the mean, then the half width.",
            answer=lambda a, b: interval((a - b).tolist())[::-1],
        ),
        Mistake(
            name="only the mean",
            message="The mean is right. But two numbers are asked for: a mean without its interval says "
            "little.",
            answer=lambda a, b: float((a - b).mean()),
        ),
    ),
    hints=(
        "Take the n differences first. From then on there is only one row of numbers.",
        "A half width is a quantile of Student's t times the standard error of the mean.",
        "scipy.stats.t.ppf(p, n - 1) gives a quantile. 95 % in the middle: how much lies below the upper "
        "end?",
    ),
)

EXERCISES = (PAIRED_INTERVAL,)
