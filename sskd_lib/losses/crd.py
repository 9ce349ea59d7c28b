"""Contrastive representation distillation: tell the teacher's view of an image from its view of others.

Source: Tian, Krishnan, Isola 2020 (arXiv 1910.10699), section 3 and the authors' code. Usual weight: 0.8, on
the penultimate features, with embeddings of 128, temperature 0.07, momentum 0.5 and 16384 negatives.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pairs import precise, same_images, unit

CHUNK = 4096  # rows of the memory that are gathered at a time
GOLDEN = (math.sqrt(5) - 1) / 2


class CRD(nn.Module):
    """A unit-length linear embedding of each network, a memory of both, and the contrast of the two.

    For an embedding e of image i and the other network's memory m, M entries,
    L = - log h(i) - Σ_{K images j of other classes} log(1 - h(j)),
    h(j) = P_j / (P_j + K / M), P_j = exp(⟨e, m_j⟩ / τ) / Z, mean over the batch. Both directions are added.
    Z, one an embedding, is M times the mean of exp(⟨e, m_j⟩ / τ) in the first training step and then stays.
    Memories start as uniform noise, the same for every seed; training mixes each new embedding into its row
    (`momentum` is the share of the old one) after the scores were taken.

    Called with float features [B, D_S] and [B, D_T] and int64 index [B], the place of each image in the
    training set, each at most once. Returns a scalar, at least float32; no gradient reaches the teacher's
    features. In eval mode nothing is remembered. labels: int64 [M], of all training images.
    state_dict holds memories and Z, not the labels. Places outside 0 … M - 1 fail only on the device.

    Departures from the published code: it draws K negatives anew for each image; here one draw (`draw`) of
    min(K, M) rows serves the batch, those of an image's own class weigh 0 and the others K together. And its
    10⁻⁷ in the denominator of h is left out: logarithms are formed directly.
    """

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        labels: Tensor,
        width: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        _check_labels(labels)
        if negatives < 1 or not temperature >= 0.02 or not 0 <= momentum < 1:
            raise ValueError(
                f"CRD needs at least 1 negative (not {negatives}), a temperature of at least 0.02 "
                f"(not {temperature}: its exponentials overflow) and a momentum from 0 to below 1 "
                f"(not {momentum})."
            )
        self.student = nn.Linear(student_width, width)
        self.teacher = nn.Linear(teacher_width, width)
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum
        self.stride = _stride(len(labels))
        self.register_buffer("labels", labels.detach().clone(), persistent=False)
        generator = torch.Generator().manual_seed(0)
        for name in ("student", "teacher"):
            noise = torch.rand(len(labels), width, generator=generator, device="cpu")
            noise.mul_(2).sub_(1).mul_(math.sqrt(3 / width))  # length near 1
            self.register_buffer(f"memory_{name}", noise.to(labels.device))
            self.register_buffer(f"normaliser_{name}", torch.zeros((), device=labels.device))  # 0: not set

    def forward(self, student: Tensor, teacher: Tensor, index: Tensor) -> Tensor:
        same_images(student, teacher)
        if index.dtype != torch.int64 or index.shape != (len(student),):
            raise ValueError(
                f"index is {index.dtype} {list(index.shape)}, but int64 [{len(student)}] is needed: the "
                "place of each image in the training set. Let the loader return it with the image."
            )
        with torch.autocast(student.device.type, enabled=False):
            e_s = unit(self.student(precise(student).flatten(1)))
            e_t = unit(self.teacher(precise(teacher.detach()).flatten(1)))
            rows = self.draw(index).split(CHUNK)
            weights = self._weights(index, rows, e_s.dtype)
            loss = self._contrast(e_s, self.memory_teacher, self.normaliser_student, index, rows, weights)
            loss = loss + self._contrast(
                e_t, self.memory_student, self.normaliser_teacher, index, rows, weights
            )
            if self.training:
                self._remember(self.memory_student, e_s, index)
                self._remember(self.memory_teacher, e_t, index)
        return loss

    def draw(self, index: Tensor) -> Tensor:
        """Choose min(K, M) different rows of the memory from the batch alone: int64 [B] → int64 [min(K, M)].

        Steps of about 0.618 M, without common factor with M, from a place hashed from the indices. Nothing
        random and nothing that waits for the device: a resumed run draws the same. Another batch starts
        elsewhere; the same images, in any order, always get the same draw.
        """
        mixed = (index + 1) * 0x5851F42D4C957F2D  # wraps around, on every device alike
        mixed = (mixed ^ (mixed >> 29)) * 0x14057B7EF767814F
        start = (mixed ^ (mixed >> 32)).sum()
        count = min(self.negatives, len(self.labels))
        steps = torch.arange(count, device=index.device) * self.stride
        return (start.remainder(len(self.labels)) + steps).remainder(len(self.labels))

    def _weights(self, index: Tensor, rows: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
        """[B, rows of a chunk] each: 0 for the image's own class, alike for all others, K in sum."""
        own = self.labels.index_select(0, index)[:, None]
        other = [(self.labels.index_select(0, part) != own).to(dtype) for part in rows]
        count = sum(part.sum(1, keepdim=True) for part in other)
        scale = self.negatives / count.clamp(min=1)  # a short draw may hold no other class: no negatives then
        return [part * scale for part in other]

    def _contrast(
        self,
        embedding: Tensor,
        memory: Tensor,
        normaliser: Tensor,
        index: Tensor,
        rows: tuple[Tensor, ...],
        weights: list[Tensor],
    ) -> Tensor:
        """One direction of the loss: float [B, width] against the other network's memory [M, width]."""
        cold = embedding / self.temperature
        positive = (cold * memory.index_select(0, index)).sum(1)
        negative = [cold @ memory.index_select(0, part).T for part in rows]
        with torch.no_grad():
            total = positive.exp().sum() + sum(
                (w * x.exp()).sum() for w, x in zip(weights, negative, strict=True)
            )
            first = total * (len(memory) / (len(index) * (self.negatives + 1)))
            z = torch.where(normaliser == 0, first.to(normaliser.dtype), normaliser)
            if self.training:
                normaliser.copy_(z)
        shift = z.log() + math.log(self.negatives / len(memory))  # h = sigmoid(score - shift)
        loss = F.softplus(shift - positive).sum()
        for w, x in zip(weights, negative, strict=True):
            loss = loss + (w * F.softplus(x - shift)).sum()
        return loss / len(index)

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
            "the training set shows fewer than two classes: there are no negatives, images of another class. "
            "Pass the labels of ALL training images, of two classes at least."
        )


def _stride(images: int) -> int:
    """A step without common factor with the number of images, near the golden section: any run spreads."""
    stride = max(1, round(GOLDEN * images))
    while math.gcd(stride, images) != 1:
        stride += 1
    return stride
