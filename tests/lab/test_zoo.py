"""Cards of the methods, their recorded runs, and statistics of many comparisons; worked by hand."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from sskd_lib import METHODS, lab
from sskd_lib.lab.comparison import figures, runs
from sskd_lib.lab.comparison.cards import CARDS
from sskd_lib.reproduce.results import RUN_COLUMNS, write_results


def record(pair: str, method: str, seed: int, last: float, condition: str = "1000 labels") -> dict:
    values = (pair, condition, method, seed, last, last + 0.5, 60, 1000, "cifar10")
    return dict(zip(RUN_COLUMNS, values, strict=True))


TWO = "resnet20→resnet8", "vgg8→resnet8"
RUNS = [
    *(record(TWO[1], "kd", seed, 50.0 + seed) for seed in (0, 1, 2)),
    *(record(TWO[1], "sskd", seed, 52.0 + 2 * seed) for seed in (2, 0, 1)),
    *(record(TWO[0], method, 0, 40.0) for method in ("sskd+dkd", "at", "kd")),
]


@pytest.fixture
def folder(tmp_path) -> Path:
    """What `reproduce` itself writes."""
    write_results(RUNS, tmp_path, "python -m sskd_lib reproduce --table similar")
    return tmp_path


def test_runs_are_read_as_reproduce_writes_them_in_order(folder) -> None:
    runs = lab.zoo_runs(folder)
    assert [(run["pair"], run["method"], run["seed"]) for run in runs] == [
        *((TWO[1], "kd", seed) for seed in (0, 1, 2)),
        *((TWO[1], "sskd", seed) for seed in (0, 1, 2)),
        *((TWO[0], method, 0) for method in ("kd", "at", "sskd+dkd")),
    ]
    assert runs[0] == RUNS[0]
    assert lab.zoo_command(folder) == "python -m sskd_lib reproduce --table similar"
    assert lab.by_method(runs, TWO[1])["sskd"] == {0: 52.0, 1: 54.0, 2: 56.0}


def test_the_reader_names_the_fault(folder, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="git checkout"):
        lab.zoo_runs(tmp_path / "nowhere")
    assert lab.zoo_command(tmp_path / "nowhere") == ""
    file = folder / "runs.csv"
    whole = file.read_text(encoding="utf-8").splitlines()
    for lines, message in (
        (whole[:1], "has no runs"),
        ([whole[0].replace("seed", "draw"), *whole[1:]], "no column seed"),
        ([*whole[:2], whole[2].replace("51.0", "")], "line 3: last is '', which is no number"),
        ([*whole, whole[1]], "this run twice: vgg8→resnet8, 1000 labels, kd, 0"),
    ):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            lab.zoo_runs(folder)


def test_one_pair_under_one_condition() -> None:
    with pytest.raises(ValueError, match="there are: vgg8→resnet8, resnet20→resnet8"):
        lab.by_method(RUNS, "vgg13→vgg8")
    with pytest.raises(ValueError, match="several conditions: 1000 labels, all"):
        lab.by_method([*RUNS, record(TWO[0], "kd", 1, 40.0, "all")], TWO[0])


def test_rows_that_were_run_with_other_numbers_are_marked(folder, monkeypatch) -> None:
    recorded = lab.zoo_runs()
    changed = lab.changed_since(recorded)
    assert set(changed) == {"dist", "reviewkd"}
    assert changed["dist"] == "temperature 1 (published, and today: 4)"
    assert changed["reviewkd"] == "teacher maps after the ReLU (published, and today: before the ReLU)"
    assert set(lab.changed_since(lab.zoo_runs(runs.LONGER), runs.LONGER)) == {"reviewkd"}
    labels = lab.method_labels(["kd", "dist", "sskd"], changed)
    assert labels == {"kd": "kd", "dist": "dist †", "sskd": "sskd ×4"}
    assert lab.describe_changes(changed).splitlines()[0] == f"† dist was run with {changed['dist']}"
    assert lab.changed_since([{"method": "dist"}], folder) == {}  # runs of one's own have today's numbers
    monkeypatch.setattr(runs, "RECORDED_WITH", {"dist": {"temperature": 4.0}})
    assert lab.changed_since(recorded) == {}


def test_differences_are_taken_seed_by_seed() -> None:
    values = {"kd": {0: 50.0, 1: 51.0}, "at": {2: 9.0, 1: 51.5, 0: 49.0}, "sp": {7: 60.0}}
    assert lab.paired(values) == {"at": [-1.0, 0.5]}
    assert lab.paired(values, "at") == {"kd": [1.0, -0.5]}
    with pytest.raises(ValueError, match="no runs of 'sskd' .* kd, at, sp"):
        lab.paired(values, "sskd")


def test_p_is_below_a_twentieth_where_the_interval_leaves_zero_out() -> None:
    for values in ([0.3, 0.4, 0.5], [0.2, 0.9, 0.4], [-1.0, -1.2, -1.1], [1.0, -2.0, 0.5, 0.1]):
        mean, half = lab.interval(values)
        assert (lab.p_value(values) < 0.05) == (abs(mean) > half)
        if len(values) == 3:  # two degrees of freedom: p = 1 - t / √(t² + 2)
            t = abs(mean) / statistics.stdev(values) * math.sqrt(3)
            assert lab.p_value(values) == pytest.approx(1 - t / math.sqrt(t * t + 2), rel=1e-9)
    assert math.isnan(lab.p_value([1.0]))
    assert lab.p_value([0.0, 0.0]) == 1 and lab.p_value([2.0, 2.0]) == 0


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, and none below one before
    corrected = lab.holm({"c": 0.03, "a": 0.01, "d": 0.04, "b": 0.02, "one run": math.nan})
    assert math.isnan(corrected.pop("one run"))
    assert corrected == pytest.approx({"c": 0.06, "a": 0.04, "d": 0.06, "b": 0.06})
    assert lab.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_every_method_has_a_card_and_a_place() -> None:
    assert set(METHODS) <= set(CARDS)
    places = {name: lab.compared_output(name) for name in ("ce", "dkd", "sskd", "rkd", "reviewkd", "ab")}
    expected = ["labels", "logits", "projection", "features", "maps", "maps before the ReLU"]
    assert list(places.values()) == expected
    lines = lab.zoo_table().splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(METHODS) and max(map(len, lines)) <= 100
    assert lines[1 + METHODS.index("sp")].split()[:5] == ["sp", "2019", "1907.09682", "1", "3000"]
    with pytest.raises(ValueError, match="no card of 'kd2'; there are: ce, kd"):
        lab.zoo_card("kd2")


def test_map_names_every_method_once() -> None:
    shown = " ".join(text.get_text() for text in lab.zoo_map().axes[0].texts).replace(",", "").split()
    assert sorted(word for word in shown if word in METHODS) == sorted(METHODS)


def test_rows_have_the_order_of_the_means_and_name_what_was_not_run() -> None:
    panels = {"one": {"a": [1.0, 2.0, 3.0], "b": [5.0, 5.5, 6.0]}, "two": {"a": [0.0, 0.1, 0.2]}}
    figure = lab.method_rows(panels, "points", shapes={"one": {"b": "different"}}, labels={"b": "B"}, level=0)
    lab.shape_key(figure, {"": "contains 0", "different": "leaves 0 out"})
    one, two = figure.axes
    assert [label.get_text() for label in one.get_yticklabels()] == ["B", "a"]
    assert [text.get_text() for text in two.texts] == ["not run"] and not one.texts
    means = {line.get_marker(): line.get_xdata()[0] for line in one.lines if line.get_markersize() == 7}
    assert means == {"D": 5.5, "o": 2.0}  # a shape each, not a colour


def test_changes_are_written_in_per_cent() -> None:
    changes = {"loss": {"a": 0.0, "b": 5e-4, "c": 0.034, "d": 0.5, "e": 1234.0}}
    texts = [text.get_text() for text in lab.change_table(changes).axes[0].texts]
    assert texts == ["0", "<0.1 %", "3.4 %", "50 %", "× 1,235"]
    assert figures.ROW * 72 > 11  # points: neighbouring rows do not touch
