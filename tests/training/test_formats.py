"""Fast against exact: number formats, memory formats, a teacher's table, images on disk; and an estimate."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from helpers.training import SETTINGS, Stop, metrics, networks, pictures, same, state
from sskd_lib.data.folder import make_shards
from sskd_lib.data.images import ImageSet
from sskd_lib.data.load import DATA_FOLDER, load_images
from sskd_lib.data.views import Draws, cut, four_views, frame
from sskd_lib.files import CheckpointError
from sskd_lib.losses import similarity_matrix, transfer_mask
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.models.network import Network
from sskd_lib.recipes import Recipe, Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.runtime.distributed import Distributed
from sskd_lib.training.estimate import estimate
from sskd_lib.training.loader import ViewLoader
from sskd_lib.training.teacher_cache import TeacherTable, cache_teacher
from sskd_lib.training.train import create_network, distill

FORMATS = {
    # first step, and the total of ten: small differences grow from step to step
    "channels_last": (Runtime(channels_last=True), 1e-4, 0.01),
    "bfloat16": (Runtime(dtype=torch.bfloat16, channels_last=True), 0.03, 0.06),
}


@pytest.fixture(scope="module")
def shipped():
    """The shipped teacher, 32 images it knows, and a fresh student."""
    images = load_images("fashion-mnist-lab").take(32, seed=0)
    teacher = load_checkpoint(DATA_FOLDER / "weights" / "fashion-mnist" / "teacher_wrn_16_2.safetensors")
    return teacher, images, create_network("resnet8", images, projection=True, seed=0)


def flat(network: Network) -> Tensor:
    """All parameters in one vector, a copy."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def ten_steps(shipped, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Terms of ten steps, float [10, terms]; and how far the first step moves the student, flat."""
    teacher, images, student = copy.deepcopy(shipped[0]), shipped[1], copy.deepcopy(shipped[2])
    weights: list[Tensor] = []
    run = distill(
        student,
        teacher,
        images,
        schedule=Schedule(epochs=10, batch_size=32, lr=0.005, milestones=()),
        runtime=runtime,
        progress=False,
        watch=lambda epochs, networks: weights.append(flat(networks[0])),
    )
    terms = [[record[name] for name in ("ce", "kd", "tf", "ss", "total")] for record in run.history]
    return torch.tensor(terms), weights[1] - weights[0]


# ---- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_ten_steps_in_a_fast_format_are_near_the_exact_ones(name, shipped):
    runtime, tolerance, drift = FORMATS[name]
    exact, exact_move = ten_steps(shipped, Runtime())
    fast, fast_move = ten_steps(shipped, runtime)
    assert exact[0, -1] > 1.2 * exact[-1, -1]  # the student did learn
    assert (fast[0] / exact[0] - 1).abs().max() < tolerance
    assert (fast[:, -1] / exact[:, -1] - 1).abs().max() < drift
    assert F.cosine_similarity(fast_move, exact_move, dim=0) > 1 - tolerance
    assert (fast_move.norm() / exact_move.norm() - 1).abs() < tolerance


@pytest.mark.parametrize("name", FORMATS)
def test_masks_in_a_fast_format_are_nearly_the_exact_ones(name, shipped):
    """A row changes only where the teacher's ranks are near a tie."""
    runtime, *_ = FORMATS[name]
    teacher, images, _ = shipped
    views = four_views(images.images, torch.Generator().manual_seed(0))
    masks = []
    for chosen in (Runtime(), runtime):
        with torch.no_grad():
            output = chosen.run(chosen.place(copy.deepcopy(teacher)).eval(), views)
        matrix = similarity_matrix(output.projection[32:], output.projection[:32])
        masks.append(
            torch.stack(
                [
                    transfer_mask(output.logits[32:], images.labels.repeat(3), 0.5),
                    transfer_mask(matrix, torch.arange(96) % 32, 0.5),
                ]
            )
        )
    assert not masks[0].all(1).any()  # selection does select
    assert (masks[0] != masks[1]).float().mean() <= (0.0 if name == "channels_last" else 0.06)


