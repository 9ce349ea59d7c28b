"""Pretext tasks for a teacher's head, and the term with which a student imitates that head.

Rows of an output are in the order of `four_views`: B upright, then three times B transformed views.

Sources: exemplar, Dosovitskiy et al. 2014; jigsaw, Noroozi and Favaro 2016; rotation, Gidaris et al. 2018;
joint, Yang et al. 2021 (HSAKD). Xu et al. 2020, Table 2, put the first three in the place of SSKD's
contrastive task. Weight, temperature and head of these variants were not found in print. Here they are those
of L_T and of the contrastive head. Logits are imitated, so no row is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.batch import Batch
from ..files import did_you_mean
from ..models.heads import two_layers
from ..models.network import Output
from .kd import kl_rows
from .method import Method, Needs, Term, Terms
from .pairs import total
from .sskd import contrastive_loss

ANGLES = 4  # quarter turns
JIGSAWS = 24  # orders of four quarters


class PretextTask(Method):
    """A task for a head: its views (in `needs`), its targets and the shape of its head.

    Called like a method, with the output of the network whose head is trained, it returns the loss under the
    task's name and under "total".
    """

    needs_teacher = False
    trains_head = True
    name: str
    question: ClassVar[str]  # in words, for people
    needs = Needs(views=4)
    rows_per_image: ClassVar[int] = 4  # the last 4B or 3B rows are counted
    only_training_images: ClassVar[bool] = False  # whether the classes are the training images themselves

    def __init__(self) -> None:
        super().__init__(self.name, None, self.needs)

    def head(self, images: int, classes: int, stages: Sequence[Sequence[int]]) -> bool | dict[str, Any]:
        """Describe the head for so many training images of so many classes (see `heads.make_head`).

        stages: [c, h, w] of each stage of the network, without the stem.
        """
        return {"task": self.name, "outputs": self.classes(images, classes)}

    def classes(self, images: int, classes: int) -> int:
        """Return the number of answers to choose from, for so many training images of so many classes."""
        raise NotImplementedError

    def targets(self, batch: Batch) -> Tensor:
        """Return the right answers of the last rows: int64 [rows_per_image · B]."""
        raise NotImplementedError

    def scores(self, output: Output, batch: Batch) -> Tensor:
        """Return the head's scores of the rows that are counted: float [rows, stages or 1, classes]."""
        rows = self.rows_per_image * len(batch.labels)
        return output.projection[-rows:].view(rows, -1, output.projection.shape[-1])

    def forward(self, student_output: Output, teacher_output: Output | None, batch: Batch) -> Terms:
        """Return the cross-entropy with the right answers, summed over the stages where there are several."""
        targets = self.targets(batch)
        loss = total(F.cross_entropy(s, targets) for s in self.scores(student_output, batch).unbind(1))
        return {self.name: loss, "total": loss}

    def count_correct(self, output: Output, batch: Batch) -> Tensor:
        """Count the rows that the head (of several stages: the last) gets right. Returns an int64 scalar."""
        return (self.scores(output, batch)[:, -1].argmax(1) == self.targets(batch)).sum()


class Contrastive(PretextTask):
    """SSKD's task: find the image of a rotated view among B upright ones (`contrastive_loss`)."""

    name, question = "contrastive", "which of the B upright views shows its image (SSKD's own task)"
    rows_per_image, fewest_images = 3, 2

    def head(self, images: int, classes: int, stages: Sequence[Sequence[int]]) -> bool:
        """Describe the projection head, which has no classes."""
        return True

    def forward(self, student_output: Output, teacher_output: Output | None, batch: Batch) -> Terms:
        """Return the contrastive loss."""
        loss = contrastive_loss(student_output.projection, len(batch.labels))[0]
        return {self.name: loss, "total": loss}

    def count_correct(self, output: Output, batch: Batch) -> Tensor:
        """Count the rotated views whose nearest upright view shows their image."""
        return contrastive_loss(output.projection, len(batch.labels))[1]


class Exemplar(PretextTask):
    """Each training image is a class: name the image that a view shows."""

    name, question = "exemplar", "which image of the training set it shows"
    only_training_images = True

    def classes(self, images: int, classes: int) -> int:
        """Return the number of training images."""
        return images

    def targets(self, batch: Batch) -> Tensor:
        """Return the place of each row's image in the training set."""
        return batch.index.repeat(4)


class Jigsaw(PretextTask):
    """The quarters of a view are shuffled: name their order. Upright views are no puzzle."""

    name, question = "jigsaw", "in which of 24 orders its four quarters are"
    needs, rows_per_image = Needs(views=4, jigsaw=True), 3

    def classes(self, images: int, classes: int) -> int:
        """Return 24, the number of orders."""
        return JIGSAWS

    def targets(self, batch: Batch) -> Tensor:
        """Return the number of each shuffled view's order (`views.cut`)."""
        return batch.permutation.T.flatten()


class Rotation(PretextTask):
    """Name the angle of a view: 0°, 90°, 180° or 270°."""

    name, question = "rotation", "by which of four angles it is turned"

    def classes(self, images: int, classes: int) -> int:
        """Return 4, the number of angles."""
        return ANGLES

    def targets(self, batch: Batch) -> Tensor:
        """Return the number of quarter turns of each row."""
        return torch.arange(ANGLES, device=batch.labels.device).repeat_interleave(len(batch.labels))


class Joint(Rotation):
    """HSAKD's task: name the class and the angle of a view together, at every stage of the network."""

    name, question = "joint", "its class and its angle together, at every stage (HSAKD's task)"
    needs = Needs(views=4, maps="post_relu")

    def head(self, images: int, classes: int, stages: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Describe one classifier per stage."""
        return {"task": self.name, "outputs": self.classes(images, classes), "stages": stages}

    def classes(self, images: int, classes: int) -> int:
        """Return 4K."""
        return ANGLES * classes

    def targets(self, batch: Batch) -> Tensor:
        """Return 4 · class + angle of each row."""
        return ANGLES * batch.labels.repeat(ANGLES) + super().targets(batch)


TASKS: dict[str, type[PretextTask]] = {
    task.name: task for task in (Contrastive, Exemplar, Jigsaw, Rotation, Joint)
}


def create_task(name: str) -> PretextTask:
    """Make a pretext task by name. Raises ValueError for an unknown one."""
    if name not in TASKS:
        raise ValueError(
            f"there is no pretext task {name!r}; the tasks are: {', '.join(TASKS)}."
            f"{did_you_mean(name, TASKS)}"
        )
    return TASKS[name]()


class Imitation(Term):
    """The student's head for a pretext task imitates the teacher's: mean of τ² · KL(teacher ‖ student).

    The head is trained with the student and is no part of the result.
    """

    inputs, all_views = "features", True

    def __init__(self, weight: float, task: str, temperature: float = 4.0) -> None:
        super().__init__(weight)
        self.name = self.task = task
        self.temperature = temperature
        self.rows_per_image = TASKS[task].rows_per_image

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make the student's head, as wide as the teacher's answers."""
        answers = teacher_output.projection
        if answers is None or answers.dim() != 2:
            raise ValueError(
                f"there is no head for the task {self.task!r} on this teacher; make one with "
                f"train_head(teacher, …, task={self.task!r})."
            )
        self.head = two_layers(student_output.features.shape[1], answers.shape[1])

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Compare the last rows, those that the task asks about."""
        last = slice(-self.rows_per_image * len(batch.labels), None)
        scores = self.head(student_output.features[last])
        return kl_rows(scores, teacher_output.projection[last].detach(), self.temperature).mean()
