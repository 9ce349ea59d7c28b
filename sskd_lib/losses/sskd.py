"""Knowledge distillation meets self-supervision: the four terms of SSKD.

Rows are laid out as `four_views` makes them: B upright | B at 90° | B at 180° | B at 270°. So the
upright rows are `[:B]`, the R = 3B rotated rows are `[B:]`, and rotated row r shows image r mod B.

Source: Xu, Liu, Li, Loy 2020 (arXiv 2006.07114), sections 3.2 and 3.3; selection and weights as in the
published code after July 2020.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.batch import Batch
from ..models.network import Output
from ..recipes import Recipe
from .kd import kd_loss, kl_rows
from .method import Method, Needs, Terms


def similarity_matrix(rotated: Tensor, upright: Tensor) -> Tensor:
    """Return the cosine of every rotated view with every upright one: A_ij = ⟨z̃_i, z_j⟩ / (‖z̃_i‖ ‖z_j‖).

    rotated: float [R, D]; upright: float [B, D]. Returns float32 or float64 [R, B] in [-1, 1].
    Computed in at least single precision, also under autocast. Source: Eq. 4.
    """
    with torch.autocast(rotated.device.type, enabled=False):
        rotated, upright = (z if z.dtype == torch.float64 else z.float() for z in (rotated, upright))
        return F.normalize(rotated, dim=-1) @ F.normalize(upright, dim=-1).T


def image_of_row(rows: int, images: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the image that each rotated row shows, r mod B, as the column of its similarity: int64 [R]."""
    return torch.arange(rows, device=device) % images


def error_rank(scores: Tensor, targets: Tensor) -> Tensor:
    """Count the columns that beat the true one in each row: 0 means the row is right.

    rank_i = #{j : s_ij > s_i,target(i)}. scores: float [N, K]; targets: int64 [N]. Returns int64 [N].
    Source: section 3.3 (error level of a prediction).
    """
    return (scores > scores.gather(1, targets[:, None])).sum(1)


def transfer_mask(scores: Tensor, targets: Tensor, keep_wrong: float) -> Tensor:
    """Choose the rows worth imitating: all right ones and the least wrong of the others.

    Rows are put in order of `error_rank` and the first #right + ⌊keep_wrong · #wrong⌋ are kept. Rows of equal
    rank keep their order. In the published code the sort is not stable, so it is undefined there which of the
    rows that share the rank at the cut are kept.

    scores: float [N, K], the TEACHER's; targets: int64 [N]; keep_wrong: share of the wrong rows, in
    [0, 1]. Returns bool [N]. Raises ValueError for a share outside [0, 1].
    Source: section 3.3, and the published code after July 2020.
    """
    if not 0 <= keep_wrong <= 1:
        raise ValueError(f"keep_wrong is a share of the wrong rows, between 0 and 1, not {keep_wrong}.")
    if keep_wrong == 1:  # every row, whatever its rank
        return torch.ones_like(targets, dtype=torch.bool)
    rank = error_rank(scores, targets)
    wrong = (rank > 0).sum()
    precise = torch.float32 if scores.device.type == "mps" else torch.float64  # Apple's GPU has no float64
    keep = (rank == 0).sum() + (keep_wrong * wrong.to(precise)).floor().long()
    place = rank.argsort(stable=True).argsort()  # position of each row in the sorted order
    return place < keep


def selected_kl(student: Tensor, teacher: Tensor, temperature: float, keep: Tensor) -> Tensor:
    """Return the mean of τ² · KL(teacher ‖ student) over the kept rows; 0 when none is kept.

    student, teacher: float [N, K] scores; keep: bool [N]. Returns a scalar. The shapes do not depend on
    how many rows are kept, so nothing waits for the device.
    """
    weight = keep.to(student.dtype)
    return (weight * kl_rows(student, teacher, temperature)).sum() / weight.sum().clamp(min=1)