# ---- a teacher's table -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kd", "kd+rotations", "sskd"])
@pytest.mark.parametrize("window", [None, 16])
def test_a_table_gives_the_training_of_the_live_teacher_on_the_same_draws(method, window, tmp_path):
    data = pictures(20)
    if window:  # of images of 18 pixels
        data = dataclasses.replace(data, images=F.pad(data.images, (1,) * 4), window=window)
    _, teacher = networks(data)
    options = {"draws": 3, "dtype": torch.float32, "runtime": Runtime(), "progress": False}
    table = cache_teacher(teacher, data, tmp_path / "table", **options)

    class LiveTeacher(TeacherTable):
        def outputs(self, rows: Tensor, entry: Tensor, views: int) -> tuple[Tensor, Tensor]:
            draws = Draws(self.draws.flip[rows, entry], self.draws.corner[rows, entry].long())
            with torch.no_grad():
                output = teacher.eval()(cut(frame(data.images[rows], window), draws, (16, 16), views))
            return output.logits, output.projection

    live, stored = (
        distill(networks(data)[0], None, data, method=method, table=source, **SETTINGS)
        for source in (LiveTeacher(**vars(table)), table)
    )
    for record, expected in zip(stored.history, live.history, strict=True):
        for name in expected.keys() - {"seconds"}:
            assert record[name] == pytest.approx(expected[name], rel=2e-3, abs=1e-4)
    for name, tensor in state(live.network).items():
        torch.testing.assert_close(state(stored.network)[name], tensor, rtol=5e-3, atol=5e-4)
    card = stored.summary["card"]
    assert card["plan"]["table"] == table.identity() and card["teacher"] == "resnet8"


def test_with_a_table_no_teacher_runs_and_students_share_it(tmp_path):
    data = pictures(24)
    student, teacher = networks(data)
    table = cache_teacher(teacher, data, tmp_path, draws=2, runtime=Runtime(), progress=False)
    teacher.register_forward_hook(lambda *_: pytest.fail("the teacher ran"))
    other = create_network("resnet8", data, projection=True, seed=5)
    runs = distill(
        [student, other], teacher, data, method=["sskd", "kd"], table=tmp_path, **SETTINGS
    )  # opened by its path
    alone = [
        distill(network, None, data, method=method, table=table, **SETTINGS)
        for network, method in (
            (networks(data)[0], "sskd"),
            (create_network("resnet8", data, projection=True, seed=5), "kd"),
        )
    ]
    for run, lone in zip(runs, alone, strict=True):
        assert same(state(run.network), state(lone.network))


def load(data: ImageSet, batch_size: int, table: TeacherTable | None = None) -> ViewLoader:
    """The batches of a training in one process on the CPU."""
    device = torch.device("cpu")
    return ViewLoader(
        train=data, batch_size=batch_size, seed=3, device=device, processes=Distributed(), table=table
    )


def test_a_table_of_few_draws_shows_those_and_no_others(tmp_path):
    data = pictures(10)
    _, teacher = networks(data)
    table = cache_teacher(teacher, data, tmp_path, draws=2, runtime=Runtime(), progress=False)
    loader = load(data, 8, table)
    teacher.eval()
    seen: dict[bytes, set[bytes]] = {}
    for batch in itertools.chain.from_iterable(loader.epoch(number) for number in range(12)):
        views = cut(batch.pixels, Draws(batch.flip, batch.corner), (16, 16), 4)
        with torch.no_grad():
            live = teacher(views)
        torch.testing.assert_close(batch.teacher_logits, live.logits, rtol=2e-3, atol=2e-3)  # half precision
        torch.testing.assert_close(batch.teacher_projection, live.projection, rtol=2e-3, atol=2e-3)
        for image, view in zip(batch.pixels, views.view(4, -1, 256).transpose(0, 1), strict=True):
            seen.setdefault(image.numpy().tobytes(), set()).add(view.numpy().tobytes())
    assert len(seen) == 10 and {len(views) for views in seen.values()} <= {1, 2}
    assert sum(len(views) for views in seen.values()) > 15


