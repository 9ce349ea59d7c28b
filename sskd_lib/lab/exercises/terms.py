"""Exercises on the two terms of the upright rows: cross-entropy and soft targets."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses import sskd_terms
from ...models.network import Output
from ...recipes import Recipe
from .cases import TAUS, chosen, generator_of, kl, normal
from .demands import gradient_needed, teacher_detached
from .exercise import Exercise, Mistake

CLASSES = 3


def _labelled(seed: int) -> dict[str, Any]:
    generator, images = generator_of(seed), 2 + seed % 2
    labels = torch.randint(0, CLASSES, (images,), generator=generator)
    return {"logits": 2 * normal(generator, 4 * images, CLASSES), "labels": labels}


def _both(seed: int) -> dict[str, Any]:
    generator, rows = generator_of(seed), 4 * (2 + seed % 2)
    student, teacher = (2 * normal(generator, rows, CLASSES) for _ in range(2))
    return {"student_logits": student, "teacher_logits": teacher, "tau": chosen(TAUS, seed)}


def _ce(logits: Tensor, labels: Tensor) -> Tensor:
    weights = Recipe(ce=1, kd=0, tf=0, ss=0)
    return sskd_terms(Output(logits), Output(logits), labels, weights)["ce"]


def _kd(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    weights = Recipe(ce=0, kd=1, tf=0, ss=0, kd_temperature=tau)
    labels = torch.zeros(len(student) // 4, dtype=torch.long)
    return sskd_terms(Output(student), Output(teacher), labels, weights)["kd"]


def _first(x: Tensor) -> Tensor:
    return x[: len(x) // 4]


def _rest(x: Tensor) -> Tensor:
    return x[len(x) // 4 :]


CE_TERM = Exercise(
    name="ce_term",
    task="The cross-entropy of the upright rows: ce_term(logits, labels). logits: [4B, K], rows as "
    "four_views makes them; labels: int [B].",
    returns="one number",
    cases=_labelled,
    right=_ce,
    mistakes=(
        Mistake(
            name="all views",
            message="You use all 4B rows. In SSKD the labels judge the upright rows only; the rotated ones "
            "learn from the teacher.",
            answer=lambda logits, labels: F.cross_entropy(logits, labels.repeat(4)),
        ),
        Mistake(
            name="all views, labels image by image",
            message="You use all 4B rows, and you repeat each label four times in a row. The rows go view by "
            "view. And only the upright ones belong to this term.",
            answer=lambda logits, labels: F.cross_entropy(logits, labels.repeat_interleave(4)),
        ),
        Mistake(
            name="every fourth row",
            message="You take every fourth row, as if the rows went image by image. They go view by view: "
            "where do the upright ones stand?",
            answer=lambda logits, labels: F.cross_entropy(logits[::4], labels),
        ),
        Mistake(
            name="views at 270°",
            message="You take the last B rows: these are the views at 270°. The upright ones stand "
            "elsewhere.",
            answer=lambda logits, labels: F.cross_entropy(logits[-len(labels) :], labels),
        ),
        Mistake(
            name="rotated views",
            message="You take the 3B rotated rows. This term belongs to the upright ones.",
            answer=lambda logits, labels: F.cross_entropy(logits[len(labels) :], labels.repeat(3)),
        ),
        Mistake(
            name="sum over images",
            message="Your loss is B times too large: it is a sum over the images, where a mean is asked for.",
            answer=lambda logits, labels: len(labels) * _ce(logits, labels),
        ),
        Mistake(
            name="divided by 4B",
            message="Your loss is 4 times too small: you divide by the number of all rows. Only the upright "
            "ones are in the sum.",
            answer=lambda logits, labels: _ce(logits, labels) / 4,
        ),
        Mistake(
            name="softmax twice",
            message="There is a softmax too many. F.cross_entropy wants raw scores; it has a softmax inside.",
            answer=lambda logits, labels: F.cross_entropy(logits[: len(labels)].softmax(1), labels),
        ),
        Mistake(
            name="softmax over the wrong axis",
            message="Your softmax goes over the images. It goes over the classes of one image: dim 1.",
            answer=lambda logits, labels: F.nll_loss(F.log_softmax(logits[: len(labels)], 0), labels),
        ),
        Mistake(
            name="no logarithm",
            message="You average the probabilities themselves. A cross-entropy has a logarithm before the "
            "mean.",
            answer=lambda logits, labels: F.nll_loss(logits[: len(labels)].softmax(1), labels),
        ),
        Mistake(
            name="wrong sign",
            message="Your loss is negative. The logarithm of a probability is below 0: look at the sign.",
            answer=lambda logits, labels: -_ce(logits, labels),
        ),
    ),
    demands=(gradient_needed("logits", "the student's scores"),),
    hints=(
        "There are 4B rows, but only B labels. Which rows does this term use?",
        "The upright rows are in one piece. Cut them out with a slice whose end is the number of labels.",
        "What is left is the usual cross-entropy of B rows and B labels, with its usual mean.",
    ),
)

KD_TERM = Exercise(
    name="kd_term",
    task="Soft targets on the upright rows: kd_term(student_logits, teacher_logits, tau), the mean over "
    "images of τ² KL(teacher ‖ student). Both: [4B, K], rows as four_views makes them.",
    returns="one number",
    cases=_both,
    right=_kd,
    mistakes=(
        Mistake(
            name="all views",
            message="You use all 4B rows. This term belongs to the upright rows; the rotated ones have a "
            "term for themselves, with a weight for itself.",
            answer=lambda s, t, tau: tau**2 * kl(s, t, tau),
        ),
        Mistake(
            name="every fourth row",
            message="You take every fourth row, as if the rows went image by image. They go view by view: "
            "where do the upright ones stand?",
            answer=lambda s, t, tau: tau**2 * kl(s[::4], t[::4], tau),
        ),
        Mistake(
            name="rotated views",
            message="You take the 3B rotated rows. This term belongs to the upright ones.",
            answer=lambda s, t, tau: tau**2 * kl(_rest(s), _rest(t), tau),
        ),
        Mistake(
            name="divided by 4B",
            message="Your loss is 4 times too small: you divide by the number of all rows. Only the upright "
            "ones are in the sum.",
            answer=lambda s, t, tau: _kd(s, t, tau) / 4,
        ),
        Mistake(
            name="τ² forgotten",
            message="Your rows are right, but the factor τ² is missing. Without it the gradient shrinks when "
            "the temperature rises.",
            answer=lambda s, t, tau: _kd(s, t, tau) / tau**2,
        ),
        Mistake(
            name="KL turned round",
            message="You have KL(student ‖ teacher). The teacher's probabilities are the weights of the sum.",
            answer=lambda s, t, tau: _kd(t, s, tau),
        ),
        Mistake(
            name="mean over classes too",
            message="Your loss is K times too small: it is divided by B · K. The mean goes over the images "
            "only.",
            answer=lambda s, t, tau: _kd(s, t, tau) / s.shape[1],
        ),
        Mistake(
            name="sum over images",
            message="Your loss is B times too large: it is a sum over the images, where a mean is asked for.",
            answer=lambda s, t, tau: _kd(s, t, tau) * (len(s) // 4),
        ),
        Mistake(
            name="softmax over the wrong axis",
            message="Your softmax goes over the images. It goes over the classes of one image: dim 1.",
            answer=lambda s, t, tau: tau**2 * kl(_first(s).T, _first(t).T, tau, "sum") / (len(s) // 4),
        ),
        Mistake(
            name="cross-entropy instead of KL",
            message="You have the cross-entropy of teacher and student. KL also subtracts the teacher's own "
            "entropy, so that a perfect student has the loss 0.",
            answer=lambda s, t, tau: (
                -(tau**2) * ((_first(t) / tau).softmax(1) * F.log_softmax(_first(s) / tau, 1)).sum(1).mean()
            ),
        ),
    ),
    demands=(
        teacher_detached("teacher_logits"),
        gradient_needed("student_logits", "the student's scores"),
    ),
    hints=(
        "This is the KD loss of notebook 01, on a part of the rows. On which part?",
        "B is a quarter of the rows. Cut the same rows out of both arguments.",
        "Do not forget the factor of the temperature, and what must not learn here.",
    ),
)

EXERCISES = (CE_TERM, KD_TERM)
