"""The table of results: means and intervals by hand, the published figures beside them, and the files."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from sskd_lib.lab.curves import results_figure
from sskd_lib.reproduce.plan import file_name
from sskd_lib.reproduce.results import (
    as_csv,
    as_markdown,
    printed,
    read_results,
    result_rows,
    write_results,
)

RECORDED = Path(__file__).parents[2] / "benchmarks" / "results"


def records(data: str = "cifar100", condition: str = "all") -> list[dict]:
    values = {"kd": (70.0, 72.0, 71.0), "sskd": (73.0, 74.0, 75.0)}
    place = {"pair": "vgg13→vgg8", "condition": condition, "data": data}
    return [
        {**place, "method": m, "seed": s, "last": v, "best": v + 0.5}
        for m, column in values.items()
        for s, v in enumerate(column)
    ]


def test_rows_by_hand():
    rows = {row["method"]: row for row in result_rows(records())}
    sskd = rows["sskd"]
    assert (sskd["last"], sskd["best"], sskd["seeds"]) == (74.0, 74.5, 3)
    # t of 2 degrees of freedom at 97.5 %: 4.3027; deviation 1 over the root of 3
    assert sskd["last ±"] == pytest.approx(4.302653 / math.sqrt(3), abs=1e-4)
    # paired: 3, 2, 4
    assert (sskd["minus kd"], sskd["minus kd ±"]) == (3.0, pytest.approx(2.484, abs=1e-3))
    assert sskd["published"] == 75.33
    assert "best-epoch" in sskd["notes"]
    assert "kd-row-copied" in rows["kd"]["notes"]
    assert math.isnan(rows["kd"]["minus kd"])


def test_the_published_figure_is_the_one_of_this_condition():
    assert [f.value for f in printed("resnet56→resnet20", "25%", "sskd", {"cifar100"})] == [67.82]
    assert printed("resnet56→resnet20", "all", "sskd", {"cifar100"})[0].value == 71.49
    imagenet = printed("torchvision/resnet34→torchvision/resnet18", "all", "sskd", {"shards"})
    assert imagenet[0].value == 71.62


@pytest.mark.parametrize(
    "other",
    [{"data": "cifar10"}, {"condition": "1000 labels"}, {"condition": "noise 50%"}, {"condition": "25%"}],
)
def test_no_published_figure_beside_runs_on_other_images(other):
    assert all(row["published"] == "" for row in result_rows(records(**other)))


def test_footnotes_of_the_traps_are_written_out():
    text = as_markdown(result_rows(records()), "command")
    assert "most likely copied" in text
    assert "best epoch on the test set" in text
    assert text.count("| sskd | 3 | 74.00 ± 2.48 | +3.00 ± 2.48 | 74.50 | 75.33 [") == 1
    assert "nan" not in as_csv(result_rows(records())) + text


def test_files_hold_what_the_rows_say(finished, tmp_path):
    out, _ = finished
    runs = read_results(out)
    assert len(runs) == 8
    paths = write_results(runs, tmp_path, "python -m sskd_lib reproduce …", figure=results_figure)
    lines, table = (list(csv.DictReader(io.StringIO(path.read_text()))) for path in paths[:2])
    assert [(line["method"], int(line["seed"]), float(line["last"])) for line in lines] == [
        (run["method"], run["seed"], round(run["last"], 2)) for run in runs
    ]
    assert [row["method"] for row in table] == ["ce", "kd", "sskd", "at"]
    text = paths[2].read_text()
    assert "**resnet14→resnet8, 20 labels**" in text
    assert "LAST epoch" in text
    assert [path.name for path in paths[3:]] == ["results_resnet14→resnet8_20_labels.png"]
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_without_a_figure_three_files_are_written(tmp_path):
    calls = []
    for figure in (None, lambda runs, title: calls.append((len(runs), title)) or b"png"):
        runs = [run | {"epochs": 1, "images": 9} for run in records() + records(condition="25%")]
        paths = write_results(runs, tmp_path, "…", figure=figure)
        assert len(paths) == (3 if figure is None else 5)
    assert calls == [(6, "vgg13→vgg8, all"), (6, "vgg13→vgg8, 25%")]


@pytest.mark.parametrize("folder", sorted(path for path in RECORDED.glob("zoo*") if path.is_dir()))
def test_recorded_tables_are_the_means_of_their_runs(folder):
    """runs.csv of an earlier version gives the same results.csv today."""
    with (folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        numbers = {"seed": int, "last": float, "best": float}
        runs = [{k: numbers.get(k, str)(v) for k, v in row.items()} for row in csv.DictReader(file)]
    recorded = (folder / "results.csv").read_text(encoding="utf-8")
    again = list(csv.DictReader(io.StringIO(as_csv(result_rows(runs)))))
    for new, old in zip(again, csv.DictReader(io.StringIO(recorded)), strict=True):
        for name, value in old.items():
            if name in ("last", "last ±", "minus kd", "minus kd ±", "best") and value:  # runs.csv is rounded
                assert float(new[name]) == pytest.approx(float(value), abs=0.02), (new["method"], name)
            else:
                assert new[name] == value


def test_names_of_files_have_no_slash_and_no_space():
    assert file_name("torchvision/resnet34→timm/x, 20 labels") == "torchvision%2Fresnet34→timm%2Fx,_20_labels"
