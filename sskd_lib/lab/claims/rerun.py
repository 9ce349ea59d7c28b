"""One more seed of a claim, trained here and put beside the recorded ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..comparison.statistics import verdict
from ..course.board import pooled_gaps, read_class
from ..course.progress import change_progress, read_progress
from ..curves import difference_figure
from ..display import is_static, show
from ..startup import Lab
from .plan import Comparison, read_plan
from .rows import differences, read_rows, values_of
from .trainings import Sources, train_cell

CELL = "fashion-300"  # of the embedded images, with the short schedule
ARMS = ("kd+rotations", "sskd", "untrained head")
GROUP = "reruns"  # of the learner's record: cell → seed → arm → accuracy
UNNAMED = 20_240_711  # seed of a page that no learner runs
CONTROL = Comparison(
    name="sskd − kd+rotations",
    place=CELL,
    outcome="accuracy",
    weights={(CELL, "sskd"): 1, (CELL, "kd+rotations"): -1},
)


def seeds_of_plan() -> set[int]:
    """Return every seed that a cell of the plan has."""
    return {seed for cell in read_plan().cells.values() for seed in cell.seeds}


def fresh_seeds(count: int, learner: str = "") -> list[int]:
    """Return seeds that the plan does not have. learner: random name of the learner, hexadecimal."""
    first = int(learner, 16) % 2**31 if learner else UNNAMED
    first += 1 + max(seeds_of_plan()) if first <= max(seeds_of_plan()) else 0
    return [first + i for i in range(count)]


def comparisons_here(claim_id: str) -> list[Comparison]:
    """Return a claim's comparisons within the cell that is trained here, of its three arms.

    Raises ValueError for an unknown claim, and for one without such a comparison.
    """
    claims = read_plan().claims
    fitting = {key: [c for c in (*claim.primary, *claim.other) if _fits(c)] for key, claim in claims.items()}
    known = [key for key, fits in fitting.items() if fits]
    if claim_id not in known:
        raise ValueError(
            f"{claim_id!r} is no claim that is trained here in two minutes. These are: {', '.join(known)}."
        )
    return fitting[claim_id]


def with_same_arms(claim_id: str) -> list[tuple[str, Comparison]]:
    """Return each comparison that the three arms allow, once, with a claim: those of `claim_id` first."""
    claims, chosen = read_plan().claims, {}
    for key in sorted(claims, key=lambda key: key != claim_id):
        for comparison in (*claims[key].primary, *claims[key].other):
            if _fits(comparison):
                chosen.setdefault(frozenset(comparison.weights.items()), (claims[key].claim, comparison))
    return list(chosen.values())


def _fits(comparison: Comparison) -> bool:
    return comparison.outcome == "accuracy" and all(
        cell == CELL and arm in ARMS for cell, arm in comparison.weights
    )


def rerun_claim(kit: Lab, claim_id: str = "l-ss", seeds: int = 1) -> dict[int, dict[str, float]]:
    """Train SSKD, its control and the untrained head with new seeds, and compare them with the record.

    The cell is fashion-300: 300 labels of the embedded images, the short schedule, about 30 seconds per
    student on two cores. The seeds come from the random name in the learner's record and are none of the
    plan's. A seed that was trained already is not trained again. claim_id: the claim whose recorded seeds
    are pooled with the new ones. Returns seed → arm → accuracy (%).
    Raises ValueError for a claim without a comparison of these arms in this cell.
    """
    comparisons_here(claim_id)  # refuses other claims before anything is trained
    learner = "" if is_static() else _name()
    results = {seed: _train_once(kit, seed) for seed in fresh_seeds(seeds, learner)}
    for seed, accuracies in results.items():
        listed = ", ".join(f"{arm} {accuracy:.2f} %" for arm, accuracy in accuracies.items())
        print(f"seed {seed}: {listed}")
    for claim, comparison in with_same_arms(claim_id):
        print(f"\n{claim}")
        print("\n".join(compare_with_record(comparison, results)))
    print("\nOne seed decides nothing. It moves the mean a little, and the interval says how far.")
    return results


def _name() -> str:
    """Return the learner's random name, and keep it."""
    return str(change_progress(lambda _: None)["learner"])


def _train_once(kit: Lab, seed: int) -> dict[str, float]:
    """Train the three arms with a seed, or take them from the learner's record; a static page keeps none."""
    kept = read_progress().get(GROUP, {}).get(CELL, {}).get(str(seed))
    if kept:
        if not is_static():
            print("This seed was trained already; the record has its result.")
        return dict(kept)
    rows = train_cell(
        read_plan().cells[CELL], seed, ARMS, sources=Sources(), runtime=kit.runtime, progress=False
    )
    result = {row["arm"]: row["accuracy"] for row in rows}

    def change(record: dict[str, Any]) -> None:
        record.setdefault(GROUP, {}).setdefault(CELL, {})[str(seed)] = result

    if not is_static():
        change_progress(change)
    return result


def compare_with_record(comparison: Comparison, results: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Return lines of text: a comparison with the new seeds, with the recorded ones, and with both."""
    new = {
        seed: sum(weight * accuracies[arm] for (_, arm), weight in comparison.weights.items())
        for seed, accuracies in results.items()
    }
    old = recorded_gaps_of(comparison)
    words = ", ".join(f"{gap:+.2f}" for gap in new.values())
    lines = [f"  {comparison.name}: {words}  here"]
    if not old:
        return [*lines, f"  The plan's seeds of {CELL} are not trained yet: there is nothing to pool with."]
    pooled = [*old, *new.values()]
    return [
        *lines,
        f"  {verdict(old).strip()}  the record, {len(old)} seeds",
        f"  {verdict(pooled).strip()}  the record and yours, {len(pooled)} seeds",
    ]


def recorded_gaps_of(comparison: Comparison) -> list[float]:
    """Return the recorded numbers of a comparison, one per seed."""
    return list(differences(values_of(read_rows(), comparison.outcome), comparison).values())


def show_class_claim(folder: str | Path) -> None:
    """Draw a class's pooled experiment beside the plan's cell with the same images and schedule.

    folder: with the files of the learners, see `read_class`. A cell that is not trained yet is left out.
    """
    rows = claim_rows(pooled_gaps(read_class(folder)), recorded_gaps_of(CONTROL))
    for name, gaps in rows.items():
        print(f"{name}: {verdict(gaps).strip()}")
    if len(rows) < 2:
        print(f"The plan's cell {CELL} is not trained yet.")
    words = "; ".join(f"{name}: {verdict(gaps).strip()}" for name, gaps in rows.items())
    show(difference_figure(rows, CONTROL.name), alt=f"{CONTROL.name} in points. {words}.")


def claim_rows(of_class: Sequence[float], of_record: Sequence[float]) -> dict[str, list[float]]:
    """Return the rows of the figure that have at least one seed: title → differences."""
    rows = {f"the class, {len(of_class)} seeds": of_class, f"the plan, {len(of_record)} seeds": of_record}
    return {name: list(gaps) for name, gaps in rows.items() if gaps}
