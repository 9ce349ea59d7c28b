"""Exercises of notebooks 02 and 03: the similarity matrix, and the contrastive loss of the teacher's head."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses import similarity_matrix
from .cases import chosen, generator_of, images_of, normal
from .demands import gradient_needed
from .exercise import Exercise, Mistake
from .pictures import matrix_picture


def _projections(seed: int) -> dict[str, Any]:
    generator, images = generator_of(seed), 2 + seed % 2
    z = normal(generator, 4 * images, 4) * (0.5 + 2 * torch.rand(4 * images, 1, generator=generator))
    return {"rotated": z[images:], "upright": z[:images]}


def _cosines(seed: int) -> dict[str, Any]:
    generator, images = generator_of(seed), 2 + seed % 3
    z = normal(generator, 4 * images, 4)
    return {"A": similarity_matrix(z[images:], z[:images]), "tau": chosen((0.5, 0.2, 2.0, 0.1, 0.8), seed)}


def _log_p(matrix: Tensor, tau: float, axis: int = 1) -> Tensor:
    """Return the logarithm of the softmax at each row's own image. matrix [3B, B]; returns [3B]."""
    return F.log_softmax(matrix / tau, axis).gather(1, images_of(matrix)[:, None])[:, 0]


def _without_positive(matrix: Tensor, tau: float) -> Tensor:
    """Return the loss whose denominator leaves out each row's own image."""
    positive = F.one_hot(images_of(matrix), matrix.shape[1]).bool()
    others = (matrix / tau).masked_fill(positive, -torch.inf).logsumexp(1)
    return (others - matrix[positive] / tau).mean()


SIMILARITY_MATRIX = Exercise(
    name="similarity_matrix",
    task="The cosine of each rotated view with each upright one: similarity_matrix(rotated, upright). "
    "rotated: [R, D]; upright: [B, D].",
    returns="cosines [R, B], one row per rotated view",
    cases=_projections,
    right=lambda rotated, upright: similarity_matrix(rotated, upright),
    mistakes=(
        Mistake(
            name="not normalised",
            message="Your numbers are scalar products. They also grow with the length of the vectors, and a "
            "cosine depends on the angle only. The formula has a denominator.",
            answer=lambda rotated, upright: rotated @ upright.T,
        ),
        Mistake(
            name="normalised along the wrong axis",
            message="You divide each COLUMN of the projections by its length. The vectors are the rows: each "
            "row belongs to one picture.",
            answer=lambda rotated, upright: F.normalize(rotated, dim=0) @ F.normalize(upright, dim=0).T,
        ),
        Mistake(
            name="matrix transposed",
            message="Your matrix is transposed: its rows are the upright images. Here each ROTATED view has "
            "a row, because each of them looks for its image.",
            answer=lambda rotated, upright: similarity_matrix(upright, rotated),
        ),
        Mistake(
            name="only the rotated views normalised",
            message="The rotated views have the length 1, the upright ones do not. A cosine needs both "
            "lengths.",
            answer=lambda rotated, upright: F.normalize(rotated, dim=1) @ upright.T,
        ),
        Mistake(
            name="only the upright views normalised",
            message="The upright views have the length 1, the rotated ones do not. A cosine needs both "
            "lengths.",
            answer=lambda rotated, upright: rotated @ F.normalize(upright, dim=1).T,
        ),
        Mistake(
            name="squared lengths",
            message="You divide by the square of each length. Compare a vector with itself: its cosine must "
            "be 1.",
            answer=lambda rotated, upright: (
                (rotated @ upright.T) / (rotated.square().sum(1)[:, None] * upright.square().sum(1))
            ),
        ),
        Mistake(
            name="lengths as sums of absolute values",
            message="You divide by sums of absolute values. The length of a vector is another norm: think of "
            "Pythagoras.",
            answer=lambda rotated, upright: (
                F.normalize(rotated, p=1, dim=1) @ F.normalize(upright, p=1, dim=1).T
            ),
        ),
        Mistake(
            name="distances",
            message="Your numbers are distances: they are small where two views are similar. A similarity is "
            "large there.",
            answer=lambda rotated, upright: torch.cdist(rotated, upright),
        ),
        Mistake(
            name="one minus the cosine",
            message="Your numbers are small where two views are similar: this is one minus the cosine.",
            answer=lambda rotated, upright: 1 - similarity_matrix(rotated, upright),
        ),
        Mistake(
            name="centred first",
            message="You subtract a mean from each vector first. This is a correlation, not a cosine.",
            answer=lambda rotated, upright: similarity_matrix(
                rotated - rotated.mean(1, keepdim=True), upright - upright.mean(1, keepdim=True)
            ),
        ),
        Mistake(
            name="rotated with rotated",
            message="Your matrix compares rotated views with rotated views. The columns belong to the "
            "upright images.",
            answer=lambda rotated, upright: similarity_matrix(rotated, rotated),
        ),
        Mistake(
            name="softmax taken already",
            message="Your rows sum to 1. This function returns cosines; the softmax comes later, in the "
            "loss.",
            answer=lambda rotated, upright: similarity_matrix(rotated, upright).softmax(1),
        ),
    ),
    hints=(
        "A cosine is a scalar product divided by two lengths. Write down the shape of each part first.",
        "Give every row the length 1 before you multiply. keepdim=True keeps the lengths as a column.",
        "Row i, column j: which row of which argument? One of the two has to be transposed in the product.",
    ),
    draw=matrix_picture,
)

