"""Exercise of notebook 01: the gradient of the KD loss, without autograd."""

from __future__ import annotations

from ...losses import soften
from .cases import pair_of_scores
from .exercise import Exercise, Mistake

KD_GRADIENT = Exercise(
    name="kd_gradient",
    task="The gradient of the KD loss by the student's scores, without autograd: kd_gradient(student, "
    "teacher, tau).",
    returns="a gradient [N, K], one number per score of the student",
    cases=pair_of_scores,
    right=lambda student, teacher, tau: tau * (soften(student, tau) - soften(teacher, tau)) / len(student),
    mistakes=(
        Mistake(
            name="wrong sign",
            message="Your signs are turned round. Where the student gives too much, the loss grows with the "
            "score, so the gradient is positive there.",
            answer=lambda student, teacher, tau: (
                tau * (soften(teacher, tau) - soften(student, tau)) / len(student)
            ),
        ),
        Mistake(
            name="not divided by N",
            message="Your gradient is N times too large. The loss is a mean over N images, so each image has "
            "a part of 1/N.",
            answer=lambda student, teacher, tau: tau * (soften(student, tau) - soften(teacher, tau)),
        ),
        Mistake(
            name="τ forgotten",
            message="The factor is not right at most temperatures. τ² of the loss times 1/τ of the "
            "derivative: what is left?",
            answer=lambda student, teacher, tau: (soften(student, tau) - soften(teacher, tau)) / len(student),
        ),
        Mistake(
            name="τ² kept whole",
            message="You kept all of τ². The derivative of score / τ brings a factor 1/τ, which takes one "
            "away.",
            answer=lambda student, teacher, tau: (
                tau**2 * (soften(student, tau) - soften(teacher, tau)) / len(student)
            ),
        ),
        Mistake(
            name="loss without τ²",
            message="This is the gradient of a loss without its factor τ².",
            answer=lambda student, teacher, tau: (
                (soften(student, tau) - soften(teacher, tau)) / tau / len(student)
            ),
        ),
        Mistake(
            name="temperature 1 in the softmax",
            message="Your probabilities are those at τ = 1. Both outputs are softened in this loss.",
            answer=lambda student, teacher, tau: (
                tau * (soften(student, 1.0) - soften(teacher, 1.0)) / len(student)
            ),
        ),
        Mistake(
            name="differences of scores",
            message="You subtract the scores. That is the limit at a very high temperature, and it has "
            "another factor. The exact gradient has the difference of the probabilities.",
            answer=lambda student, teacher, tau: tau * (student - teacher) / len(student),
        ),
        Mistake(
            name="divided by N · K",
            message="Your gradient is K times too small. The mean goes over the images, not over the "
            "classes.",
            answer=lambda student, teacher, tau: (
                tau * (soften(student, tau) - soften(teacher, tau)) / student.numel()
            ),
        ),
    ),
    hints=(
        "Begin with one image. Almost everything cancels, and the difference of two probabilities is left.",
        "The factor: τ² from the loss, 1/τ from the derivative of score / τ.",
        "Last: the loss is a mean over N images.",
    ),
)

EXERCISES = (KD_GRADIENT,)
