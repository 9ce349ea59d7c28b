"""Methods as they are trained: their layers, first stages, what is saved, and students side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.training import same
from sskd_lib.data.images import ImageSet
from sskd_lib.data.load import load_images
from sskd_lib.files import CheckpointError
from sskd_lib.losses import TERMS, create_method
from sskd_lib.models.network import Network
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import create_network, distill
from sskd_lib.training.resume import RESUME_FILE, load_saved
from sskd_lib.training.teacher_cache import cache_teacher

SHORT = Schedule(epochs=4, batch_size=10, lr=0.01)
PLAIN = {"runtime": Runtime(), "progress": False, "schedule": SHORT}


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("fashion-mnist-lab").take(20)


def networks(images: ImageSet, student: str = "resnet8", projection: bool = False) -> tuple[Network, Network]:
    teacher = create_network("resnet14", images, projection=True, seed=1)
    teacher.head_trained = True
    return create_network(student, images, projection=projection), teacher


def train(images: ImageSet, method: str, **options):
    """One training with fresh networks."""
    student, teacher = networks(images, projection=create_method(method).needs_projection)
    return distill(student, teacher, images, method=method, **PLAIN | options)


def timeless(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


# One of each kind: layers, a memory, a first stage, a joined classifier, terms beside a recipe.
@pytest.mark.parametrize("name", ["crd", "ft", "ab", "reviewkd", "simkd", "sskd+dkd", "kd+vid+cc"])
def test_a_training_that_was_cut_off_ends_exactly_as_if_it_had_not_been(name, images, tmp_path):
    """Cut off after the second of four epochs: a first stage of AB and FT is then over."""

    def stop(epochs, _):
        if epochs == 3:
            raise Stop

    with pytest.raises(Stop):
        train(images, name, out=tmp_path, watch=stop, save_seconds=0)
    resumed, whole = train(images, name, out=tmp_path), train(images, name)
    assert same(resumed.network.state_dict(), whole.network.state_dict())
    assert timeless(resumed.history) == timeless(whole.history)


def test_the_layers_of_a_term_are_trained_and_saved_and_no_part_of_the_result(images, tmp_path):
    run = train(images, "fitnet", out=tmp_path)
    saved = load_saved(tmp_path / RESUME_FILE)["method"]
    name = "terms.0.regressor.layers.0.weight"
    student, teacher = networks(images)
    x = torch.zeros(2, 1, 28, 28)
    fresh = create_method("fitnet")
    fresh.setup(*(network.eval()(x, maps="post_relu") for network in (student, teacher)), images.labels)
    assert saved.keys() == fresh.state_dict().keys()
    assert saved[name].shape == fresh.state_dict()[name].shape
    assert not torch.equal(saved[name], fresh.state_dict()[name])
    assert run.network.state_dict().keys() == student.state_dict().keys()


def test_another_number_is_another_run(images, tmp_path):
    student, teacher = networks(images)
    for beta in (6.0, 2.0):
        method = create_method("dkd", dkd={"beta": beta})
        if beta == 2.0:
            student, _ = networks(images)
            with pytest.raises(CheckpointError, match=r"terms\.dkd\.beta \(6\.0 there, 2\.0"):
                distill(student, teacher, images, method=method, out=tmp_path, **PLAIN)
        else:
            distill(student, teacher, images, method=method, out=tmp_path, **PLAIN)


@pytest.mark.parametrize("name", ["ab", "fsp", "ft"])
def test_in_the_first_stage_the_term_is_alone_and_later_cross_entropy_trains_the_classifier(name, images):
    states = []

    def watch(epochs, students):
        states.append({key: tensor.clone() for key, tensor in students[0].state_dict().items()})

    run = train(images, name, watch=watch)
    assert "ce" not in run.history[0] and name in run.history[0]
    stays = not TERMS[name].only_first_stage
    assert all("ce" in record and (name in record) == stays for record in run.history[1:])
    fc, conv = "backbone.fc.weight", "backbone.layer1.0.conv1.weight"
    start, after_first, last = states[0], states[1], states[-1]
    assert torch.equal(after_first[fc], start[fc]) and not torch.equal(last[fc], start[fc])
    # FT's first stage is the paraphraser's
    assert torch.equal(after_first[conv], start[conv]) == (name == "ft")


def test_the_paraphraser_stays_as_it_is_after_the_first_stage(images, tmp_path):
    saved = []

    def watch(epochs, _):
        if epochs > 1:  # saved after the call: the state of the epoch before
            saved.append(load_saved(tmp_path / RESUME_FILE)["method"])

    train(images, "ft", out=tmp_path, watch=watch, save_seconds=0)
    saved.append(load_saved(tmp_path / RESUME_FILE)["method"])
    for name in saved[0]:
        equal = torch.equal(saved[0][name], saved[-1][name])
        assert equal == name.startswith(("terms.0.paraphraser", "terms.0.decoder")), name


def test_students_of_different_methods_in_one_training_end_as_if_alone(images):
    names = ["at", "kd", "ab", "dkd", "reviewkd"]
    alone = [train(images, name).network.state_dict() for name in names]
    students = [networks(images)[0] for _ in names]
    runs = distill(students, networks(images)[1], images, method=names, **PLAIN)
    assert all(same(state, run.network.state_dict()) for state, run in zip(alone, runs, strict=True))


def test_students_with_one_method_object_train_layers_of_their_own(images):
    def train(method, *seeds):
        students = [create_network("resnet8", images, seed=seed) for seed in seeds]
        return distill(students, networks(images)[1], images, method=method, **PLAIN)

    method = create_method("vid")
    together, alone = train(method, 0, 1), [*train("vid", 0), *train("vid", 1)]
    for run, lone in zip(together, alone, strict=True):
        assert same(run.network.state_dict(), lone.network.state_dict())
    assert not list(method.parameters())  # the caller's object stays as it was


def test_one_pass_of_the_teacher_serves_all_that_need_the_same(images):
    """Two steps: in each one pass for labels, logits and maps, one for maps before the ReLU.

    AB compares those of both networks, ReviewKD the teacher's alone.
    """
    teacher, passes = networks(images)[1], []
    teacher.register_forward_hook(lambda *_: passes.append(1))
    names = ["ce", "kd", "at", "fitnet", "ab", "reviewkd"]
    students = [networks(images)[0] for _ in names]
    distill(students, teacher, images, method=names, **PLAIN | {"schedule": replace(SHORT, epochs=1)})
    setups = 4  # one for each of at, fitnet, ab and reviewkd
    assert len(passes) == 2 * 2 + setups


def test_networks_that_do_not_fit_are_refused_before_the_training(images, tmp_path):
    student, wide = create_network("wrn_16_1", images), create_network("wrn_16_2", images)
    with pytest.raises(ValueError, match="same width"):
        distill(student, wide, images, method="fsp", out=tmp_path / "x", **PLAIN)
    assert not (tmp_path / "x").exists()


def test_a_teacher_table_has_logits_and_no_maps(images, tmp_path):
    student, teacher = networks(images)
    cache_teacher(teacher, images, tmp_path, draws=1, runtime=Runtime(), progress=False)
    with pytest.raises(ValueError, match="a table holds logits"):
        distill(student, None, images, method="at", table=tmp_path, **PLAIN)
    distill(student, None, images, method="dkd", table=tmp_path, **PLAIN)


@pytest.mark.parametrize("name", ["fitnet", "reviewkd", "ab"])
def test_an_epoch_may_end_with_a_batch_of_one(name, images):
    three = replace(images, images=images.images[:3], labels=images.labels[:3])
    run = train(three, name, schedule=Schedule(epochs=1, batch_size=2, lr=0.001))
    assert all(torch.isfinite(tensor).all() for tensor in run.network.state_dict().values())
