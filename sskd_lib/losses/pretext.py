"""The pretext tasks that a teacher's head is taught, and what a student imitates of those that classify.

Rows are laid out as `four_views` makes them: B upright, then three times B transformed views.

Sources: exemplar, Dosovitskiy et al. 2014; jigsaw, Noroozi and Favaro 2016; rotation, Gidaris et al. 2018.
That SSKD can take them in place of its contrastive task: Xu et al. 2020, Table 2. Weight, temperature and
head were not found in print; here they are those of L_T and of the contrastive head, and as logits are
imitated, no row is left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.heads import ANGLES, TASKS, two_layers
from ..models.network import Output
from .kd import kl_rows
from .method import PairOutputs
from .sskd import contrastive_loss


def pretext_targets(task: str, labels: Tensor, index: Tensor, order: Tensor | None = None) -> Tensor:
    """The right answers of a task that classifies, for the last rows of a batch: int64 [4B]; jigsaw [3B].

    labels, index: int64 [B], class and place in the training set; order: int64 [B, 3] of a jigsaw, see
    `views.cut_jigsaw`. Upright views are no puzzle. Raises ValueError for a task without such answers.
    """
    if task == "exemplar":
        return index.repeat(4)
    if task == "jigsaw":
        return order.T.flatten()
    angle = torch.arange(ANGLES, device=labels.device).repeat_interleave(len(labels))
    if task == "rotation":
        return angle
    if task == "joint":
        return ANGLES * labels.repeat(4) + angle
    raise ValueError(
        f"the task {task!r} has no classes; those that classify are: exemplar, jigsaw, rotation, joint."
    )


def pretext_loss(
    task: str, said: Tensor, labels: Tensor, index: Tensor, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What a head is taught: (loss, hits), cross-entropy with the right answers, and how many rows have them.

    said: float, the head's output on 4B rows: Output.projection. Of the joint task the classifiers of all
    stages are taught (the sum of their cross-entropies), and the hits are those of the last.
    """
    if task == "contrastive":
        return contrastive_loss(said, len(labels))
    targets = pretext_targets(task, labels, index, order)
    said = said[-len(targets) :].view(len(targets), -1, said.shape[-1])  # [rows, stages or 1, classes]
    loss = sum(F.cross_entropy(scores, targets) for scores in said.unbind(1))
    return loss, (said[:, -1].argmax(1) == targets).sum()


def rows_judged(task: str) -> int:
    """Rows of an image that a task asks about: 4, or the 3 transformed ones."""
    return 3 if task in ("contrastive", "jigsaw") else 4


class Imitated(nn.Module):
    """The student's head for a pretext task, led to the teacher's: mean of τ² · KL(teacher ‖ student).

    The head is trained with the student and no part of the result.
    """

    def __init__(self, pair: PairOutputs, task: str, temperature: float = 4.0) -> None:
        super().__init__()
        if task not in TASKS or pair.teacher.projection is None or pair.teacher.projection.dim() != 2:
            raise ValueError(
                f"there is no head for the task {task!r} on this teacher; make one with "
                f"train_head(teacher, …, task={task!r})."
            )
        self.rows, self.temperature = rows_judged(task), temperature
        self.head = two_layers(pair.student.features.shape[1], pair.teacher.projection.shape[1])

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        last = slice(-self.rows * len(labels), None)
        return kl_rows(self.head(student.features[last]), teacher.projection[last], self.temperature).mean()
