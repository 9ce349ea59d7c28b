"""Two processes, one training: equal to one process where the method allows it, else to the arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.training import metrics, pictures, same, state, views_by_hand
from sskd_lib.data.batch import Batch
from sskd_lib.data.views import draw
from sskd_lib.losses import create_method
from sskd_lib.losses.pretext import create_task
from sskd_lib.models import MODELS, Backbone
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.runtime.distributed import Distributed, current, local_device, processes
from sskd_lib.training.head import give_head
from sskd_lib.training.train import create_network, distill

torchrun = pytest.mark.skipif(sys.platform != "linux", reason="two processes over gloo are tried on Linux")


class Plain(Backbone):
    """A backbone without BatchNorm, so that no image knows of the others in its batch."""

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, feature_dim=12)
        self.conv = nn.Conv2d(in_channels, 12, 5, stride=4)
        self.fc = nn.Linear(12, num_classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.conv(x)).mean((2, 3))


def train_once(method: str, model: str, out: Path, batch_size: int = 8, stop_in: int = 0) -> None:
    """One training in this process or, under torchrun, in all of them together.

    stop_in: the epoch, counted from 1, at whose end the main process dies, before the epoch is saved.
    """
    torch.set_num_threads(1)
    data = pictures(44)
    student = create_network(model, data, projection=True, seed=1)
    teacher = create_network(model, data, projection=True, seed=100)
    give_head(teacher, create_task(create_method(method).task or "contrastive"), data, seed=100)
    teacher.head_trained = True
    distill(
        student,
        teacher,
        data,
        pictures(16, seed=5),
        method=method,
        schedule=Schedule(epochs=3, batch_size=batch_size, lr=0.05, milestones=(0.5,)),
        runtime=Runtime(),
        progress=False,
        save_seconds=0,
        out=out,
        watch=lambda epochs, networks: os._exit(9) if 0 < epochs == stop_in else None,
    )
    torch.save(student.state_dict(), out / f"weights-{current().rank}.pt")


def main() -> None:
    """Train as torchrun asks: method, model, out, epoch to die in (0: none)."""
    method, model, out, stop_in = sys.argv[1:5]
    MODELS["Plain"] = Plain
    with processes("cpu"):
        train_once(method, model, Path(out), stop_in=int(stop_in))


def run_two(*words: object, expect: int = 0, script: tuple[str, ...] = (__file__,)) -> str:
    """Start two processes and wait. Returns what they printed."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [*script, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode == 0) == (expect == 0), done.stderr
    return done.stdout + done.stderr


def weights(out: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return torch.load(out / f"weights-{rank}.pt", weights_only=True)


# ---- shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "size", "batch"), [(44, 2, 8), (17, 2, 8), (16, 1, 5), (50, 3, 4), (2, 4, 8)]
)
def test_shards_are_equal_and_cover_all_but_a_few(images, size, batch):
    shards = [Distributed(rank, size).shard(images, batch) for rank in range(size)]
    for step in zip(*shards, strict=True):
        assert len({part.stop - part.start for part in step}) == 1
        assert [part.start for part in step[1:]] == [part.stop for part in step[:-1]]  # side by side
        assert step[0].stop - step[0].start <= batch
    covered = sorted(i for parts in shards for part in parts for i in range(part.start, part.stop))
    assert covered == list(range(len(covered))) and images - size < len(covered) <= images


def test_a_single_process_changes_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    module, value = nn.Linear(2, 2), torch.ones(3)
    with processes() as group:
        assert group == Distributed() == current() and group.is_main
        assert group.ddp(module) is module and group.all_reduce_mean(value) is value
        assert group.broadcast_object("x") == "x"
        group.broadcast_([value])
        assert torch.equal(value, torch.ones(3))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert [local_device(name) for name in ("auto", "cpu", "cuda:1")] == ["auto", "cpu", "cuda:1"]
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device("cpu") == "cpu" and (torch.cuda.is_available() or local_device("auto") == "cpu")


# ---- two processes -------------------------------------------------------------------------------


