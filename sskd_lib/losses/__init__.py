"""Loss terms, one paper a file, and the methods made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..models.network import Output
from ..recipes import Recipe
from .hsakd import HSAKD
from .kd import kd_loss, kl_rows, soften
from .method import FurtherTerms, Method, PairOutputs, Term, Terms
from .pretext import Imitated, pretext_loss, pretext_targets
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
from .zoo import TERMS


def ce_terms(student: Output, teacher: Output | None, labels: Tensor, recipe: Recipe) -> Terms:
    """Labels alone: L = cross-entropy, weight 1 whatever the recipe. The student without a teacher."""
    ce = F.cross_entropy(student.logits, labels)
    return {"ce": ce, "total": ce}


def kd_terms(student: Output, teacher: Output, labels: Tensor, recipe: Recipe) -> Terms:
    """Labels and soft targets on one upright view: L = λ_ce ce + λ_kd kd (Hinton et al. 2015).

    With λ_kd = 0, where another term stands in its place, the soft targets are not computed.
    """
    ce = F.cross_entropy(student.logits, labels)
    if not recipe.kd:
        return {"ce": ce, "total": recipe.ce * ce}
    kd = kd_loss(student.logits, teacher.logits, recipe.kd_temperature)
    return {"ce": ce, "kd": kd, "total": recipe.ce * ce + recipe.kd * kd}


def no_terms(student: Output, teacher: Output | None, labels: Tensor, recipe: None) -> Terms:
    """None of the recipe's four terms: further terms are all there is."""
    return {"total": student.logits.new_zeros(())}


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


def _pretext(task: str) -> Callable[[Recipe], Method]:
    """SSKD with another pretext task in place of the contrastive one: weight and temperature of L_T."""

    def made(recipe: Recipe) -> Method:
        numbers = {"task": task, "temperature": recipe.tf_temperature}
        return replace(
            _kd_rotations(recipe),
            name=f"sskd-{task}",
            extra=(Term(name=task, weight=recipe.tf, make=Imitated, numbers=numbers, all_views=True),),
            pretext=task,
            shuffled=task == "jigsaw",
        )

    return made


def _hsakd(recipe: Recipe) -> Method:
    """Labels on the upright views, and L_HSAKD on all; the recipe's weights are those of other terms."""
    return replace(
        _kd_rotations(Recipe(ce=1.0, kd=0.0, tf=0.0, ss=0.0)),
        name="hsakd",
        extra=(Term(name="hsakd", weight=1.0, make=HSAKD, looks_at="maps", all_views=True),),
        pretext="joint",
    )


BASES: dict[str, Callable[[Recipe], Method]] = {
    "ce": _ce,
    "kd": _kd,
    "kd+rotations": _kd_rotations,
    "sskd": _sskd,
}
# They imitate a head that the teacher was taught by train_head(…, task=…).
PRETEXTS: dict[str, Callable[[Recipe], Method]] = {
    "sskd-exemplar": _pretext("exemplar"),
    "sskd-jigsaw": _pretext("jigsaw"),
    "sskd-rotation": _pretext("rotation"),
    "hsakd": _hsakd,
}
METHODS: tuple[str, ...] = (*BASES, *TERMS, *PRETEXTS)


