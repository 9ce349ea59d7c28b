"""Exercises of notebook 01: soft outputs and the KD loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ...losses import kd_loss, soften
from .cases import generator_of, kl, pair_of_scores
from .demands import gradient_needed, teacher_detached
from .exercise import Answer, Case, Demand, Exercise, Mistake


def _scores(seed: int) -> dict[str, Any]:
    generator = generator_of(seed)
    tau = (2.0, 4.0, 0.5, 8.0, 3.0)[seed % 5]
    return {"logits": 2 * torch.randn(2 + seed % 3, 3, dtype=torch.float64, generator=generator), "tau": tau}


def _raises_to_overflow(answer: Answer, case: Case) -> bool:
    """Return whether large scores, which a plain exp cannot take, give nan or inf."""
    try:
        value = torch.as_tensor(answer(torch.tensor([[2000.0, 0.0]], dtype=torch.float64), 1.0))
    except Exception:
        return True
    return not bool(value.isfinite().all())


SOFTEN = Exercise(
    name="soften",
    task="Turn scores into probabilities at a temperature: soften(logits, tau). logits: [N, K]; one row per "
    "image.",
    returns="probabilities [N, K], each row with the sum 1",
    cases=_scores,
    right=lambda logits, tau: soften(logits, tau),
    mistakes=(
        Mistake(
            name="softmax over the wrong axis",
            message="Your columns sum to 1, not your rows. Each image has its own probabilities, so the sum "
            "in the denominator goes over the classes of one row.",
            answer=lambda logits, tau: F.softmax(logits / tau, 0),
        ),
        Mistake(
            name="multiplied by the temperature",
            message="Your probabilities become sharper where the temperature rises. A high temperature must "
            "make the scores smaller before they are raised.",
            answer=lambda logits, tau: F.softmax(logits * tau, 1),
        ),
        Mistake(
            name="temperature left out",
            message="Your result is the same at every temperature: tau is never used.",
            answer=lambda logits, tau: F.softmax(logits, 1),
        ),
        Mistake(
            name="divided by τ after the softmax",
            message="Your rows sum to 1/τ. The temperature divides the scores, before the exponential, and "
            "not the probabilities.",
            answer=lambda logits, tau: F.softmax(logits, 1) / tau,
        ),
        Mistake(
            name="not normalised",
            message="Your values are raised scores; they do not sum to 1. The formula has a denominator.",
            answer=lambda logits, tau: (logits / tau).exp(),
        ),
        Mistake(
            name="divided by the largest, not the sum",
            message="Your largest value is 1 in each row. Divide by the sum of the raised scores instead.",
            answer=lambda logits, tau: (logits / tau).exp() / (logits / tau).exp().amax(1, keepdim=True),
        ),
        Mistake(
            name="divided by the sum of everything",
            message="All your numbers together sum to 1. Each row must sum to 1 for itself.",
            answer=lambda logits, tau: (logits / tau).exp() / (logits / tau).exp().sum(),
        ),
        Mistake(
            name="logarithms of probabilities",
            message="Your values are below 0: these are logarithms of the probabilities.",
            answer=lambda logits, tau: F.log_softmax(logits / tau, 1),
        ),
        Mistake(
            name="scores only divided",
            message="You divide the scores, but nothing turns them into probabilities yet.",
            answer=lambda logits, tau: logits / tau,
        ),
    ),
    demands=(
        Demand(
            name="overflow",
            message="All five cases are right. But a score of 2,000 gives nan or inf, because its "
            "exponential is too large for a number. Subtracting the largest score of each row first changes "
            "no probability; torch has a function that does so.",
            fails=_raises_to_overflow,
        ),
    ),
    hints=(
        "Read the formula from the inside: first divide each score by tau.",
        "The sum in the denominator goes over the classes j of one image: over dim 1.",
        "keepdim=True keeps a sum over dim 1 in the shape [N, 1], so that each row is divided by its own "
        "sum.",
    ),
)

KD_LOSS = Exercise(
    name="kd_loss",
    task="The KD loss: kd_loss(student, teacher, tau), the mean over images of τ² KL(teacher ‖ student).",
    returns="one number",
    cases=pair_of_scores,
    right=lambda student, teacher, tau: kd_loss(student, teacher, tau),
    mistakes=(
        Mistake(
            name="τ² forgotten",
            message="Your divergence is right, but the factor τ² is missing. Without it the gradient shrinks "
            "when the temperature rises.",
            answer=lambda student, teacher, tau: kl(student, teacher, tau),
        ),
        Mistake(
            name="τ instead of τ²",
            message="You multiply by τ. Two factors of 1/τ are to be made up for: how many do you need?",
            answer=lambda student, teacher, tau: tau * kl(student, teacher, tau),
        ),
        Mistake(
            name="KL turned round",
            message="You have KL(student ‖ teacher). The teacher's probabilities are the weights of the sum, "
            "and the logarithm has teacher over student.",
            answer=lambda student, teacher, tau: tau**2 * kl(teacher, student, tau),
        ),
        Mistake(
            name="mean over classes too",
            message="Your loss is K times too small: it is divided by N · K. The mean goes over the images "
            "only. PyTorch's reduction='mean' does this; another reduction does not.",
            answer=lambda student, teacher, tau: tau**2 * kl(student, teacher, tau, "mean"),
        ),
        Mistake(
            name="sum over images",
            message="Your loss is N times too large: it is a sum over the images, where a mean is asked for.",
            answer=lambda student, teacher, tau: tau**2 * kl(student, teacher, tau, "sum"),
        ),
        Mistake(
            name="temperature for the teacher only",
            message="You soften the teacher's scores, but not the student's. Both have the same temperature.",
            answer=lambda student, teacher, tau: tau**2 * kl(tau * student, teacher, tau),
        ),
        Mistake(
            name="temperature for the student only",
            message="You soften the student's scores, but not the teacher's. Both have the same temperature.",
            answer=lambda student, teacher, tau: tau**2 * kl(student, tau * teacher, tau),
        ),
        Mistake(
            name="probabilities where kl_div wants logarithms",
            message="F.kl_div expects the LOGARITHM of the student's probabilities as its first argument. "
            "Yours gets the probabilities themselves.",
            answer=lambda student, teacher, tau: (
                tau**2 * F.kl_div(soften(student, tau), soften(teacher, tau), reduction="batchmean")
            ),
        ),
        Mistake(
            name="cross-entropy instead of KL",
            message="You have the cross-entropy of teacher and student. KL also subtracts the teacher's own "
            "entropy, so that a perfect student has the loss 0.",
            answer=lambda student, teacher, tau: (
                tau**2 * -(soften(teacher, tau) * F.log_softmax(student / tau, 1)).sum(1).mean()
            ),
        ),
        Mistake(
            name="softmax over the wrong axis",
            message="Your softmax goes over the images. It goes over the classes of one image: dim 1.",
            answer=lambda student, teacher, tau: (
                tau**2 * kl(student.T, teacher.T, tau) * student.shape[1] / len(student)
            ),
        ),
        Mistake(
            name="wrong sign",
            message="Your loss is negative. A divergence is never below 0: look at the sign or at the "
            "logarithm.",
            answer=lambda student, teacher, tau: -(tau**2) * kl(student, teacher, tau),
        ),
    ),
    demands=(
        teacher_detached("teacher"),
        gradient_needed("student", "the student's scores"),
    ),
    hints=(
        "You need three parts: both softened outputs, the divergence of each row, and the mean over rows.",
        "In each row: the sum over the classes of p_teacher times the difference of the two logarithms.",
        "Compare the units: raising τ shrinks the difference of the scores once, and the gradient once more.",
    ),
)

EXERCISES = (SOFTEN, KD_LOSS)
