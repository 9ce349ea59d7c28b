"""Two processes, one training: against one process where the method allows it, against the arithmetic where
not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training import metrics, one_thread, pictures, same, state, views_by_hand  # noqa: F401 - a fixture
from torch import nn

from sskd_lib.data.views import draw
from sskd_lib.losses import create_method
from sskd_lib.models import MODELS, Backbone
from sskd_lib.models.checkpoint import load_checkpoint
from sskd_lib.models.heads import give_head
from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime
from sskd_lib.runtime.distributed import World, local_device, processes, world
from sskd_lib.training.train import create_network, distill

torchrun = pytest.mark.skipif(sys.platform != "linux", reason="two processes over gloo are tried on Linux")
SCHEDULE = Schedule(epochs=3, batch_size=8, lr=0.05, milestones=(0.5,))


class Plain(Backbone):
    """A backbone without BatchNorm, so that no image knows of the others in its batch."""

    def __init__(self, num_classes: int = 100, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, feature_dim=12)
        self.conv = nn.Conv2d(in_channels, 12, 5, stride=4)
        self.fc = nn.Linear(12, num_classes)

    def feature_maps(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.conv(x))


def train_here(method: str, model: str, out: Path, epochs: int = 3, batch_size: int = 8) -> None:
    """One training in this process or, under torchrun, in all of them together."""
    torch.set_num_threads(1)
    data = pictures(44)
    student = create_network(model, data, projection=True, seed=1)
    teacher = create_network(model, data, projection=True, seed=100)
    give_head(teacher, create_method(method).task or "contrastive", data, seed=100)
    distill(
        student,
        teacher,
        data,
        pictures(16, seed=5),
        method=method,
        schedule=Schedule(epochs=epochs, batch_size=batch_size, lr=0.05, milestones=(0.5,)),
        runtime=Runtime(),
        progress=False,
        save_seconds=0,
        out=out,
    )
    torch.save(student.state_dict(), out / f"weights-{world().rank}.pt")


def main() -> None:
    """What torchrun starts: (method, model, out, epochs of the schedule, epoch to die in) on the command
    line.
    """
    method, model, out, dies = sys.argv[1:5]
    MODELS["Plain"] = Plain
    if int(dies):
        from sskd_lib.training import loop

        run_epoch = loop.run_epoch

        def dying(lesson, step, epoch, bar):
            if epoch == int(dies):
                os._exit(9)
            run_epoch(lesson, step, epoch, bar)

        loop.run_epoch = dying
    with processes("cpu"):
        train_here(method, model, Path(out))


def run_two(*words: object, expect: int = 0, script: tuple[str, ...] = (__file__,)) -> str:
    """Start two processes and wait. Returns what they printed."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        *script,
    ]
    done = subprocess.run(
        [*command, *map(str, words)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode == 0) == (expect == 0), done.stderr
    return done.stdout + done.stderr


def weights(out: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return torch.load(out / f"weights-{rank}.pt", weights_only=True)


# ---- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "size", "batch"), [(44, 2, 8), (17, 2, 8), (16, 1, 5), (50, 3, 4), (2, 4, 8)]
)
def test_shares_are_equal_and_cover_all_but_a_few(images, size, batch):
    shares = [list(World(rank, size).shares(images, batch)) for rank in range(size)]
    for step in zip(*shares, strict=True):
        assert len({part.stop - part.start for part in step}) == 1
        assert [part.start for part in step[1:]] == [part.stop for part in step[:-1]]  # side by side
        assert step[0].stop - step[0].start <= batch
    taken = sorted(i for parts in shares for part in parts for i in range(part.start, part.stop))
    assert taken == list(range(len(taken))) and images - size < len(taken) <= images


def test_alone_a_world_changes_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    module, value = nn.Linear(2, 2), torch.ones(3)
    with processes() as here:
        assert here == World() == world() and here.leads
        assert here.wrap(module) is module and here.mean(value) is value and here.tell("x") == "x"
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
    train_here(method, "Plain", tmp_path / "one", batch_size=16)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
        assert torch.equal(two[name], weights(tmp_path / "two", rank=1)[name])
    for mine, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"seconds"}:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3)


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
                for mine, theirs in zip(
                    twin.state_dict().values(), student.state_dict().values(), strict=True
                ):
                    mine.copy_(theirs)  # weights are equal, and the leader's running averages count
            for half, network in enumerate((student, twin)):
                part = slice(start + half * each, start + (half + 1) * each)
                x, y = data.images[order[part]], data.labels[order[part]]
                views = views_by_hand(x, flip[part], corner[part], turns=4)
                with torch.no_grad():
                    taught = teacher(views)
                gradients = torch.autograd.grad(
                    made(network(views), taught, y)["total"] / 2, list(network.parameters())
                )
                for parameter, gradient in zip(student.parameters(), gradients, strict=True):
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            optimizer.step()
    found = weights(tmp_path)
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=5e-3, atol=5e-4)
        assert torch.equal(found[name], weights(tmp_path, rank=1)[name])
    assert same(state(load_checkpoint(tmp_path / "student.safetensors")), found)


@torchrun
@pytest.mark.parametrize("method", ["sskd", "fitnet", "ab", "simkd", "hsakd"])  # with parts of their own
def test_killed_together_they_go_on_together(method, tmp_path):
    run_two(method, "resnet8", tmp_path / "whole", 0)
    run_two(method, "resnet8", tmp_path / "cut", 2, expect=1)
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
        [sys.executable, "-m", "sskd_lib", *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert alone.returncode == 2 and "processes (2 there, 1 asked for)" in alone.stderr


if __name__ == "__main__":
    main()
