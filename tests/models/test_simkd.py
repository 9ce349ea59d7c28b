"""SimKD: the loss against a loop, the student that ends in its teacher's classifier, and its training."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sskd_lib as sskd
from sskd_lib.data.views import one_view
from sskd_lib.losses import create_method
from sskd_lib.losses.simkd import simkd_loss
from sskd_lib.models import create_model
from sskd_lib.models.external import SOURCES
from sskd_lib.models.simkd import ReusedClassifier, join
from sskd_lib.training.estimate import estimate
from sskd_lib.training.resume import RESUME_FILE, load_saved

SHORT = sskd.Schedule(epochs=2, batch_size=10, lr=0.05)  # with weight decay
PLAIN = {"method": "simkd", "runtime": sskd.Runtime(), "progress": False, "schedule": SHORT}
FC = ("backbone.fc.weight", "backbone.fc.bias")


@pytest.fixture(scope="module")
def images() -> sskd.ImageSet:
    return sskd.load_images("fashion-mnist-lab").take(20)


def pair(images: sskd.ImageSet, student: str = "resnet8", teacher: str = "wrn_16_2", **options):
    """(student, teacher), fresh; by default the teacher is twice as wide, and a BatchNorm ends its maps."""
    return (
        sskd.create_network(student, images, **options),
        sskd.create_network(teacher, images, projection=True, seed=1),
    )


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


# ---- the loss ------------------------------------------------------------------------------------


def blocks(x: np.ndarray, side: int) -> np.ndarray:
    """Averages of equal blocks: [N, D, H, H] → [N, D, side, side]."""
    n, d, height, _ = x.shape
    each, out = height // side, np.zeros((n, d, side, side))
    for i in range(side):
        for j in range(side):
            block = x[:, :, i * each : (i + 1) * each, j * each : (j + 1) * each]
            out[:, :, i, j] = block.reshape(n, d, -1).sum(2) / each**2
    return out


@pytest.mark.parametrize(("of_student", "of_teacher"), [(4, 4), (8, 4), (2, 4), (4, 1)])
def test_the_loss_and_its_gradient_are_the_loops(of_student, of_teacher):
    s = normal(3, 5, of_student, of_student, seed=1).requires_grad_()
    t = normal(3, 5, of_teacher, of_teacher, seed=2).requires_grad_()
    side = min(of_student, of_teacher)
    a, b = blocks(s.detach().numpy(), side), blocks(t.detach().numpy(), side)
    total = 0.0
    for place in np.ndindex(a.shape):
        total += (a[place] - b[place]) ** 2 / a.size
    loss = simkd_loss(s, t)
    assert loss.item() == pytest.approx(total, rel=1e-12)
    loss.backward()
    share = (of_student // side) ** 2  # pixels among which the gradient of a block is divided
    spread = np.kron(2 * (a - b) / a.size / share, np.ones((of_student // side, of_student // side)))
    np.testing.assert_allclose(s.grad.numpy(), spread, rtol=1e-10)
    assert t.grad is None


def test_the_loss_is_single_in_half_precision_and_zero_for_equal_maps():
    s, t = (normal(2, 3, 4, 4, seed=i).bfloat16() for i in (1, 2))
    assert simkd_loss(s, t).dtype == torch.float32
    assert simkd_loss(s, s) == 0


def test_maps_that_do_not_fit_say_what_to_do():
    with pytest.raises(ValueError, match=r"5 channels, the teacher's 6.*models.simkd.*distill"):
        simkd_loss(normal(2, 5, 4, 4, seed=1), normal(2, 6, 4, 4, seed=2))
    with pytest.raises(ValueError, match="before the network's global pooling"):
        simkd_loss(normal(2, 5, seed=1), normal(2, 5, seed=2))
    with pytest.raises(ValueError, match="same batch"):
        simkd_loss(normal(2, 5, 4, 4, seed=1), normal(3, 5, 4, 4, seed=2))


# ---- the last activations ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"])
@torch.no_grad()
def test_the_mean_of_the_last_activations_is_the_features(name, images):
    network = sskd.create_network(name, images).eval()
    output = network(one_view(images.images[:3]), maps="post_relu")
    assert torch.equal(output.last.mean((2, 3)), output.features)
    assert torch.equal(network.backbone.classify(output.features), output.logits)
    half, first = output.to(torch.bfloat16), output.each(lambda part: part[:2])
    assert half.last.dtype == torch.bfloat16
    assert half.maps[0].dtype == torch.bfloat16
    assert torch.equal(first.last, output.last[:2])
    assert first.projection is None
    assert network(one_view(images.images[:3])).last is None


# ---- the student that ends in its teacher's classifier -------------------------------------------


@torch.no_grad()
def test_the_joined_student_is_encoder_projector_and_the_teachers_classifier(images):
    student, teacher = pair(images, projection=True)
    encoder, before = copy.deepcopy(student.backbone), state(teacher)
    join(student, teacher, (28, 28), seed=3)
    x = one_view(images.images[:4])
    output = student.eval()(x, maps="post_relu")
    last = encoder.eval().features_and_maps((x - student.mean) / student.std)[2]
    projected = student.backbone.projector(last)
    assert torch.equal(output.last, projected)
    assert output.last.shape == (4, 128, 7, 7)
    torch.testing.assert_close(output.logits, teacher.backbone.fc(projected.mean((2, 3))))
    assert torch.equal(output.logits, student(x).logits)
    assert output.projection.shape == (4, 128)
    assert [m.shape[1] for m in output.maps] == [16, 16, 32, 64]  # the encoder's stages
    kept = sum(p.numel() for name, p in encoder.named_parameters() if not name.startswith("fc."))
    assert sum(p.numel() for p in student.backbone.encoder.parameters()) == kept  # its classifier is gone
    assert same(state(teacher), before)


def test_a_student_equal_to_its_teacher_and_a_projector_that_changes_nothing_have_no_loss(images):
    teacher = sskd.create_network("wrn_16_1", images, seed=1)
    student = copy.deepcopy(teacher)
    join(student, teacher, (28, 28))
    student.backbone.projector = nn.Identity()
    x = one_view(images.images)
    s, t = (network.eval()(x, maps="post_relu") for network in (student, teacher))
    assert simkd_loss(s.last, t.last) == 0
    assert torch.equal(s.logits, t.logits)


def test_the_projector_comes_from_the_seed_and_the_global_generator_stays(images):
    made = []
    for seed in (0, 0, 1):
        student, teacher = pair(images)
        torch.manual_seed(len(made))
        expected = torch.get_rng_state()
        join(student, teacher, (28, 28), seed=seed)
        assert torch.equal(torch.get_rng_state(), expected)
        made.append(state(student))
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_larger_maps_are_averaged_before_the_projector():
    encoder = create_model("resnet8", 5)  # 8 x 8 of 64 channels at 32 pixels
    joined = ReusedClassifier(encoder, 5, width=6, size=(2, 4)).eval()
    seen: list[Tensor] = []
    joined.projector.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = normal(2, 3, 32, 32, seed=1).float()
    features, _, last = joined.features_and_maps(x)
    expected = encoder.features_and_maps(x)[2].unflatten(2, (2, 4)).unflatten(4, (4, 2)).mean((3, 5))
    torch.testing.assert_close(seen[0], expected)
    assert last.shape == (2, 6, 2, 4)
    assert ReusedClassifier(create_model("resnet8", 5), 5, width=6, size=(9, 9))
    assert joined.classifier_path == "fc"
    assert torch.equal(features, last.mean((2, 3)))
    assert torch.equal(joined.features(x), features)


# ---- a training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("resnet8", "wrn_16_2"),
        ("MobileNetV2", "vgg8"),  # smaller maps in the student
        ("resnet8", "vgg8"),  # smaller maps in the teacher
        ("ShuffleV2", "resnet8x4"),
    ],
)
def test_the_trained_student_is_what_is_measured_saved_and_loaded(student, teacher, images, tmp_path):
    student, teacher = pair(images, student, teacher)
    before = state(teacher)
    run = sskd.distill(student, teacher, images, images, out=tmp_path, **PLAIN)
    assert run.network is student
    assert isinstance(student.backbone, ReusedClassifier)
    assert same(state(teacher), before)
    classifier = teacher.backbone.get_submodule(teacher.backbone.classifier_path)
    assert torch.equal(student.backbone.fc.weight, classifier.weight)  # bit for bit, despite weight decay
    assert torch.equal(student.backbone.fc.bias, classifier.bias)
    loaded = sskd.load_checkpoint(tmp_path / "student.safetensors")
    assert loaded.spec == student.spec
    assert same(state(loaded), state(student))
    assert not any(parameter.requires_grad for parameter in loaded.backbone.fc.parameters())
    outputs = [sskd.evaluation.predict(network, images) for network in (student, loaded)]
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert outputs[0].features.shape[1] == classifier.in_features
    assert run.history[-1]["test_accuracy"] == sskd.evaluate(loaded, images)["accuracy"]
    assert set(run.history[0]) >= {"simkd", "total"}
    assert "ce" not in run.history[0]
    assert all(record["total"] == record["simkd"] for record in run.history)


def test_the_loss_falls_in_twenty_steps_and_classes_are_learned_without_a_label(images):
    teacher = sskd.create_network("resnet14", images, seed=1)
    options = {"runtime": sskd.Runtime(), "progress": False}
    sskd.train_teacher(teacher, images, schedule=replace(SHORT, epochs=25), **options)
    student = sskd.create_network("resnet8", images)
    schedule = replace(SHORT, epochs=30, lr=0.1, milestones=(0.5,))  # of two steps
    history = sskd.distill(student, teacher, images, images, **PLAIN | {"schedule": schedule}).history
    assert history[9]["simkd"] < 0.8 * history[0]["simkd"]
    assert history[0]["test_accuracy"] < 30
    assert history[-1]["test_accuracy"] > 60


def test_in_bfloat16_and_channels_last_the_classifier_stays_too(images):
    student, teacher = pair(images)
    runtime = sskd.Runtime(dtype=torch.bfloat16, channels_last=True)
    run = sskd.distill(student, teacher, images, **PLAIN | {"runtime": runtime})
    exact = sskd.distill(*pair(images), images, **PLAIN)
    assert run.history[-1]["simkd"] == pytest.approx(exact.history[-1]["simkd"], rel=0.05)
    assert all(torch.equal(student.state_dict()[name], teacher.state_dict()[name]) for name in FC)


def test_labels_play_no_part(images):
    ends = []
    for labels in (images.labels, (images.labels + 3) % 10):
        student, teacher = pair(images)
        ends.append(sskd.distill(student, teacher, replace(images, labels=labels), **PLAIN))
    assert same(*(state(run.network) for run in ends))
    assert ends[0].history[-1]["simkd"] == ends[1].history[-1]["simkd"]


def test_beside_it_terms_on_maps_are_trained_without_labels(images):
    student, teacher = pair(images)
    method = create_method("simkd+at")
    assert method.recipe is None
    assert method.needs.maps == "post_relu"
    run = sskd.distill(student, teacher, images, **PLAIN | {"method": method})
    last = run.history[-1]
    assert last["total"] == pytest.approx(last["simkd"] + 1000 * last["at"], rel=1e-4)
    assert "ce" not in last


class Stop(Exception):
    pass


def test_a_second_call_goes_on_with_a_fresh_student_or_the_joined_one(images, tmp_path):
    """Cut off before the first epoch and after it; with another call's student, which is joined by then."""
    whole = sskd.distill(*pair(images), images, out=tmp_path / "whole", **PLAIN)

    def stop_at(count):
        def stop(epochs, _):
            if epochs == count:
                raise Stop

        return stop

    student, teacher = pair(images)
    options = {"out": tmp_path / "cut", "save_seconds": 0, **PLAIN}
    with pytest.raises(Stop):
        sskd.distill(student, teacher, images, watch=stop_at(0), **options)
    with pytest.raises(Stop):  # the student is joined, its weights are still the first ones
        sskd.distill(student, teacher, images, watch=stop_at(2), **options)
    saved = load_saved(tmp_path / "cut" / RESUME_FILE)
    assert len(saved["history"]) == 1
    assert saved["plan"]["network"]["reuses"]["model"] == "wrn_16_2"
    again = sskd.distill(*pair(images), images, **options)
    assert same(state(again.network), state(whole.network))
    once_more = sskd.distill(again.network, teacher, images, **options)  # finished: nothing is trained
    assert same(state(once_more.network), state(whole.network))


