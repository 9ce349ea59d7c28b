"""docs/paper.md: every number is that of its rows, computed once more."""

from __future__ import annotations

import csv
import json
import re
import statistics
from typing import Any

import numpy as np
import pytest
from scipy import stats

from helpers.documents import ROOT, page, words

TEXT = page("docs/paper.md")
SECTIONS = dict(re.findall(r"(?ms)^### (.+?)$(.+?)(?=^##|\Z)", TEXT))


def accuracies(record: str, columns: dict[str, Any]) -> dict[int, float]:
    """Seed → accuracy of the rows with these columns, read from the file again."""
    path = ROOT / record
    if path.suffix == ".npz":
        names = json.loads(path.with_suffix(".json").read_text())["settings"]
        with np.load(path, allow_pickle=False) as arrays:
            rows = [dict(zip(names, row, strict=True)) for row in arrays["settings"]]
            last = arrays["accuracy"][:, -1].astype(float)
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        last = [float(row["last"]) for row in rows]
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            keys = ("setting", "split", "epochs", "method", "seed")
            row.update(zip(keys, row.get("key", ()), strict=False))
        last = [row.get("last", row.get("accuracy")) for row in rows]
    chosen = [i for i, row in enumerate(rows) if all(str(row.get(k)) == str(v) for k, v in columns.items())]
    seeds = {int(float(rows[i]["seed"])): last[i] for i in chosen}
    assert len(seeds) == len(chosen)
    return seeds


def test_every_difference_is_recomputed_from_the_rows(make_paper):
    """By scipy, from the files; the rows of the page in their order."""
    measured = [m for entry in make_paper.ENTRIES for m in entry.measured]
    shown = re.findall(
        r"(?m)^\| (.+? − .+?) \| \[(.+?)\]\(\.\./(\S+?)\) \| (\d+) \| (\S+ ± \S+) \| (.+?) \|$", TEXT
    )
    assert len(shown) == len(measured) > 60
    for m, (compared, runs, record, seeds, points, place) in zip(measured, shown, strict=True):
        assert (compared, runs, record) == (m.compared, m.setting, m.record)
        left, right = (accuracies(record, dict(columns)) for columns in (m.where, {**m.where, **m.minus}))
        common = sorted(left.keys() & right.keys())
        differences = [left[seed] - right[seed] for seed in common]
        mean = statistics.fmean(differences)
        low, high = stats.t.interval(0.95, len(common) - 1, loc=mean, scale=stats.sem(differences))
        assert (seeds, points) == (str(len(common)), f"{mean:+.2f} ± {(high - low) / 2:.2f}")
        assert place == ("above zero" if low > 0 else "below zero" if high < 0 else "contains zero")


def test_the_words_of_a_comparison_are_those_of_its_rows(make_paper):
    labels = {"fashion": "300", "cifar10": "1,000", "fashion-300": "300", "fashion-100": "100"}
    for m in (m for entry in make_paper.ENTRIES for m in entry.measured):
        here, there = m.where, {**m.where, **m.minus}
        if "method" in here:
            names = [name.strip("`").lower() for name in m.compared.split(" − ")]
            expected = [side["method"].replace("ce", "labels alone") for side in (here, there)]
            assert [name.split(",")[0] for name in names] == expected
            assert f"{here['epochs']} " in m.setting and f"{there['epochs']} epochs" in m.setting
        if "setting" in here:
            assert f"{labels.get(here['setting'], '1,000')} labels" in m.setting
        if "pair" in here:
            assert m.setting.startswith(here["pair"].replace("→", " → ") + ", ")
        for name, term in (("tf_keep", "L_T"), ("ss_keep", "L_ss")):
            if name in m.minus:
                share = f"{term} keeps {100 * here[name]:.0f} % − keeps {100 * there[name]:.0f} %"
                assert m.compared == share and f"{here['labels']:.0f} labels" in m.setting


def test_differences_of_long_trainings_are_those_of_the_results():
    """The same rows are in docs/results.md, made by another program."""
    lines = re.findall(
        r"(?m)^\| SSKD − (KD|KD\+rotations) \| \[.+?(\d+) epochs\]\(\S+few_labels.jsonl\) \| \d+ \| (.+?) \|",
        TEXT,
    )
    equal = [points for _, _, points in lines if f"| {points} |" in page("docs/results.md")]
    assert len(equal) >= 14
    assert len(lines) - len(equal) == 2  # KD with four times the epochs is not in those tables


