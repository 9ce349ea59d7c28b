"""Training: one loop that equals a plain one, keeps what it must keep, and stops where it must stop."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.training import SETTINGS, metrics, networks, pictures, same, state, train, views_by_hand
from sskd_lib.data.views import draw
from sskd_lib.files import CheckpointError
from sskd_lib.losses import contrastive_loss, create_method, sskd_terms
from sskd_lib.losses.pretext import Contrastive
from sskd_lib.models.checkpoint import load_checkpoint, read_card
from sskd_lib.recipes import Recipe, Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill, train_head, train_teacher
from sskd_lib.training import prepare as preparing
from sskd_lib.training import train as training
from sskd_lib.training.resume import load_saved
from sskd_lib.training.state import TrainingError

KINDS = ("teacher", "head", "ce", "kd", "kd+rotations", "sskd")
TERMS = {
    "teacher": ["ce"],
    "head": ["contrastive"],
    "ce": ["ce"],
    "kd": ["ce", "kd"],
    "kd+rotations": ["ce", "kd", "tf"],
    "sskd": ["ce", "kd", "tf", "ss"],
}


# ---- the loop equals a plain one -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ce", "sskd", "head"])
def test_the_loop_equals_a_plain_one(kind):
    """Weights, means and accuracies against a loop written out, with an unfused SGD: batches of 8, 8, 5."""
    data, epochs = pictures(21), 4
    run = train(
        kind, data, seed=3, schedule=Schedule(epochs=epochs, batch_size=8, lr=0.02, milestones=(0.5,))
    )
    student, teacher = networks(data, seed=3)
    trained = teacher.head if kind == "head" else student
    student.train()
    teacher.eval()
    optimizer = torch.optim.SGD(trained.parameters(), lr=1, momentum=0.9, weight_decay=5e-4, fused=False)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.02 if epoch < 2 else 0.002
        generator = torch.Generator().manual_seed(3 * 1_000_003 + epoch)
        losses, hits, rows = 0.0, 0, 0
        order = torch.randperm(len(data), generator=generator)
        flip, corner = draw(len(data), generator)
        for part in torch.arange(len(data)).split(8):
            x, y = data.images[order[part]], data.labels[order[part]]
            views = views_by_hand(x, flip[part], corner[part], turns=1 if kind == "ce" else 4)
            if kind == "ce":
                logits = student(views).logits
                loss, right = F.cross_entropy(logits, y), logits.argmax(1) == y
            elif kind == "sskd":
                with torch.no_grad():
                    teacher_output = teacher(views)
                output = student(views)
                loss = sskd_terms(output, teacher_output, y, Recipe())["total"]
                right = output.logits[: len(y)].argmax(1) == y
            else:
                loss, right = contrastive_loss(teacher(views).projection, len(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(y)
            hits += right.sum().item()
            rows += 3 * len(y) if kind == "head" else len(y)
        record = run.history[epoch]
        assert record["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
        assert record["total"] == pytest.approx(losses / len(data), rel=1e-3)
        assert record["train_accuracy"] == pytest.approx(100 * hits / rows, abs=5)
    expected = (teacher if kind == "head" else student).state_dict()
    for name, tensor in run.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=5e-3, atol=5e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_weights_and_another_gives_others(kind):
    data = pictures(24)
    first, second = (train(kind, data, seed=1) for _ in range(2))
    assert same(state(first.network), state(second.network))
    strip = [{k: v for k, v in record.items() if k != "seconds"} for record in first.history]
    assert strip == [{k: v for k, v in record.items() if k != "seconds"} for record in second.history]
    assert not same(state(first.network), state(train(kind, data, seed=2).network))


def test_no_global_generator_is_touched(tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    for kind in ("teacher", "head", "sskd"):
        train(kind, pictures(16), pictures(16), out=tmp_path / kind)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


# ---- forwards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "views"), [("ce", 1), ("kd", 1), ("kd+rotations", 4), ("sskd", 4)])
def test_one_joint_forward_a_step(method, views):
    data = pictures(20)
    student, teacher = networks(data)
    calls: dict[str, list[tuple]] = {"student": [], "teacher": []}
    for name, network in (("student", student), ("teacher", teacher)):
        network.register_forward_hook(
            lambda module, inputs, output, name=name: calls[name].append(
                (len(inputs[0]), module.training, output.logits.requires_grad, inputs[0].data_ptr())
            )
        )
    teacher.train()  # a careless caller
    distill(
        student, teacher, data, method=method, **SETTINGS | {"schedule": Schedule(epochs=2, batch_size=8)}
    )
    rows = [views * size for size in (8, 8, 4)] * 2
    assert [call[:3] for call in calls["student"]] == [(n, True, True) for n in rows]
    expected = [] if method == "ce" else [(n, False, False) for n in rows]
    assert [call[:3] for call in calls["teacher"]] == expected
    if expected:  # both look at the very same pixels
        assert [call[3] for call in calls["teacher"]] == [call[3] for call in calls["student"]]


@pytest.mark.parametrize("method", ["kd", "kd+rotations", "sskd"])
def test_the_teacher_is_left_as_it_was(method):
    data = pictures(24)
    student, teacher = networks(data)
    before = state(teacher)
    distill(student, teacher, data, data, method=method, **SETTINGS)
    assert same(state(teacher), before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())


def test_training_the_head_leaves_the_backbone_as_it_was():
    data = pictures(24)
    _, teacher = networks(data)
    teacher.train()  # a careless caller
    before = state(teacher)
    run = train_head(teacher, data, data, **SETTINGS)
    after = state(run.network)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) != name.startswith("head.")
    assert all(parameter.grad is None for parameter in teacher.backbone.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [41, 1])
def test_a_last_batch_of_one_image(kind, count):
    if count == 1 and kind in ("head", "sskd"):  # which compare the images of a batch
        with pytest.raises(ValueError, match="every answer would be right"):
            train(kind, pictures(count))
        return
    run = train(kind, pictures(count), schedule=Schedule(epochs=2, batch_size=8))
    assert all(math.isfinite(value) for record in run.history for value in record.values())
    assert all(0 <= record["train_accuracy"] <= 100 for record in run.history)


# ---- records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_epoch_has_its_record(kind, tmp_path):
    run = train(kind, pictures(24), pictures(16, seed=5), out=tmp_path)
    figures = ["test_accuracy"] if kind == "head" else ["test_accuracy", "test_loss"]
    keys = ["epoch", "lr", *TERMS[kind], "total", "train_accuracy", *figures, "seconds"]
    assert [list(record) for record in run.history] == [keys] * 3
    assert [record["epoch"] for record in run.history] == [1, 2, 3]
    assert metrics(tmp_path) == run.history
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(run.summary))
    weights = {"ce": 0.1, "kd": 0.9, "tf": 2.7, "ss": 10.0} if len(TERMS[kind]) > 1 else {TERMS[kind][0]: 1.0}
    for record in run.history:
        assert record["total"] == pytest.approx(sum(weights[t] * record[t] for t in TERMS[kind]), rel=1e-4)


def test_evaluate_every_and_no_test_set():
    data = pictures(16)
    run = train("ce", data, data, evaluate_every=2, schedule=Schedule(epochs=5, batch_size=8))
    assert [r["epoch"] for r in run.history if "test_accuracy" in r] == [2, 4, 5]
    run = train("ce", data)
    assert not any("test_accuracy" in record for record in run.history)
    assert run.summary["best"] is None and run.summary["last"] == run.history[-1]


def test_the_last_epoch_is_the_result_and_the_best_is_recorded(tmp_path, monkeypatch):
    states = []

    def evaluate(network, data, runtime):
        states.append(state(network))
        return {"accuracy": [50.0, 90.0, 90.0, 40.0][len(states) - 1], "loss": 1.0}

    monkeypatch.setattr(preparing, "evaluate", evaluate)
    run = train("sskd", pictures(16), pictures(16), out=tmp_path, schedule=Schedule(epochs=4, batch_size=8))
    assert run.summary["best"] == run.history[1] and run.summary["last"] == run.history[3]
    assert same(state(run.network), states[3]) and not same(states[3], states[1])
    assert same(state(load_checkpoint(tmp_path / "student.safetensors")), states[3])
    assert not run.network.training


def test_the_card_says_how_the_weights_came_about(tmp_path):
    data, test = pictures(24), pictures(16, seed=5)
    runtime = Runtime(dtype=torch.bfloat16, channels_last=True)
    recipe = Recipe(ss=5.0)
    run = train("sskd", data, test, out=tmp_path, seed=4, runtime=runtime, recipe=recipe)
    card = read_card(tmp_path / "student.safetensors")
    assert card["kind"] == "student" and card["method"] == "sskd" and card["teacher"] == "resnet8"
    assert card["plan"]["recipe"] == dataclasses.asdict(recipe)
    assert card["plan"]["seed"] == 4 and card["plan"]["schedule"]["epochs"] == 3
    assert card["plan"]["data"] == data.fingerprint() and card["plan"]["test"] == test.fingerprint()
    assert card["train"] == {"name": "pictures", "images": 24} and card["test"]["images"] == 16
    assert card["versions"]["torch"] == torch.__version__ and card["versions"].keys() >= {
        "python",
        "sskd_lib",
    }
    assert card["runtime"]["dtype"] == "bfloat16" and card["runtime"]["channels_last"] is True
    assert card["last"] == run.history[-1] and card["best"] in run.history
    assert len(card["date"]) == 10 and card["seconds"] >= 0
    assert same(state(load_checkpoint(tmp_path / "student.safetensors")), state(run.network))
    assert "teacher" not in {k for k, v in train("ce", data).summary["card"].items() if v}  # none took part


def test_the_bar_shows_accuracy_and_the_time_left(capfd):
    train("kd", pictures(16), pictures(16), progress=True)
    text = capfd.readouterr().err
    assert "kd: 100%" in text and "6/6" in text and "train_accuracy=" in text and "test_accuracy=" in text
    assert "<00:00" in text  # elapsed<left
    train("kd", pictures(16))
    assert capfd.readouterr().err == ""


# ---- numbers that are not finite -----------------------------------------------------------------


def poison(monkeypatch, kind: str, term: str, step: int, value: float) -> None:
    """From its `step`-th call on (counted from 0), a term is not finite, nor is the total."""
    calls = []

    def now() -> bool:
        calls.append(None)
        return len(calls) > step

    def spoil(terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if now():
            spoilt = terms[term] * value
            return terms | {term: spoilt, "total": terms["total"] + spoilt}
        return terms

    if kind == "head":
        forward = Contrastive.forward
        monkeypatch.setattr(Contrastive, "forward", lambda *arguments: spoil(forward(*arguments)))
        return

    def bad_method(name, recipe=None):
        method = create_method(name, recipe)
        forward = method.forward
        method.forward = lambda *arguments: spoil(forward(*arguments))
        return method

    for module in (preparing, training):
        monkeypatch.setattr(module, "create_method", bad_method)


@pytest.mark.parametrize(("kind", "term"), [(kind, term) for kind in KINDS for term in TERMS[kind]])
def test_the_first_term_that_is_not_finite_is_named(kind, term, tmp_path, monkeypatch):
    """In the eighth step, three an epoch: epoch 2 stays, and the run goes on once the cause is gone."""
    value = math.nan if term in ("ce", "tf") else math.inf
    with monkeypatch.context() as patch:
        poison(patch, kind, term, step=7, value=value)
        with pytest.raises(TrainingError) as error:
            train(kind, pictures(24), out=tmp_path)
    message = str(error.value)
    assert f"the loss term {term} stopped being a finite number in epoch 3, step 2 (learning rate" in message
    assert f"kept in {tmp_path}" in message and "a lower lr" in message
    assert [record["epoch"] for record in metrics(tmp_path)] == [1, 2]
    assert not (tmp_path / "summary.json").exists()
    resumed = train(kind, pictures(24), out=tmp_path)
    assert same(state(resumed.network), state(train(kind, pictures(24)).network))


@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_learning_rate_stops_the_run(kind, tmp_path):
    schedule = Schedule(epochs=30, batch_size=8, lr=1e9, momentum=0.99, milestones=())
    with pytest.raises(TrainingError, match="stopped being a finite number in epoch"):
        train(kind, pictures(24), pictures(16), out=tmp_path, schedule=dataclasses.replace(schedule, lr=1e36))
    for record in metrics(tmp_path):
        assert all(math.isfinite(value) for value in record.values())
    if kind != "head":  # its loss is bounded: cosines of however large numbers
        with pytest.raises(TrainingError, match="stopped being a finite number in epoch"):
            train(kind, pictures(24), pictures(16), schedule=schedule)


def test_weights_that_are_not_finite_stop_the_run_though_the_loss_was(tmp_path):
    # One step: the loss is computed before it.
    schedule = Schedule(epochs=1, batch_size=64, lr=1e39, milestones=())
    with pytest.raises(TrainingError, match="a weight stopped being a finite number in epoch 1"):
        train("ce", pictures(24), out=tmp_path, schedule=schedule)
    assert metrics(tmp_path) == [] and load_saved(tmp_path / "resume.pt")["history"] == []


def test_a_test_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "evaluate", lambda *_: {"accuracy": 10.0, "loss": math.inf})
    with pytest.raises(TrainingError, match="test_loss, measured on the test images, stopped being"):
        train("ce", pictures(24), pictures(16), out=tmp_path)
    assert metrics(tmp_path) == []


def test_weights_that_are_finite_but_give_no_figures_stop_the_run(tmp_path):
    """The test figures are the first to overflow: no IndexError from a calibration of NaN."""
    schedule = Schedule(epochs=1, batch_size=64, lr=1e12, milestones=())
    with pytest.raises(TrainingError, match="test_loss.*measured on the test images, stopped being a finite"):
        train("ce", pictures(24), pictures(16), out=tmp_path, schedule=schedule)
    assert metrics(tmp_path) == []


# ---- errors --------------------------------------------------------------------------------------


def test_networks_that_do_not_fit_are_refused():
    data = pictures(16)
    student, teacher = networks(data)
    bare = create_network("resnet8", data)
    colour, ten = pictures(16, channels=3), pictures(20, classes=10)
    cases = [
        (lambda: distill(bare, teacher, data, **SETTINGS), "head on the student.*projection=True"),
        (lambda: distill(student, bare, data, **SETTINGS), "teacher's projection head.*train_head"),
        (lambda: distill(student, None, data, method="kd", **SETTINGS), "'kd' needs a teacher.*--teacher"),
        (lambda: train_head(bare, data, **SETTINGS), "no projection head.*projection=True"),
        (
            lambda: train_teacher(student, colour, **SETTINGS),
            "student .*1 channel.*3 channels",
        ),
        (lambda: train_teacher(student, ten, **SETTINGS), "4 classes.*has 1 and 10.*create_network"),
        (lambda: train_head(teacher, ten, **SETTINGS), "the teacher .*4 classes"),
        (lambda: train_teacher(student, data, ten, **SETTINGS), "student .*4 classes.*has 1 and 10"),
        (lambda: train_head(teacher, data, colour, **SETTINGS), "the teacher .*1 channel.*3 channels"),
        (
            lambda: distill(create_network("resnet8", ten), teacher, ten, method="kd", **SETTINGS),
            "the teacher .*4 classes",
        ),
        (lambda: distill(student, teacher, data, method="skd", **SETTINGS), "Did you mean .*The methods are"),
        (lambda: create_network("resnet9", data), "Did you mean 'resnet8'.*The models are"),
        (lambda: train_teacher(student, data, evaluate_every=0, **SETTINGS), "evaluate_every .*at least 1"),
        (lambda: Schedule(epochs=0), "epochs .*at least 1"),
        (lambda: data.take(99), "needs .* images of the class"),
    ]
    before = state(student), state(teacher)
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()
    assert same(state(student), before[0]) and same(state(teacher), before[1])
    student.spec = {}
    with pytest.raises(ValueError, match="no spec.*create_network"):
        train_teacher(student, data, **SETTINGS)


def test_kd_and_its_rotations_need_no_head():
    data = pictures(16)
    teacher = create_network("resnet8", data, seed=1)
    for method in ("ce", "kd", "kd+rotations"):
        distill(create_network("resnet8", data), teacher, data, method=method, **SETTINGS)
    distill(create_network("resnet8", data), teacher, data, recipe=Recipe(ss=0), **SETTINGS)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write .*file is a file, where a folder is needed"):
        train("ce", pictures(16), out=tmp_path / "file")


def test_finished_weights_under_a_resume_file_of_another_kind(tmp_path):
    train("teacher", pictures(16), out=tmp_path)
    with pytest.raises(CheckpointError, match=r"kind \(teacher there, head wanted\)"):
        train("head", pictures(16), out=tmp_path)
