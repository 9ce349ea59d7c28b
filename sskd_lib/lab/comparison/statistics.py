"""Statistics of few seeds and many comparisons: paired differences, p-values, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...evaluation import interval


def minus(a: Mapping[int, float], b: Mapping[int, float]) -> list[float]:
    """Return a minus b for each seed that both have. a, b: seed → points."""
    return [a[seed] - b[seed] for seed in sorted(a) if seed in b]


def verdict(differences: Sequence[float]) -> str:
    """Return paired differences in words: mean, 95 % interval, and which side of 0 it is on.

    Where the interval contains 0, a mean smaller than its half width could not have shown with these seeds.
    """
    mean, half = interval(differences)
    if math.isnan(half):
        return f"{mean:+6.2f}          one seed: no verdict"
    side = "above 0" if mean > half else "below 0" if mean < -half else ""
    return f"{mean:+6.2f} ± {half:.2f}  {side or f'contains 0; less than {half:.2f} cannot show'}"


def paired(values: Mapping[str, Mapping[int, float]], against: str = "kd") -> dict[str, list[float]]:
    """Return differences to one method, seed by seed: method → one number for each seed that both have.

    A method without a common seed is left out, and so is the method itself. Raises ValueError if `against`
    was not run.
    """
    if against not in values:
        raise ValueError(f"there are no runs of {against!r} to compare with; there are: {', '.join(values)}.")
    base = values[against]
    differences = {name: minus(runs, base) for name, runs in values.items() if name != against}
    return {name: numbers for name, numbers in differences.items() if numbers}


def p_value(differences: Sequence[float]) -> float:
    """Return the two-sided p of Student's t test that the mean difference is 0; nan for a single one.

    It is below 0.05 exactly where the 95 % interval of `interval` excludes 0.
    """
    from scipy import stats

    if len(differences) < 2:
        return math.nan
    if len(set(differences)) == 1:  # without spread t is 0/0 or infinite
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct the p of m comparisons (Holm): the k-th smallest times m - k + 1, at least the one before.

    At most 1. Those at 0.05 or below include, with 95 % probability, no false one, however the comparisons
    depend on each other. nan is no comparison and stays nan.
    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = sorted((name for name, p in p_values.items() if not math.isnan(p)), key=p_values.__getitem__)
    corrected = {name: math.nan for name in p_values}
    highest = 0.0
    for place, name in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * p_values[name]))
        corrected[name] = highest
    return corrected
