"""docs/results.md and README's headline against the recorded runs, and the records against themselves."""

from __future__ import annotations

import csv
import math
import re
import statistics

import pytest
from scipy import optimize, stats

import few_labels
import short_schedule
import zoo_tables
from helpers.documents import RESULTS, page, words
from sskd_lib.evaluation import interval
from sskd_lib.lab.comparison.runs import FOLDER, LONGER, by_method, zoo_runs
from sskd_lib.lab.comparison.statistics import holm, p_value, paired
from sskd_lib.losses import METHODS, create_method
from sskd_lib.reproduce.results import as_csv, as_markdown, result_rows


def test_few_labels_are_the_recorded_tables(capsys):
    few_labels.table()
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(printed) > 30
    assert [line for line in printed if line not in page("docs/results.md").splitlines()] == []


def test_short_schedules_are_the_recorded_tables(capsys):
    short_schedule.table()
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(printed) > 10
    assert [line for line in printed if line not in page("docs/results.md").splitlines()] == []


@pytest.mark.parametrize("setting", ["fashion-300", "fashion-100"])
def test_the_words_about_the_short_schedule_are_those_of_the_record(setting):
    """By scipy, from the rows of the fresh seeds."""
    rows = [r for r in short_schedule.read() if (r["setting"], r["split"]) == (setting, "test")]
    runs = {m: {r["seed"]: r["accuracy"] for r in rows if r["method"] == m} for m in few_labels.METHODS}
    seeds = sorted(runs["sskd"])
    assert len(seeds) >= 10 and min(seeds) >= 100
    for other in ("kd", "kd+rotations"):
        differences = [runs["sskd"][seed] - runs[other][seed] for seed in seeds]
        half = stats.sem(differences) * stats.t.ppf(0.975, len(seeds) - 1)
        assert f"{statistics.fmean(differences):+.2f} ± {half:.2f}" in words("docs/results.md")
        if other == "kd":
            assert min(differences) > 0  # "in all eleven seeds"


def accuracies(setting: str, epochs: int) -> dict[str, dict[int, float]]:
    """Method → seed → accuracy of the last epoch, recorded by few_labels.py on the test images."""
    found: dict[str, dict[int, float]] = {}
    for run in few_labels.read(RESULTS / "few_labels.jsonl"):
        *place, method, seed = run["key"]
        if place == [setting, "test", epochs]:
            found.setdefault(method, {})[seed] = run["last"]
    return found


def gaps(runs: dict[str, dict[int, float]], other: str) -> list[float]:
    return [runs["sskd"][seed] - runs[other][seed] for seed in runs["sskd"]]


@pytest.mark.parametrize(("setting", "count"), [("fashion", "ten seeds"), ("cifar10", "five seeds")])
def test_readme_has_the_long_trainings(setting, count):
    runs = accuracies(setting, 240)
    assert len(runs["sskd"]) == {"ten seeds": 10, "five seeds": 5}[count]
    for other in ("kd", "kd+rotations"):
        assert "{:+.2f} ± {:.2f}".format(*interval(gaps(runs, other))) in words("README.md")
    assert count in words("README.md")


def test_the_words_about_l_ss_hold_at_every_length():
    """Less than a point over the control, and zero within the interval."""
    places = {tuple(run["key"][i] for i in (0, 2)) for run in few_labels.read(RESULTS / "few_labels.jsonl")}
    assert len(places) == 6
    for place in places:
        mean, half = interval(gaps(accuracies(*place), "kd+rotations"))
        assert abs(mean) < 1
        assert abs(mean) < half