def create_method(name: str, recipe: Recipe | None = None, **numbers: Mapping[str, Any]) -> Method:
    """Make a method by name, or by several joined with "+": terms add up.

    name: one of METHODS, "sskd+at", "kd+crd", "at+vid", … One of BASES or PRETEXTS may come first and gives
    views and recipe; without one, cross-entropy and one view. A term that is itself made of soft targets
    (dkd, dist, kd-ls, dkd-ls, wttm) takes the place of L_kd behind "kd", "kd+rotations", "sskd" and "sskd-…",
    with the weight λ_kd: "sskd+dkd". recipe: weights of the four terms (the zoo's terms alone do not look at
    it). numbers: of single terms, by name: create_method("dkd", dkd={"beta": 6.0, "weight": 1.0}).
    Raises ValueError, with the names there are, for an unknown name or number, and for terms that exclude
    each other.
    """
    recipe = recipe or Recipe()
    bases = BASES | PRETEXTS
    base = next((known for known in sorted(bases, key=len, reverse=True) if _begins(name, known)), None)
    rest = name[len(base) + 1 :] if base else name
    extra = [_term(part, name, numbers) for part in rest.split("+")] if name != base else []
    first = bases[base](recipe).extra if base else ()
    first = [term.with_numbers(numbers.get(term.name, {})) for term in first]
    if foreign := [key for key in numbers if key not in [term.name for term in (*first, *extra)]]:
        raise ValueError(f"the method {name!r} has no term {', '.join(foreign)} that could take numbers.")
    _check_terms(name, [*first, *extra], base)
    if not extra:
        return replace(bases[base](recipe), extra=tuple(first))
    if base in (None, "ce"):
        ce = min(term.ce for term in extra) if base is None else 1.0
        if ce == 0:
            made = replace(BASES["kd"](recipe), name=name, extra=tuple(extra))
            return replace(made, recipe=None, terms=no_terms)
        base, recipe = "kd", Recipe(ce=ce, kd=0.0, tf=0.0, ss=0.0)
    elif any(term.soft for term in extra) and base != "hsakd":  # which has no L_kd
        extra = [_in_place_of_kd(term, recipe, numbers) if term.soft else term for term in extra]
        recipe = replace(recipe, kd=0.0)
    return replace(bases[base](recipe), name=name, extra=(*first, *extra))


def _in_place_of_kd(term: Term, recipe: Recipe, numbers: Mapping[str, Mapping[str, Any]]) -> Term:
    return replace(term, weight=numbers.get(term.name, {}).get("weight", recipe.kd))


def _begins(name: str, base: str) -> bool:
    return name == base or name.startswith(base + "+")


def _term(part: str, name: str, numbers: Mapping[str, Mapping[str, Any]]) -> Term:
    if part not in TERMS:
        near = difflib.get_close_matches(part, METHODS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        of = "" if part == name else f", part of {name!r}"
        late = f" {part!r} can only come first." if part in BASES | PRETEXTS else ""
        raise ValueError(
            f"there is no method {part!r}{of}.{late or hint} The methods are: {', '.join(METHODS)}; "
            "joined with + their terms add up."
        )
    return TERMS[part].with_numbers(numbers.get(part, {}))


def _check_terms(name: str, extra: list[Term], base: str | None) -> None:
    """Raise ValueError for terms that cannot stand side by side."""
    names = [term.name for term in extra]
    soft = [term.name for term in extra if term.soft]
    if len(set(names)) < len(names) or len(soft) > 1:
        raise ValueError(
            f"{name!r} names {' and '.join(soft if len(soft) > 1 else names)}: each term can stand once, and "
            "one kind of soft targets in all."
        )
    if {"maps", "pre_activation"} <= {term.looks_at for term in extra}:
        raise ValueError(
            f"{name!r} joins terms on maps before and after the ReLU; one pass gives one kind. Leave one out."
        )
    if any(term.reuses for term in extra) and (base or any(term.looks_at != "maps" for term in extra)):
        raise ValueError(
            f"{name!r} gives simkd company it cannot have: its classifier is the teacher's and fixed, so "
            "labels, soft targets or features would pull at the maps that are learned for it. Name simkd "
            "alone, or with terms that compare maps, as in 'simkd+at'."
        )


__all__ = [
    "BASES",
    "METHODS",
    "PRETEXTS",
    "FurtherTerms",
    "Method",
    "PairOutputs",
    "TERMS",
    "Term",
    "contrastive_floor",
    "contrastive_loss",
    "create_method",
    "error_rank",
    "kd_loss",
    "kl_rows",
    "own_image",
    "pretext_loss",
    "pretext_targets",
    "selected_kl",
    "similarity_matrix",
    "soften",
    "sskd_terms",
    "transfer_mask",
]
