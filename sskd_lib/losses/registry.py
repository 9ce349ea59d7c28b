"""The list of all methods, and `create_method`, which makes one by name.

Weights are those of the comparisons (RepDistiller's published commands; kdsvd: mdistiller's) and, after 2020,
each paper's own for CIFAR-100, beside cross-entropy with weight 1 unless the class says another. The weights
of ReviewKD and WTTM and the β of DKD were tuned for each pair of networks; `reproduce.paper.TUNED` has those
that differ from the defaults here, as far as they were found. Stages are counted as in `Backbone.stage_maps`:
0 the stem, 1 the first stage. Networks with different numbers of stages are compared in those that both have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..files import did_you_mean
from ..recipes import Recipe, check_number
from ..runtime.arguments import checked
from .ab import AB
from .at import AT
from .cc import CC
from .crd import CRD
from .dist import DIST
from .dkd import DKD
from .fitnet import FitNet
from .fsp import FSP
from .ft import FT
from .hsakd import HSAKD
from .kd import CE, KD
from .kdsvd import KDSVD
from .logit_std import StandardisedDKD, StandardisedKD
from .method import Method, NoTerms, Sum, Term
from .nst import NST
from .pkt import PKT
from .pretext import TASKS, Imitation
from .reviewkd import ReviewKD
from .rkd import RKD
from .simkd import SimKD
from .sp import SP
from .sskd import SSKD, kd_rotations
from .vid import VID
from .wttm import WTTM

Numbers = Mapping[str, Mapping[str, Any]]  # of single terms, by the term's name

TERMS: dict[str, type[Term]] = {
    term.name: term
    for term in (
        *(FitNet, AT, SP, VID, RKD, PKT, AB, FT, CRD, CC, NST, FSP, KDSVD),
        *(DKD, SimKD, DIST, StandardisedKD, StandardisedDKD, ReviewKD, WTTM),
    )
}


def _pretext(task: str, recipe: Recipe) -> Method:
    """Make SSKD with another pretext task, whose term has the weight and the temperature of L_T."""
    imitation = Imitation(task=task, weight=recipe.tf, temperature=recipe.tf_temperature)
    base = kd_rotations(recipe)
    base.needs = TASKS[task].needs
    return Sum(f"sskd-{task}", base, [imitation], task)


def _hsakd(recipe: Recipe) -> Method:
    """Make HSAKD: labels on the upright views, and its term on all; the recipe's weights are for others."""
    return Sum("hsakd", kd_rotations(Recipe(ce=1.0, kd=0.0, tf=0.0, ss=0.0)), [HSAKD()], "joint")


BASES: dict[str, Callable[[Recipe], Method]] = {
    "ce": CE,
    "kd": KD,
    "kd+rotations": kd_rotations,
    "sskd": SSKD,
}
# They imitate a head of the teacher, which train_head(…, task=…) trains.
PRETEXTS: dict[str, Callable[[Recipe], Method]] = {
    "sskd-exemplar": partial(_pretext, "exemplar"),
    "sskd-jigsaw": partial(_pretext, "jigsaw"),
    "sskd-rotation": partial(_pretext, "rotation"),
    "hsakd": _hsakd,
}
METHODS: tuple[str, ...] = (*BASES, *TERMS, *PRETEXTS)


