"""The part of docs/claims.md on L_ss: its effect in every setting and on every outcome."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from claims_tables import LEAST_SEEDS, filled, number, points, words_of
from matplotlib.figure import Figure

from sskd_lib.lab.claims.figures import ROW, Line, draw_verdicts
from sskd_lib.lab.claims.plan import Comparison, read_plan
from sskd_lib.lab.claims.rows import Row
from sskd_lib.lab.claims.verdicts import Estimate, estimate, judge_claim, p_words, verdicts
from sskd_lib.lab.comparison.statistics import holm
from sskd_lib.lab.style import WIDTH, new_figure

HINTS = {
    "hint-again": "20 and 30 % of 300 labels wrong, mean of both",
    "hint-mobile": "a MobileNetV2 with 300 labels",
}
ALT = "The effect of L_ss in each setting, with its 95 % interval. The same numbers are in the table below."


def l_ss_everywhere(rows: Sequence[Row]) -> tuple[dict[str, Estimate], dict[str, float]]:
    """Return SSKD minus KD+rotations in every setting, and its p after Holm over the settings."""
    found: dict[str, Estimate] = {}
    for name, cell in read_plan().cells.items():
        if {"sskd", "kd+rotations"} <= set(cell.arms) and cell.split == "test":
            weights = {(name, "sskd"): 1.0, (name, "kd+rotations"): -1.0}
            comparison = Comparison(
                name="sskd − kd+rotations", place=name, outcome="accuracy", weights=weights
            )
            each = estimate(rows, comparison)
            if each.seeds >= LEAST_SEEDS:
                found[name] = each
    return found, holm({name: each.p for name, each in found.items()})


def settings_figure(rows: Sequence[Row]) -> Figure:
    """Draw SSKD minus KD+rotations in every setting."""
    found, corrected = l_ss_everywhere(rows)
    lines = [
        Line(
            claim=words_of(name),
            alone=True,
            estimate=each,
            word=judge_claim([each], corrected[name]),
            planned=math.nan,
        )
        for name, each in found.items()
    ]
    figure = new_figure(WIDTH, ROW * len(lines) + 1.2)
    axes = figure.subplots()
    draw_verdicts(axes, lines, limit=2.5)
    axes.set_title("SSKD − KD+rotations, points of accuracy", loc="left", fontsize=12)
    axes.set_xlabel("with 95 % interval; right of zero L_ss helps; ▲ the least effect that these seeds show")
    return figure


def everywhere(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table of SSKD minus KD+rotations in every cell, and what it says together."""
    found, corrected = l_ss_everywhere(rows)
    above = [name for name, each in found.items() if each.side == "above zero"]
    below = [name for name, each in found.items() if each.side == "below zero"]
    kept = [name for name in above if corrected[name] <= 0.05]
    mean = statistics.fmean(each.mean for each in found.values())
    sure = f": {', '.join(kept)}." if kept else ", so none was found in which L_ss helps accuracy for sure."
    yield filled(
        f"SSKD minus KD+rotations in all {len(found)} settings that were trained. The interval is above zero "
        f"in {len(above)} ({', '.join(above) or 'none'}) and below zero in {len(below)}; by chance alone "
        f"about {0.05 * len(found):.1f} would miss zero. After Holm's correction over these settings "
        f"{len(kept)} stay above zero{sure} The mean of the {len(found)} effects is {mean:+.2f} points; the "
        "settings share images and teachers, so it has no interval of its own."
    )
    yield from hints(rows)
    yield f"![{ALT}](claims_l_ss.png)"
    lines = [
        "| setting | images, labels | student | effect of L_ss | seeds | p | after Holm | least |",
        "|---" * 8 + "|",
    ]
    for name, each in found.items():
        cell = read_plan().cells[name]
        noise = f", {100 * cell.noise:.0f} % of them wrong" if cell.noise else ""
        cells = [name, f"{cell.images}, {cell.labels:,}{noise}", cell.student, points(each), str(each.seeds)]
        cells += [p_words(p).removeprefix("= ") for p in (each.p, corrected[name])]
        lines.append(f"| {' | '.join(cells)} | {number(each.least)} |")
    yield "\n".join(lines)
    yield "**Other outcomes than accuracy**, where they were measured:"
    yield other_outcomes(rows)


def hints(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what became of the settings that looked good at first, once they had new seeds."""
    lines, decided = [], verdicts(rows)
    for key, setting in HINTS.items():
        verdict = decided[key]
        first, new = verdict.other[0], verdict.primary[0]
        lines.append(
            filled(
                f"- {setting}: at first {points(first)} ({first.seeds} seeds), with new seeds {points(new)} "
                f"({new.seeds} seeds), claim: {verdict.word}.",
                "  ",
            )
        )
    yield filled(
        "**Hints, tried again.** These settings had intervals above zero when they were first trained. A "
        "setting that is picked because of its result proves nothing. So each got a claim and new seeds. "
        "(The last section says which machine trained which setting.)"
    )
    yield "\n".join(lines)


def other_outcomes(rows: Sequence[Row]) -> str:
    """Return the table of what L_ss changes besides accuracy, once for each place and outcome."""
    lines = ["| setting | outcome | effect of L_ss | seeds | p |", "|---|---|---|---|---|"]
    for claim in read_plan().claims.values():
        for comparison in (*claim.primary, *claim.other):
            each = estimate(rows, comparison)
            plain = comparison.name == "sskd − kd+rotations" and comparison.place in read_plan().cells
            if plain and comparison.outcome != "accuracy" and each.seeds >= LEAST_SEEDS:
                cells = [comparison.place, comparison.outcome, points(each), str(each.seeds)]
                lines.append(f"| {' | '.join(cells)} | {p_words(each.p).removeprefix('= ')} |")
    return "\n".join(lines)
