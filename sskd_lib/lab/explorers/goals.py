"""A task for each explorer, which it checks itself: what is to be found, and whether this setting is it.

A task is made from the explorer's numbers, so it can be reached. Where the numbers allow none, there is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...evaluation import interval
from ..comparison.statistics import minus
from ..softening import soft
from ..time_machine_data import USUAL
from .control import Control
from .goal import Goal
from .row_selection import select

NEAR = 0.10  # difference of two probabilities that counts as near
HALF = 50.0  # percent of the hidden class


def settings(controls: dict[str, Control], *names: str) -> list[dict[str, Any]]:
    """Return every combination of the values of some controls."""
    values = [[value for _, value in controls[name].options] for name in names]
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]


def temperature_goal(explorer: Any) -> Goal:
    """The lowest temperature at which the teacher's first two classes are near to each other."""
    steps = [value for _, value in explorer.controls["temperature"].options]

    def gap(state: dict[str, Any], tau: float) -> tuple[float, list[str]]:
        image, names = explorer.chosen(state)
        p = soft(explorer.logits["teacher"][names["teacher"]][image], tau)
        first, second = np.argsort(-p, kind="stable")[:2]
        return float(p[first] - p[second]), [explorer.classes[first], explorer.classes[second]]

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        here, (first, second) = gap(state, state["temperature"])
        fits = [tau for tau in steps if gap(state, tau)[0] < NEAR]
        words = f"{first} and {second} differ by {100 * here:.1f} points."
        if not fits:
            return False, f"{words} No temperature of this slider brings them so near: choose another image."
        if here >= NEAR:
            return False, f"{words} Raise the temperature."
        below = [tau for tau in fits if tau < state["temperature"]]
        return not below, words + (" A lower temperature does it too." if below else "")

    return Goal(
        task="find the lowest temperature at which the teacher's first two classes differ by less than 10 "
        "points.",
        judge=judge,
    )


def selection_goal(explorer: Any) -> Goal | None:
    """The share at which the gradient doubled or halved; without a term, one that keeps 2/3 of all rows."""
    shares = [value for _, value in explorer.controls["keep_wrong"].options]
    chosen = {share: select(explorer.scores, explorer.targets, share) for share in shares}
    if not len(explorer.wrong):
        return None
    if explorer.term is not None:
        norms = {s: float(explorer.term.values[1][len(c.right) + len(c.kept)]) for s, c in chosen.items()}
        start = norms[shares[0]]
        for name, passed in (("doubled", lambda n: n >= 2 * start), ("halved", lambda n: n <= start / 2)):
            fits = [share for share in shares if passed(norms[share])]
            if start > 0 and fits and shares[0] not in fits:
                return _norm_goal(norms, fits[0], name)
    used = {share: chosen[share].used_fraction() for share in shares}
    wanted = 2 / 3 if used[shares[0]] < 2 / 3 else (1 + used[shares[0]]) / 2
    best = min(shares, key=lambda s: abs(used[s] - wanted))

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        here = state["keep_wrong"]
        words = f"{100 * here:g} % of the wrong rows make {100 * used[here]:.0f} % of all rows."
        hint = "" if here == best else " Keep more." if here < best else " Keep fewer."
        return here == best, words + hint

    return Goal(task=f"find the share that keeps about {100 * wanted:.0f} % of ALL rows.", judge=judge)


def _norm_goal(norms: dict[float, float], best: float, name: str) -> Goal:
    first = next(iter(norms.values()))

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        here = state["keep_wrong"]
        words = f"the norm is {norms[here] / first:.2f} times that of 0 %."
        hint = "" if here == best else " Keep more." if here < best else " A smaller share does it too."
        return here == best, words + hint

    return Goal(
        task=f"find the smallest share at which the gradient's norm has {name}, compared with 0 %.",
        judge=judge,
    )


def missing_goal(explorer: Any) -> Goal | None:
    """The smallest share of images at which the last student names half of the hidden class right."""
    shares = [value for _, value in explorer.controls["fraction"].options]
    best = None
    for name in reversed(explorer.panels):
        right = {share: explorer.namings[name][share].missing_right for share in shares}
        best = next((share for share in shares if right[share] >= HALF), None)
        if best is not None:
            break
    if best is None or best == shares[0]:
        return None

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        here = state["fraction"]
        words = f"{right[here]:.0f} % are named right; {100 * here:g} % of all images are given the class."
        hint = "" if here == best else " Give it more." if here < best else " A smaller share does it too."
        return here == best, words + hint

    return Goal(
        task=f"find the smallest share at which the student '{name}' names half of the hidden class right.",
        judge=judge,
    )


def views_goal(explorer: Any) -> Goal:
    """An image and a draw of which all turned views are right, or as many as there are anywhere."""

    def right(state: dict[str, Any]) -> int:
        return sum(explorer.match(state["image"], state["draw"], k).rank == 0 for k in (1, 2, 3))

    start = right({name: control.start for name, control in explorer.controls.items()})
    counts = {right(state) for state in settings(explorer.controls, "image", "draw")}
    wanted = max(counts) if max(counts) != start else min(counts)
    number = (
        "no turned view is",
        "only one turned view is",
        "two turned views are",
        "all three turned views are",
    )[wanted]

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        here = right(state)
        return here == wanted, f"{here} of 3 are right in this draw."

    return Goal(task=f"find an image and a draw for which {number} right.", judge=judge)