def test_few_labels_and_noisy_ones_find_their_rows(tmp_path):
    data = pictures(40)
    student, teacher = networks(data)
    table = cache_teacher(teacher, data, tmp_path, draws=1, runtime=Runtime(), progress=False)
    few = data.take(12, seed=3).with_label_noise(0.5, seed=1)
    run = distill(student, None, few, table=table, **SETTINGS)
    assert math.isfinite(run.history[-1]["total"])
    with pytest.raises(ValueError, match="images are not in the table"):
        distill(networks(data)[0], None, pictures(12, seed=9), table=table, **SETTINGS)


def test_a_table_of_another_teacher_is_refused(tmp_path):
    data = pictures(16)
    student, teacher = networks(data)
    student.head_trained = True
    cache_teacher(student, data, tmp_path, draws=1, runtime=Runtime(), progress=False)
    before = state(student)
    with pytest.raises(ValueError, match="table of another teacher"):
        distill(student, teacher, data, table=tmp_path, **SETTINGS)
    bare = create_network("resnet8", data, seed=4)
    cache_teacher(bare, data, tmp_path / "bare", draws=1, runtime=Runtime(), progress=False)
    with pytest.raises(ValueError, match=r"table has no projections.*train_head"):
        distill(student, None, data, table=tmp_path / "bare", **SETTINGS)
    distill(copy.deepcopy(student), None, data, method="kd", table=tmp_path / "bare", **SETTINGS)
    assert same(state(student), before)


# ---- a cost before it is paid -----------------------------------------------------------------------


def test_an_estimate_counts_and_changes_nothing():
    data = pictures(20)
    student, teacher = networks(data)
    students = [student, create_network("resnet14", data, projection=True, seed=3)]
    before = [state(network) for network in (*students, teacher)]
    schedule = Schedule(epochs=7, batch_size=8)
    found = estimate(students, teacher, data, method=["sskd", "kd"], schedule=schedule, runtime=Runtime())
    assert (found.students, found.epochs, found.steps) == (2, 7, 3)
    assert found.forwards == (4 + 1) * 20 * 7
    values = sum(tensor.nbytes for network in students for tensor in network.state_dict().values())
    assert found.disk == 3 * values and found.memory > 10**8
    assert found.seconds > 0 and found.hours == pytest.approx(found.seconds * 21 / 3600)
    assert all(same(state(n), b) for n, b in zip((*students, teacher), before, strict=True))
    assert "7 epochs of 3 steps" in str(found)
    alone = estimate([student], None, data, method="ce", schedule=schedule, runtime=Runtime())
    assert alone.forwards == 0


