"""The paper's tables as runs: the plan, its parts, resuming, and the table of results."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import sskd_lib as sskd
from sskd_lib.files import CheckpointError
from sskd_lib.losses import PairOutputs, create_method
from sskd_lib.reproduce import cells as module
from sskd_lib.reproduce.cells import cost, make_teacher, train_cell
from sskd_lib.reproduce.plan import TABLES, describe_plan, plan_cells
from sskd_lib.reproduce.results import read_diverged, read_results, write_results

METHODS = ("sskd", "ce", "at", "kd")  # not in the order of the results
OPTIONS = {"runtime": sskd.Runtime(), "progress": False, "save_seconds": 0}
SCHEDULE = sskd.Schedule(epochs=2, batch_size=10)


@pytest.fixture(scope="module")
def images() -> tuple[sskd.ImageSet, sskd.ImageSet]:
    train = sskd.load_images("fashion-mnist-lab")
    return train.take(40), sskd.load_images("fashion-mnist-lab", "test").take(50)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A folder with a teacher and two cells of four methods, the first of them cut off once."""
    out = tmp_path_factory.mktemp("reproduced")
    train, test = images
    make_teacher("resnet14", train, test, out, 1, **OPTIONS)
    cells = plan_cells("similar", ["resnet14:resnet8"], METHODS, seeds=2, labels=20)
    for cell in cells:
        train_cell(cell, train, test, out, SCHEDULE, **OPTIONS)
    return out, cells


