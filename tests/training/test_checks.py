"""What is checked at the door of a training: classes, heads, and networks that can be a pair."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from helpers.training import SETTINGS, networks, pictures
from sskd_lib import Schedule, cache_teacher, create_network, distill, evaluate, train_head, train_teacher
from sskd_lib.models.build import build_network
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.training.checks import check_fits

QUICK = SETTINGS | {"schedule": Schedule(epochs=1, batch_size=8)}


@pytest.fixture
def data():
    return pictures(8)


# ---- names of the classes ------------------------------------------------------------------------


def test_networks_know_the_names_of_their_classes_and_keep_them(data, tmp_path):
    student, teacher = networks(data)
    assert student.classes == data.classes
    assert teacher.head_trained  # for another backbone than the one that follows
    train_teacher(teacher, data, out=tmp_path / "teacher", **QUICK)
    loaded = load_checkpoint(tmp_path / "teacher" / "teacher.safetensors")
    assert loaded.classes == data.classes and not loaded.head_trained
    train_head(loaded, data, out=tmp_path / "head", **QUICK)
    assert load_checkpoint(tmp_path / "head" / "teacher.safetensors").classes == data.classes
    distill(student, loaded, data, out=tmp_path / "student", **QUICK)
    assert load_checkpoint(tmp_path / "student" / "student.safetensors").classes == data.classes


@pytest.mark.parametrize(
    "classes", [("class 0", "b", "c", "d"), ("class 1", "class 0", "class 2", "class 3")]
)
def test_other_names_and_another_order_are_refused_by_every_function(data, classes):
    student, teacher = networks(data)
    other = replace(data, classes=classes)
    fresh = create_network("resnet8", other, projection=True)
    for call in (
        lambda: distill(fresh, teacher, other, method="kd", **QUICK),
        lambda: distill(student, teacher, data, other, method="kd", **QUICK),
        lambda: train_head(teacher, other, **QUICK),
        lambda: train_teacher(student, other, **QUICK),
        lambda: evaluate(teacher, other),
        lambda: cache_teacher(teacher, other, "unused"),
    ):
        with pytest.raises(ValueError, match="other classes|in another order"):
            call()
    teacher.classes = classes  # "the same classes under other names"
    check_fits(teacher, other, "teacher")


def test_a_network_without_names_is_accepted_and_learns_them(data):
    student, teacher = networks(data)
    student.classes = teacher.classes = None
    train_head(teacher, data, **QUICK)
    distill(student, teacher, data, method="kd", **QUICK)
    assert student.classes == data.classes and teacher.classes is None
    spec = {"model": "resnet8", "num_classes": 3, "in_channels": 1, "projection": False}
    with pytest.raises(ValueError, match="tells 3 classes apart, but pictures has 1 and 4"):
        check_fits(build_network(spec, [0.5], [0.5]), data, "teacher")


# ---- heads ---------------------------------------------------------------------------------------


def test_a_head_counts_as_trained_after_its_training(data, tmp_path):
    student, teacher = networks(data)
    teacher.head_trained = False
    with pytest.raises(ValueError, match="this head has not been trained"):
        distill(student, teacher, data, **QUICK)
    distill(student, teacher, data, method="kd", **QUICK)  # which needs no head
    assert not student.head_trained
    train_head(teacher, data, out=tmp_path, **QUICK)
    assert teacher.head_trained and load_checkpoint(tmp_path / "teacher.safetensors").head_trained
    student = networks(data)[0]
    distill(student, teacher, data, **QUICK)
    assert student.head_trained


def test_a_new_head_for_another_task_is_untrained(data):
    teacher = networks(data)[1]

    class Stop(Exception):
        pass

    broken = replace(data)
    object.__setattr__(broken, "fingerprint", lambda: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        train_head(teacher, broken, task="rotation", **QUICK)
    assert teacher.task == "rotation" and not teacher.head_trained
    with pytest.raises(ValueError, match="'sskd-rotation' imitates the head"):
        distill(networks(data)[0], teacher, data, method="sskd-rotation", **QUICK)


def test_a_table_remembers_whether_the_head_was_trained_and_the_classes(data, tmp_path):
    student, teacher = networks(data)
    teacher.head_trained = False
    table = cache_teacher(teacher, data, tmp_path, draws=1, progress=False)
    with pytest.raises(ValueError, match="projections of a trained head"):
        distill(student, None, data, table=table, **QUICK)
    with pytest.raises(ValueError, match="other classes"):
        table.check(None, replace(data, classes=tuple("abcd")))
    distill(student, None, data, table=table, method="kd", **QUICK)


# ---- pairs ---------------------------------------------------------------------------------------


def test_a_copy_of_the_teacher_may_be_its_student(data):
    _, teacher = networks(data)
    distill(copy.deepcopy(teacher), teacher, data, method="kd", **QUICK)


def test_networks_with_a_weight_in_common_are_refused(data):
    student, teacher = networks(data)
    student.backbone.conv1 = teacher.backbone.conv1
    with pytest.raises(
        ValueError, match="student 1 and the teacher must be different networks.*weights in common"
    ):
        distill(student, teacher, data, **QUICK)


def test_weights_that_are_not_finite_are_refused_at_the_door(data):
    student, teacher = networks(data)
    teacher.backbone.bn1.running_var[0] = torch.nan
    with pytest.raises(ValueError, match="the teacher is broken: backbone.bn1.running_var"):
        distill(student, teacher, data, **QUICK)