OUT_OF_MEMORY = """
import resource, sys, torch
sys.path.insert(0, sys.argv[2])
from helpers.training import networks, pictures
import sskd_lib as sskd
data = pictures(2048)
student, teacher = networks(data)
settings = {"runtime": sskd.Runtime(), "progress": False, "out": sys.argv[1], "save_seconds": 0}
sskd.distill(student, teacher, data.take(8), schedule=sskd.Schedule(epochs=1, batch_size=8), **settings)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 200 * 2**20,) * 2)
student, teacher = networks(data)
settings["out"] += "/large"
try:
    sskd.distill(student, teacher, data, schedule=sskd.Schedule(epochs=1, batch_size=2048), **settings)
except sskd.TrainingError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on a process's memory")
def test_a_full_memory_names_the_batch_and_the_setting(tmp_path):
    command = [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert "ran out of memory with 2048 images x 4 views per step. Lower batch_size" in done.stdout, (
        done.stderr
    )
    assert "--batch-size 1024" in done.stdout
    assert len(metrics(tmp_path)) == 1 and load_checkpoint(tmp_path / "student.safetensors")  # as it was
    assert json.loads((tmp_path / "summary.json").read_text())["epochs"] == 1
    assert not list((tmp_path / "large").glob("*.safetensors"))


# ---- the loader ------------------------------------------------------------------------------------


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    data = pictures(21)
    loader = load(data, 8)
    assert len(loader) == 3
    orders = []
    for epoch in (0, 1):
        order = []
        for batch in loader.epoch(epoch):
            inner = batch.pixels[:, :, 4:-4, 4:-4]  # the black frame taken off again
            for image, label, place in zip(inner, batch.labels, batch.index.tolist(), strict=True):
                assert torch.equal(data.images[place], image) and data.labels[place] == label
                order.append(place)
        assert sorted(order) == list(range(21))
        orders.append(order)
    assert orders[0] != orders[1]


def test_recipes_of_students_together_do_not_mix(tmp_path):
    """The total of each student is weighted by its own recipe."""
    data = pictures(16)
    recipes = [Recipe(), Recipe(tf=0.0, ss=1.0), Recipe(ce=1.0, kd=0.0)]
    students = [create_network("resnet8", data, projection=True, seed=i) for i in range(3)]
    runs = distill(students, networks(data)[1], data, recipe=recipes, out=tmp_path, **SETTINGS)
    for number, (run, recipe) in enumerate(zip(runs, recipes, strict=True), start=1):
        for record in metrics(tmp_path / str(number)):
            terms = {name: record[name] for name in ("ce", "kd", "tf", "ss") if getattr(recipe, name)}
            total = sum(getattr(recipe, name) * value for name, value in terms.items())
            assert record["total"] == pytest.approx(total, rel=1e-4)
            assert {"ce", "kd", "tf", "ss"} & record.keys() == terms.keys()
        assert run.history == metrics(tmp_path / str(number))


# ---- from the disk ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> ImageSet:
    """36 images on disk, to train on; the ones held out are left."""
    place, rng = tmp_path_factory.mktemp("sharded"), np.random.default_rng(0)
    for label, name in enumerate("abc"):
        (place / "images" / name).mkdir(parents=True)
        for i in range(15):
            pixels = rng.integers(0, 150, (24, 20, 3)) + 100 * (np.arange(3) == label)
            Image.fromarray(pixels.astype(np.uint8)).save(place / "images" / name / f"{i}.png")
    make_shards(place / "images", place / "shards", side=20, progress=False)
    return load_images(f"shards:{place / 'shards'}")


def test_streamed_images_train_like_those_in_memory(sharded):
    assert sharded.on_disk
    assert sharded.window == 17
    resident = dataclasses.replace(sharded, images=sharded.images.clone(), sha256=None)
    student, teacher = networks(sharded)
    streamed = distill(student, teacher, sharded, resident, **SETTINGS)
    held = distill(networks(sharded)[0], teacher, resident, sharded, **SETTINGS)
    assert same(state(streamed.network), state(held.network))
    for ours, theirs in zip(streamed.history, held.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


@pytest.mark.parametrize("path", ["table", "shards", "shards and table"])
def test_interrupted_it_goes_on_from_the_disk_too(path, sharded, tmp_path, monkeypatch):
    data = sharded if "shards" in path else pictures(24)
    _, teacher = networks(data)
    settings = SETTINGS | {"schedule": Schedule(epochs=3, batch_size=12, lr=0.02)}
    if "table" in path:
        table = tmp_path / "table"
        cache_teacher(teacher, data, table, draws=2, runtime=Runtime(), progress=False)
        settings["table"], teacher = table, None
    whole = distill(networks(data)[0], teacher, data, **settings)
    with monkeypatch.context() as patch:
        Stop(patch, batch=2 * math.ceil(len(data) / 12) + 1)  # the first of the third epoch
        with pytest.raises(KeyboardInterrupt):
            distill(networks(data)[0], teacher, data, out=tmp_path / "run", **settings)
    assert len(metrics(tmp_path / "run")) == 2
    resumed = distill(networks(data)[0], teacher, data, out=tmp_path / "run", **settings)
    assert same(state(resumed.network), state(whole.network))
    if "table" in path:  # another table is another training
        cache_teacher(networks(data)[1], data, tmp_path / "other", draws=3, runtime=Runtime(), progress=False)
        settings["table"] = tmp_path / "other"
        with pytest.raises(CheckpointError, match=r"what differs: table\.draws"):
            distill(networks(data)[0], None, data, out=tmp_path / "run", **settings)