def similarity_goal(explorer: Any) -> Goal | None:
    """A row that the teacher has wrong and the student has right, or the other way round."""
    names = [name for name in ("batch", "row") if name in explorer.controls]
    every = settings(explorer.controls, *names)

    def kind(state: dict[str, Any]) -> tuple[bool, bool]:
        rank = explorer.batches[state.get("batch", 0)].rank
        return rank["teacher"][state["row"]] == 0, rank["student"][state["row"]] == 0

    first = kind({name: control.start for name, control in explorer.controls.items()})
    found = [kind(state) for state in every]
    wanted = next(
        (w for w in ((False, True), (True, False), (False, False)) if w in found and w != first), None
    )
    if wanted is None:
        return None
    say = {True: "right", False: "wrong"}

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        teacher, student = kind(state)
        words = f"here the teacher is {say[teacher]}, the student {say[student]}."
        return (teacher, student) == wanted, words

    task = f"find a row that the teacher has {say[wanted[0]]} and the student has {say[wanted[1]]}."
    return Goal(task=task, judge=judge)


def atlas_goal(explorer: Any) -> Goal | None:
    """An image of whose real neighbours the map shows as few as anywhere."""

    def kept(state: dict[str, Any]) -> int:
        return int(explorer.shared[state["model"], explorer._space(state["mapped"]), state["image"]].sum())

    counts = [kept(state) for state in settings(explorer.controls, "image", "mapped", "model")]
    start = kept({name: control.start for name, control in explorer.controls.items()})
    wanted = min(counts) if min(counts) < start else max(counts)
    if wanted == start:
        return None
    last = len(explorer.shared[0, 0, 0])
    some = "none" if wanted == 0 else f"{'only ' if wanted < start else ''}{wanted}"

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        here = kept(state)
        return here == wanted, f"{here} of the {last} real neighbours are near on the map."

    return Goal(
        task=f"find an image, and a map of it, on which it has {some} of its {last} real neighbours near it.",
        judge=judge,
    )


def time_machine_goal(explorer: Any) -> Goal | None:
    """A setting whose paired difference from the usual one is larger than its interval, at the end."""
    accuracy, index = explorer.recording.accuracy, explorer.index

    def against_usual(point: tuple[float, ...], at: int) -> tuple[float, float] | None:
        usual = (*USUAL.values(), point[-1])
        if point == usual or not {point, usual} <= index.keys():
            return None
        mine, base = ({s: float(accuracy[run, at]) for s, run in index[p].items()} for p in (point, usual))
        return interval(minus(mine, base))

    gaps = [gap for point in index if (gap := against_usual(point, -1))]
    clear = [gap for gap in gaps if abs(gap[0]) > gap[1]]
    if not clear:
        return None
    part = f"{len(clear)} of the {len(gaps)} recorded settings do so at the end of the training"

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        point = tuple(float(state[name]) for name in explorer.names)
        gap = against_usual(point, explorer.row(state["trained"]))
        if gap is None:
            return False, "this is the usual setting, or one that cannot be compared with it."
        mean, half = gap
        return abs(mean) > half, f"the difference is {mean:+.2f} ± {half:.2f} points."

    return Goal(
        task=f"find a setting that differs from the usual one by more than its interval ({part}).",
        judge=judge,
    )


def mixer_goal(explorer: Any) -> Goal | None:
    """The best of the recorded mixes, at the end of the training."""
    ends = {point: float(explorer.recording.accuracy[list(runs.values()), -1].mean())
            for point, runs in explorer.index.items()}  # fmt: skip
    best = max(ends.values())
    if len(ends) < 2:
        return None

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        weights = explorer.weights(*(state[name] for name in ("preset", "ce", "kd", "tf", "ss")))
        if weights not in ends:
            return False, "this mix was not recorded."
        place = 1 + sum(end > ends[weights] for end in ends.values())
        words = f"place {place} of {len(ends)}, {ends[weights]:.1f} % at the end."
        luck = " It was found with these very seeds, so a part of its lead is luck."
        return ends[weights] == best, words + (luck if ends[weights] == best else "")

    return Goal(task=f"find the best of the {len(ends)} recorded mixes.", judge=judge)


def fooled_goal(explorer: Any) -> Goal | None:
    """A trick and a seed whose reported gain has another sign than the fair one."""

    def judge(state: dict[str, Any]) -> tuple[bool, str]:
        trick = explorer.tricks[state["trick"]]
        gain = trick.claimed(min(state["seed"], len(trick.reported_gaps)) - 1)
        fair = interval(trick.fair_gaps)[0]
        return gain * fair < 0, f"{gain:+.2f} is reported, {fair:+.2f} is fair."

    if not any(judge(state)[0] for state in settings(explorer.controls, "trick", "seed")):
        return None
    return Goal(task="find a trick that turns the sign of the difference.", judge=judge)


MAKERS: dict[str, Callable[[Any], Goal | None]] = {
    "TemperatureExplorer": temperature_goal,
    "SelectionExplorer": selection_goal,
    "MissingClass": missing_goal,
    "ViewsExplorer": views_goal,
    "SimilarityExplorer": similarity_goal,
    "AtlasExplorer": atlas_goal,
    "TimeMachine": time_machine_goal,
    "Mixer": mixer_goal,
    "Fooled": fooled_goal,
}


def make_goal(explorer: Any) -> Goal | None:
    """Return the task of an explorer; None where its numbers allow none."""
    maker = MAKERS.get(type(explorer).__name__)
    return None if maker is None else maker(explorer)