def test_a_joined_student_learns_on_under_the_same_teacher_and_no_other(images):
    student, teacher = pair(images)
    sskd.distill(student, teacher, images, **PLAIN)
    backbone, before = student.backbone, state(student)
    student.trained_from = None  # which is what a person sets to go on with trained weights
    sskd.distill(student, teacher, images, **PLAIN)
    assert student.backbone is backbone
    assert not same(state(student), before)
    other = sskd.create_network("wrn_16_2", images, seed=9)
    student.trained_from = None
    with pytest.raises(ValueError, match=r"classifier of another teacher.*create_network"):
        sskd.distill(student, other, images, **PLAIN)
    sskd.distill(student, other, images, **PLAIN | {"method": "kd"})  # encoder and projector learn
    assert all(torch.equal(student.state_dict()[name], teacher.state_dict()[name]) for name in FC)


def test_students_together_end_as_if_alone(images):
    names = ["simkd", "kd", "simkd"]
    alone = []
    for name in names:
        student, teacher = pair(images)
        alone.append(state(sskd.distill(student, teacher, images, **PLAIN | {"method": name}).network))
    students = [pair(images)[0] for _ in names]
    runs = sskd.distill(students, pair(images)[1], images, **PLAIN | {"method": names})
    assert all(same(state(run.network), one) for run, one in zip(runs, alone, strict=True))


