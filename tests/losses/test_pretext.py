"""The pretext tasks: views and answers, the heads that learn them, and the methods that imitate these."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import sskd_lib as sskd
from sskd_lib.data.views import Draws, centre, cut_jigsaw, frame
from sskd_lib.evaluation import pretext_accuracy
from sskd_lib.losses import PRETEXTS, PairOutputs, create_method, pretext_loss, pretext_targets
from sskd_lib.losses.hsakd import HSAKD
from sskd_lib.losses.pretext import Imitated
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.models.heads import TASKS, StageClassifiers, pretext_classes
from sskd_lib.reproduce.cells import make_teacher, plan_cells, read_results, teacher_file, train_cell
from sskd_lib.training import loop
from sskd_lib.training.table import cache_teacher

CLASSIFYING = tuple(task for task in TASKS if task != "contrastive")
SHORT = sskd.Schedule(epochs=3, batch_size=8, lr=0.02)
PLAIN = {"runtime": sskd.Runtime(), "progress": False, "save_seconds": 0}
SEED = torch.Generator


@pytest.fixture(scope="module")
def images() -> sskd.ImageSet:
    return sskd.load_images("fashion-mnist-lab").take(20)


def teacher_for(task: str, images: sskd.ImageSet, schedule: sskd.Schedule = SHORT, **options) -> sskd.Run:
    teacher = sskd.create_network("resnet14", images, projection=True, seed=1)
    return sskd.train_head(teacher, images, schedule=schedule, task=task, **PLAIN | options)


@contextmanager
def cut_off(monkeypatch):
    """A training in here ends right after its second epoch was saved."""
    save, saved = loop.save_state, []

    def save_and_stop(job):
        save(job)
        saved.append(job)
        if len(saved) == 2:
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(loop, "save_state", save_and_stop)
        yield


def log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


# ---- views and answers ----------------------------------------------------------------------------


def test_a_jigsaw_lays_the_quarters_in_the_drawn_order():
    """Against slices of numpy: the n-th quarter of the picture is the quarter that the order names."""
    g = SEED().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 3, 12, 12), generator=g, dtype=torch.uint8)
    order = torch.randint(0, 24, (5, 3), generator=g)
    draws = Draws(
        torch.tensor([True, False, True, False, False]), torch.randint(0, 9, (5, 4, 2), generator=g)
    )
    found = cut_jigsaw(frame(pixels), draws, order, (12, 12)).view(4, 5, 3, 12, 12)
    for b, v in itertools.product(range(5), range(4)):
        image = np.pad(pixels[b].numpy(), ((0, 0), (4, 4), (4, 4)))
        image = image[:, :, ::-1] if draws.flip[b] else image
        top, left = draws.corner[b, v]
        window = image[:, top : top + 12, left : left + 12] / np.float32(255)
        if v > 0:
            quarters = [window[:, y : y + 6, x : x + 6] for y in (0, 6) for x in (0, 6)]
            a, b_, c, d = (quarters[q] for q in list(itertools.permutations(range(4)))[order[b, v - 1]])
            window = np.concatenate([np.concatenate([a, b_], 2), np.concatenate([c, d], 2)], 1)
        np.testing.assert_array_equal(found[v, b].numpy(), window)


def test_order_0_leaves_an_image_as_it_is_and_odd_sides_are_refused():
    pixels = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=SEED().manual_seed(1))
    found = sskd.four_views(pixels, augment=False, order=torch.zeros(2, 3, dtype=torch.int64))
    torch.testing.assert_close(found, (pixels / 255).repeat(4, 1, 1, 1), rtol=0, atol=0)
    with pytest.raises(ValueError, match="even sides, but these are 7 x 7"):
        cut_jigsaw(frame(pixels[..., :7, :7]), centre(2), torch.zeros(2, 3, dtype=torch.int64), (7, 7))


def test_answers_by_hand():
    """Two images, of classes 2 and 0, which are numbers 7 and 3 of the training set."""
    given = (torch.tensor([2, 0]), torch.tensor([7, 3]), torch.tensor([[5, 0, 23], [1, 2, 3]]))
    found = {task: pretext_targets(task, *given).tolist() for task in CLASSIFYING}
    assert found == {
        "exemplar": [7, 3, 7, 3, 7, 3, 7, 3],
        "jigsaw": [5, 1, 0, 2, 23, 3],
        "rotation": [0, 0, 1, 1, 2, 2, 3, 3],
        "joint": [8, 0, 9, 1, 10, 2, 11, 3],
    }
    assert [pretext_classes(task, 50, 10) for task in CLASSIFYING] == [50, 24, 4, 40]
    with pytest.raises(ValueError, match="exemplar, jigsaw, rotation, joint"):
        pretext_targets("contrastive", *given)


@pytest.mark.parametrize("task", CLASSIFYING)
def test_what_a_head_is_taught_is_the_mean_log_probability_of_the_answers(task):
    g = SEED().manual_seed(2)
    labels, index, order = torch.tensor([1, 0, 2]), torch.tensor([4, 0, 2]), torch.randint(0, 24, (3, 3))
    classes = pretext_classes(task, 5, 3)
    said = torch.randn(12, *([2] if task == "joint" else []), classes, generator=g)
    loss, hits = pretext_loss(task, said, labels, index, order)
    targets = pretext_targets(task, labels, index, order).numpy()
    stages = said.view(12, -1, classes).numpy()[-len(targets) :]
    rows = np.arange(len(targets))
    expected = sum(-log_softmax(stages[:, s])[rows, targets].mean() for s in range(stages.shape[1]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert int(hits) == (stages[:, -1].argmax(1) == targets).sum()


# ---- what a student imitates ----------------------------------------------------------------------


def kl(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """τ² Σ p (log p - log q), mean over rows, in float64."""
    p, q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return temperature**2 * (np.exp(p) * (p - q)).sum(-1).mean()


def outputs(rows: int, seed: int, said: tuple[int, ...]) -> sskd.Output:
    g = SEED().manual_seed(seed)
    maps = tuple(torch.randn(rows, c, 8 // d, 8 // d, generator=g) for c, d in ((3, 1), (4, 1), (6, 2)))
    logits = torch.randn(rows, 5, generator=g)
    return sskd.Output(logits, torch.randn(rows, *said, generator=g), torch.randn(rows, 7, generator=g), maps)


@pytest.mark.parametrize("task", ["exemplar", "jigsaw", "rotation"])
def test_the_imitated_head_against_numpy_and_only_the_student_learns(task):
    student, teacher = outputs(12, 0, (9,)), outputs(12, 1, (9,))
    teacher.projection.requires_grad_()
    term = Imitated(PairOutputs(student=student, teacher=teacher, labels=torch.arange(3)), task, 3.0)
    found = term(student, teacher, torch.arange(3), torch.arange(3))
    first = 3 if task == "jigsaw" else 0  # upright views are no puzzle
    ours = term.head(student.features).detach().numpy()[first:]
    assert found.item() == pytest.approx(kl(ours, teacher.projection.detach().numpy()[first:], 3.0), rel=1e-4)
    found.backward()
    assert all(p.grad.abs().sum() > 0 for p in term.parameters())


def test_hsakd_against_numpy():
    student, teacher = outputs(12, 0, (2, 20)), outputs(12, 1, (2, 20))
    term = HSAKD(PairOutputs(student=student, teacher=teacher, labels=torch.arange(3)), temperature=3.0)
    joint = term.auxiliary(student.maps).detach().numpy()
    assert joint.shape == (12, 2, 20)
    expected = sum(kl(joint[:, s], teacher.projection.numpy()[:, s], 3.0) for s in range(2))
    expected += kl(student.logits.numpy(), teacher.logits.numpy(), 3.0)
    found = term(student, teacher, torch.arange(3), torch.arange(3))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_hsakd_of_equal_networks_with_equal_classifiers_is_nothing():
    student = outputs(8, 0, (2, 20))
    term = HSAKD(PairOutputs(student=student, teacher=student, labels=torch.arange(2)))
    equal = student._replace(projection=term.auxiliary(student.maps).detach())
    assert term(student, equal, torch.arange(2), torch.arange(2)).item() == pytest.approx(0, abs=1e-5)


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
    network = load_checkpoint(sskd.data.DATA_FOLDER / "weights/fashion-mnist/student_resnet8_ce.safetensors")
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    schedule = sskd.Schedule(epochs=25, batch_size=20, lr=0.1, weight_decay=0.0)
    run = sskd.train_head(network, images, schedule=schedule, task=task, **PLAIN)
    chance = 100 / pretext_classes(task, 20, 10)
    losses = [record[task] for record in run.history]
    assert losses[-1] < losses[0] and run.history[-1]["train_accuracy"] > 1.5 * chance
    after = run.network.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


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
    x = sskd.four_views(images.images)
    torch.testing.assert_close(loaded(x).projection, whole.network(x).projection, rtol=0, atol=0)


def test_accuracy_on_other_images_is_counted_over_all_views_or_said_to_have_no_meaning(images):
    """Jigsaw and rotation against a plain count; the exemplar task knows its own images only."""
    run = teacher_for("rotation", images, test=images)
    views = sskd.four_views(images.images[:8], augment=False)
    with torch.no_grad():
        right = run.network(views).projection.argmax(1) == torch.arange(4).repeat_interleave(8)
    eight = replace(images, images=images.images[:8], labels=images.labels[:8])
    assert pretext_accuracy(run.network, eight, 8) == pytest.approx(100 * right.float().mean().item())
    assert 0 <= pretext_accuracy(teacher_for("jigsaw", images).network, images, 10) <= 100
    with pytest.raises(ValueError, match="they are its classes"):
        pretext_accuracy(teacher_for("exemplar", images).network, images)
    with pytest.raises(ValueError, match=r"no projection head \(its head is for the task 'rotation'\)"):
        sskd.contrastive_accuracy(run.network, images, 10)
    assert "test_accuracy" not in teacher_for("exemplar", images, test=images).history[-1]


def test_an_unknown_task_and_a_second_head(images):
    run = teacher_for("rotation", images)
    with pytest.raises(ValueError, match="the tasks are: contrastive, exemplar, jigsaw, rotation, joint"):
        sskd.train_head(run.network, images, task="rotations", **PLAIN)
    with pytest.raises(ValueError, match="no projection head"):
        sskd.train_head(run.network, images, **PLAIN)
    head = run.network.head
    sskd.train_head(run.network, images, schedule=SHORT, task="rotation", **PLAIN)
    assert run.network.head is head  # goes on with the one it has
    sskd.train_head(run.network, images, schedule=SHORT, task="jigsaw", **PLAIN)
    assert run.network.spec["projection"] == {"task": "jigsaw", "outputs": 24}


# ---- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRETEXTS)
def test_a_student_learns_and_is_resumed_exactly(name, images, tmp_path, monkeypatch):
    teacher = teacher_for(create_method(name).task, images).network
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}

    def train(**options):
        student = sskd.create_network("resnet8", images, seed=0)
        return sskd.distill(student, teacher, images, method=name, schedule=SHORT, **PLAIN | options)

    whole = train()
    with cut_off(monkeypatch):
        train(out=tmp_path)
    again = train(out=tmp_path)
    mine, theirs = whole.network.state_dict(), again.network.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    term = "hsakd" if name == "hsakd" else name.removeprefix("sskd-")
    losses = [record[term] for record in whole.history]
    assert losses[-1] < losses[0] and all(math.isfinite(loss) for loss in losses)
    assert not [key for key in mine if key.startswith(("head", "own"))]  # no part of the result


def test_the_sum_of_a_pretext_method_is_kd_with_rotations_and_its_term(images):
    student, teacher = outputs(12, 0, (4,)), outputs(12, 1, (4,))
    labels = torch.arange(3)
    recipe = sskd.Recipe(tf=2.0)
    method = create_method("sskd-rotation", recipe, rotation={"temperature": 2.0})
    own = method.fit_to(PairOutputs(student=student, teacher=teacher, labels=labels))
    found = method(student, teacher, labels, own, labels)
    plain = create_method("kd+rotations", recipe)(student, teacher, labels)["total"]
    torch.testing.assert_close(found["total"], plain + 2.0 * found["rotation"])
    assert own.losses["rotation"].temperature == 2.0


def test_jigsaws_and_rotations_side_by_side_end_as_alone(images):
    """The teacher has two passes then, one over each kind of views."""
    teacher = teacher_for("jigsaw", images).network
    names = ["kd", "kd+rotations", "sskd-jigsaw"]
    options = {"schedule": SHORT, **PLAIN}
    students = [sskd.create_network("resnet8", images) for _ in names]
    together = sskd.distill(students, teacher, images, method=names, **options)
    for name, run in zip(names, together, strict=True):
        student = sskd.create_network("resnet8", images)
        alone = sskd.distill(student, teacher, images, method=name, **options)
        assert [r["total"] for r in alone.history] == [r["total"] for r in run.history]


def test_joined_with_other_terms():
    assert [t.name for t in create_method("sskd-rotation+at").extra] == ["rotation", "at"]
    method = create_method("sskd-jigsaw+dkd")
    assert method.shuffled and method.recipe.kd == 0 and method.extra[1].weight == sskd.Recipe().kd
    assert create_method("hsakd+dkd").extra[1].weight == 1.0  # it has no L_kd that DKD could replace
    with pytest.raises(ValueError, match="before and after the ReLU"):
        create_method("hsakd+ab")
    with pytest.raises(ValueError, match="'hsakd' can only come first"):
        create_method("at+hsakd")


@pytest.mark.parametrize("name", [*PRETEXTS, "sskd"])
def test_another_head_and_a_table_are_refused(name, images, tmp_path):
    method = create_method(name)
    task = "jigsaw" if method.task == "rotation" else "rotation"
    teacher = teacher_for(task, images).network
    student = sskd.create_network("resnet8", images, projection=method.needs_projection)
    with pytest.raises(
        ValueError, match=f"for the task '{method.task}', and this teacher has one for .*{task}"
    ):
        sskd.distill(student, teacher, images, method=name, **PLAIN)
    with pytest.raises(ValueError, match=f"head is for the task '{task}'"):
        cache_teacher(teacher, images, tmp_path / "table", draws=1, runtime=sskd.Runtime())
    if name in PRETEXTS:
        plain = sskd.create_network("resnet14", images, projection=True)
        table = cache_teacher(plain, images, tmp_path / "table", draws=1, runtime=sskd.Runtime())
        with pytest.raises(ValueError, match="Give the teacher itself"):
            sskd.distill(student, None, images, method=name, table=table, **PLAIN)


def test_the_table_of_pretexts_makes_a_head_for_each_task(images, tmp_path):
    options = {"runtime": sskd.Runtime(), "progress": False}
    train, test = images, images.take(10)
    (cell,) = plan_cells("pretext", ["resnet14:resnet8"], [*PRETEXTS, "sskd", "ce"], seeds=1, labels=20)
    for task in ("contrastive", *CLASSIFYING):
        make_teacher("resnet14", train, test, tmp_path, 1, task, **options)
    train_cell(cell, train, test, tmp_path, replace(SHORT, epochs=1), **options)
    assert [r["method"] for r in read_results(tmp_path)] == ["ce", "sskd", *PRETEXTS]
    weights = {task: load_checkpoint(teacher_file(tmp_path, "resnet14", task)) for task in TASKS}
    first = weights["contrastive"].backbone.state_dict()
    for network in weights.values():  # one teacher, several heads
        assert all(torch.equal(tensor, first[key]) for key, tensor in network.backbone.state_dict().items())
    card = json.loads((cell.folder(tmp_path, "sskd-jigsaw") / "summary.json").read_text())["card"]
    assert card["plan"]["terms"]["jigsaw"] == {"weight": 2.7, "task": "jigsaw", "temperature": 4.0}
