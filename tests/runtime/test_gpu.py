"""On a CUDA device: the numbers of the CPU, steps that never wait for the device, short trainings."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from helpers.views import explain_batch, random_images
from sskd_lib.data.batch import Batch
from sskd_lib.data.images import ImageSet
from sskd_lib.data.views import four_views, one_view
from sskd_lib.evaluation import predict
from sskd_lib.losses import (
    contrastive_loss,
    create_method,
    error_rank,
    kd_loss,
    similarity_matrix,
    sskd_terms,
    transfer_mask,
)
from sskd_lib.models.checkpoint import load_checkpoint, read_card
from sskd_lib.models.network import Network, Output
from sskd_lib.recipes import PRESETS, Schedule
from sskd_lib.runtime.cuda_graph import GraphedStep
from sskd_lib.runtime.device import Runtime, choose_runtime
from sskd_lib.training import create_network, distill, loop, train_head
from sskd_lib.training.loader import ViewLoader
from sskd_lib.training.state import Run, TrainingError

pytestmark = pytest.mark.gpu
DEVICE = "cuda"


def random_output(images: int, classes: int, width: int, seed: int) -> Output:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(4 * images, classes, generator=generator)
    return Output(logits, torch.randn(4 * images, width, generator=generator))


def striped_images(count: int, size: int = 16, seed: int = 0) -> ImageSet:
    """Four classes a network tells apart within seconds: stripes, edges, a spot, nothing; plus noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    patterns = torch.zeros(4, size, size)
    patterns[0, ::4] = 120
    patterns[1, :, : size // 2] = 120
    patterns[2, 4:-4, 4:-4] = 120
    noise = torch.randint(1, 80, (count, 1, size, size), generator=generator)
    pixels = (patterns[labels][:, None] + noise).to(torch.uint8)
    return ImageSet(images=pixels, labels=labels, classes=("rows", "half", "spot", "none"), name="striped")


def networks(data: ImageSet) -> tuple[Network, Network]:
    """(student, teacher), of different widths, both with a head."""
    student = create_network("resnet8", data, projection=True, seed=0)
    teacher = create_network("wrn_16_2", data, projection=True, seed=1)
    teacher.head_trained = True
    return student, teacher


def train(kind: str, data: ImageSet, runtime: Runtime, epochs: int, **more: Any) -> Run:
    """One short training by its public function: a method's name, or "head"."""
    student, teacher = networks(data)
    settings = dict(
        schedule=Schedule(epochs=epochs, batch_size=16, lr=0.02), runtime=runtime, progress=False, **more
    )
    if kind == "head":
        return train_head(teacher, data, **settings)
    return distill(student, teacher, data, method=kind, **settings)


RUNTIMES = {
    "exact": lambda: choose_runtime(DEVICE, exact=True),
    "chosen": lambda: choose_runtime(DEVICE),
    "bfloat16": lambda: Runtime(device=torch.device(DEVICE), dtype=torch.bfloat16, channels_last=True),
    "captured": lambda: Runtime(device=torch.device(DEVICE), channels_last=True, cuda_graph=True),
    "captured bfloat16": lambda: Runtime(
        device=torch.device(DEVICE), dtype=torch.bfloat16, channels_last=True, cuda_graph=True
    ),
}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return RUNTIMES[request.param]()


# ---- the same numbers as on the CPU --------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("images", [1, 2, 9, 64])
def test_terms_and_gradients_equal_those_of_the_cpu(preset, images):
    student = random_output(images, 7, 16, seed=images)
    teacher = random_output(images, 7, 24, seed=images + 99)
    labels = torch.randint(7, (images,), generator=torch.Generator().manual_seed(5))
    here = Output(*(part.clone().requires_grad_() for part in student[:2]))
    there = Output(*(part.to(DEVICE).requires_grad_() for part in student[:2]))
    teacher_there = Output(*(part.to(DEVICE) for part in teacher[:2]))
    expected = sskd_terms(here, teacher, labels, PRESETS[preset])
    found = sskd_terms(there, teacher_there, labels.to(DEVICE), PRESETS[preset])
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.device.type == DEVICE
        torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-4, atol=1e-5)
    expected["total"].backward()
    found["total"].backward()
    for ours, theirs in zip(there[:2], here[:2], strict=True):
        torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-3, atol=1e-5)


