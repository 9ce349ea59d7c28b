"""docs/claims.md and README's headline: every number once more from the rows, by numpy and scipy."""

from __future__ import annotations

import itertools
import json
import math
import re
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from helpers.documents import ROOT, page, words

FOLDER = ROOT / "data" / "claims"
TEXT = page("docs/claims.md")
PLAN = yaml.safe_load((FOLDER / "plan.yaml").read_text(encoding="utf-8"))
SHORT = {  # outcome → key of a row, factor
    "closeness": ("kl", -100),
    "calibration": ("calibration_error", -1),
}


def lines(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


ROWS = lines("runs.jsonl") + lines("probes.jsonl")


def outcome(cell: str, arm: str, name: str) -> dict[int, float]:
    """Seed → outcome."""
    key, factor = SHORT.get(name, (name, 1))
    return {r["seed"]: factor * r[key] for r in ROWS if (r["cell"], r["arm"]) == (cell, arm) and key in r}


def numbers(entry: dict[str, Any], name: str) -> Iterator[list[float]]:
    """The number of each seed, for each comparison of an entry of the plan."""
    cells = entry.get("cells") or [entry["cell"]]
    gains = []
    for cell in cells:
        plus, minus = (
            outcome(where, entry[arm], name)
            for where, arm in ((cell, "plus"), (entry.get("minus_cell", cell), "minus"))
        )
        gains.append({seed: plus[seed] - minus[seed] for seed in plus if seed in minus})
    joint = sorted(set.intersection(*map(set, gains)))
    table = np.array([[gain[seed] for seed in joint] for gain in gains])
    if "slope" in entry:
        yield list(np.polyfit(entry["slope"], table, 1)[0]) if joint else []
    elif "weights" in entry:
        yield list(np.array(entry["weights"]) @ table) if joint else []
    else:
        yield from ([gain[seed] for seed in sorted(gain)] for gain in gains)


def in_words(values: list[float]) -> tuple[str, str, str]:
    """Effect, seeds and p as the page prints them."""
    if not values:
        return "–", "0", "unknown"
    if len(values) == 1:
        return f"{values[0]:+.2f}", "1", "unknown"
    test = stats.ttest_1samp(values, 0)
    low, high = test.confidence_interval()
    p = "below 0.001" if test.pvalue < 0.001 else f"{test.pvalue:.3f}"
    return f"{statistics.fmean(values):+.2f} ± {(high - low) / 2:.2f}", str(len(values)), p


def estimates() -> Iterator[tuple[str, str, list[float]]]:
    """Claim, "primary" or "other", and the numbers of each comparison in the order of the page."""
    for claim in PLAN["claims"]:
        for part in ("primary", "other"):
            for entry in claim[part]:
                name = entry.get("outcome", claim.get("outcome", "accuracy"))
                for values in numbers(entry, name):
                    yield claim["id"], part, values


SECTIONS = TEXT[TEXT.index("## Each claim") : TEXT.index("## Accuracy of every arm")]


def test_every_effect_is_that_of_the_rows():
    shown = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in SECTIONS.splitlines()
        if line.startswith("|") and "---" not in line and "| compared |" not in line
    ]
    expected = [in_words(values) for _, _, values in estimates()]
    assert [(row[3], row[4], row[5]) for row in shown] == expected
    assert len(expected) > 80


def test_the_least_effects_have_a_power_of_four_fifths():
    """Each printed least effect, put into scipy's noncentral t, within its rounding."""
    cells = [line.strip("|").split("|") for line in SECTIONS.splitlines() if line.startswith("|")]
    printed = [row[6].strip() for row in cells if "---" not in row[0] and row[0].strip() != "compared"]
    checked = 0
    for (_, _, values), least in zip(estimates(), printed, strict=True):
        if least == "–":
            assert len(values) < 3 or np.std(values) == 0
            continue
        n, spread = len(values), np.std(values, ddof=1)
        edge = stats.t.ppf(0.975, n - 1)
        low, high = (
            stats.nct.sf(edge, n - 1, (float(least) + step) * math.sqrt(n) / spread)
            for step in (-0.006, 0.006)
        )
        assert low <= 0.8 <= high + 1e-6, (least, low, high)
        checked += 1
    assert checked > 20