def sskd_terms(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> dict[str, Tensor]:
    """Return the four terms of SSKD, unweighted, and their weighted sum under "total".

    ce: cross-entropy of the student's upright rows with the labels
    kd: soft targets on the upright rows
    tf: soft targets on the rotated rows, selected by the teacher's rank of the true class  (L_T, Eq. 7)
    ss: the teacher's similarity matrix, softened by rows, selected by its rank of the image (L_ss, Eq. 6)

    L = λ_ce ce + λ_kd kd + λ_tf tf + λ_ss ss (Eq. 8). A term of weight 0 is not computed and not returned.

    student, teacher: Output of the 4B rows of `four_views` (logits [4B, K], projection [4B, D]; the
    two widths D may differ, because only B-column matrices are compared); labels: int64 [B].
    Raises ValueError if the rows are not four to a label or a projection is missing.
    """
    images = len(labels)
    for who, output in (("student", student), ("teacher", teacher)):
        if len(output.logits) != 4 * images:
            raise ValueError(
                f"SSKD needs four views of each image, but the {who} has {len(output.logits)} rows for "
                f"{images} labels. Feed it four_views(images)."
            )
        if recipe.ss and output.projection is None:
            raise ValueError(
                f"L_ss compares projections, and the {who} has no projection head. Make the network with "
                "projection=True (a teacher's head is trained by train_head), or set the weight ss to 0."
            )
    class_of_row = labels.repeat(3)
    terms: dict[str, Tensor] = {}
    if recipe.ce:
        terms["ce"] = F.cross_entropy(student.logits[:images], labels)
    if recipe.kd:
        terms["kd"] = kd_loss(student.logits[:images], teacher.logits[:images], recipe.kd_temperature)
    if recipe.tf:
        keep = transfer_mask(teacher.logits[images:], class_of_row, recipe.tf_keep_wrong)
        terms["tf"] = selected_kl(
            student.logits[images:], teacher.logits[images:], recipe.tf_temperature, keep
        )
    if recipe.ss:
        matrix_t = similarity_matrix(teacher.projection[images:], teacher.projection[:images])
        matrix_s = similarity_matrix(student.projection[images:], student.projection[:images])
        same_image = torch.arange(3 * images, device=labels.device) % images
        keep = transfer_mask(matrix_t, same_image, recipe.ss_keep_wrong)
        terms["ss"] = selected_kl(matrix_s, matrix_t, recipe.ss_temperature, keep)
    terms["total"] = sum(getattr(recipe, name) * value for name, value in terms.items())
    return terms


class SSKD(Method):
    """The four terms on four views per image; without L_ss (λ_ss = 0) no projection is needed."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__("sskd", recipe, Needs(views=4))
        self.needs_projection = self.trains_head = recipe.ss > 0
        self.fewest_images = 2 if self.needs_projection else 1
        self.task = "contrastive" if self.needs_projection else None

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Terms:
        """Return the terms of a batch: `sskd_terms`."""
        return sskd_terms(student_output, teacher_output, batch.labels, self.recipe)


def kd_rotations(recipe: Recipe) -> SSKD:
    """Make SSKD without L_ss: the control that shows what the rotated images alone are worth."""
    method = SSKD(replace(recipe, ss=0.0))
    method.name = "kd+rotations"
    return method


def contrastive_loss(projection: Tensor, images: int) -> tuple[Tensor, Tensor]:
    """Return the loss of the teacher's head: find the image of a rotated view among B upright ones.

    L = - mean_r log( exp(A_ri) / Σ_j exp(A_rj) ), i = r mod B: cross-entropy on the raw cosine, τ = 1.
    No head brings it to 0: its least value is `contrastive_floor`.

    projection: float [4B, D], rows as in `four_views`. Returns (loss, hits): scalars, hits the number of
    the 3B rows whose largest cosine is with their image.
    Source: Eq. 5 with τ = 1, as in the published code.
    """
    matrix = similarity_matrix(projection[images:], projection[:images])
    target = image_of_row(len(matrix), images, matrix.device)
    return F.cross_entropy(matrix, target), (matrix.argmax(1) == target).sum()


def contrastive_floor(images: int) -> float:
    """Return the least `contrastive_loss` of B images: log(1 + (B - 1) exp(-B / (B - 1))). Chance is log B.

    B directions cannot all be opposite to each other: the mean of their cosines is -1 / (B - 1) or more. At
    the corners of a regular simplex, which needs B - 1 dimensions, each of them is -1 / (B - 1). There the
    loss is least: a row has 1 at its own image and -1 / (B - 1) at the others.

    >>> round(contrastive_floor(64), 2)
    3.17
    """
    return math.log1p((images - 1) * math.exp(-images / (images - 1))) if images > 1 else 0.0