def test_masks_equal_those_of_the_cpu_with_many_ties():
    generator = torch.Generator().manual_seed(3)
    for rows, share in ((30, 0.1), (31, 0.5), (192, 0.75), (5000, 0.29)):
        scores = torch.randint(0, 4, (rows, 6), generator=generator).float()
        targets = torch.randint(6, (rows,), generator=generator)
        there = scores.to(DEVICE), targets.to(DEVICE)
        assert torch.equal(error_rank(*there).cpu(), error_rank(scores, targets))
        assert torch.equal(transfer_mask(*there, share).cpu(), transfer_mask(scores, targets, share))


def test_kd_and_contrastive_losses_equal_those_of_the_cpu():
    output, other = random_output(8, 5, 12, seed=1), random_output(8, 5, 12, seed=2)
    found = kd_loss(output.logits.to(DEVICE), other.logits.to(DEVICE), 4.0).cpu()
    torch.testing.assert_close(found, kd_loss(output.logits, other.logits, 4.0), rtol=1e-4, atol=1e-6)
    loss, hits = contrastive_loss(output.projection.to(DEVICE), 8)
    expected_loss, expected_hits = contrastive_loss(output.projection, 8)
    torch.testing.assert_close(loss.cpu(), expected_loss, rtol=1e-4, atol=1e-6)
    assert hits.item() == expected_hits.item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_lower_the_precision_of_similarities(dtype):
    z = torch.randn(48, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast(DEVICE, dtype=dtype):
        found = similarity_matrix(z[12:].to(DEVICE), z[:12].to(DEVICE))
    exact = similarity_matrix(z[12:].double(), z[:12].double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu().double(), exact, rtol=0, atol=1e-5)


def test_predictions_equal_those_of_the_cpu():
    data = striped_images(40)
    student, _ = networks(data)
    expected = predict(student, data, Runtime())
    found = predict(student, data, Runtime(device=torch.device(DEVICE)))
    for ours, theirs in zip(found[:3], expected[:3], strict=True):
        assert ours.device.type == "cpu" and ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)  # TF32 convolutions


# ---- views ---------------------------------------------------------------------------------------


def test_views_on_the_device_are_whole_shifts_of_flipped_images():
    images = random_images(6, channels=3)
    generator = torch.Generator(DEVICE).manual_seed(0)
    before = torch.cuda.get_rng_state()
    views = four_views(images.to(DEVICE), generator)
    assert views.device.type == DEVICE and views.dtype == torch.float32
    flips, offsets = explain_batch(views, images)
    assert (flips == flips[0]).all()  # one flip an image
    assert len(np.unique(offsets.reshape(-1, 2), axis=0)) > 12  # a crop a view
    assert torch.equal(torch.cuda.get_rng_state(), before)  # the global generator was left alone
    again = four_views(images.to(DEVICE), torch.Generator(DEVICE).manual_seed(0))
    assert torch.equal(views, again)


def test_plain_views_equal_those_of_the_cpu():
    images = random_images(5, channels=3)
    for make in (one_view, four_views):
        found = make(images.to(DEVICE), augment=False).cpu()
        torch.testing.assert_close(found, make(images, augment=False), rtol=0, atol=1e-6)