def least_difference(values: list[float], power: float = 0.8) -> float:
    """The true mean that a paired t-test of so many values with this spread finds with this power."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    limit = stats.t.ppf(0.975, len(values) - 1)
    return optimize.brentq(
        lambda mean: stats.nct.sf(limit, len(values) - 1, mean / error) - power, 0, 8 * error
    )


def test_the_least_difference_that_would_be_found():
    fashion, cifar = (
        least_difference(gaps(accuracies(setting, 240), "kd+rotations")) for setting in ("fashion", "cifar10")
    )
    text = words("docs/results.md")
    assert f"of {fashion:.2f} points (Fashion-MNIST, ten seeds) or {cifar:.2f} points (CIFAR-10, five" in text


def test_fast_formats_are_compared_with_exact_ones(capsys):
    few_labels.compare(RESULTS / "formats_fast.jsonl", RESULTS / "formats_exact.jsonl")
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| sskd")]
    assert len(printed) == 1
    assert printed[0] in page("docs/results.md").splitlines()


# ---- every method --------------------------------------------------------------------------------


def test_both_tables_of_all_methods_are_the_recorded_ones():
    assert zoo_tables.every_method() in page("docs/results.md")
    assert zoo_tables.longer() in page("docs/results.md")


def test_rows_with_other_numbers_than_todays_have_a_dagger_and_a_footnote():
    """DIST's temperature and the teacher's maps of ReviewKD were others when the record was made."""
    terms = {name: create_method(name).terms[0] for name in ("dist", "reviewkd")}
    assert (terms["dist"].temperature, terms["reviewkd"].teacher_maps) == (4, "pre_relu")
    texts = {"every": zoo_tables.every_method(), "longer": zoo_tables.longer()}
    marked = {key: set(re.findall(r"(?m)^\| `(.+?)` † \|", text)) for key, text in texts.items()}
    assert marked == {"every": {"dist", "reviewkd"}, "longer": {"reviewkd"}}
    notes = {key: " ".join(text.partition("\n\n")[2].split()) for key, text in texts.items()}
    assert all(note.startswith("† Run with the default before 25 November 2026: ") for note in notes.values())
    assert "`dist` with temperature 1 " in notes["every"] and "`dist`" not in notes["longer"]
    assert all("`reviewkd` with teacher maps after the ReLU " in note for note in notes.values())
    text = words("benchmarks/README.md")
    assert "`dist` had temperature 1, its number for ImageNet; for CIFAR-100 it is 4." in text


@pytest.mark.parametrize(("folder", "epochs"), [(FOLDER, 24), (LONGER, 60)])
def test_the_records_are_the_means_of_their_runs(folder, epochs):
    runs = zoo_runs(folder)
    table = result_rows(runs)
    assert {run["epochs"] for run in runs} == {epochs}
    assert (folder / "results.csv").read_text(encoding="utf-8") == as_csv(table)
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert f" --epochs {epochs} " in text.partition("\n")[0]
    assert text.partition("\n")[2] == as_markdown(table, "").partition("\n")[2]  # but for the command


def test_what_24_epochs_showed():
    """Every method with three seeds at least, on both pairs but for those that need equal widths."""
    runs = zoo_runs()
    table = result_rows(runs)
    pairs = {row["pair"]: {} for row in table}
    for row in table:
        assert row["seeds"] >= 3
        pairs[row["pair"]][row["method"]] = row
    similar, cross = pairs.values()
    assert set(similar) == set(METHODS)
    assert set(METHODS) - set(cross) == {"fsp", "kdsvd"}
    p_values = [{m: p_value(gaps) for m, gaps in paired(by_method(runs, pair)).items()} for pair in pairs]
    alone, corrected = (
        [sum(p <= 0.05 for p in change(values).values()) for values in p_values] for change in (dict, holm)
    )
    text = words("docs/results.md")
    count = [len(values) for values in p_values]
    assert (
        f"{alone[0]} of {count[0]} gaps to KD on the first pair and {alone[1]} of {count[1]} on the" in text
    )
    assert f"(Holm), {corrected[0]} and {corrected[1]} remain" in text


def test_what_60_epochs_changed():
    runs = zoo_runs(LONGER)
    (pair,) = {run["pair"] for run in runs}
    accuracy = by_method(runs, pair)
    assert {tuple(seeds) for seeds in accuracy.values()} == {(0, 1, 2)}
    p_values = {method: p_value(gaps) for method, gaps in paired(accuracy).items()}
    assert len(p_values) == 9
    assert max(p_values.values()) <= 0.05
    assert {m for m, p in holm(p_values).items() if p <= 0.05} == {"fitnet", "reviewkd", "crd"}
    mean, half = interval(paired(accuracy, "kd+rotations")["sskd"])
    assert f"`sskd` is {mean:+.2f} ± {half:.2f} points from `kd+rotations`" in page("docs/results.md")


def test_what_the_format_of_the_layers_changed():
    pair = "resnet20→resnet8"
    before = by_method(zoo_runs(), pair)
    with (FOLDER / "again.csv").open(encoding="utf-8", newline="") as text:
        again = [row for row in csv.DictReader(text) if row["pair"] == pair]
    moved = {m: [] for m in ("kd", "fitnet", "reviewkd")}
    for row in again:
        moved[row["method"]].append(float(row["last"]) - before[row["method"]][int(row["seed"])])
    assert {len(values) for values in moved.values()} == {3}
    assert set(moved["kd"]) == {0.0}
    others = moved["fitnet"] + moved["reviewkd"]
    expected = f"between {-min(others):.1f} points below and {max(others):.1f} above"
    assert expected in words("benchmarks/README.md")


# ---- rounded figures in the sentences below the tables -------------------------------------------


def test_gains_over_kd_as_the_text_rounds_them():
    gains = {
        (setting, epochs): interval(gaps(accuracies(setting, epochs), "kd"))
        for setting, lengths in (("cifar10", (30, 60, 240)), ("fashion", (60, 240, 480)))
        for epochs in lengths
    }
    for place in (("cifar10", 30), ("fashion", 60)):  # "nothing measurable"
        mean, half = gains[place]
        assert abs(mean) < half
    rounded = {place: round(mean) for place, (mean, _) in gains.items()}
    assert (rounded["cifar10", 60], rounded["cifar10", 240]) == (6, 10)
    assert (rounded["fashion", 240], rounded["fashion", 480]) == (3, 3)
    text = words("docs/results.md")
    assert "about 6 points after 60, about 10 after 240" in text
    assert "about 3 points after 240 and after 480" in text


def test_gaps_of_all_methods_as_the_text_rounds_them():
    runs = zoo_runs()
    similar, cross = (
        {method: statistics.fmean(values) for method, values in paired(by_method(runs, pair)).items()}
        for pair in dict.fromkeys(run["pair"] for run in runs)
    )
    best = sorted(similar, key=similar.get, reverse=True)[:3]
    assert {round(similar[method]) for method in best} == {8, 9, 10}
    assert set(best) == {"reviewkd", "fitnet", "nst"}
    assert (round(cross["sskd-jigsaw"]), round(cross["hsakd"])) == (6, 3)
    assert all(gap[m] < 0 for gap in (similar, cross) for m in ("dkd", "dkd-ls", "kd-ls", "ft", "simkd"))
    assert round(statistics.fmean(paired(by_method(zoo_runs(LONGER), "resnet20→resnet8"))["sskd"])) == 9