def test_the_tables_are_the_papers():
    similar, cross = plan_cells("similar", seeds=1), plan_cells("cross", seeds=1)
    assert [cell.pair.name for cell in similar][:2] == ["wrn_40_2→wrn_16_2", "wrn_40_2→wrn_40_1"]
    assert (len(similar), len(cross)) == (5, 6)
    assert {"kd", "crd", "sskd", "ft"} < set(similar[0].methods) and len(similar[0].methods) == 12
    assert [c.condition for c in plan_cells("few-shot", seeds=1)] == ["25%", "50%", "75%", "100%"]
    for table in TABLES:
        for cell in plan_cells(table, seeds=1):
            for name in (cell.pair.teacher, cell.pair.student):
                assert name in sskd.MODELS


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_parts_of_a_plan_are_the_whole_plan_once(parts):
    whole = plan_cells("cross", seeds=2)
    found = [cell for i in range(parts) for cell in plan_cells("cross", seeds=2, shard=f"{i + 1}/{parts}")]
    assert sorted(map(str, found)) == sorted(map(str, whole))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": "tabel"}, "The tables are: similar"),
        ({"table": "pretexts"}, "the tables are|The tables are"),
        ({"table": "similar", "pairs": ["resnet9:resnet8"]}, "no model 'resnet9'"),
        ({"table": "similar", "methods": ["dkdd"]}, "Did you mean 'dkd'"),
        ({"table": "similar", "shard": "3/2"}, "i-th of n parts"),
        ({"table": "similar", "seeds": 0}, "at least 1"),
        ({"table": "noisy", "labels": 100}, "sets the labels by its conditions"),
    ],
)
def test_a_plan_that_cannot_be_says_why(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_cells(**arguments)


def test_conditions_change_the_images(images):
    train, _ = images
    few, noisy = plan_cells("few-shot", seeds=1)[0], plan_cells("noisy", seeds=1)[-1]
    assert len(few.images(train)) == 10
    wrong = (noisy.images(train).labels != train.labels).float().mean()
    assert wrong == pytest.approx(0.5)
    assert len(plan_cells("similar", labels=20, seeds=1)[0].images(train)) == 20


def test_a_run_of_a_cell_is_the_one_that_distill_alone_gives(finished, images):
    """Students of a cell share views and teacher, and end as if trained alone, with the cell's seed."""
    out, cells = finished
    train, test = images
    cell = cells[1]
    teacher = sskd.load_checkpoint(out / "teachers" / "resnet14" / "head" / "teacher.safetensors")
    student = sskd.create_network("resnet8", train, seed=1)
    alone = sskd.distill(
        student, teacher, train.take(20, seed=1), test, method="at", schedule=SCHEDULE, seed=1, **OPTIONS
    )
    record = next(r for r in read_results(out) if (r["method"], r["seed"]) == ("at", 1))
    assert record["last"] == alone.summary["last"]["test_accuracy"]
    assert record["condition"] == "20 labels" and record["images"] == 20
    assert cell.missing(out) == ()


def test_what_is_done_is_not_trained_again_and_other_settings_are_refused(finished, images):
    out, cells = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "teachers").rglob("*.safetensors")}
    histories = [path.read_text() for path in sorted(out.rglob("metrics.jsonl"))]
    make_teacher("resnet14", *images, out, 1, **OPTIONS)
    train_cell(cells[0], *images, out, SCHEDULE, **OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [path.read_text() for path in sorted(out.rglob("metrics.jsonl"))] == histories
    with pytest.raises(CheckpointError, match="epochs"):
        train_cell(cells[0], *images, out, replace(SCHEDULE, epochs=3), **OPTIONS)


def test_a_method_that_diverges_is_given_up_and_the_others_end_as_without_it(
    finished, images, tmp_path, monkeypatch, capsys
):
    out, cells = finished
    shutil.copytree(out / "teachers", tmp_path / "teachers")
    huge = {"at": {"at": {"weight": 1e38}}}
    monkeypatch.setattr(module, "numbers_for", lambda pair, method: huge.get(method, {}))
    cell = replace(cells[0], methods=("ce", "at", "kd"))
    train_cell(cell, *images, tmp_path, SCHEDULE, **OPTIONS)
    assert (cell.diverged(tmp_path), cell.missing(tmp_path)) == (("at",), ())
    assert "given up" in capsys.readouterr().out
    assert "2 done, nothing to train, diverged: at" in describe_plan([cell], tmp_path)
    expected = {(r["method"], r["seed"]): r["last"] for r in read_results(out)}
    found = {(r["method"], r["seed"]): r["last"] for r in read_results(tmp_path)}
    assert found == {run: expected[run] for run in (("ce", 0), ("kd", 0))}

    (line,) = read_diverged(tmp_path)
    assert line.startswith("resnet14→resnet8, 20 labels: at, seed 0: ") and "finite number" in line
    text = write_results(read_results(tmp_path), tmp_path, "…", [line])[2].read_text()
    assert f"- {line}" in text

    huge.clear()  # with the cause gone and its folder deleted, the method is trained again
    shutil.rmtree(cell.folder(tmp_path, "at"))
    train_cell(cell, *images, tmp_path, SCHEDULE, **OPTIONS)
    assert next(r["last"] for r in read_results(tmp_path) if r["method"] == "at") == expected["at", 0]


def test_the_plan_says_what_is_left(finished, tmp_path):
    out, cells = finished
    assert describe_plan(cells, out).endswith("teachers to train: none")
    assert "4 done, nothing to train" in describe_plan(cells, out)
    more = [replace(cells[0], methods=(*METHODS, "dkd"))]
    assert "4 done, dkd to train" in describe_plan(more, out)
    assert describe_plan(cells, tmp_path).endswith("teachers to train: resnet14")


def test_the_cost_counts_forwards_by_views_and_writes_nothing(images, tmp_path):
    cells = plan_cells("similar", ["resnet14:resnet8"], ("kd", "at", "ab", "sskd"), seeds=3, labels=20)
    said = []
    cost(cells, images[0], tmp_path, 50, said.append, runtime=sskd.Runtime())
    # 50 epochs x 20 images x 3 seeds x views. Teacher: one pass for kd and at, one for ab (other maps), four
    # views for sskd. Students: 1 + 1 + 1 + 4.
    assert "0.018 million in the teachers, 0.021 million in the students" in said[-1]
    assert not list(tmp_path.iterdir())


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
    sskd_row = rows["sskd"]
    assert (sskd_row["last"], sskd_row["best"], sskd_row["seeds"]) == (74.0, 74.5, 3)
    # t of 2 degrees of freedom at 97.5 %: 4.3027; deviation 1 over the root of 3
    assert sskd_row["last ±"] == pytest.approx(4.302653 / math.sqrt(3), abs=1e-4)
    # paired: 3, 2, 4
    assert sskd_row["minus kd"] == 3.0 and sskd_row["minus kd ±"] == pytest.approx(2.484, abs=1e-3)
    assert sskd_row["published"] == 75.33 and "best-epoch" in sskd_row["notes"]
    assert "kd-row-copied" in rows["kd"]["notes"] and math.isnan(rows["kd"]["minus kd"])


def test_the_printed_figure_is_the_one_of_this_condition():
    assert [f.value for f in printed("resnet56→resnet20", "25%", "sskd", {"cifar100"})] == [67.82]
    assert printed("resnet56→resnet20", "all", "sskd", {"cifar100"})[0].value == 71.49
    imagenet = printed("torchvision/resnet34→torchvision/resnet18", "all", "sskd", {"shards"})
    assert imagenet[0].value == 71.62


@pytest.mark.parametrize("table", ["similar", "cross"])
def test_every_method_of_a_table_fits_every_pair_of_it(table):
    """A term that no connector could lead from one network to the other would end the whole cell."""
    cells = plan_cells(table, seeds=1)
    names = {name for cell in cells for name in (cell.pair.teacher, cell.pair.student)}
    said = {}
    x = torch.rand(2, 3, 32, 32)
    for name in names:
        network = sskd.Network(sskd.create_model(name), mean=(0.5,) * 3, std=(0.2,) * 3).eval()
        with torch.no_grad():
            said[name] = {kind: network(x, maps=kind) for kind in ("post_relu", "pre_relu")}
    for cell in cells:
        for method in map(create_method, (*cell.methods, "nst", "cc", "reviewkd", "dkd")):
            kind = method.asked.get("maps", "post_relu")
            outputs = [said[name][kind] for name in (cell.pair.student, cell.pair.teacher)]
            pair = PairOutputs(student=outputs[0], teacher=outputs[1], labels=torch.arange(4) % 2)
            if method.extra:
                loss = method.fit_to(pair)(*outputs, torch.tensor([0, 1]), torch.tensor([0, 1]))[1]
                assert loss.isfinite(), (cell.pair.name, method.name)


@pytest.mark.parametrize(
    "other",
    [{"data": "cifar10"}, {"condition": "1000 labels"}, {"condition": "noise 50%"}, {"condition": "25%"}],
)
def test_no_printed_figure_beside_runs_on_other_images(other):
    assert all(row["published"] == "" for row in result_rows(records(**other)))


def test_files_hold_what_the_rows_say(finished, tmp_path):
    out, _ = finished
    found = read_results(out)
    assert len(found) == 8
    paths = write_results(found, tmp_path, "python -m sskd_lib reproduce …")
    runs, table = (list(csv.DictReader(io.StringIO(path.read_text()))) for path in paths[:2])
    assert [(row["method"], int(row["seed"]), float(row["last"])) for row in runs] == [
        (record["method"], record["seed"], round(record["last"], 2)) for record in found
    ]
    assert [row["method"] for row in table] == ["ce", "kd", "sskd", "at"]
    text = paths[2].read_text()
    assert "**resnet14→resnet8, 20 labels**" in text and "LAST epoch" in text
    assert paths[3].name == "results_resnet14→resnet8_20_labels.png" and len(paths) == 4
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_numbers_that_a_paper_tuned_for_a_pair_are_taken(images, tmp_path):
    train, test = images
    make_teacher("resnet56", train, test, tmp_path, 1, **OPTIONS)
    (cell,) = plan_cells("similar", ["resnet56:resnet20"], ["dkd"], seeds=1, labels=20)
    train_cell(cell, train, test, tmp_path, SCHEDULE, **OPTIONS)
    card = json.loads((cell.folder(tmp_path, "dkd") / "summary.json").read_text())["card"]
    assert card["plan"]["terms"]["dkd"] == {
        "weight": 1,
        "alpha": 1.0,
        "beta": 2.0,
        "temperature": 4.0,
    }


def test_footnotes_of_the_traps_are_written_out():
    text = as_markdown(result_rows(records()), "command")
    assert "most likely copied" in text and "best epoch on the test set" in text
    assert text.count("| sskd | 3 | 74.00 ± 2.48 | +3.00 ± 2.48 | 74.50 | 75.33 [") == 1
    assert "nan" not in as_csv(result_rows(records())) + text


def test_the_command_plans_without_writing(tmp_path):
    command = [sys.executable, "-m", "sskd_lib", "reproduce", "--table", "similar", "--dry-run"]
    options = [
        "--data",
        "fashion-mnist-lab",
        "--labels",
        "100",
        "--pairs",
        "resnet14:resnet8",
        "--epochs",
        "2",
    ]
    methods = ["--methods", "ce", "kd", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "x")]
    environment = dict(os.environ) | {"SSKD_RUNTIME": "default"}
    done = subprocess.run([*command, *options, *methods], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "0 done, ce, kd to train" in done.stdout and "students, in all:" in done.stdout
    assert not (tmp_path / "x").exists()
