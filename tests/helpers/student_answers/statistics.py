"""Answers to paired_interval, as a student may write them."""

from __future__ import annotations

import statistics

import numpy as np
import scipy.stats as st


def with_scipy(a, b):
    d = np.asarray(a) - np.asarray(b)
    low, high = st.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=st.sem(d))
    return (low + high) / 2, (high - low) / 2


def with_loops(a, b):
    d = [float(x) - float(y) for x, y in zip(a, b)]  # noqa: B905
    mean = sum(d) / len(d)
    variance = sum((value - mean) ** 2 for value in d) / (len(d) - 1)
    return mean, st.t.isf(0.025, len(d) - 1) * (variance / len(d)) ** 0.5


def with_a_test(a, b):
    interval = st.ttest_rel(a.numpy(), b.numpy()).confidence_interval(0.95)
    return [(interval.low + interval.high) / 2, (interval.high - interval.low) / 2]


def two_groups(a, b, equal=True):
    interval = st.ttest_ind(a.numpy(), b.numpy(), equal_var=equal).confidence_interval()
    return float((a - b).mean()), (interval.high - interval.low) / 2


def half(values):
    values = np.asarray(values)
    return st.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))


WRONG = {
    "paired_interval": {
        "unpaired interval": two_groups,
        "unpaired interval (Welch)": lambda a, b: two_groups(a, b, equal=False),
        "two half widths added": lambda a, b: (float(a.mean() - b.mean()), half(a) + half(b)),
        "1.96 instead of t": lambda a, b: ((a - b).mean(), st.norm.ppf(0.975) * st.sem(a - b)),
        "standard deviation instead of standard error": lambda a, b: (
            (a - b).mean(), st.t.ppf(0.975, len(a) - 1) * statistics.stdev((a - b).tolist())
        ),
        "standard deviation with n below": lambda a, b: (
            (a - b).mean(), st.t.ppf(0.975, len(a) - 1) * np.std((a - b).numpy()) / len(a) ** 0.5
        ),
        "standard error without t": lambda a, b: ((a - b).mean(), st.sem(a - b)),
        "one-sided quantile": lambda a, b: ((a - b).mean(), st.t.ppf(0.95, len(a) - 1) * st.sem(a - b)),
        "full width": lambda a, b: ((a - b).mean(), 2 * half(a - b)),
        "sign turned round": lambda a, b: with_loops(b, a),
        "both ends of the interval": lambda a, b: st.t.interval(
            0.95, len(a) - 1, loc=float((a - b).mean()), scale=st.sem(a - b)
        ),
        "pair in the other order": lambda a, b: (half(a - b), (a - b).mean()),
        "only the mean": lambda a, b: np.mean((a - b).numpy()),
    }
}  # fmt: skip
RIGHT = {"paired_interval": (with_scipy, with_loops, with_a_test)}