# ---- no step waits for the device ----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("kind", ["ce", "kd", "kd+rotations", "sskd", "head"])
def test_no_step_of_an_epoch_waits_for_the_device(kind, runtime, monkeypatch):
    """The second epoch runs under torch's watch: batches, views, networks, terms, backward, SGD, sums.

    A step is captured in the first epoch, at its fourth batch of 16, and replayed in the second.
    """
    batches, watched = ViewLoader._batches, []

    def batches_under_watch(loader: ViewLoader, number: int) -> Iterator[Batch]:
        if number == 1:
            torch.cuda.synchronize()
        try:
            for batch in batches(loader, number):
                if number == 1:
                    torch.cuda.set_sync_debug_mode("error")
                yield batch
                watched.append(torch.cuda.get_sync_debug_mode())  # the step is over
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(ViewLoader, "_batches", batches_under_watch)
    try:
        train(kind, striped_images(72), runtime, epochs=2)  # 16 + 16 + 16 + 16 + 8 images
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watched == [0] * 5 + [2] * 5


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_watch_sees_a_wait():
    value = torch.ones(3, device=DEVICE).sum()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchronizing"):
            value.item()
        with pytest.raises(RuntimeError, match="synchronizing"):
            value[value > 0]
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ---- short trainings -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ce", "kd", "kd+rotations", "sskd", "head"])
def test_short_training_has_finite_falling_losses(kind, runtime):
    run = train(kind, striped_images(64), runtime, epochs=6)
    losses = [record["contrastive" if kind == "head" else "total"] for record in run.history]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert next(run.network.parameters()).device.type == DEVICE
    terms = run.history[0].keys() - {"epoch", "lr", "total", "train_accuracy", "seconds"}
    expected = {"ce": {"ce"}, "kd": {"ce", "kd"}, "kd+rotations": {"ce", "kd", "tf"}, "head": {"contrastive"}}
    assert terms == expected.get(kind, {"ce", "kd", "tf", "ss"})


def test_checkpoint_written_on_the_device_loads_on_the_cpu(runtime, tmp_path):
    data = striped_images(48)
    run = train("sskd", data, runtime, epochs=2, out=tmp_path, test=data)
    loaded = load_checkpoint(tmp_path / "student.safetensors")
    trained = run.network.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, trained[name].cpu())
    assert 0 <= run.history[-1]["test_accuracy"] <= 100
    there = predict(run.network, data, Runtime(device=torch.device(DEVICE)))
    torch.testing.assert_close(predict(loaded, data).logits, there.logits, rtol=0.05, atol=0.05)  # TF32
    card = read_card(tmp_path / "student.safetensors")
    assert card["runtime"]["device"] == DEVICE
    assert card["runtime"]["device_name"] == torch.cuda.get_device_name()


def test_a_killed_run_goes_on(runtime, tmp_path, monkeypatch):
    data, epoch, calls = striped_images(48), ViewLoader.epoch, []

    def killed(loader: ViewLoader, number: int) -> Iterator[Batch]:
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return epoch(loader, number)

    with monkeypatch.context() as patch:
        patch.setattr(ViewLoader, "epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train("sskd", data, runtime, epochs=4, out=tmp_path, save_seconds=0)
    resumed = train("sskd", data, runtime, epochs=4, out=tmp_path, save_seconds=0)
    whole = train("sskd", data, runtime, epochs=4)
    assert [record["epoch"] for record in resumed.history] == [1, 2, 3, 4]
    # CUDA sums in no fixed order, so the two runs are close and not equal.
    assert resumed.history[-1]["total"] == pytest.approx(whole.history[-1]["total"], rel=0.2)


# ---- the captured step ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ce", "kd", "kd+rotations", "sskd", "head"])
def test_a_captured_training_equals_an_eager_one(kind):
    """Ten steps of batches of 16 and one of 8, twice, over a change of the learning rate: same losses."""
    eager, captured = (
        train(
            kind,
            striped_images(88),
            Runtime(device=torch.device(DEVICE), channels_last=True, cuda_graph=capture),
            2,
        )
        for capture in (False, True)
    )
    for ours, theirs in zip(captured.history, eager.history, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"seconds", "train_accuracy"}:
            assert ours[name] == pytest.approx(theirs[name], rel=0.02)


def test_a_step_is_captured_once_for_each_learning_rate_and_replayed(monkeypatch):
    captures, capture = [], GraphedStep._capture
    monkeypatch.setattr(
        GraphedStep, "_capture", lambda self, batch: (captures.append(1), capture(self, batch))
    )
    steps, train_step = [], loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda *args, **kw: (steps.append(1), train_step(*args, **kw))[1])
    schedule = Schedule(epochs=4, batch_size=16, lr=0.02, milestones=(0.5,))  # one cut
    student, teacher = networks(striped_images(88))
    runtime = Runtime(device=torch.device(DEVICE), cuda_graph=True)
    distill(student, teacher, striped_images(88), schedule=schedule, runtime=runtime, progress=False)
    # Python runs the step 3 times to warm up, once for each capture and for each short batch of 8.
    assert len(captures) == 2 and len(steps) == 3 + 2 + 4


