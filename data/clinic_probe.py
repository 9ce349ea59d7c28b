"""What is measured after every second epoch of a training in the clinic, and at each step of its loss."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

import sskd_lib as sskd
from clinic_faults import SSKD, Fault
from sskd_lib.data.views import Draws, cut, draw
from sskd_lib.losses import Batch, error_rank, similarity_matrix, soften
from sskd_lib.recipes import Recipe

TERMS = ("ce", "kd", "tf", "ss")
BATCH, GROUPS = 16, 4  # images of a fixed batch, and such batches
DRAWS = 2006  # seed of the fixed batches' views
MEASURED = 160  # labelled images whose accuracy is measured
KEPT = ("matrices", "kept", "ranks", "teacher_twice", "matches", "student_alone")
PAIRS = 2  # images of which the views are kept


class Observed(SSKD.SSKD):
    """SSKD's method with a fault, which also notes each step's terms and how often the teacher is right."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(Recipe())
        self.fault = fault
        self.steps: list[list[float]] = []  # the four terms, step by step, of all epochs
        self.hits: list[list[float]] = []  # rows: share of upright and of turned rows the teacher names right

    def forward(self, student_output: sskd.Output, teacher_output: sskd.Output, batch: Batch) -> dict:
        """Return the terms of a batch."""
        with self.fault.functions():
            terms = super().forward(student_output, self.fault.answers(teacher_output), batch)
        right = teacher_output.logits.argmax(1) == batch.labels.repeat(4)
        images = len(batch.labels)
        self.steps.append([terms[name].item() for name in TERMS])
        self.hits.append([float(part.float().mean()) for part in (right[:images], right[images:])])
        return terms