def test_an_estimate_changes_nothing(images):
    student, teacher = pair(images)
    before = state(student)
    options = {"method": "simkd", "runtime": sskd.Runtime(), "schedule": SHORT, "progress": False}
    assert estimate([student], teacher, images, **options).seconds > 0
    assert same(state(student), before)
    assert "reuses" not in student.spec


def test_it_can_teach_in_turn(images, tmp_path):
    """With a head of its teacher's width, which train_head teaches; another student reuses its classifier."""
    first, teacher = pair(images, projection=True)
    sskd.distill(first, teacher, images, out=tmp_path, **PLAIN)
    loaded = sskd.load_checkpoint(tmp_path / "student.safetensors")
    options = {name: PLAIN[name] for name in ("runtime", "progress", "schedule")}
    sskd.train_head(loaded, images, **options)
    second = sskd.create_network("resnet8", images, projection=True, seed=2)
    sskd.distill(second, loaded, images, method="sskd", **options)
    third = sskd.create_network("resnet8", images, seed=2)
    sskd.distill(third, loaded, images, **PLAIN)
    assert all(torch.equal(third.state_dict()[name], teacher.state_dict()[name]) for name in FC)


# ---- what does not fit ---------------------------------------------------------------------------


def test_a_table_in_place_of_the_teacher_is_refused(images, tmp_path):
    student, teacher = pair(images)
    sskd.cache_teacher(teacher, images, tmp_path, draws=1, runtime=sskd.Runtime(), progress=False)
    for given in (None, teacher):
        with pytest.raises(ValueError, match="Give the teacher itself, without the table"):
            sskd.distill(student, given, images, table=tmp_path, **PLAIN)
    with pytest.raises(ValueError, match="needs a teacher"):
        sskd.distill(student, None, images, **PLAIN)
    assert "reuses" not in student.spec