@checked
def create_method(name: str, recipe: Recipe | None = None, **numbers: Mapping[str, Any]) -> Method:
    """Make a method by name, or by several names joined with "+": terms add up.

    name: one of METHODS, "sskd+at", "kd+crd", "at+vid", … One of BASES or PRETEXTS may come first and gives
    views and recipe; without one, cross-entropy and one view. A term that is itself made of soft targets
    (dkd, dist, kd-ls, dkd-ls, wttm) takes the place of L_kd behind "kd", "kd+rotations", "sskd" and "sskd-…",
    with the weight λ_kd: "sskd+dkd". recipe: weights of the four terms (a term alone does not use it).
    numbers: of single terms, by name: create_method("dkd", dkd={"beta": 6.0, "weight": 1.0}).
    Raises ValueError, with the names there are, for an unknown name or number, and for terms that exclude
    each other.
    """
    recipe, bases = recipe or Recipe(), BASES | PRETEXTS
    base, names = _parse(name, bases)
    terms = [create_term(part, numbers.get(part, {})) for part in names]
    method = bases[base](recipe) if base else None
    first = [_with_numbers(term, numbers.get(term.name, {})) for term in method.terms] if method else []
    _check(name, base, [*first, *terms], numbers)
    if method is not None and not first and not terms:
        return method
    if base in (None, "ce"):
        ce = min(term.ce_weight for term in terms) if base is None else 1.0
        inner: Method = KD(Recipe(ce=ce, kd=0.0, tf=0.0, ss=0.0)) if ce else NoTerms()
    else:
        if any(term.replaces_kd for term in terms) and method.recipe.kd == recipe.kd:  # a base with L_kd
            terms = [
                _with_numbers(term, {"weight": recipe.kd, **numbers.get(term.name, {})})
                if term.replaces_kd
                else term
                for term in terms
            ]
            method = bases[base](replace(recipe, kd=0.0))
        inner = getattr(method, "base", method)
    return Sum(name, inner, [*first, *terms], method.task if method else None)


def create_term(name: str, numbers: Mapping[str, Any] | None = None) -> Term:
    """Make one term by name. numbers: arguments in the place of its defaults, such as weight.

    Raises ValueError for an unknown name or number.
    """
    return _with_numbers(TERMS[name](), numbers or {})


def _with_numbers(term: Term, given: Mapping[str, Any]) -> Term:
    """Make the same term again, with some of its numbers replaced."""
    known = term.numbers
    if unknown := [name for name in given if name not in known]:
        raise ValueError(
            f"the term {term.name!r} has no number {', '.join(unknown)}; it has: {', '.join(known)}."
        )
    for name, value in given.items():
        if not isinstance(known[name], bool):  # a switch
            check_number(name, value, term.name)
    return type(term)(**{**known, **given})


def _parse(name: str, bases: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Divide a name into its base, if it has one, and the names of its terms."""
    longest_first = sorted(bases, key=len, reverse=True)
    base = next((known for known in longest_first if (name + "+").startswith(known + "+")), None)
    names = [] if name == base else name[len(base) + 1 if base else 0 :].split("+")
    for part in names:
        if part in bases:
            raise ValueError(
                f"{name!r}: {part!r} can only come first, and once, since it gives views and recipe: "
                f"for example '{part}+at'."
            )
        if part not in TERMS:
            within = "" if part == name else f", part of {name!r}"
            raise ValueError(
                f"there is no method {part!r}{within}.{did_you_mean(part, METHODS)} The methods are: "
                f"{', '.join(METHODS)}; joined with + their terms add up."
            )
    return base, names


def _check(name: str, base: str | None, terms: Sequence[Term], numbers: Numbers) -> None:
    """Raise ValueError for terms that exclude each other, and for numbers of terms that are not there."""
    names = [term.name for term in terms]
    if unknown := [key for key in numbers if key not in names]:
        raise ValueError(f"the method {name!r} has no term {', '.join(unknown)} that could take numbers.")
    soft = [term.name for term in terms if term.replaces_kd]
    if len(set(names)) < len(names) or len(soft) > 1:
        raise ValueError(
            f"{name!r} names {' and '.join(soft if len(soft) > 1 else names)}: each term can come once, and "
            "one kind of soft targets in all."
        )
    kinds = {"student": {term.maps for term in terms}, "teacher": {term.teacher_maps for term in terms}}
    if both := [who for who, kind in kinds.items() if {"post_relu", "pre_relu"} <= kind]:
        raise ValueError(
            f"{name!r} joins terms on the {' and '.join(both)}'s maps before and after the ReLU; one pass "
            "gives one kind. Leave one out."
        )
    joins = any(term.joins_classifier for term in terms)
    if joins and (base or any(term.inputs != "post_relu" for term in terms)):
        raise ValueError(
            f"{name!r} gives simkd company it cannot have: its classifier is the teacher's and fixed, so "
            "labels, soft targets or features would pull at the maps that are learned for it. Name simkd "
            "alone, or with terms that compare maps, as in 'simkd+at'."
        )
