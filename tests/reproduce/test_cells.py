"""The cells of a table as trainings: shared teachers, resuming, runs that are given up, and the cost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from helpers.reproduced import METHODS, OPTIONS, SCHEDULE
from sskd_lib.data.images import ImageSet
from sskd_lib.files import CheckpointError
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.reproduce import cells as module
from sskd_lib.reproduce.cells import cost, make_teacher, train_cell, train_cells
from sskd_lib.reproduce.plan import Plan, describe_plan, plan_cells, teacher_file
from sskd_lib.reproduce.results import read_diverged, read_results, write_results
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill


def written(folder):
    """When each file below a folder was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished table that may be changed, and its first cell."""
    out, cells = finished
    shutil.copytree(out, tmp_path / "copy")
    return tmp_path / "copy", cells[0]


def test_a_run_of_a_cell_is_the_one_that_distill_alone_gives(finished, images):
    """Students of a cell share views and teacher, and end as if trained alone, with the cell's seed."""
    out, cells = finished
    train, test = images
    teacher = load_checkpoint(out / "teachers" / "resnet14" / "head" / "teacher.safetensors")
    student = create_network("resnet8", train, seed=1)
    alone = distill(
        student, teacher, train.take(20, seed=1), test, method="at", schedule=SCHEDULE, seed=1, **OPTIONS
    )
    record = next(r for r in read_results(out) if (r["method"], r["seed"]) == ("at", 1))
    assert record["last"] == alone.summary["last"]["test_accuracy"]
    assert (record["condition"], record["images"]) == ("20 labels", 20)
    assert cells[1].missing(out) == ()


def test_finished_runs_are_left_alone_and_other_settings_are_refused(finished, images):
    out, cells = finished
    train, test = images
    before = written(out)
    make_teacher("resnet14", train, test, out, 1, **OPTIONS)
    train_cell(cells[0], train, test, out, SCHEDULE, **OPTIONS)
    assert written(out) == before
    with pytest.raises(CheckpointError, match=r"schedule\.epochs \(2 there, 3 wanted\)"):
        train_cell(cells[0], train, test, out, replace(SCHEDULE, epochs=3), **OPTIONS)
    other = ImageSet(images=255 - train.images, labels=train.labels, classes=train.classes, name="other")
    with pytest.raises(CheckpointError, match="what differs: data"):
        train_cell(cells[0], other, test, out, SCHEDULE, **OPTIONS)
    assert written(out) == before


def test_finished_runs_need_no_saved_state(copied, images):
    """Runs of an earlier version, whose saved state cannot be read, count; other methods are added."""
    out, cell = copied
    for path in out.rglob("resume.pt"):
        path.rename(path.with_name("resume.safetensors"))
    before = written(out)
    train_cell(replace(cell, methods=(*METHODS, "pkt")), *images, out, SCHEDULE, **OPTIONS)
    after = written(out)
    assert {path: after[path] for path in before} == before
    assert {path.relative_to(out).parts[3] for path in after.keys() - before.keys()} == {"pkt"}


def test_a_teacher_that_is_trained_gets_its_head(copied, images):
    out, _ = copied
    folder = out / "teachers" / "resnet14"
    (folder / "labels" / "resume.pt").unlink()
    expected = load_checkpoint(folder / "head" / "teacher.safetensors").state_dict()
    before = written(folder / "labels")
    shutil.rmtree(folder / "head")
    with pytest.raises(CheckpointError, match=r"schedule\.epochs \(1 there, 2 wanted\)"):
        make_teacher("resnet14", *images, out, 2, **OPTIONS)
    make_teacher("resnet14", *images, out, 1, **OPTIONS)
    assert written(folder / "labels") == before
    again = load_checkpoint(folder / "head" / "teacher.safetensors").state_dict()
    assert all(again[name].equal(tensor) for name, tensor in expected.items())


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
    accuracies = {(r["method"], r["seed"]): r["last"] for r in read_results(tmp_path)}
    assert accuracies == {run: expected[run] for run in (("ce", 0), ("kd", 0))}

    (line,) = read_diverged(tmp_path)
    assert line.startswith("resnet14→resnet8, 20 labels: at, seed 0: ")
    assert "finite number" in line
    text = write_results(read_results(tmp_path), tmp_path, "…", [line])[2].read_text()
    assert f"- {line}" in text

    huge.clear()  # with the cause gone and its folder deleted, the method is trained again
    shutil.rmtree(cell.folder(tmp_path, "at"))
    train_cell(cell, *images, tmp_path, SCHEDULE, **OPTIONS)
    assert next(r["last"] for r in read_results(tmp_path) if r["method"] == "at") == expected["at", 0]


def test_a_plan_is_trained_cell_by_cell(finished, images, monkeypatch):
    out, cells = finished
    monkeypatch.setattr(module, "schedule_for", lambda name, epochs: replace(SCHEDULE, epochs=epochs))
    plan = Plan(table="similar", pairs=("resnet14:resnet8",), methods=METHODS, seeds=2, labels=20, epochs=2)
    before = written(out)
    assert list(train_cells(plan, *images, out, **OPTIONS)) == cells
    assert written(out) == before


def test_the_cost_counts_forwards_by_views_and_writes_nothing(images, tmp_path):
    cells = plan_cells("similar", ["resnet14:resnet8"], ("kd", "at", "ab", "sskd"), seeds=3, labels=20)
    lines: list[str] = []
    cost(cells, images[0], tmp_path, 50, lines.append, runtime=Runtime())
    # 50 epochs x 20 images x 3 seeds x views. Teacher: one pass for kd and at, one for ab (other maps), four
    # views for sskd. Students: 1 + 1 + 1 + 4.
    assert "0.018 million in the teachers, 0.021 million in the students" in lines[-1]
    assert not list(tmp_path.iterdir())


def test_numbers_that_a_paper_tuned_for_a_pair_are_taken(images, tmp_path):
    train, test = images
    make_teacher("resnet56", train, test, tmp_path, 1, **OPTIONS)
    assert teacher_file(tmp_path, "resnet56").exists()
    (cell,) = plan_cells("similar", ["resnet56:resnet20"], ["dkd"], seeds=1, labels=20)
    train_cell(cell, train, test, tmp_path, SCHEDULE, **OPTIONS)
    card = json.loads((cell.folder(tmp_path, "dkd") / "summary.json").read_text())["card"]
    assert card["plan"]["terms"]["dkd"] == {"weight": 1, "alpha": 1.0, "beta": 2.0, "temperature": 4.0}


def test_the_command_plans_without_writing(tmp_path):
    words = (
        "reproduce --table similar --dry-run --data fashion-mnist-lab --labels 100 --pairs resnet14:resnet8"
    )
    words += " --epochs 2 --methods ce kd --seeds 1 --device cpu --out"
    command = [sys.executable, "-m", "sskd_lib", *words.split(), str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 done, ce, kd to train" in done.stdout
    assert "students, in all:" in done.stdout
    assert not (tmp_path / "x").exists()