class Doubled(nn.Module):
    """A network as others write them, with one more layer between its pooling and its classifier."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.stem, self.stage = nn.Conv2d(channels, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.between, self.fc = nn.Linear(4, 4), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.stage(self.stem(x)).mean((2, 3))))


class Bare(Doubled):
    """The same without that layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage(self.stem(x)).mean((2, 3)))


def test_networks_of_others_are_taken_where_their_features_are_pooled_maps(images, monkeypatch, tmp_path):
    kinds = {"doubled": Doubled, "bare": Bare}
    monkeypatch.setitem(SOURCES, "mine", lambda name, classes, channels: kinds[name](classes, channels))
    student, teacher = pair(images, "mine/bare", "mine/bare")
    sskd.distill(student, teacher, images, out=tmp_path, **PLAIN)
    loaded = sskd.load_checkpoint(tmp_path / "student.safetensors")
    x = one_view(images.images)
    assert torch.equal(loaded(x).logits, student.eval()(x).logits)
    assert torch.equal(loaded.backbone.fc.weight, teacher.backbone.net.fc.weight)
    for models, who in ((("resnet8", "mine/doubled"), "teacher"), (("mine/doubled", "resnet8"), "student")):
        with pytest.raises(ValueError, match=f"mean of their last maps, and those of the {who} .*ResNet"):
            sskd.distill(*pair(images, *models), images, **PLAIN)
