"""Loss terms, one paper a file, and the methods made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from ..network import Output
from ..recipes import Recipe
from .kd import kd_loss, kl_rows, soften
from .sskd import (
    contrastive_floor,
    contrastive_loss,
    error_rank,
    own_image,
    selected_kl,
    similarity_matrix,
    sskd_terms,
    transfer_mask,
)

Terms = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a student: how many views it looks at and which terms it sums.

    Called with (student: Output, teacher: Output or None, labels int64 [B]) it returns the terms by name,
    unweighted, and their weighted sum under "total".
    """

    name: str
    views: int  # 1 or 4 an image
    needs_teacher: bool
    needs_projection: bool
    recipe: Recipe
    terms: Callable[[Output, Output | None, Tensor, Recipe], Terms]

    def __call__(self, student: Output, teacher: Output | None, labels: Tensor) -> Terms:
        return self.terms(student, teacher, labels, self.recipe)


def ce_terms(student: Output, teacher: Output | None, labels: Tensor, recipe: Recipe) -> Terms:
    """Labels alone: L = cross-entropy, weight 1 whatever the recipe. The student without a teacher."""
    ce = F.cross_entropy(student.logits, labels)
    return {"ce": ce, "total": ce}


def kd_terms(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> Terms:
    """Labels and soft targets on one upright view: L = λ_ce ce + λ_kd kd (Hinton et al. 2015)."""
    ce = F.cross_entropy(student.logits, labels)
    kd = kd_loss(student.logits, teacher.logits, recipe.kd_temperature)
    return {"ce": ce, "kd": kd, "total": recipe.ce * ce + recipe.kd * kd}


def _ce(recipe: Recipe) -> Method:
    return Method(
        name="ce", views=1, needs_teacher=False, needs_projection=False, recipe=recipe, terms=ce_terms
    )


def _kd(recipe: Recipe) -> Method:
    return Method(
        name="kd", views=1, needs_teacher=True, needs_projection=False, recipe=recipe, terms=kd_terms
    )


def _kd_rotations(recipe: Recipe) -> Method:
    """SSKD without L_ss: shows what the rotated images alone are worth."""
    recipe = replace(recipe, ss=0.0)
    return Method(
        name="kd+rotations",
        views=4,
        needs_teacher=True,
        needs_projection=False,
        recipe=recipe,
        terms=sskd_terms,
    )


def _sskd(recipe: Recipe) -> Method:
    return Method(
        name="sskd",
        views=4,
        needs_teacher=True,
        needs_projection=recipe.ss > 0,
        recipe=recipe,
        terms=sskd_terms,
    )


METHODS: dict[str, Callable[[Recipe], Method]] = {
    "ce": _ce,
    "kd": _kd,
    "kd+rotations": _kd_rotations,
    "sskd": _sskd,
}


def create_method(name: str, recipe: Recipe | None = None) -> Method:
    """Make a method by name. Raises ValueError, with the names there are, for an unknown one."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"there is no method {name!r}.{hint} The methods are: {', '.join(METHODS)}.")
    return METHODS[name](recipe or Recipe())


__all__ = [
    "METHODS",
    "Method",
    "contrastive_floor",
    "contrastive_loss",
    "create_method",
    "error_rank",
    "kd_loss",
    "kl_rows",
    "own_image",
    "selected_kl",
    "similarity_matrix",
    "soften",
    "sskd_terms",
    "transfer_mask",
]
