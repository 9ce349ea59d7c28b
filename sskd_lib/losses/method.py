"""What a method is: views, the four terms of the recipe, and further weighted terms from the zoo.

A method is data until a training begins. Then `Method.fit_to` makes its further terms for this very pair of
networks, with the parameters that some of them have (adapters, embeddings, memories); these are trained with
the student, saved and resumed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..models.network import Output
from ..recipes import Recipe

Terms = dict[str, Tensor]
# (student, teacher, labels int64 [B], places of the images in the training set int64 [B]) → scalar
Loss = Callable[[Output, Output, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class PairOutputs:
    """The networks a term is made for: what each says of a few images, and the labels of all images."""

    student: Output
    teacher: Output
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class Term:
    """One further term of a method: L += weight · loss, with the loss made for a pair of networks.

    make: (pair, **numbers) → Loss, an nn.Module where the term has parameters or a memory. The layers of such
    a module compute in the networks' number format: it lifts what it compares to float32 (`pairs.precise`).
    numbers: those that differ from make's defaults.
    looks_at: what it needs of both networks: "logits", "features", "maps" or "pre_activation" (maps before
    the ReLU).
    warm_up: share of the epochs over which the weight rises linearly to its full size.
    first: share of the epochs, at the beginning, in which this term alone is trained, by the loss's `first`
    if it has one, and with weight 1; at least one epoch, unless there is only one. stays: whether it goes on
    afterwards.
    soft: whether it takes the place of the soft targets of "kd" and "sskd".
    ce: weight of cross-entropy beside it where its paper has another than 1; 0 leaves it out.
    alone: whether it works in one process only.
    all_views: whether it looks at every view, not at the upright ones alone.
    reuses: whether the student takes over the teacher's classifier before the training (reuse.py).
    """

    name: str
    weight: float
    make: Callable[..., Loss]
    numbers: Mapping[str, Any] = field(default_factory=dict)
    looks_at: str = "logits"
    warm_up: float = 0.0
    first: float = 0.0
    stays: bool = True
    soft: bool = False
    ce: float = 1.0
    alone: bool = False
    all_views: bool = False
    reuses: bool = False

    def with_numbers(self, given: Mapping[str, Any]) -> Term:
        """The same term with weight or numbers replaced, and all numbers written out, make's defaults too.

        Raises ValueError for a number that the term lacks.
        """
        parameters = inspect.signature(self.make).parameters
        known = {"weight": self.weight} | {n: p.default for n, p in parameters.items() if n != "pair"}
        if unknown := [name for name in given if name not in known]:
            raise ValueError(
                f"the term {self.name!r} has no number {', '.join(unknown)}; it has: {', '.join(known)}."
            )
        numbers = known | self.numbers | given
        return replace(self, weight=numbers.pop("weight"), numbers=numbers)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a student: how many views it looks at and which terms it sums.

    Called with (student: Output, teacher: Output or None, labels int64 [B]) it returns the terms by name,
    unweighted, and their weighted sum under "total". With `extra` terms, `own` is what `fit_to` made and
    `index` int64 [B] the place of each image in the training set. recipe: None where none of its four terms
    takes part.

    pretext: the task of the teacher's head that it imitates (heads.TASKS); of needs_projection, the
    contrastive one. shuffled: whether the transformed views are jigsaws instead of rotations.
    """

    name: str
    views: int  # 1 or 4 an image
    needs_teacher: bool
    needs_projection: bool
    recipe: Recipe | None
    terms: Callable[[Output, Output | None, Tensor, Recipe | None], Terms]
    extra: tuple[Term, ...] = ()
    pretext: str | None = None
    shuffled: bool = False

    def __call__(
        self,
        student: Output,
        teacher: Output | None,
        labels: Tensor,
        own: nn.Module | None = None,
        index: Tensor | None = None,
    ) -> Terms:
        if own is None:
            if self.extra:
                raise ValueError(
                    f"the method {self.name!r} has terms that are made for a pair of networks; call fit_to "
                    "first and give its result as `own`, or let distill do both."
                )
            return self.terms(student, teacher, labels, self.recipe)
        found, total = own(student, teacher, labels, index)
        if getattr(own, "module", own).first:  # `module`: wrapped for several processes
            return found | {"total": total}
        terms = self.terms(student, teacher, labels, self.recipe)
        return {**terms, **found, "total": terms["total"] + total}

    @property
    def task(self) -> str | None:
        """The task that the teacher's head must have been taught; None if its head is not looked at."""
        return "contrastive" if self.needs_projection else self.pretext

    @property
    def looks_at(self) -> set[str]:
        """What the terms need of the networks beside logits and projections."""
        return {term.looks_at for term in self.extra} - {"logits"}

    @property
    def reuses_classifier(self) -> bool:
        """Whether the student is joined with the teacher's classifier before the training."""
        return any(term.reuses for term in self.extra)

    @property
    def asked(self) -> dict[str, bool]:
        """What both networks' forward passes are asked for (see Network.forward)."""
        maps = {"maps", "pre_activation"} & self.looks_at
        return {"maps": True, "pre_activation": "pre_activation" in maps} if maps else {}

    def fit_to(self, pair: PairOutputs, seed: int = 0) -> FurtherTerms | None:
        """Make the further terms for a pair of networks, their first weights drawn from `seed`.

        None for a method without. torch's global generator is left as it was. Raises ValueError, by the term,
        if the two networks do not fit.
        """
        if not self.extra:
            return None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return FurtherTerms(self.extra, pair)

    def plan(self) -> dict[str, Any]:
        """The further terms as data: what a resumed run must find again."""
        return {term.name: {"weight": term.weight, **term.numbers} for term in self.extra}