def test_students_together_are_captured_together():
    data = striped_images(80)
    runtime = Runtime(device=torch.device(DEVICE), channels_last=True, cuda_graph=True)
    settings = dict(schedule=Schedule(epochs=2, batch_size=16, lr=0.02), runtime=runtime, progress=False)
    pair = [networks(data)[0], create_network("resnet14", data, projection=True, seed=3)]
    _, teacher = networks(data)
    runs = distill(pair, teacher, data, method=["sskd", "kd"], **settings)
    alone = distill(networks(data)[0], teacher, data, method="sskd", **settings)
    assert runs[0].history[-1]["total"] == pytest.approx(alone.history[-1]["total"], rel=0.02)


def test_a_step_that_cannot_be_captured_goes_on_with_a_warning():
    method = create_method("sskd")
    forward = method.forward

    def waits(*arguments):
        terms = forward(*arguments)
        terms["total"].item()
        return terms

    method.forward = waits
    data = striped_images(80)
    student, teacher = networks(data)
    runtime = Runtime(device=torch.device(DEVICE), cuda_graph=True)
    schedule = Schedule(epochs=2, batch_size=16, lr=0.02)
    with pytest.warns(UserWarning, match=r"cannot be captured as a CUDA graph.*cuda_graph=False"):
        run = distill(
            student, teacher, data, method=method, schedule=schedule, runtime=runtime, progress=False
        )
    assert math.isfinite(run.history[-1]["total"])


def test_a_full_gpu_names_the_batch_and_the_setting(tmp_path):
    gc.collect()
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 1e9  # earlier tests may still hold some
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    try:
        data = striped_images(4096, size=32)
        student, teacher = networks(data)
        schedule = Schedule(epochs=1, batch_size=4096)
        with pytest.raises(TrainingError, match=r"4096 images x 4 views per step.*--batch-size 2048"):
            distill(
                student, teacher, data, schedule=schedule, runtime=Runtime(device=torch.device(DEVICE)),
                progress=False, out=tmp_path,
            )  # fmt: skip
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert not (tmp_path / "student.safetensors").exists()


# ---- the runtime ---------------------------------------------------------------------------------


def test_the_chosen_runtime_fits_the_card():
    chosen = choose_runtime("auto")
    half = torch.cuda.get_device_capability()[0] >= 8
    assert chosen == Runtime(
        device=torch.device("cuda"),
        dtype=torch.bfloat16 if half else torch.float32,
        channels_last=True,
        cuda_graph=True,
    )
    assert choose_runtime("cuda", exact=True) == Runtime(device=torch.device("cuda"))
    with pytest.raises(ValueError, match="this machine has no cuda:99 device"):
        choose_runtime("cuda:99")
    assert chosen.describe()["device_name"] == torch.cuda.get_device_name()


def test_outputs_are_float32_in_every_format(runtime):
    data = striped_images(8)
    student, teacher = (runtime.place(network).eval() for network in networks(data))
    views = four_views(data.images.to(DEVICE), augment=False)
    with torch.no_grad():
        outputs = [runtime.run(network, views) for network in (student, teacher)]
    assert all(part.dtype == torch.float32 for output in outputs for part in output[:3])
    terms = create_method("sskd")(*outputs, Batch(labels=data.labels.to(DEVICE)))
    assert all(math.isfinite(value.item()) for value in terms.values())