def test_the_verdicts_follow_from_p_and_holm():
    table = TEXT[TEXT.index("## The verdicts") : TEXT.index("## Where does L_ss help?")]
    shown = re.findall(r"(?m)^\| (.+?) \|.*\| (\S+|below 0\.001) \| [^|]* \| \*\*(.+?)\*\* \|$", table)
    joint: dict[str, tuple[float, bool, bool]] = {}
    for claim in PLAN["claims"]:
        mine = [values for id_, part, values in estimates() if (id_, part) == (claim["id"], "primary")]
        seeds = min(
            PLAN["cells"][cell]["seeds"][1] - PLAN["cells"][cell]["seeds"][0] + 1
            for entry in claim["primary"]
            for cell in (*(entry.get("cells") or [entry["cell"]]), *filter(None, [entry.get("minus_cell")]))
        )
        if all(len(values) >= seeds for values in mine):
            p = max(stats.ttest_1samp(values, 0).pvalue for values in mine)
            joint[claim["id"]] = p, all(np.mean(v) > 0 for v in mine), len(mine) == 1
    order, highest, corrected = sorted(joint, key=lambda key: joint[key][0]), 0.0, {}
    for place, key in enumerate(order):
        highest = corrected[key] = max(highest, min(1.0, (len(order) - place) * joint[key][0]))
    for (text, p, word), claim in zip(shown, PLAN["claims"], strict=True):
        assert text == claim["claim"]
        if claim["id"] not in joint:
            assert (p, word) == ("–", "not tried")
            continue
        value, (_, above, alone) = corrected[claim["id"]], joint[claim["id"]]
        assert p == ("below 0.001" if value < 0.001 else f"{value:.3f}")
        sure = value <= 0.05
        assert word == ("holds" if sure and above else "contradicted" if sure and alone else "not shown")


def test_l_ss_everywhere_is_that_of_the_rows():
    part = TEXT[TEXT.index("## Where does L_ss help?") : TEXT.index("**Other outcomes")]
    shown = re.findall(r"(?m)^\| (\S+) \| .+? \| .+? \| (\S+ ± \S+) \| (\d+) \| (\S+|below 0\.001) \|", part)
    assert len(shown) >= 12
    for cell, *effect in shown:
        a, b = (outcome(cell, arm, "accuracy") for arm in ("sskd", "kd+rotations"))
        assert tuple(effect) == in_words([a[seed] - b[seed] for seed in sorted(a) if seed in b])
    missed = sum(1 for *_, p in shown if p == "below 0.001" or float(p) <= 0.05)
    above, below = map(
        int, re.search(r"above zero in (\d+) .*?below zero in (\d+);", " ".join(part.split())).groups()
    )
    assert above + below == missed


def test_the_hints_are_the_effects_of_their_claims():
    """First and new effect of each hint, with seeds and verdict, as in the tables that are tested above."""
    part = TEXT[TEXT.index("**Hints, tried again.**") : TEXT.index("(claims_l_ss.png)")]
    bullets = [" ".join(bullet.split()) for bullet in re.findall(r"(?ms)^- .*?\.$", part)]
    assert len(bullets) == 2
    for bullet, key in zip(bullets, ("hint-again", "hint-mobile"), strict=True):
        claim = next(claim for claim in PLAN["claims"] if claim["id"] == key)
        section = TEXT.partition(f"### {claim['claim']}\n")[2].partition("\n### ")[0]
        rows = re.findall(r"(?m)^\| .*? \| (\S+ ± \S+|–) \| (\d+) \| \S.*\|$", section)
        told = [bullet.partition("at first ")[2], bullet.partition("with new seeds ")[2]]
        for text, (effect, seeds) in zip(told, (rows[1], rows[0]), strict=True):
            assert text.startswith(f"{effect} ({seeds} seeds)")
        assert f"**Verdict:** {bullet.partition('claim: ')[2]}" in " ".join(section.split())