class FurtherTerms(nn.Module):
    """The further terms of a method, made for one pair of networks, with the parameters that they have.

    Called with (student, teacher, labels, index) it returns the terms that are on in this epoch, unweighted,
    and their weighted sum. Terms compare the upright views, the first B rows of both outputs, unless they
    want all. autocast: what the terms with layers are computed under (Runtime.autocast); others are not.
    """

    def __init__(self, terms: tuple[Term, ...], pair: PairOutputs) -> None:
        super().__init__()
        self.terms = terms
        self.losses = {term.name: term.make(pair, **term.numbers) for term in terms}
        self.trained = nn.ModuleDict({n: m for n, m in self.losses.items() if isinstance(m, nn.Module)})
        self.first, self.weights = False, {}
        self.autocast: Callable[[bool], AbstractContextManager] = lambda wanted: nullcontext()
        self.begin(0, 1)

    def begin(self, epoch: int, epochs: int) -> bool:
        """Enter an epoch (from 0). Returns whether anything differs from the epoch before."""
        before = self.first, self.weights
        share = max(term.first for term in self.terms)
        self.first = share > 0 and epochs > 1 and epoch < max(1, round(share * epochs))
        self.weights = {
            term.name: 1.0
            if self.first
            else term.weight * min(1.0, (epoch + 1) / max(1.0, term.warm_up * epochs))
            for term in self.terms
            if (term.first > 0 if self.first else term.stays)
        }
        return before != (self.first, self.weights)

    def forward(
        self, student: Output, teacher: Output, labels: Tensor, index: Tensor
    ) -> tuple[Terms, Tensor]:
        upright = [first_rows(output, len(labels)) for output in (student, teacher)]
        found: Terms = {}
        total = student.logits.new_zeros(())
        for term in self.terms:
            if term.name not in self.weights:
                continue
            loss = self.losses[term.name]
            loss = getattr(loss, "first", loss) if self.first else loss
            both = (student, teacher) if term.all_views else upright
            with self.autocast(term.name in self.trained):
                found[term.name] = loss(*both, labels, index)
            total = total + self.weights[term.name] * found[term.name]
        return found, total


def first_rows(output: Output, count: int) -> Output:
    """The first `count` rows of an output: the upright views."""
    if len(output.logits) == count:
        return output
    return output.each(lambda part: part[:count])
