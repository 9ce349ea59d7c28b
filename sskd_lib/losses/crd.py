"""Contrastive representation distillation: tell the teacher's view of an image from its view of others.

Source: Tian, Krishnan, Isola 2020 (arXiv 1910.10699), section 3 and the authors' code. Usual weight: 0.8, on
the penultimate features, with embeddings of 128, temperature 0.07, momentum 0.5 and 16384 negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .method import Batch, Output, Term
from .pairs import precise, same_images, total, unit

CHUNK = 4096  # rows of the memory that are gathered at a time
GOLDEN = (math.sqrt(5) - 1) / 2


def crd_loss(
    positive: Tensor, negative: Sequence[Tensor], weights: Sequence[Tensor], shift: Tensor
) -> Tensor:
    """Return the contrast of one direction: mean over images of - log h(i) - Σ_j w_j log(1 - h(j)).

    h = P / (P + K / M) with P = exp(score) / Z, which is sigmoid(score - shift) with shift = log(Z K / M).
    Logarithms are formed directly; the published code adds 10⁻⁷ to the denominator of h.

    positive: float [B], scores ⟨e, m⟩ / τ with each image's row of the memory; negative: chunks of [B, n],
    scores with other rows; weights: as many, the w. Returns a scalar.
    """
    loss = F.softplus(shift - positive).sum()
    for w, score in zip(weights, negative, strict=True):
        loss = loss + (w * F.softplus(score - shift)).sum()
    return loss / len(positive)


class CRD(Term):
    """A unit-length linear embedding of each network, a memory of both, and the contrast of the two.

    An embedding e of image i is compared with the other network's memory m of M embeddings: `crd_loss` with K
    negatives, images of other classes. Both directions are added. Z, one per direction, is M times the mean
    of exp(⟨e, m_j⟩ / τ) in the first training step and then stays. Memories start as uniform noise, the same
    for every seed; training mixes each new embedding into its row (`momentum` is the share of the old one)
    after the scores were taken. In eval mode nothing changes. state_dict has memories and Z, not the labels.

    Departure from the published code: it draws K negatives for each image; here one draw (`draw`) of min(K,
    M) rows serves the batch, those of an image's own class have weight 0 and the others K together.
    """

    name, inputs, single_process = "crd", "features", True
    width, momentum = 128, 0.5
    student: nn.Linear
    teacher: nn.Linear
    labels: Tensor
    memory_student: Tensor
    memory_teacher: Tensor
    normaliser_student: Tensor
    normaliser_teacher: Tensor

    def __init__(self, weight: float = 0.8, negatives: int = 16384, temperature: float = 0.07) -> None:
        super().__init__(weight)
        if negatives < 1:
            raise ValueError(f"CRD needs at least 1 negative, not {negatives}; the paper has 16384.")
        if not temperature >= 0.02:
            raise ValueError(
                f"the temperature of CRD must be at least 0.02, not {temperature}: its exponentials would "
                "overflow. The paper has 0.07."
            )
        self.negatives, self.temperature = negatives, temperature

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make embeddings and memories. Raises ValueError unless there are labels of two classes."""
        _check_labels(labels)
        self.student = nn.Linear(student_output.features.shape[1], self.width)
        self.teacher = nn.Linear(teacher_output.features.shape[1], self.width)
        self.stride = _stride(len(labels))
        self.register_buffer("labels", labels.detach().clone(), persistent=False)
        generator = torch.Generator().manual_seed(0)
        for name in ("student", "teacher"):
            noise = torch.rand(len(labels), self.width, generator=generator, device="cpu")
            noise.mul_(2).sub_(1).mul_(math.sqrt(3 / self.width))  # length near 1
            self.register_buffer(f"memory_{name}", noise.to(labels.device))
            self.register_buffer(f"normaliser_{name}", torch.zeros((), device=labels.device))  # 0: not set

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Contrast both embeddings of the batch with the memories.

        batch.index: int64 [B], each image at most once. Indices outside 0 … M - 1 fail only on the device.
        Raises ValueError without an index.
        """
        index = batch.index
        if index is None:
            raise ValueError(
                "CRD needs the index of each image in the training set, and this batch has none. Give it to "
                "Batch(labels=…, index=…)."
            )
        student, teacher = student_output.features, teacher_output.features
        same_images(student, teacher)
        with torch.autocast(student.device.type, enabled=False):
            e_s = unit(self.student(precise(student)))
            e_t = unit(self.teacher(precise(teacher.detach())))
            rows = self.draw(index).split(CHUNK)
            weights = self._weights(index, rows, e_s.dtype)
            loss = self._contrast(e_s, "teacher", index, rows, weights)
            loss = loss + self._contrast(e_t, "student", index, rows, weights)
            if self.training:
                self._remember(self.memory_student, e_s, index)
                self._remember(self.memory_teacher, e_t, index)
        return loss

    def draw(self, index: Tensor) -> Tensor:
        """Choose min(K, M) different rows of the memory for a batch: int64 [B] → int64 [min(K, M)].

        Steps of about 0.618 M, without common factor with M, from a row hashed from the indices. Nothing is
        random and nothing waits for the device: a resumed run draws the same. Another batch starts at another
        row; the same images, in any order, always get the same draw.
        """
        mixed = (index + 1) * 0x5851F42D4C957F2D  # wraps around, on every device in the same way
        mixed = (mixed ^ (mixed >> 29)) * 0x14057B7EF767814F
        start = (mixed ^ (mixed >> 32)).sum()
        count = min(self.negatives, len(self.labels))
        steps = torch.arange(count, device=index.device) * self.stride
        return (start.remainder(len(self.labels)) + steps).remainder(len(self.labels))

    def _weights(self, index: Tensor, rows: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """[B, rows of a chunk] each: 0 for the class of the image, equal for all others, K in sum."""
        label = self.labels.index_select(0, index)[:, None]
        other = [(self.labels.index_select(0, part) != label).to(dtype) for part in rows]
        count = total(part.sum(1, keepdim=True) for part in other)
        scale = self.negatives / count.clamp(min=1)  # a short draw may have no other class: no negatives then
        return [part * scale for part in other]

    def _contrast(
        self,
        embedding: Tensor,
        other: str,
        index: Tensor,
        rows: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> Tensor:
        """One direction: float [B, width] against the memory of the other network, "student" or "teacher"."""
        memory = getattr(self, f"memory_{other}")
        normaliser = self.normaliser_student if other == "teacher" else self.normaliser_teacher
        cold = embedding / self.temperature
        positive = (cold * memory.index_select(0, index)).sum(1)
        negative = [cold @ memory.index_select(0, part).T for part in rows]
        with torch.no_grad():
            pairs = zip(weights, negative, strict=True)
            exponentials = positive.exp().sum() + total((w * x.exp()).sum() for w, x in pairs)
            first = exponentials * (len(memory) / (len(index) * (self.negatives + 1)))
            z = torch.where(normaliser == 0, first.to(normaliser.dtype), normaliser)
            if self.training:
                normaliser.copy_(z)
        return crd_loss(positive, negative, weights, z.log() + math.log(self.negatives / len(memory)))

    @torch.no_grad()
    def _remember(self, memory: Tensor, embedding: Tensor, index: Tensor) -> None:
        old = memory.index_select(0, index)
        mixed = unit(self.momentum * old + (1 - self.momentum) * embedding)
        memory.index_copy_(0, index, mixed.to(memory.dtype))


def _check_labels(labels: Tensor) -> None:
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise ValueError(
            f"labels are {labels.dtype} {list(labels.shape)}, but int64 [M] is needed: the class of every "
            "training image, not of a batch."
        )
    if len(labels.unique()) < 2:
        raise ValueError(
            "the training set has fewer than two classes: there are no negatives, images of another class. "
            "Pass the labels of ALL training images, of two classes at least."
        )


def _stride(images: int) -> int:
    """Return a step without common factor with the number of images, near the golden section of it."""
    stride = max(1, round(GOLDEN * images))
    while math.gcd(stride, images) != 1:
        stride += 1
    return stride
