"""Exercise of notebook 04: one training step, from images to changed weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.views import rotate
from .cases import generator_of, normal
from .exercise import Case, Exercise, Mistake

CLASSES, SIZE = 3, 3


class CountingSGD(torch.optim.SGD):
    """SGD that counts its steps, among its settings, which a copy keeps."""

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        group = self.param_groups[0]
        group["steps"] = group.get("steps", 0) + 1
        return super().step(closure)


class TinyNetwork(nn.Sequential):
    """Pixels → BatchNorm → scores. It remembers its first weights, to see whether it moved."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(SIZE * SIZE, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, CLASSES)
        )
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(normal(generator, *parameter.shape))
        self.first = [parameter.detach().clone() for parameter in self.parameters()]

    def moved(self) -> bool:
        """Return whether a weight changed."""
        return not all(map(torch.equal, self.first, self.parameters()))

    def has_gradients(self) -> bool:
        """Return whether a gradient other than 0 is kept in a weight."""
        return any(p.grad is not None and bool(p.grad.any()) for p in self.parameters())


def four_views(images: Tensor) -> Tensor:
    """Return the four rotated views, without flip and crop. images: [B, C, H, W]; returns [4B, C, H, W]."""
    return torch.cat([rotate(images, turns) for turns in range(4)])


def loss(student_output: Tensor, teacher_output: Tensor, labels: Tensor) -> Tensor:
    """Return cross-entropy of the upright rows plus the squared distance to the teacher on all rows."""
    return F.cross_entropy(student_output[: len(labels)], labels) + F.mse_loss(student_output, teacher_output)


def _networks(seed: int) -> dict[str, Any]:
    """Return networks in the wrong modes, with gradients left from a step before."""
    generator, images = generator_of(seed), 2 + seed % 2
    teacher, student = TinyNetwork(generator), TinyNetwork(generator)
    for parameter in student.parameters():
        parameter.grad = normal(generator, *parameter.shape)
    return {
        "student": student.eval(), "teacher": teacher.train(),
        "optimizer": CountingSGD(student.parameters(), lr=0.05),
        "images": torch.rand((images, 1, SIZE, SIZE), dtype=torch.float64, generator=generator),
        "labels": torch.randint(0, CLASSES, (images,), generator=generator),
        "views": four_views, "loss": loss,
    }  # fmt: skip


def _observe(arguments: Case, value: Any) -> dict[str, Any]:
    """Return what a step leaves behind. Why a student did not move is seen only where it did not."""
    student, teacher = arguments["student"], arguments["teacher"]
    seen = {
        "the loss": value,
        "a number without a graph": not (isinstance(value, Tensor) and value.requires_grad),
        "the student's weights": [p.detach().clone() for p in student.parameters()],
        "the student's BatchNorm statistics": list(student[2].buffers()),
        "the teacher's weights": [p.detach().clone() for p in teacher.parameters()],
        "the teacher's BatchNorm statistics": list(teacher[2].buffers()),
        "no gradient at the teacher": not teacher.has_gradients(),
    }
    if not student.moved():
        seen["a student that moves"] = False
        seen["gradients"] = student.has_gradients()
        seen["steps of the optimizer"] = arguments["optimizer"].param_groups[0].get("steps", 0)
    return seen


def step_with(mistake: str = "") -> Callable[..., Any]:
    """Return a training step: the right one, or one with a mistake of this name."""

    def train_step(student, teacher, optimizer, images, labels, views, loss) -> Any:
        x = images if mistake == "upright" else views(images)
        teacher.train(mistake == "teacher trains")
        student.train(mistake != "student in eval")
        with torch.set_grad_enabled(mistake == "teacher's graph"):
            teacher_output = teacher(x)
        n = len(images)
        output = torch.cat([student(x[:n]), student(x[n:])]) if mistake == "two forwards" else student(x)
        value = loss(output, teacher_output, labels)
        if mistake not in ("no zero_grad", "old gradients"):
            optimizer.zero_grad()
        if mistake == "step first":
            optimizer.step()
        if mistake not in ("no backward", "old gradients"):
            value.backward()
        if mistake not in ("no step", "step first"):
            optimizer.step()
        return value if mistake == "graph" else value.item()

    return train_step


def _mistake(name: str, kind: str, message: str) -> Mistake:
    return Mistake(name=name, message=message, answer=step_with(kind))


TRAIN_STEP = Exercise(
    name="train_step",
    task="One training step: train_step(student, teacher, optimizer, images, labels, views, loss). "
    "views(images) makes the four views; loss(student_output, teacher_output, labels) returns a scalar. All "
    "views pass the student in one forward, in train mode; the teacher is in eval mode and gets no gradient.",
    returns="the loss as a number",
    cases=_networks,
    right=step_with(),
    observe=_observe,
    mistakes=(
        _mistake(
            "teacher in train mode", "teacher trains",
            "The teacher was in train mode: its BatchNorm normalised with this batch, and its running "
            "statistics changed. A finished teacher has another mode.",
        ),
        _mistake(
            "student in eval mode", "student in eval",
            "The student was in eval mode: its BatchNorm used old statistics and learned no new ones. Who "
            "trains has another mode.",
        ),
        _mistake(
            "old gradients kept", "no zero_grad",
            "The gradients of the step before were still there, and the new ones were added to them. Clear "
            "them first.",
        ),
        _mistake(
            "no gradients at the step", "no backward",
            "The optimizer took a step, but there were no gradients for it, so no weight of the student "
            "changed. Either nothing computed them, or they were cleared again before the step.",
        ),
        _mistake(
            "only old gradients", "old gradients",
            "The optimizer used the gradients of the step before, and not those of this loss: they came too "
            "late, or never. Look at the order of your last lines.",
        ),
        _mistake(
            "step forgotten", "no step",
            "The gradients are there, but the student's weights did not change: nobody used the gradients.",
        ),
        _mistake(
            "step before backward", "step first",
            "The optimizer took its step before the new gradients were there. Look at the order of your last "
            "lines.",
        ),
        _mistake(
            "two forwards", "two forwards",
            "Upright and rotated views went through the student apart. BatchNorm then normalises them with "
            "different statistics. All views belong into one forward.",
        ),
        _mistake(
            "teacher in the graph", "teacher's graph",
            "Gradients arrived at the teacher. It costs memory and time, and with its weights in an "
            "optimizer the teacher would learn. Its forward needs no graph.",
        ),
        _mistake(
            "upright views only", "upright",
            "Only the upright images went through the networks. The three rotated views were never made.",
        ),
        _mistake(
            "loss with its graph", "graph",
            "The step is right. But you return a tensor that still holds its graph. Who collects such losses "
            "keeps every graph in memory: return a plain number.",
        ),
    ),
    hints=(
        "Write the order down first: modes, views, teacher, student, loss, and what the optimizer needs.",
        "Of the two networks, which one learns? Each has its mode; only one of the forwards needs a graph.",
        "The optimizer: old gradients away, new gradients, then the step. Last: the loss as a plain number.",
    ),
)  # fmt: skip

EXERCISES = (TRAIN_STEP,)