def test_the_sentence_at_the_top_counts_the_tables():
    places = {
        other: [
            place
            for runs, place in re.findall(
                rf"(?m)^\| SSKD − {re.escape(other)} \| \[(.+?)\]\(.+\| (\w+ zero) \|$", SECTIONS[heading]
            )
            if " against " not in runs
        ]
        for heading, other in (
            ("Abstract, 1 · the self-supervised task adds knowledge", "KD+rotations"),
            ("Abstract, 2 · SSKD improves on KD", "KD"),
        )
    }
    over_kd, over_control = places["KD"], places["KD+rotations"]
    text = words("docs/paper.md")
    assert f"SSKD is above KD in {over_kd.count('above zero')} of {len(over_kd)} recorded" in text
    assert f"in {over_control.count('contains zero')} of {len(over_control)} its difference" in text


def printed(table: str) -> dict[str, dict[str, float]]:
    """Method → pair → the paper's figure in one of its tables."""
    figures: dict[str, dict[str, float]] = {}
    with (ROOT / "data" / "published.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["table"] == table and row["group"] in ("B", "published") and "@" not in row["method"]:
                figures.setdefault(row["method"], {}).setdefault(row["pair"], float(row["value"]))
    return figures


def test_printed_figures_are_those_of_the_file():
    text = words("docs/paper.md")
    for table, methods in (("similar", 5), ("cross", 6)):
        means = {method: statistics.fmean(row.values()) for method, row in printed(table).items()}
        shown = "SSKD {sskd:.2f}, CRD {crd:.2f}, KD {kd:.2f}".format(**means)
        assert f"Printed: {shown} (means over {methods} pairs)." in text
    assert round(means["sskd"] - means["crd"], 1) == 2.3  # "on average 2.3 points above CRD"
    imagenet = {method: row.popitem()[1] for method, row in printed("imagenet").items()}
    assert "Printed: SSKD {sskd:.2f}, CRD {crd:.2f}, KD {kd:.2f}".format(**imagenet) in text
    tasks = {method: row["vgg13→vgg8"] for method, row in printed("pretext").items()}
    order = ["sskd", "sskd-rotation", "sskd-jigsaw", "sskd-exemplar"]
    assert sorted(order, key=tasks.get, reverse=True) == order
    names = [f"`{name}`" if name != "sskd" else "SSKD" for name in order]
    figures = ", ".join(f"{name} {tasks[m]:.2f}" for name, m in zip(names, order, strict=True))
    assert f"Printed: {figures} (vgg13→vgg8)." in text


def test_how_often_sskd_is_printed_as_the_best():
    """Among the paper's eleven methods: on four of five pairs (once with CRD), and on six of six."""
    best = {}
    for table in ("similar", "cross"):
        figures = {m: row for m, row in printed(table).items() if m not in ("teacher", "ce")}
        assert len(figures) == 11
        best[table] = [
            {m for m, row in figures.items() if row[pair] == max(r[pair] for r in figures.values())}
            for pair in figures["sskd"]
        ]
    assert sorted(map(sorted, (names for names in best["similar"] if "sskd" in names))) == [
        ["crd", "sskd"],
        *[["sskd"]] * 3,
    ]
    assert best["cross"] == [{"sskd"}] * 6


def test_no_measured_number_is_typed(make_paper):
    for entry in make_paper.ENTRIES:
        prose = " ".join((entry.reading, entry.checked, entry.not_tested, entry.because))
        assert re.search(r"\d\.\d|±|\d points", prose.replace("Appendix 6.4", "")) is None, entry.number


def test_rows_that_do_not_fit_are_refused(make_paper):
    from paper import rows

    with pytest.raises(ValueError, match="several runs per seed"):
        rows.by_seed(rows.FEW, {"setting": "fashion"})
    with pytest.raises(ValueError, match="has no seed with both"):
        rows.few("fashion", 77, "sskd", "kd").differences()
