"""From rows to verdicts: an estimate per comparison, a verdict per claim, corrected for their number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...evaluation import interval
from ..comparison.statistics import holm, p_value
from .plan import Claim, Comparison, Plan, read_plan
from .rows import Row, differences, values_of

ALPHA = 0.05
POWER = 0.8
HALF_A_POINT = 0.5  # smaller effects of accuracy are called none that matters


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What the rows say of one comparison.

    differences: seed → number, positive where it speaks for the claim; mean, half: of the 95 % interval;
    p: two-sided, of Student's t test; least: the true effect that so many seeds with this spread would detect
    (p ≤ 0.05) in four of five experiments.
    """

    comparison: Comparison
    differences: Mapping[int, float]
    mean: float
    half: float
    p: float
    least: float

    @property
    def seeds(self) -> int:
        """How many seeds have all of its parts."""
        return len(self.differences)

    @property
    def side(self) -> str:
        """Where the interval is: "above zero", "below zero" or "contains zero"; "" without one."""
        if math.isnan(self.half):
            return ""
        return (
            "above zero"
            if self.mean > self.half
            else "below zero"
            if self.mean < -self.half
            else "contains zero"
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim with its estimates. p: the largest of its primary comparisons; corrected: after Holm.

    word: "holds", "contradicted", "not shown" or "not tried".
    """

    claim: Claim
    primary: tuple[Estimate, ...]
    other: tuple[Estimate, ...]
    p: float
    corrected: float
    word: str
    planned: float


@lru_cache(maxsize=512)
def least_detectable(spread: float, seeds: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """Return the least true mean that a two-sided paired t test finds with this power.

    spread: standard deviation of the differences; seeds: n. The power at an effect δ is
    P(T² > t²_{1-α/2, n-1}), where T² is noncentral F with 1 and n - 1 degrees of freedom and noncentrality
    δ² n / spread².
    nan for fewer than three seeds or without spread. Source: Cohen 1988, Statistical power analysis.
    """
    from scipy import optimize, stats

    if seeds < 3 or not spread > 0:
        return math.nan
    edge = float(stats.t.ppf(1 - alpha / 2, seeds - 1))

    def missing(delta: float) -> float:
        return float(stats.ncf.sf(edge**2, 1, seeds - 1, delta**2)) - power

    return float(optimize.brentq(missing, 0.01, 2 * edge + 5)) * spread / seeds**0.5


def estimate(rows: Sequence[Row], comparison: Comparison) -> Estimate:
    """Return what rows say of a comparison; nan where there are too few seeds."""
    numbers = differences(values_of(rows, comparison.outcome), comparison)
    values = list(numbers.values())
    mean, half = interval(values) if values else (math.nan, math.nan)
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return Estimate(
        comparison=comparison,
        differences=numbers,
        mean=mean,
        half=half,
        p=p_value(values),
        least=least_detectable(spread, len(values)),
    )


def verdicts(rows: Sequence[Row], plan: Plan | None = None) -> dict[str, Verdict]:
    """Return the verdict of each claim. Holm's correction runs over the claims that have been tried."""
    plan = plan or read_plan()
    primary = {key: tuple(estimate(rows, c) for c in claim.primary) for key, claim in plan.claims.items()}
    p_values = {
        key: joint_p(estimates, planned_seeds(plan.claims[key], plan)) for key, estimates in primary.items()
    }
    corrected = holm(p_values)
    return {
        key: Verdict(
            claim=claim,
            primary=primary[key],
            other=tuple(estimate(rows, comparison) for comparison in claim.other),
            p=p_values[key],
            corrected=corrected[key],
            word=judge_claim(primary[key], corrected[key]),
            planned=least_detectable(claim.spread, planned_seeds(claim, plan)),
        )
        for key, claim in plan.claims.items()
    }


def joint_p(estimates: Sequence[Estimate], seeds: int) -> float:
    """Return the p of a claim: of several comparisons that must all hold, the largest.

    nan while one of them has fewer seeds than were planned: to decide earlier, when the result looks well,
    would find effects that are not there. Source: Berger 1982, the intersection-union test.
    """
    if any(each.seeds < seeds for each in estimates):
        return math.nan
    return max(each.p for each in estimates)


def judge_claim(estimates: Sequence[Estimate], corrected: float) -> str:
    """Return the verdict in a word.

    "holds": every comparison speaks for the claim and the corrected p is at most 0.05; "contradicted": the
    same against it; else "not shown". "not tried": seeds that were planned are missing.
    """
    if math.isnan(corrected):
        return "not tried"
    if corrected <= ALPHA and all(each.mean > 0 for each in estimates):
        return "holds"
    if len(estimates) == 1 and corrected <= ALPHA:
        return "contradicted"
    return "not shown"


def planned_seeds(claim: Claim, plan: Plan) -> int:
    """Return the number of seeds that the primary comparisons of a claim were planned with."""
    return min(
        len(set.intersection(*(set(plan.cells[cell].seeds) for cell in comparison.cells)))
        for comparison in claim.primary
    )


def in_words(each: Estimate) -> str:
    """Return an estimate as text: "+0.43 ± 0.51 (11 seeds, p = 0.09)"."""
    if not each.seeds:
        return "not trained yet"
    half = "" if math.isnan(each.half) else f" ± {each.half:.2f}"
    return f"{each.mean:+.2f}{half} ({each.seeds} seed{'s' * (each.seeds != 1)}, p {p_words(each.p)})"


def p_words(p: float) -> str:
    """Return a p as text."""
    return "unknown" if math.isnan(p) else "below 0.001" if p < 0.001 else f"= {p:.3f}"