def test_other_outcomes_are_those_of_the_rows():
    part = TEXT[TEXT.index("**Other outcomes") : TEXT.index("## Each claim")]
    shown = re.findall(r"(?m)^\| (\S+) \| (\S.*?) \| (\S+ ± \S+) \| (\d+) \| (\S+|below 0\.001) \|$", part)
    assert len(shown) >= 6
    for cell, name, *effect in shown:
        a, b = (outcome(cell, arm, name) for arm in ("sskd", "kd+rotations"))
        assert tuple(effect) == in_words([a[seed] - b[seed] for seed in sorted(a) if seed in b])


def test_every_accuracy_is_that_of_the_rows():
    part = TEXT[TEXT.index("## Accuracy of every arm") :]
    shown = re.findall(r"(?m)^\| (\S+) \| (.+?) \| (\d+) \| (\S+) ± (\S+) \|$", part)
    pairs = {(row["cell"], row["arm"]) for row in ROWS if "accuracy" in row}
    assert {(cell, arm) for cell, arm, *_ in shown} == pairs
    for cell, arm, seeds, mean, half in shown:
        values = list(outcome(cell, arm, "accuracy").values())
        expected = in_words(values)
        assert (f"+{mean} ± {half}" if half != "–" else f"+{mean}", seeds) == expected[:2]


def test_the_reasons_are_means_of_their_rows():
    part = TEXT[TEXT.index("## Why does L_ss") : TEXT.index("## What was trained")]
    key = lambda r: (r["kind"], r["place"], r["what"], r.get("epoch", -1))  # noqa: E731
    groups = [
        [row["value"] for row in rows]
        for kind in ("gradient", "nats", "explained", "head", "task", "match")
        for rows in unordered_groups([r for r in lines("why.jsonl") if r["kind"] == kind], key)
    ]
    shown = re.findall(r"(?m)^\| [^|]+ \| [^|]+ \|(?: \d+ \|)? (\S+(?: ± \S+)?) \| (\d+) \|$", part)
    assert len(shown) == len(groups) > 10
    for (text, seeds), values in zip(shown, groups, strict=True):
        assert int(seeds) == len(values)
        assert text.split(" ")[0] == f"{statistics.fmean(values):.3f}"
        if len(values) > 1:
            assert float(text.split(" ")[2]) == pytest.approx(
                stats.sem(values) * stats.t.ppf(0.975, len(values) - 1), abs=0.00051
            )


def unordered_groups(rows: list[dict], key: Any) -> list[list[dict]]:
    """Rows with the same key, in the order in which the keys first come."""
    first = {k: place for place, k in reversed(list(enumerate(map(key, rows))))}
    ordered = sorted(rows, key=lambda row: first[key(row)])
    return [list(group) for _, group in itertools.groupby(ordered, key)]


def test_readme_says_what_the_page_says():
    """The headline is part of the page's summary, word by word; its effects are in the table of verdicts."""
    block = re.search(r"(?s)<!-- claims: .*? -->(.*?)<!-- end of claims -->", page("README.md"))[1]
    headline = " ".join(block.split()).partition("[All claims]")[0].strip()
    assert headline in " ".join(TEXT.split("\n\n")[1].split())
    effects = re.findall(r"[+-]\d+\.\d\d ± \d+\.\d\d", headline)
    verdicts = words("docs/claims.md").partition("## The verdicts")[2]
    assert len(effects) == 6 and all(effect in verdicts for effect in effects)


def test_page_and_readme_are_fresh(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_claims

    assert make_claims.main(["--check"]) == 0
