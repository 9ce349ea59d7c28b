"""The table of pretext tasks: one teacher with a head for each of them."""

from __future__ import annotations

import json

import torch

from sskd_lib.data.load import load_images
from sskd_lib.losses import PRETEXTS, TASKS
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.recipes import Schedule
from sskd_lib.reproduce.cells import make_teacher, train_cell
from sskd_lib.reproduce.plan import plan_cells, teacher_file
from sskd_lib.reproduce.results import read_results
from sskd_lib.runtime.device import Runtime


def test_the_table_of_pretexts_makes_a_head_for_each_task(tmp_path):
    options = {"runtime": Runtime(), "progress": False}
    train = load_images("fashion-mnist-lab").take(20)
    test = train.take(10)
    (cell,) = plan_cells("pretext", ["resnet14:resnet8"], [*PRETEXTS, "sskd", "ce"], seeds=1, labels=20)
    for task in TASKS:
        make_teacher("resnet14", train, test, tmp_path, 1, task, **options)
    train_cell(cell, train, test, tmp_path, Schedule(epochs=1, batch_size=8, lr=0.02), **options)
    assert [r["method"] for r in read_results(tmp_path)] == ["ce", "sskd", *PRETEXTS]
    weights = {task: load_checkpoint(teacher_file(tmp_path, "resnet14", task)) for task in TASKS}
    first = weights["contrastive"].backbone.state_dict()
    for network in weights.values():  # one teacher, several heads
        assert all(torch.equal(tensor, first[key]) for key, tensor in network.backbone.state_dict().items())
    card = json.loads((cell.folder(tmp_path, "sskd-jigsaw") / "summary.json").read_text())["card"]
    assert card["plan"]["terms"]["jigsaw"] == {"weight": 2.7, "task": "jigsaw", "temperature": 4.0}
