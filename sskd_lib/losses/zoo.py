"""The methods SSKD was compared with, and those that came after, as weighted terms: one entry a paper.

Weights are those of the comparisons (RepDistiller's published commands; kdsvd: mdistiller's) and, after 2020,
each paper's own, beside cross-entropy with weight 1 unless `ce` says another. Two are the kit's choice, as
none was found that holds for CIFAR-100 in general: those of dist and dkd-ls. ReviewKD's and WTTM's were tuned
by the pair. Stages are counted as in `Backbone.stage_maps`: 0 the stem, 1 the first stage. Networks with
different numbers of stages are compared in those that both have.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..models.network import Output
from .ab import ab_loss, connector
from .at import at_loss
from .cc import CC
from .crd import CRD
from .dist import dist_loss
from .dkd import dkd_loss
from .fitnet import Regressor, hint_loss
from .fsp import fsp_loss
from .ft import Paraphraser, Translator, ft_loss
from .kdsvd import kdsvd_loss
from .logit_std import standardised, standardised_kd_loss
from .method import Loss, PairOutputs, Term
from .nst import nst_loss
from .pkt import pkt_loss
from .reviewkd import ReviewKD
from .rkd import rkd_loss
from .simkd import simkd_loss
from .sp import sp_loss
from .vid import VID
from .wttm import wttm_loss

FIRST = 1 / 8  # 30 of 240 epochs: the initial stage of AB, FSP and FT


def stages(student: Output, teacher: Output) -> zip[tuple[Tensor, Tensor]]:
    """The maps of the stages that both networks have, without the stems."""
    return zip(student.maps[1:], teacher.maps[1:], strict=False)


def shapes(maps: Sequence[Tensor]) -> list[list[int]]:
    """[C, H, W] of each of several maps [N, C, H, W]."""
    return [list(m.shape[1:]) for m in maps]


class FitNet(nn.Module):
    """The hint: a regressor leads one stage of the student to the teacher's."""

    def __init__(self, pair: PairOutputs, stage: int = 2) -> None:
        super().__init__()
        count = min(len(pair.student.maps), len(pair.teacher.maps))
        if not 0 <= stage < count:
            raise ValueError(
                f"there is no stage {stage}: both networks have stages 0 (the stem) to {count - 1}."
            )
        self.stage = stage
        self.regressor = Regressor(*(shapes(o.maps)[stage] for o in (pair.student, pair.teacher)))

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        return hint_loss(self.regressor(student.maps[self.stage]), teacher.maps[self.stage])


class Variational(nn.Module):
    """VID, summed over the stages, with a predicted mean and variance for each."""

    def __init__(self, pair: PairOutputs, variance: float = 5.0) -> None:
        super().__init__()
        widths = [(s.shape[1], t.shape[1]) for s, t in stages(pair.student, pair.teacher)]
        self.of_stage = nn.ModuleList(VID(*both, variance=variance) for both in widths)

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        both = zip(self.of_stage, stages(student, teacher), strict=True)
        return sum(vid(s, t) for vid, (s, t) in both)


class Correlation(nn.Module):
    """CC on the penultimate features, in an embedding of each."""

    def __init__(self, pair: PairOutputs, width: int = 128) -> None:
        super().__init__()
        self.cc = CC(pair.student.features.shape[1], pair.teacher.features.shape[1], width)

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        return self.cc(student.features, teacher.features)


class Contrast(nn.Module):
    """CRD on the penultimate features, with a memory of both networks' embeddings of all training images."""

    def __init__(self, pair: PairOutputs, negatives: int = 16384, temperature: float = 0.07) -> None:
        super().__init__()
        widths = (output.features.shape[1] for output in (pair.student, pair.teacher))
        self.crd = CRD(*widths, pair.labels, negatives=negatives, temperature=temperature)

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        return self.crd(student.features, teacher.features, index)


class Review(nn.Module):
    """ReviewKD on the stages and, as a last stage of one pixel, the penultimate features.

    With a single image the last stage has one value a channel, which BatchNorm cannot normalise: the term is
    0 then.
    """

    def __init__(self, pair: PairOutputs) -> None:
        super().__init__()
        self.review = ReviewKD(*(shapes(m) for m in self.levels(pair.student, pair.teacher)))

    @staticmethod
    def levels(student: Output, teacher: Output) -> tuple[list[Tensor], list[Tensor]]:
        both = [
            *stages(student, teacher),
            (student.features[..., None, None], teacher.features[..., None, None]),
        ]
        return [s for s, _ in both], [t for _, t in both]

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        if len(labels) == 1:
            return 0.0 * student.logits.sum()
        return self.review(*self.levels(student, teacher))