class Probe:
    """Measures a student and its teacher after an epoch, on copies, so that no weight is changed.

    labelled: the images of the training; clean: the teacher without a mistake, in eval mode; teacher: that of
    the training. The fixed batches are test images, cut as the training cuts its views.
    """

    def __init__(
        self,
        method: Observed,
        labelled: sskd.ImageSet,
        test: sskd.ImageSet,
        clean: sskd.Network,
        teacher: sskd.Network,
        epochs: int,
    ) -> None:
        self.labelled, self.clean, self.teacher, self.method = labelled.take(MEASURED), clean, teacher, method
        self.fault, self.epochs = method.fault, epochs
        self.drawn = (0, epochs // 2, epochs)
        self.rows: list[dict[str, np.ndarray]] = []
        self.start: list[Tensor] = []
        self.pictures: dict[str, list[np.ndarray]] = {name: [] for name in KEPT}
        fixed = test.take(BATCH * GROUPS, seed=DRAWS)
        order = torch.randperm(len(fixed), generator=torch.Generator().manual_seed(DRAWS))
        images, self.labels = fixed.images[order], fixed.labels[order].split(BATCH)
        framed = self.fault.frame(images, float(clean.mean)).split(BATCH)
        draws = draw(len(images), torch.Generator().manual_seed(DRAWS))
        size = (images.shape[2], images.shape[3])
        self.views = [
            cut(part, Draws(flip, corner), size, 4)
            for part, flip, corner in zip(
                framed, draws.flip.split(BATCH), draws.corner.split(BATCH), strict=True
            )
        ]

    def watch(self, epoch: int, network: sskd.Network) -> None:
        """Measure a student after an epoch, if it is an even one."""
        if epoch % 2:
            return
        student, teacher = deepcopy(network).train(), deepcopy(self.teacher)
        weights = [parameter.detach() for parameter in student.parameters()]
        self.start = self.start or [weight.clone() for weight in weights]
        moved = sum(float((a - b).square().sum()) for a, b in zip(weights, self.start, strict=True)) ** 0.5
        hits = self.method.hits[-(len(self.method.hits) // epoch) :] if epoch else [[np.nan, np.nan]]
        row = {
            "epochs": epoch,
            "moved": moved,
            "teacher_right": 100 * np.mean(hits, 0),
            "batch_accuracy": batch_accuracy(student, self.labelled),
            "running_accuracy": sskd.evaluate(network, self.labelled)["accuracy"],
            "gradients": self.compare(student, teacher, epoch),
        }
        self.rows.append({name: np.asarray(value, np.float32) for name, value in row.items()})
        if epoch == 0:
            self.pictures["student_alone"].append(np.float32(student_alone(student, self.views)))
        if epoch in (0, self.epochs):
            self.pictures["teacher_twice"].append(np.float32(teacher_twice(teacher, self.views)))
            table = matches(self.fault, deepcopy(self.teacher), self.clean, self.views)
            self.pictures["matches"].append(table.astype(np.float32))

    def compare(self, student: sskd.Network, teacher: sskd.Network, epoch: int) -> list[float]:
        """Return the gradient norm of each weighted term on the first fixed batch; keep matrices and mask."""
        with torch.no_grad():
            teacher_output = self.fault.answers(teacher(self.views[0]))
        output, recipe = student(self.views[0]), self.method.recipe
        with self.fault.functions():
            terms = SSKD.sskd_terms(output, teacher_output, self.labels[0], recipe)
        parameters = list(student.parameters())
        norms = []
        for name in TERMS:
            term = getattr(recipe, name) * terms[name]
            gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            norms.append(sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5)
        if epoch in self.drawn:
            pair = [
                similarity_matrix(o.projection[BATCH:], o.projection[:BATCH]).detach()
                for o in (teacher_output, output)
            ]
            images = torch.arange(3 * BATCH) % BATCH
            self.pictures["matrices"].append(torch.stack(pair).numpy().astype(np.float16))
            with self.fault.functions():
                kept = SSKD.transfer_mask(pair[0], images, recipe.ss_keep_wrong)
            self.pictures["kept"].append(kept.numpy())
            self.pictures["ranks"].append(error_rank(pair[0], images).numpy().astype(np.int8))
        return norms

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was measured: [E, …] of E epochs, the first epoch's steps, and the pictures."""
        arrays = {name: np.stack([row[name] for row in self.rows]) for name in self.rows[0]}
        first = len(self.method.steps) // self.epochs
        arrays["first_steps"] = np.array(self.method.steps[:first])
        arrays |= {name: np.stack(values) for name, values in self.pictures.items()}
        views = self.views[0].view(4, BATCH, *self.views[0].shape[1:])[:, :PAIRS]
        return arrays | {"views": (255 * views).round().numpy().astype(np.uint8)}


@torch.no_grad()
def batch_accuracy(student: sskd.Network, images: sskd.ImageSet) -> float:
    """Return the accuracy on the upright of four views, by batches in train mode (their statistics)."""
    copy, right = deepcopy(student).train(), 0
    for part, labels in zip(images.images.split(BATCH), images.labels.split(BATCH), strict=True):
        logits = copy(sskd.four_views(part, augment=False)).logits[: len(part)]
        right += int((logits.argmax(1) == labels).sum())
    return 100 * right / len(images)


@torch.no_grad()
def student_alone(student: sskd.Network, views: list[Tensor]) -> float:
    """Return how far a student's upright logits in training are from those without turned views beside them.

    Norm of the difference over the norm, in percent. 0: turned views have no part in the statistics.
    """
    moved = []
    for batch in views:
        copy = deepcopy(student).train()
        joint = copy(batch).logits[:BATCH]
        alone = sskd.Network.forward(copy, batch[:BATCH]).logits  # one pass, also of a TwoForwards
        moved.append(float((joint - alone).norm() / joint.norm()))
    return 100 * float(np.mean(moved))


@torch.no_grad()
def teacher_twice(teacher: sskd.Network, views: list[Tensor]) -> float:
    """Return how far the teacher's answers to the same views move when other images are in the batch.

    Mean over views of half the sum of |p - p'| at τ = 4, in percent: the probability that moves.
    """
    moved, half = [], BATCH // 2
    for batch, other in zip(views, views[1:] + views[:1], strict=True):
        rows = torch.arange(4 * BATCH).view(4, BATCH)
        kept = rows[:, :half].flatten()
        mixed = batch.clone()
        mixed[rows[:, half:].flatten()] = other[rows[:, half:].flatten()]
        first, second = (soften(teacher(part).logits[kept], 4.0) for part in (batch, mixed))
        moved.append(float((first - second).abs().sum(1).mean()) / 2)
    return 100 * float(np.mean(moved))


@torch.no_grad()
def matches(fault: Fault, teacher: sskd.Network, clean: sskd.Network, views: list[Tensor]) -> np.ndarray:
    """Return in percent how often the answers that the loss gets are those of a fresh pass: [4, 4].

    Row: turn of the student's view. Column: turn of the view that the clean teacher is shown in a fresh pass.
    """
    table = np.zeros((4, 4))
    for batch in views:
        outputs = fault.answers(teacher(batch)), clean(batch)
        used, fresh = (output.logits.argmax(1).view(4, -1) for output in outputs)
        table += (used[:, None] == fresh[None]).float().mean(2).numpy()
    return 100 * table / len(views)