@torchrun
@pytest.mark.parametrize("method", ["ce", "kd", "kd+rotations", "sskd-jigsaw"])
def test_two_processes_equal_one_with_the_same_global_batch(method, tmp_path, monkeypatch):
    """No BatchNorm, no term that compares images: 2 x 8 images a step are 16 images a step."""
    run_two(method, "Plain", tmp_path / "two", 0)
    monkeypatch.setitem(MODELS, "Plain", Plain)
    train_once(method, "Plain", tmp_path / "one", batch_size=16)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
        assert torch.equal(two[name], weights(tmp_path / "two", rank=1)[name])
    for record, expected in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert record.keys() == expected.keys()
        for name in record.keys() - {"seconds"}:
            assert record[name] == pytest.approx(expected[name], rel=1e-3)


@torchrun
def test_sskd_in_two_processes_averages_local_matrices(tmp_path):
    """BatchNorm and L_ss see the 8 images of their own process: the mean of the two halves' gradients."""
    run_two("sskd", "resnet8", tmp_path, 0)
    data, made = pictures(44), create_method("sskd")
    student = create_network("resnet8", data, projection=True, seed=1).train()
    twin = create_network("resnet8", data, projection=True, seed=1).train()  # the second process
    teacher = create_network("resnet8", data, projection=True, seed=100).eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=1, momentum=0.9, weight_decay=5e-4, fused=False)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch < 1 else 0.005
        generator = torch.Generator().manual_seed(epoch)
        order, (flip, corner) = torch.randperm(44, generator=generator), draw(44, generator)
        for start, each in ((0, 8), (16, 8), (32, 6)):
            optimizer.zero_grad()
            with torch.no_grad():
                twin.load_state_dict(student.state_dict())  # DDP sends buffers from the main process
            for half, network in enumerate((student, twin)):
                part = slice(start + half * each, start + (half + 1) * each)
                x, y = data.images[order[part]], data.labels[order[part]]
                views = views_by_hand(x, flip[part], corner[part], turns=4)
                with torch.no_grad():
                    teacher_output = teacher(views)
                gradients = torch.autograd.grad(
                    made(network(views), teacher_output, Batch(labels=y))["total"] / 2,
                    list(network.parameters()),
                )
                for parameter, gradient in zip(student.parameters(), gradients, strict=True):
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            optimizer.step()
    trained = weights(tmp_path)
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, rtol=5e-3, atol=5e-4)
        assert torch.equal(trained[name], weights(tmp_path, rank=1)[name])
    assert same(state(load_checkpoint(tmp_path / "student.safetensors")), trained)


@torchrun
@pytest.mark.kill
@pytest.mark.parametrize("method", ["sskd", "fitnet", "ab", "simkd", "hsakd"])  # with parameters
def test_killed_together_they_go_on_together(method, tmp_path):
    run_two(method, "resnet8", tmp_path / "whole", 0)
    run_two(method, "resnet8", tmp_path / "cut", 3, expect=1)
    assert len(metrics(tmp_path / "cut")) == 2 and not (tmp_path / "cut" / "student.safetensors").exists()
    run_two(method, "resnet8", tmp_path / "cut", 0)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert [record["epoch"] for record in metrics(tmp_path / "cut")] == [1, 2, 3]


@torchrun
def test_a_memory_of_all_images_wants_one_process(tmp_path):
    assert "trained by one process only" in run_two("crd", "resnet8", tmp_path / "x", 0, expect=1)


@torchrun
def test_the_command_line_under_torchrun(tmp_path):
    """One line of result, one set of files, a card that counts the processes; another number of them is
    refused.
    """
    words = ["distill", "--method", "ce", "--labels", "40", "--epochs", "2", "--batch-size", "8"]
    words += ["--device", "cpu", "--exact", "--out", tmp_path / "out"]
    printed = run_two(*words, script=("-m", "sskd_lib"))
    assert printed.count("(the result)") == 1 and "ce: 100%" in printed
    assert (tmp_path / "out" / "student.safetensors").exists()
    alone = subprocess.run(
        [sys.executable, "-m", "sskd_lib", *map(str, words)], capture_output=True, text=True, timeout=600
    )
    assert alone.returncode == 2 and "processes (2 there, 1 wanted)" in alone.stderr


if __name__ == "__main__":
    main()