class Boundaries(nn.Module):
    """AB on the maps before the ReLUs, the student's led to the teacher's shapes."""

    def __init__(self, pair: PairOutputs, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin
        both = [shapes(o.maps[1:]) for o in (pair.student, pair.teacher)]
        self.connectors = nn.ModuleList(connector(s, t) for s, t in zip(*both, strict=False))

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        pairs = zip(self.connectors, stages(student, teacher), strict=True)
        led = [(connect(s), t) for connect, (s, t) in pairs]
        return ab_loss([s for s, _ in led], [t for _, t in led], self.margin)


class Factors(nn.Module):
    """FT on the last stage: the paraphraser learns first, alone; then the translator, with the student."""

    def __init__(self, pair: PairOutputs, rate: float = 0.5) -> None:
        super().__init__()
        student, teacher = (o.maps[-1].shape[1] for o in (pair.student, pair.teacher))
        self.paraphraser, self.translator = Paraphraser(teacher, rate), Translator(student, teacher, rate)

    def first(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        return self.paraphraser.reconstruction_loss(teacher.maps[-1])

    def forward(self, student: Output, teacher: Output, labels: Tensor, index: Tensor) -> Tensor:
        return ft_loss(self.translator(student.maps[-1]), self.paraphraser(teacher.maps[-1]))


def attention(pair: PairOutputs, p: float = 2.0) -> Loss:
    """AT, summed over the stages."""
    return lambda s, t, labels, index: sum(at_loss(a, b, p) for a, b in stages(s, t))


def selectivity(pair: PairOutputs) -> Loss:
    """NST, summed over the stages."""
    return lambda s, t, labels, index: sum(nst_loss(a, b) for a, b in stages(s, t))


def similarity(pair: PairOutputs) -> Loss:
    """SP on the maps of the last stage."""
    return lambda s, t, labels, index: sp_loss(s.maps[-1], t.maps[-1])


def reused(pair: PairOutputs) -> Loss:
    """SimKD. Raises ValueError, at once, for last maps of different widths."""
    simkd_loss(pair.student.last, pair.teacher.last)
    return lambda s, t, labels, index: simkd_loss(s.last, t.last)


def probabilistic(pair: PairOutputs) -> Loss:
    """PKT on the penultimate features."""
    return lambda s, t, labels, index: pkt_loss(s.features, t.features)


def relational(pair: PairOutputs, distance: float = 25.0, angle: float = 50.0) -> Loss:
    """RKD on the penultimate features."""
    return lambda s, t, labels, index: rkd_loss(s.features, t.features, distance=distance, angle=angle)


def flow(pair: PairOutputs) -> Loss:
    """FSP on stem and stages. Raises ValueError, at once, for networks of different widths."""
    fsp_loss(pair.student.maps, pair.teacher.maps)
    return lambda s, t, labels, index: fsp_loss(s.maps, t.maps)


def singular(pair: PairOutputs, k: int = 1) -> Loss:
    """KD-SVD on the stages. Raises ValueError, at once, for networks of different widths."""
    kdsvd_loss(pair.student.maps[1:], pair.teacher.maps[1:], k)
    return lambda s, t, labels, index: kdsvd_loss(s.maps[1:], t.maps[1:], k)


def decoupled(pair: PairOutputs, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> Loss:
    """DKD."""
    numbers = {"alpha": alpha, "beta": beta, "temperature": temperature}
    return lambda s, t, labels, index: dkd_loss(s.logits, t.logits, labels, **numbers)


def decoupled_standardised(
    pair: PairOutputs, alpha: float = 1.0, beta: float = 8.0, temperature: float = 2.0
) -> Loss:
    """DKD of standardised logits."""
    numbers = {"alpha": alpha, "beta": beta, "temperature": temperature}
    return lambda s, t, labels, index: dkd_loss(
        standardised(s.logits), standardised(t.logits.detach()), labels, **numbers
    )


def soft_standardised(pair: PairOutputs, temperature: float = 2.0) -> Loss:
    """KD of standardised logits."""
    return lambda s, t, labels, index: standardised_kd_loss(s.logits, t.logits, temperature)


def correlations(pair: PairOutputs, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0) -> Loss:
    """DIST."""
    numbers = {"beta": beta, "gamma": gamma, "temperature": temperature}
    return lambda s, t, labels, index: dist_loss(s.logits, t.logits, **numbers)


def transformed(pair: PairOutputs, gamma: float = 0.2, weighted: bool = True) -> Loss:
    """WTTM; TTM with weighted=False."""
    return lambda s, t, labels, index: wttm_loss(s.logits, t.logits, gamma, weighted=weighted)


TERMS: dict[str, Term] = {
    term.name: term
    for term in (
        Term(name="fitnet", weight=100, make=FitNet, looks_at="maps"),
        Term(name="at", weight=1000, make=attention, looks_at="maps"),
        Term(name="sp", weight=3000, make=similarity, looks_at="maps"),
        Term(name="vid", weight=1, make=Variational, looks_at="maps"),
        Term(name="rkd", weight=1, make=relational, looks_at="features"),
        Term(name="pkt", weight=30000, make=probabilistic, looks_at="features"),
        Term(name="ab", weight=1, make=Boundaries, looks_at="pre_activation", first=FIRST, stays=False),
        Term(name="ft", weight=200, make=Factors, looks_at="maps", first=FIRST),
        Term(name="crd", weight=0.8, make=Contrast, looks_at="features", alone=True),
        Term(name="cc", weight=0.02, make=Correlation, looks_at="features"),
        Term(name="nst", weight=50, make=selectivity, looks_at="maps"),
        Term(name="fsp", weight=1, make=flow, looks_at="maps", first=FIRST, stays=False),
        Term(name="kdsvd", weight=1, make=singular, looks_at="maps"),
        Term(name="dkd", weight=1, make=decoupled, warm_up=1 / 12, soft=True),
        Term(name="simkd", weight=1, make=reused, looks_at="maps", ce=0.0, reuses=True),
        Term(name="dist", weight=2, make=correlations, soft=True),
        Term(name="kd-ls", weight=9, make=soft_standardised, ce=0.1, soft=True),
        Term(name="dkd-ls", weight=9, make=decoupled_standardised, warm_up=1 / 12, soft=True),
        Term(name="reviewkd", weight=5, make=Review, looks_at="maps", warm_up=1 / 12),
        Term(name="wttm", weight=4, make=transformed, soft=True),
    )
}
