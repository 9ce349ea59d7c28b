"""The plan of a table: its cells, its parts, what is left to do, and the teachers it needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.reproduced import METHODS
from sskd_lib.losses import Batch, create_method
from sskd_lib.models import MODELS, create_model
from sskd_lib.models.network import Network
from sskd_lib.reproduce.plan import TABLES, Plan, describe_plan, plan_cells


def test_the_tables_are_the_papers():
    similar, cross = plan_cells("similar", seeds=1), plan_cells("cross", seeds=1)
    assert [cell.pair.name for cell in similar][:2] == ["wrn_40_2→wrn_16_2", "wrn_40_2→wrn_40_1"]
    assert (len(similar), len(cross)) == (5, 6)
    assert {"kd", "crd", "sskd", "ft"} < set(similar[0].methods)
    assert len(similar[0].methods) == 12
    assert [c.condition for c in plan_cells("few-shot", seeds=1)] == ["25%", "50%", "75%", "100%"]
    for table in TABLES:
        for cell in plan_cells(table, seeds=1):
            for name in (cell.pair.teacher, cell.pair.student):
                assert name in MODELS


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_parts_of_a_plan_are_the_whole_plan_once(parts):
    whole = plan_cells("cross", seeds=2)
    divided = [cell for i in range(parts) for cell in plan_cells("cross", seeds=2, shard=f"{i + 1}/{parts}")]
    assert sorted(map(str, divided)) == sorted(map(str, whole))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": "tabel"}, "The tables are: similar"),
        ({"table": "pretexts"}, "The tables are"),
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
    with pytest.raises(ValueError, match=message):
        Plan(**arguments).cells()


def test_conditions_change_the_images(images):
    train, _ = images
    few, noisy = plan_cells("few-shot", seeds=1)[0], plan_cells("noisy", seeds=1)[-1]
    assert len(few.images(train)) == 10
    wrong = (noisy.images(train).labels != train.labels).float().mean()
    assert wrong == pytest.approx(0.5)
    assert len(plan_cells("similar", labels=20, seeds=1)[0].images(train)) == 20


def test_the_plan_says_what_is_left(finished, tmp_path):
    out, cells = finished
    assert describe_plan(cells, out).endswith("teachers to train: none")
    assert "4 done, nothing to train" in describe_plan(cells, out)
    more = [replace(cells[0], methods=(*METHODS, "dkd"))]
    assert "4 done, dkd to train" in describe_plan(more, out)
    assert describe_plan(cells, tmp_path).endswith("teachers to train: resnet14")
    pretext = [replace(cells[0], methods=("sskd-jigsaw",))]
    assert describe_plan(pretext, out).endswith("resnet14 with a head for the task jigsaw")


def test_a_run_counts_as_finished_with_summary_and_weights(finished, tmp_path):
    _, (cell, _) = finished
    folder = cell.folder(tmp_path, "kd")
    folder.mkdir(parents=True)
    (folder / "summary.json").touch()
    assert cell.finished(tmp_path) == ()
    (folder / "student.safetensors").touch()
    assert cell.finished(tmp_path) == ("kd",)
    assert cell.missing(tmp_path) == ("sskd", "ce", "at")


def test_one_of_several_machines_needs_the_teachers_first(finished, tmp_path):
    out, _ = finished
    plan = Plan(table="similar", pairs=("resnet14:resnet8",), methods=("kd",), seeds=2, shard="2/2")
    plan.require_teachers(out)
    with pytest.raises(ValueError, match=r"resnet14 with a head for the task contrastive .* without --shard"):
        plan.require_teachers(tmp_path)
    replace(plan, shard="1/1").require_teachers(tmp_path)  # a machine alone trains them itself


@pytest.mark.parametrize("table", ["similar", "cross"])
def test_every_method_of_a_table_fits_every_pair_of_it(table):
    """A term that no connector could lead from one network to the other would end the whole cell."""
    cells = plan_cells(table, seeds=1)
    names = {name for cell in cells for name in (cell.pair.teacher, cell.pair.student)}
    outputs = {}
    x = torch.rand(2, 3, 32, 32)
    for name in names:
        network = Network(create_model(name), mean=(0.5,) * 3, std=(0.2,) * 3).eval()
        with torch.no_grad():
            outputs[name] = {kind: network(x, maps=kind) for kind in (None, "post_relu", "pre_relu")}
    batch = Batch(labels=torch.tensor([0, 1]), index=torch.tensor([0, 1]))
    for cell in cells:
        for method in map(create_method, (*cell.methods, "nst", "cc", "reviewkd", "dkd")):
            if method.terms:
                kinds = {cell.pair.student: method.needs.maps, cell.pair.teacher: method.needs.teacher_maps}
                pair = [outputs[name][kind] for name, kind in kinds.items()]
                method.setup(*pair, torch.arange(4) % 2)
                assert method(*pair, batch)["total"].isfinite(), (cell.pair.name, method.name)
