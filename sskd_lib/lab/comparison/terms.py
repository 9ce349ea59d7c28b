"""The terms of all methods on one batch of two networks: their sizes, and the changes they do not notice."""

from __future__ import annotations

import copy
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.images import ImageSet
from ...data.views import four_views
from ...losses import TERMS, Batch, Term, create_method, create_term
from ...models.network import Network, Output
from ...runtime.device import Runtime
from .cards import AMONG, compared_output, zoo_card

Change = Callable[[Tensor], Tensor]  # of one output, [N, D] or [N, C, H, W]: its rows and its channels
UNNOTICED = 1e-6  # a smaller relative change counts as none: rounding in float64 is far below
ORDER = "order of\nimages (both)"


@dataclass(frozen=True, kw_only=True)
class TermSet:
    """The terms of all methods for one pair of networks and one batch, with the layers they first draw.

    outputs: "post_relu" and "pre_relu", the kind of maps of the upright views, or "views", all four views
    without maps → (student's, teacher's) outputs, float64 on the CPU.
    terms: name → term after `setup`; refused: name → why this pair of networks does not fit.
    """

    labels: Tensor
    outputs: Mapping[str, tuple[Output, Output]]
    terms: Mapping[str, Term]
    refused: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all terms: L_kd and L_ss, and those of `terms`."""
        return ("L_kd", "L_ss", *self.terms)

    def keys(self, name: str) -> tuple[str, str]:
        """Return the keys in `outputs` of what a term compares: the student's and the teacher's."""
        if name == "L_ss":
            return "views", "views"
        return map_kinds(self.terms[name]) if name in self.terms else ("post_relu", "post_relu")


def map_kinds(term: Term) -> tuple[str, str]:
    """Return the kinds of maps that a term compares, the student's and the teacher's."""
    return term.maps or "post_relu", term.teacher_maps or "post_relu"


@torch.no_grad()
def set_up_terms(student: Network, teacher: Network, images: ImageSet, runtime: Runtime) -> TermSet:
    """Set up the terms of all methods for two networks and a few images; see `TermSet`."""
    views = four_views(images.images.to(runtime.device), None, False, images.window)
    passes = {kind: (views[: len(images)], kind) for kind in ("post_relu", "pre_relu")}
    outputs = {}
    for key, (pixels, maps) in (passes | {"views": (views, None)}).items():
        both = (runtime.run(runtime.place(net).eval(), pixels, maps=maps) for net in (student, teacher))
        outputs[key] = tuple(output.to("cpu").to(torch.float64) for output in both)
    labels, terms, refused = images.labels.cpu(), {}, {}
    for name in TERMS:
        term = create_term(name)
        of_student, of_teacher = map_kinds(term)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            try:
                term.setup(outputs[of_student][0], outputs[of_teacher][1], labels)
            except ValueError as error:
                refused[name] = str(error).partition(". ")[0]
            else:
                terms[name] = term
    return TermSet(labels=labels, outputs=outputs, terms=terms, refused=refused)


@torch.no_grad()
def term_value(
    term_set: TermSet, name: str, student: Output, teacher: Output, order: Tensor | None = None
) -> float:
    """Return one term without its weight, one of `term_set.names`. Every call begins with the first layers.

    order: of the images, where both outputs were reordered.
    """
    index = torch.arange(len(term_set.labels)) if order is None else order
    batch = Batch(labels=term_set.labels[index], index=index)
    if name in term_set.terms:
        return copy.deepcopy(term_set.terms[name]).double()(student, teacher, batch).item()
    key = name.removeprefix("L_")
    return create_method({"kd": "kd", "ss": "sskd"}[key])(student, teacher, batch)[key].item()


def term_figures(term_set: TermSet) -> dict[str, tuple[float, float, int]]:
    """Return value, weight and number of parameters of each term, the largest weight first."""
    figures = {}
    for name, term in sorted(term_set.terms.items(), key=lambda item: -item[1].weight):
        of_student, of_teacher = term_set.keys(name)
        outputs = term_set.outputs[of_student][0], term_set.outputs[of_teacher][1]
        numbers = sum(tensor.numel() for tensor in term.parameters())
        figures[name] = (term_value(term_set, name, *outputs), float(term.weight), numbers)
    return figures


def adapter_shares(term_set: TermSet) -> tuple[float, float]:
    """Return the share of terms with parameters: among those on single images, and on several images.

    Only terms that compare features or maps count: logits have the same width in both networks.
    """
    has: dict[bool, list[bool]] = {True: [], False: []}
    for name, (_, _, numbers) in term_figures(term_set).items():
        if compared_output(name) != "logits":
            has[zoo_card(name).among == AMONG["one"]].append(numbers > 0)
    single, several = (sum(group) / max(len(group), 1) for group in has.values())
    return single, several


def term_sizes(term_set: TermSet) -> str:
    """Return `term_figures` as lines of text, and why other terms do not fit these networks."""
    lines = [f"{'term':9}{'value':>11}{'weight':>9}{'weight × value':>16}{'numbers of its own':>20}"]
    for name, (value, weight, numbers) in term_figures(term_set).items():
        lines.append(f"{name:9}{value:11.2g}{weight:9g}{weight * value:16.2g}{numbers:20,}")
    for name, reason in term_set.refused.items():
        text = f"{name:9}not for these two networks: {reason}"
        lines.append(textwrap.fill(text, 100, subsequent_indent=" " * 9))
    return "\n".join(lines)


def shuffle_channels(x: Tensor) -> Tensor:
    """Put the channels into another fixed order. x: [N, C, …]."""
    return x[:, torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(1))]


def rotate_channels(x: Tensor) -> Tensor:
    """Multiply each image's channels by one fixed random rotation matrix. x: float [N, C, …]."""
    normal = torch.randn(
        x.shape[1], x.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    return torch.einsum("nc...,dc->nd...", x, torch.linalg.qr(normal).Q.to(x.dtype))


def scale_each_image(x: Tensor) -> Tensor:
    """Multiply each row by a number of its own between 0.5 and 2. x: float [N, …]."""
    drawn = torch.rand(len(x), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return x * (0.5 + 1.5 * drawn).to(x.dtype).view(-1, *(1,) * (x.dim() - 1))


CHANGES: dict[str, Change] = {
    "all times 3": lambda x: 3 * x,
    "each image\nits own scale": scale_each_image,
    "add a\nconstant": lambda x: x + x.std(),
    "shuffle\nchannels": shuffle_channels,
    "rotate": rotate_channels,
}


def loss_changes(term_set: TermSet, changes: Mapping[str, Change] = CHANGES) -> dict[str, dict[str, float]]:
    """Measure |after - before| / before of every term, when all outputs of the student are changed.

    changes: title → what is done to the student's outputs; those of the teacher stay. A last column puts the
    images into another order for both networks. Returns term → title → relative change.
    """
    order = torch.randperm(len(term_set.labels), generator=torch.Generator().manual_seed(0))

    def values(student: Change, teacher: Change, order: Tensor | None = None) -> dict[str, float]:
        students, teachers = (
            {key: pair[i].each(change) for key, pair in term_set.outputs.items()}
            for i, change in enumerate((student, teacher))
        )
        keys = {name: term_set.keys(name) for name in term_set.names}
        return {n: term_value(term_set, n, students[s], teachers[t], order) for n, (s, t) in keys.items()}

    def reorder(x: Tensor) -> Tensor:
        return torch.cat([x[first : first + len(order)][order] for first in range(0, len(x), len(order))])

    before = values(_same, _same)
    after = {title: values(change, _same) for title, change in changes.items()}
    after[ORDER] = values(reorder, reorder, order)
    return {
        name: {title: _relative(row[name], before[name]) for title, row in after.items()}
        for name in term_set.names
    }


def _same(x: Tensor) -> Tensor:
    return x


def _relative(after: float, before: float) -> float:
    if before == 0:
        return 0.0 if after == 0 else math.inf
    return abs(after - before) / abs(before)


def unnoticed(changes: Mapping[str, Mapping[str, float]]) -> str:
    """Return lines of text: each change, and the terms that do not notice it. changes: of `loss_changes`."""
    titles = list(next(iter(changes.values())))
    lines = []
    for title in titles:
        names = [name for name, row in changes.items() if row[title] <= UNNOTICED]
        text = f"{' '.join(title.split())}: {', '.join(names) or 'none'}"
        lines.append(textwrap.fill(text, 100, subsequent_indent="    ", break_on_hyphens=False))
    return "\n".join(lines)


def shuffled_copy(teacher: Network, output: Output, runtime: Runtime) -> Output:
    """Return what the teacher says when its features are shuffled and its last layer stays as it was.

    output: of `predict`. Returns an Output of shuffled features and the logits made of them.
    """
    features = shuffle_channels(output.features)
    with torch.no_grad():
        logits = runtime.place(teacher).backbone.classify(features.to(runtime.device)).float().cpu()
    return Output(logits, features=features)


def mix_other_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """Return logits [N, K] in which the label's stays, and each other one moves on by one class."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, labels[:, None], False)
    mixed = logits.clone()
    mixed[others] = logits[others].view(len(logits), -1).roll(1, 1).flatten()
    return mixed
