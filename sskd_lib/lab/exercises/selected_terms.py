"""Exercises on the two terms of rotated rows, which are selected: soft targets and similarities."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses import kl_rows, similarity_matrix, sskd_terms
from ...models.network import Output
from ...recipes import Recipe
from .cases import TAUS, chosen, generator_of, images_of, kept_rows, normal
from .demands import gradient_needed, teacher_detached
from .exercise import Exercise, Mistake

CLASSES = 4
SHARES = (0.5, 0.7, 0.3, 0.6, 0.4)


def _logits(seed: int) -> dict[str, Any]:
    generator, images = generator_of(seed), 3 + seed % 2
    student, teacher = (2 * normal(generator, 4 * images, CLASSES) for _ in range(2))
    labels = torch.arange(images) % CLASSES
    return {
        "student_logits": student, "teacher_logits": teacher, "labels": labels,
        "tau": chosen(TAUS, seed), "share": chosen(SHARES, seed),
    }  # fmt: skip


def _projections(seed: int) -> dict[str, Any]:
    generator, images = generator_of(seed), 3 + seed % 2
    student, teacher = normal(generator, 4 * images, 3), normal(generator, 4 * images, 5)
    tau = chosen((0.5, 0.2, 2.0, 0.7, 0.3), seed)
    return {"student_z": student, "teacher_z": teacher, "tau": tau, "share": chosen(SHARES, seed)}


def _tf(student: Tensor, teacher: Tensor, labels: Tensor, tau: float, ratio: float) -> Tensor:
    recipe = Recipe(ce=0, kd=0, tf=1, ss=0, tf_temperature=tau, tf_keep_wrong=ratio)
    return sskd_terms(Output(student), Output(teacher), labels, recipe)["tf"]


def _ss(student: Tensor, teacher: Tensor, tau: float, ratio: float) -> Tensor:
    recipe = Recipe(ce=0, kd=0, tf=0, ss=1, ss_temperature=tau, ss_keep_wrong=ratio)
    logits, labels = torch.zeros(len(student), 2), torch.zeros(len(student) // 4, dtype=torch.long)
    return sskd_terms(Output(logits, student), Output(logits, teacher), labels, recipe)["ss"]


def _tf_wrong(mistake: str) -> Any:
    """Return the term tf with one mistake."""

    def answer(student: Tensor, teacher: Tensor, labels: Tensor, tau: float, ratio: float) -> Tensor:
        s, t, targets = student[len(labels) :], teacher[len(labels) :], labels.repeat(3)
        if mistake == "image by image":
            targets = labels.repeat_interleave(3)
        if mistake == "all views":
            s, t, targets = student, teacher, labels.repeat(4)
        keep = kept_rows(s if mistake == "student" else t, targets, ratio, mistake)
        if mistake == "upright rank":
            keep = kept_rows(teacher[: len(labels)].repeat(3, 1), targets, ratio)
        if mistake == "turned round":
            s, t = t, s
        rows = keep * kl_rows(s, t, tau)
        return rows.mean() if mistake == "mean of all" else rows.sum() / keep.sum().clamp(min=1)

    return answer


def _ss_wrong(mistake: str) -> Any:
    """Return the term ss with one mistake."""

    def answer(student: Tensor, teacher: Tensor, tau: float, ratio: float) -> Tensor:
        images = len(student) // 4
        s, t = (similarity_matrix(z[images:], z[:images]) for z in (student, teacher))
        if mistake == "not normalised":
            s, t = (z[images:] @ z[:images].T for z in (student, teacher))
        if mistake == "first block":
            s, t = s[:images], t[:images]
        targets = torch.arange(3 * images) // 3 if mistake == "r // 3" else images_of(t)
        keep = kept_rows(s if mistake == "student" else t, targets, ratio, mistake)
        if mistake == "columns":
            log_s, log_t = (F.log_softmax(x / tau, 0) for x in (s, t))
            rows = tau**2 * (log_t.exp() * (log_t - log_s)).sum(1)
        elif mistake == "squares":
            rows = (s - t).square().sum(1)
        elif mistake == "image labels":
            rows = F.cross_entropy(s / tau, targets, reduction="none")
        elif mistake == "turned round":
            rows = kl_rows(t, s, tau)
        else:
            rows = kl_rows(s, t, tau)
        return (
            (keep * rows).mean()
            if mistake == "mean of all"
            else (keep * rows).sum() / keep.sum().clamp(min=1)
        )

    return answer


SELECTION = (
    ("no selection", "none", "You keep every row. Rows on which the teacher is far off are to be left out."),
    (
        "selected by the student", "student",
        "The STUDENT's numbers decide which rows you keep. The teacher's knowledge is in question, so the "
        "teacher's numbers decide.",
    ),
    (
        "keeps the worst", "worst",
        "Of the wrong rows you keep those where the teacher is MOST wrong. Its answer is worth least there.",
    ),
    (
        "ratio as a share of all rows", "of all",
        "You keep a share of ALL rows. The share is of the wrong rows; the right ones are kept anyway.",
    ),
    (
        "right rows only", "right only",
        "You keep only the rows on which the teacher is right. A share of its wrong rows is kept too.",
    ),
    (
        "mean over all rows", "mean of all",
        "Your sum is right, but you divide by ALL rotated rows. The mean is over the rows that were kept.",
    ),
    (
        "KL turned round", "turned round",
        "You have KL(student ‖ teacher). The teacher's probabilities are the weights of the sum.",
    ),
)  # fmt: skip
TAU_MESSAGE = "The factor τ² is missing. Without it the gradient changes its size with the temperature."


def _selection_mistakes(answer: Any) -> tuple[Mistake, ...]:
    """Return the mistakes that both terms share. answer: the maker of a term with one mistake."""
    return tuple(Mistake(name=name, message=text, answer=answer(kind)) for name, kind, text in SELECTION)


TF_TERM = Exercise(
    name="tf_term",
    task="Soft targets on the rotated rows: tf_term(student_logits, teacher_logits, labels, tau, share). "
    "Logits: [4B, K]; labels: int [B]. Kept: all rows on which the teacher is right, and a share of its "
    "wrong ones. The mean over KEPT rows of τ² KL(teacher ‖ student).",
    returns="one number",
    cases=_logits,
    right=_tf,
    mistakes=(
        *_selection_mistakes(_tf_wrong),
        Mistake(
            name="labels image by image",
            message="You repeat each label three times in a row. The rows go view by view: first all images "
            "at 90°, so the labels must come round again after B rows.",
            answer=_tf_wrong("image by image"),
        ),
        Mistake(
            name="upright rows too",
            message="You use all 4B rows. This term belongs to the 3B rotated ones; the upright ones have "
            "kd.",
            answer=_tf_wrong("all views"),
        ),
        Mistake(
            name="rank of the upright view",
            message="You select by the teacher's rank of the UPRIGHT image. Each rotated row has a rank for "
            "itself: the teacher can be right at 90° and wrong at 180°.",
            answer=_tf_wrong("upright rank"),
        ),
        Mistake(
            name="τ² forgotten",
            message=TAU_MESSAGE,
            answer=lambda s, t, labels, tau, ratio: _tf(s, t, labels, tau, ratio) / tau**2,
        ),
        Mistake(
            name="mean over classes too",
            message="Your loss is K times too small: it is also divided by the number of classes.",
            answer=lambda s, t, labels, tau, ratio: _tf(s, t, labels, tau, ratio) / s.shape[1],
        ),
    ),
    demands=(
        teacher_detached("teacher_logits"),
        gradient_needed("student_logits", "the student's scores"),
    ),
    hints=(
        "Three steps: cut out the rotated rows, find the mask of the kept ones, average over these.",
        "error_rank and transfer_mask are written already. Whose scores do they get, and which label has row "
        "r?",
        "Use the mask on both, the student's and the teacher's rows; then it is the KD loss.",
    ),
)

SS_TERM = Exercise(
    name="ss_term",
    task="The similarities: ss_term(student_z, teacher_z, tau, share). Projections [4B, D], with D different "
    "for the two. Kept: all rows of the teacher's matrix whose largest number is at their image, and a share "
    "of the others. The mean over KEPT rows of τ² KL(teacher ‖ student) of the softened rows.",
    returns="one number",
    cases=_projections,
    right=_ss,
    mistakes=(
        *_selection_mistakes(_ss_wrong),
        Mistake(
            name="positives at r // 3",
            message="You look for the image of row r at r // 3. That is the order image by image. Here the "
            "rows go angle by angle: first all images at 90°.",
            answer=_ss_wrong("r // 3"),
        ),
        Mistake(
            name="first block only",
            message="You use the views at 90° only. The other two angles have their rows below.",
            answer=_ss_wrong("first block"),
        ),
        Mistake(
            name="not normalised",
            message="Your matrices hold scalar products. The two projections have different lengths; cosines "
            "make them comparable.",
            answer=_ss_wrong("not normalised"),
        ),
        Mistake(
            name="softmax over the wrong axis",
            message="Your softmax goes down the columns. Each rotated view spreads its probability over the "
            "upright images: along its row.",
            answer=_ss_wrong("columns"),
        ),
        Mistake(
            name="squared differences",
            message="You compare the matrices by squared differences. The rows are to be softened at tau and "
            "compared by KL.",
            answer=_ss_wrong("squares"),
        ),
        Mistake(
            name="images as labels",
            message="Your target is the right image of each row. That is the loss of the teacher's head. "
            "Here the target is the teacher's whole row.",
            answer=_ss_wrong("image labels"),
        ),
        Mistake(
            name="τ² forgotten",
            message=TAU_MESSAGE,
            answer=lambda s, t, tau, ratio: _ss(s, t, tau, ratio) / tau**2,
        ),
    ),
    demands=(
        teacher_detached("teacher_z"),
        gradient_needed("student_z", "the student's projections"),
    ),
    hints=(
        "Two matrices [3B, B] of cosines, one for each network. From here on it is like tf_term.",
        "The rows of a matrix are like logits: the columns are images instead of classes.",
        "What is the true column of row r? The teacher's matrix and these columns give the mask.",
    ),
)

EXERCISES = (TF_TERM, SS_TERM)