CONTRASTIVE_LOSS = Exercise(
    name="contrastive_loss",
    task="The loss of the teacher's head: contrastive_loss(A, tau). A: cosines [3B, B]; row r shows the "
    "image r mod B. The mean over rows of -log of the softmax (at tau) at this image.",
    returns="one number",
    cases=_cosines,
    right=lambda matrix, tau: F.cross_entropy(matrix / tau, images_of(matrix)),
    mistakes=(
        Mistake(
            name="positives at r // 3",
            message="You look for the image of row r at r // 3. That is the order image by image. Here the "
            "rows go angle by angle: first all images at 90°.",
            answer=lambda matrix, tau: F.cross_entropy(matrix / tau, torch.arange(len(matrix)) // 3),
        ),
        Mistake(
            name="first block only",
            message="Your loss has only the views at 90°: you took one diagonal. There are three blocks of B "
            "rows, and each has a diagonal.",
            answer=lambda matrix, tau: -_log_p(matrix, tau)[: matrix.shape[1]].mean(),
        ),
        Mistake(
            name="positives at r // B",
            message="You use the number of the ANGLE as the column: r // B. You need the number of the "
            "image.",
            answer=lambda matrix, tau: F.cross_entropy(
                matrix / tau, (torch.arange(len(matrix)) // matrix.shape[1]) % matrix.shape[1]
            ),
        ),
        Mistake(
            name="temperature left out",
            message="Your result is the same at every temperature: tau is never used.",
            answer=lambda matrix, tau: F.cross_entropy(matrix, images_of(matrix)),
        ),
        Mistake(
            name="multiplied by the temperature",
            message="You multiply the cosines by tau. A low temperature must make their differences larger.",
            answer=lambda matrix, tau: F.cross_entropy(matrix * tau, images_of(matrix)),
        ),
        Mistake(
            name="softmax over the wrong axis",
            message="Your softmax goes down the columns. Each rotated view chooses among the upright images: "
            "the sum goes along its row.",
            answer=lambda matrix, tau: -_log_p(matrix, tau, 0).mean(),
        ),
        Mistake(
            name="sum over rows",
            message="Your loss is 3B times too large: it is a sum over the rows, where a mean is asked for.",
            answer=lambda matrix, tau: -_log_p(matrix, tau).sum(),
        ),
        Mistake(
            name="divided by B",
            message="Your loss is 3 times too large: you divide by the number of images, but there are three "
            "rows for each image.",
            answer=lambda matrix, tau: -_log_p(matrix, tau).sum() / matrix.shape[1],
        ),
        Mistake(
            name="mean over all cells",
            message="Your loss is B times too small. Each row gives one number, so the mean is over rows, "
            "not over all cells of the matrix.",
            answer=lambda matrix, tau: -_log_p(matrix, tau).sum() / matrix.numel(),
        ),
        Mistake(
            name="wrong sign",
            message="Your loss is negative. The logarithm of a probability is below 0: look at the sign.",
            answer=lambda matrix, tau: _log_p(matrix, tau).mean(),
        ),
        Mistake(
            name="no denominator",
            message="You only pull a view to its image. Without the denominator nothing pushes it away from "
            "the other images.",
            answer=lambda matrix, tau: -(matrix / tau).gather(1, images_of(matrix)[:, None]).mean(),
        ),
        Mistake(
            name="positive left out of the denominator",
            message="Your denominator leaves out the right image. A softmax sums over ALL columns.",
            answer=_without_positive,
        ),
        Mistake(
            name="no logarithm",
            message="You average the probabilities themselves. A cross-entropy has a logarithm before the "
            "mean.",
            answer=lambda matrix, tau: -_log_p(matrix, tau).exp().mean(),
        ),
    ),
    demands=(gradient_needed("A", "the similarities"),),
    hints=(
        "For each row: which of its B columns is the right one? Try B = 2 on paper, with all six rows.",
        "Divide by tau, then this is a classification of 3B rows into B classes.",
        "The right class of row r is r mod B: 0, 1, …, B-1, and this three times one behind the other.",
    ),
)

EXERCISES = (SIMILARITY_MATRIX, CONTRASTIVE_LOSS)
