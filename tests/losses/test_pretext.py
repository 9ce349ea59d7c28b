"""The pretext tasks: targets, the heads that learn them, and the methods that imitate these heads."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.outputs import random_output
from helpers.training import same
from sskd_lib.data.batch import Batch
from sskd_lib.data.images import ImageSet
from sskd_lib.data.load import DATA_FOLDER, load_images
from sskd_lib.data.views import four_views
from sskd_lib.evaluation import contrastive_accuracy, pretext_accuracy
from sskd_lib.losses import PRETEXTS, TASKS, create_method, create_task
from sskd_lib.losses.hsakd import HSAKD
from sskd_lib.losses.pretext import Imitation
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.models.heads import StageClassifiers
from sskd_lib.models.network import Output
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill, loop, train_head
from sskd_lib.training.state import Run
from sskd_lib.training.teacher_cache import cache_teacher

CLASSIFYING = tuple(task for task in TASKS if task != "contrastive")
SHORT = Schedule(epochs=3, batch_size=8, lr=0.02)
PLAIN = {"runtime": Runtime(), "progress": False, "save_seconds": 0}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("fashion-mnist-lab").take(20)


def teacher_for(task: str, images: ImageSet, schedule: Schedule = SHORT, **options) -> Run:
    teacher = create_network("resnet14", images, projection=True, seed=1)
    return train_head(teacher, images, schedule=schedule, task=task, **PLAIN | options)


@contextmanager
def cut_off(monkeypatch):
    """A training in here ends right after its second epoch was saved."""
    save, count = loop.save_state, []

    def save_and_stop(state):
        save(state)
        count.append(state)
        if len(count) == 2:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", save_and_stop)
        with pytest.raises(InterruptedError):
            yield


def log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


# ---- targets -------------------------------------------------------------------------------------


def test_targets_by_hand():
    """Two images, of classes 2 and 0, which are numbers 7 and 3 of the training set."""
    batch = Batch(torch.tensor([2, 0]), torch.tensor([7, 3]), torch.tensor([[5, 0, 23], [1, 2, 3]]))
    assert {task: create_task(task).targets(batch).tolist() for task in CLASSIFYING} == {
        "exemplar": [7, 3, 7, 3, 7, 3, 7, 3],
        "jigsaw": [5, 1, 0, 2, 23, 3],
        "rotation": [0, 0, 1, 1, 2, 2, 3, 3],
        "joint": [8, 0, 9, 1, 10, 2, 11, 3],
    }
    assert [create_task(task).classes(50, 10) for task in CLASSIFYING] == [50, 24, 4, 40]
    with pytest.raises(ValueError, match="contrastive, exemplar, jigsaw, rotation, joint"):
        create_task("rotations")


@pytest.mark.parametrize("name", CLASSIFYING)
def test_the_loss_of_a_head_is_the_mean_log_probability_of_its_targets(name):
    task, g = create_task(name), torch.Generator().manual_seed(2)
    permutation = torch.randint(0, 24, (3, 3), generator=g)
    batch = Batch(torch.tensor([1, 0, 2]), torch.tensor([4, 0, 2]), permutation)
    shape = (2, task.classes(5, 3)) if name == "joint" else (task.classes(5, 3),)
    output = random_output(12, 1, projection=shape)
    targets = task.targets(batch).numpy()
    stages = output.projection.view(12, -1, shape[-1]).numpy()[-len(targets) :]
    rows = np.arange(len(targets))
    expected = sum(-log_softmax(stages[:, s])[rows, targets].mean() for s in range(stages.shape[1]))
    terms = task(output, None, batch)
    assert set(terms) == {name, "total"} and terms["total"].item() == pytest.approx(expected, rel=1e-5)
    hits = (stages[:, -1].argmax(1) == targets).sum()
    assert task.count_correct(output, batch).item() == hits


# ---- imitation of a head -------------------------------------------------------------------------


def kl(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """τ² Σ p (log p - log q), mean over rows, in float64."""
    p, q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return temperature**2 * (np.exp(p) * (p - q)).sum(-1).mean()


def pair(*projection: int, rows: int = 12) -> tuple[Output, Output, Batch]:
    student, teacher = (random_output(rows, seed, projection=projection) for seed in (1, 2))
    return student, teacher, Batch(torch.arange(rows // 4))


@pytest.mark.parametrize("task", ["exemplar", "jigsaw", "rotation"])
def test_the_imitated_head_against_numpy_and_only_the_student_learns(task):
    student, teacher, batch = pair(9)
    teacher.projection.requires_grad_()
    term = Imitation(1.0, task, temperature=3.0)
    term.setup(student, teacher, batch.labels)
    value = term(student, teacher, batch)
    first = 3 if task == "jigsaw" else 0  # upright views are no puzzle
    scores = term.head(student.features).detach().numpy()[first:]
    expected = kl(scores, teacher.projection.detach().numpy()[first:], 3.0)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    value.backward()
    assert all(p.grad.abs().sum() > 0 for p in term.parameters()) and teacher.projection.grad is None


def test_hsakd_against_numpy():
    student, teacher, batch = pair(3, 20)
    term = HSAKD()
    term.setup(student, teacher, batch.labels)
    joint = term.auxiliary(student.maps).detach().numpy()
    assert joint.shape == (12, 3, 20)
    expected = sum(kl(joint[:, s], teacher.projection.numpy()[:, s], 3.0) for s in range(3))
    expected += kl(student.logits.numpy(), teacher.logits.numpy(), 3.0)
    assert term(student, teacher, batch).item() == pytest.approx(expected, rel=1e-4)


def test_hsakd_of_equal_networks_with_equal_classifiers_is_nothing():
    student, _, batch = pair(3, 20)
    term = HSAKD()
    term.setup(student, student, batch.labels)
    equal = student._replace(projection=term.auxiliary(student.maps).detach())
    assert term(student, equal, batch).item() == pytest.approx(0, abs=1e-5)


def test_classifiers_of_stages_end_where_their_network_ends():
    stages = [[4, 8, 8], [6, 4, 4], [5, 4, 4]]
    head = StageClassifiers(stages, 12)
    found = head([torch.zeros(2, 1, 8, 8), *(torch.randn(2, *stage) for stage in stages)])
    assert found.shape == (2, 3, 12)
    with torch.no_grad():
        both = zip(head.branches, stages, strict=True)
        ends = [branch(torch.randn(2, *stage)).shape for branch, stage in both]
    assert ends == [(2, 5, 4, 4)] * 3


# ---- a teacher's head -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", CLASSIFYING)
def test_a_head_learns_its_task_and_the_rest_stays(task, images):
    """On a shipped network and 20 images: well above chance on these, the backbone as it was, bit for bit."""
    network = load_checkpoint(DATA_FOLDER / "weights/fashion-mnist/student_resnet8_ce.safetensors")
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    schedule = Schedule(epochs=25, batch_size=20, lr=0.1, weight_decay=0.0)
    run = train_head(network, images, schedule=schedule, task=task, **PLAIN)
    chance = 100 / create_task(task).classes(20, 10)
    losses = [record[task] for record in run.history]
    assert losses[-1] < losses[0] and run.history[-1]["train_accuracy"] > 1.5 * chance
    assert same(before, run.network.backbone.state_dict())


@pytest.mark.parametrize("task", CLASSIFYING)
def test_a_head_is_saved_loaded_and_resumed_exactly(task, images, tmp_path, monkeypatch):
    whole = teacher_for(task, images)
    out = tmp_path / task
    with cut_off(monkeypatch):
        teacher_for(task, images, out=out)
    again = teacher_for(task, images, out=out)
    assert [r[task] for r in again.history] == [r[task] for r in whole.history]
    loaded = load_checkpoint(out / "teacher.safetensors")
    assert (loaded.task, loaded.training) == (task, False)
    x = four_views(images.images)
    torch.testing.assert_close(loaded(x).projection, whole.network(x).projection, rtol=0, atol=0)


def test_accuracy_on_other_images_is_counted_over_all_views_or_refused(images):
    """Jigsaw and rotation against a plain count; the exemplar task knows its own images only."""
    run = teacher_for("rotation", images, test=images)
    views = four_views(images.images[:8], augment=False)
    with torch.no_grad():
        right = run.network(views).projection.argmax(1) == torch.arange(4).repeat_interleave(8)
    eight = replace(images, images=images.images[:8], labels=images.labels[:8])
    assert pretext_accuracy(run.network, eight, 8) == pytest.approx(100 * right.float().mean().item())
    assert 0 <= pretext_accuracy(teacher_for("jigsaw", images).network, images, 10) <= 100
    with pytest.raises(ValueError, match="cannot be measured on others"):
        pretext_accuracy(teacher_for("exemplar", images).network, images)
    with pytest.raises(ValueError, match=r"no projection head \(its head is for the task 'rotation'\)"):
        contrastive_accuracy(run.network, images, 10)
    assert "test_accuracy" not in teacher_for("exemplar", images, test=images).history[-1]


def test_an_unknown_task_and_a_second_head(images):
    run = teacher_for("rotation", images)
    with pytest.raises(ValueError, match="the tasks are: contrastive, exemplar, jigsaw, rotation, joint"):
        train_head(run.network, images, task="rotations", **PLAIN)
    with pytest.raises(ValueError, match="no projection head"):
        train_head(run.network, images, **PLAIN)
    head = run.network.head
    head.trained_from = None  # which is what a person sets to go on with a trained head
    train_head(run.network, images, schedule=SHORT, task="rotation", **PLAIN)
    assert run.network.head is head  # goes on with the one it has
    train_head(run.network, images, schedule=SHORT, task="jigsaw", **PLAIN)
    assert run.network.spec["projection"] == {"task": "jigsaw", "outputs": 24}


# ---- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRETEXTS)
def test_a_student_learns_and_is_resumed_exactly(name, images, tmp_path, monkeypatch):
    teacher = teacher_for(create_method(name).task, images).network
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}

    def train(**options):
        student = create_network("resnet8", images, seed=0)
        return distill(student, teacher, images, method=name, schedule=SHORT, **PLAIN | options)

    whole = train()
    with cut_off(monkeypatch):
        train(out=tmp_path)
    again = train(out=tmp_path)
    assert same(whole.network.state_dict(), again.network.state_dict()) and same(before, teacher.state_dict())
    term = "hsakd" if name == "hsakd" else name.removeprefix("sskd-")
    losses = [record[term] for record in whole.history]
    assert losses[-1] < losses[0] and all(math.isfinite(loss) for loss in losses)
    student = create_network("resnet8", images)
    assert whole.network.state_dict().keys() == student.state_dict().keys()  # the head is no part of it


def test_jigsaws_and_rotations_side_by_side_end_as_alone(images):
    """The teacher has two passes then, one over each kind of views."""
    teacher = teacher_for("jigsaw", images).network
    names = ["kd", "kd+rotations", "sskd-jigsaw"]
    options = {"schedule": SHORT, **PLAIN}
    students = [create_network("resnet8", images) for _ in names]
    together = distill(students, teacher, images, method=names, **options)
    for name, run in zip(names, together, strict=True):
        student = create_network("resnet8", images)
        alone = distill(student, teacher, images, method=name, **options)
        assert [r["total"] for r in alone.history] == [r["total"] for r in run.history]


@pytest.mark.parametrize("name", [*PRETEXTS, "sskd"])
def test_another_head_and_a_table_are_refused(name, images, tmp_path):
    method = create_method(name)
    task = "jigsaw" if method.task == "rotation" else "rotation"
    teacher = teacher_for(task, images).network
    student = create_network("resnet8", images, projection=method.needs_projection)
    with pytest.raises(
        ValueError, match=f"for the task '{method.task}', and this teacher has one for .*{task}"
    ):
        distill(student, teacher, images, method=name, **PLAIN)
    with pytest.raises(ValueError, match=f"head is for the task '{task}'"):
        cache_teacher(teacher, images, tmp_path / "table", draws=1, runtime=Runtime())
    if name in PRETEXTS:
        plain = create_network("resnet14", images, projection=True)
        table = cache_teacher(plain, images, tmp_path / "table", draws=1, runtime=Runtime())
        with pytest.raises(ValueError, match="Give the teacher itself"):
            distill(student, None, images, method=name, table=table, **PLAIN)
