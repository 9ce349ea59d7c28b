"""Terms and methods: the interface that every paper's file fills in, and the sum of several terms.

A method is made before a training knows its networks. `setup` then makes what its terms need for this pair
(adapters, embeddings, memories). These are trained with the student, saved and resumed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..data.batch import Batch
from ..models.network import MapKind, Output
from ..recipes import Recipe

Terms = dict[str, Tensor]  # unweighted terms by name, and their weighted sum under "total"
Inputs = Literal["logits", "features", "post_relu", "pre_relu"]


class Needs(NamedTuple):
    """The forward pass that a method needs of student and teacher.

    views: 1 or 4 per image; jigsaw: whether the last three views are shuffled instead of rotated; maps: the
    kind of the student's stage maps (`Network.forward`), or None; teacher_maps: of the teacher's.
    """

    views: int = 1
    jigsaw: bool = False
    maps: MapKind | None = None
    teacher_maps: MapKind | None = None


class Term(nn.Module):
    """One weighted term of a method: L += weight · term(student_output, teacher_output, batch).

    A paper's file derives a class from this one. Its `__init__` takes numbers only, `weight` first, each with
    its default, and keeps each as an attribute of the same name. Layers are made in `setup`, and compute in
    the number format of the networks; a loss lifts what it compares to float32 (`pairs.precise`).
    """

    name: str
    inputs: ClassVar[Inputs] = "logits"  # the part of both outputs that is compared
    teacher_inputs: ClassVar[MapKind | None] = None  # the teacher's kind of maps, where it is another one
    all_views: ClassVar[bool] = False  # whether it compares every view; else the upright ones alone
    replaces_kd: ClassVar[bool] = False  # whether it has soft targets, in the place of L_kd
    ce_weight: ClassVar[float] = 1.0  # weight of cross-entropy beside it, where no base method is named
    warm_up: ClassVar[float] = 0.0  # share of the epochs over which the weight rises linearly
    first_stage: ClassVar[float] = 0.0  # share of the epochs, at the start, in which it is trained alone
    only_first_stage: ClassVar[bool] = False  # whether it ends with that stage
    single_process: ClassVar[bool] = False  # whether it works in one process only
    joins_classifier: ClassVar[bool] = False  # whether the student gets the teacher's classifier (SimKD)

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    @property
    def numbers(self) -> dict[str, Any]:
        """Return all arguments of `__init__`, with their values."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @property
    def maps(self) -> MapKind | None:
        """Return the kind of the student's stage maps that it compares, or None."""
        return self.inputs if self.inputs in ("post_relu", "pre_relu") else None

    @property
    def teacher_maps(self) -> MapKind | None:
        """Return the kind of the teacher's stage maps that it compares, or None."""
        return self.teacher_inputs or self.maps

    def weight_at(self, epoch: int, epochs: int) -> float:
        """Return the weight in an epoch (counted from 0) of so many, after the first stage."""
        return self.weight * min(1.0, (epoch + 1) / max(1.0, self.warm_up * epochs))

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor) -> None:
        """Make the layers for this pair of networks; raise ValueError for a pair that does not fit.

        student_output, teacher_output: of a few images; labels: int64 [M] of all training images.
        """

    def forward(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Return the term, a scalar without its weight. No gradient reaches the teacher."""
        raise NotImplementedError

    def first_stage_loss(self, student_output: Output, teacher_output: Output, batch: Batch) -> Tensor:
        """Return the scalar that the first stage trains."""
        return self(student_output, teacher_output, batch)


class Method(nn.Module):
    """A way to train a student: method(student_output, teacher_output, batch) → terms and their sum.

    It returns the unweighted terms by name and the weighted sum under "total".
    """

    needs_teacher: ClassVar[bool] = True
    task: str | None = None  # the pretext task of the teacher's head that it compares (pretext.TASKS)
    needs_projection = False  # whether it compares the projections of both networks
    trains_head = False  # whether the network's own head is trained by it
    fewest_images = 1  # of a batch: with fewer there is nothing to learn

    def __init__(self, name: str, recipe: Recipe | None, needs: Needs, terms: Sequence[Term] = ()) -> None:
        super().__init__()
        self.name, self.recipe, self.needs = name, recipe, needs
        self.terms: Sequence[Term] = nn.ModuleList(terms)  # type: ignore[assignment]
        # keywords of torch.autocast for terms with layers: the networks' number format (Runtime.autocast)
        self.layer_format: dict[str, Any] = {"device_type": "cpu", "enabled": False}

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor, seed: int = 0) -> None:
        """Make the layers of the terms for this pair of networks (see `Term.setup`).

        seed: draws their first weights; torch's global generator is left as it was.
        """

    def begin_epoch(self, epoch: int, epochs: int) -> bool:
        """Enter an epoch (counted from 0) of so many. Return whether the weights differ from the last one."""
        return False

    def plan(self) -> dict[str, Any]:
        """Return the method as data: what a resumed training must find again."""
        return {term.name: term.numbers for term in self.terms}

    def forward(self, student_output: Output, teacher_output: Output | None, batch: Batch) -> Terms:
        """Return the unweighted terms by name, and their weighted sum under "total".

        Rows of the outputs: V·B, in the order of `four_views`.
        """
        raise NotImplementedError


class NoTerms(Method):
    """None of the four terms of a recipe: the further terms are all there is."""

    def __init__(self) -> None:
        super().__init__("none", None, Needs())

    def forward(self, student_output: Output, teacher_output: Output | None, batch: Batch) -> Terms:
        """Return a total of 0."""
        return {"total": student_output.logits.new_zeros(())}


class Sum(Method):
    """A base method and further terms: L = L_base + Σ_t w_t L_t.

    Terms compare the upright views, the first B rows of both outputs, unless they want all. In a first stage
    (AB, FSP, FT) the terms that have one are trained alone, with weight 1.
    """

    def __init__(self, name: str, base: Method, terms: Sequence[Term], task: str | None = None) -> None:
        kinds = {(term.maps, term.teacher_maps) for term in terms} - {(None, None)}
        maps, teacher_maps = next(iter(kinds), (None, None))  # `create_method` joins terms of one kind
        needs = base.needs._replace(maps=maps, teacher_maps=teacher_maps)
        super().__init__(name, base.recipe, needs, terms)
        self.base = base
        self.needs_projection, self.trains_head = base.needs_projection, base.trains_head
        self.fewest_images = base.fewest_images
        self.task = task or base.task
        self.first_stage = False
        self.weights: dict[str, float] = {}
        self.begin_epoch(0, 1)

    def setup(self, student_output: Output, teacher_output: Output, labels: Tensor, seed: int = 0) -> None:
        """Make the layers of the terms, in their order."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for term in self.terms:
                term.setup(student_output, teacher_output, labels)

    def begin_epoch(self, epoch: int, epochs: int) -> bool:
        """Set the weights of an epoch, and whether it belongs to a first stage."""
        before = self.first_stage, self.weights
        fraction = max(term.first_stage for term in self.terms)
        self.first_stage = fraction > 0 and epochs > 1 and epoch < max(1, round(fraction * epochs))
        if self.first_stage:
            self.weights = {term.name: 1.0 for term in self.terms if term.first_stage > 0}
        else:
            self.weights = {
                term.name: term.weight_at(epoch, epochs) for term in self.terms if not term.only_first_stage
            }
        return before != (self.first_stage, self.weights)

    def forward(self, student_output: Output, teacher_output: Output | None, batch: Batch) -> Terms:
        """Return the terms of the base and the further ones that are on in this epoch."""
        upright = [first_rows(output, len(batch.labels)) for output in (student_output, teacher_output)]
        terms: Terms = {}
        total = student_output.logits.new_zeros(())
        for term in self.terms:
            if term.name not in self.weights:
                continue
            outputs = (student_output, teacher_output) if term.all_views else upright
            loss: Callable[..., Tensor] = term.first_stage_loss if self.first_stage else term
            has_layers = next(term.children(), None) is not None
            with torch.autocast(**self.layer_format) if has_layers else nullcontext():
                terms[term.name] = loss(*outputs, batch)
            total = total + self.weights[term.name] * terms[term.name]
        if self.first_stage:
            return terms | {"total": total}
        base = self.base(student_output, teacher_output, batch)
        return {**base, **terms, "total": base["total"] + total}


def first_rows(output: Output, count: int) -> Output:
    """Return the first `count` rows of an output: its upright views."""
    if len(output.logits) == count:
        return output
    return output.each(lambda part: part[:count])


def stages(student_output: Output, teacher_output: Output) -> zip[tuple[Tensor, Tensor]]:
    """Pair the maps of the stages that both networks have, without the stems."""
    return zip(student_output.maps[1:], teacher_output.maps[1:], strict=False)


def check_stages(student_output: Output, teacher_output: Output) -> None:
    """Raise ValueError unless both networks have maps of a stage beside those of their stem."""
    counts = [len(output.maps) for output in (student_output, teacher_output)]
    if min(counts) < 2:
        raise ValueError(
            f"there is no stage to compare: the student has {counts[0]} stage map(s) and the teacher "
            f"{counts[1]}, and stage 0 is the stem. Use a method that compares features or logits."
        )


def shapes(maps: Sequence[Tensor]) -> list[list[int]]:
    """Return [C, H, W] of each of several maps [N, C, H, W]."""
    return [list(m.shape[1:]) for m in maps]
