"""Cards of the methods: the output that each compares, its formula in one line, its paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...losses import METHODS, create_method
from ...losses.pretext import Imitation

AMONG = {"one": "one image at a time", "many": "images with each other", "memory": "against a memory"}
INPUTS = {"post_relu": "maps", "pre_relu": "maps before the ReLU"}
OUTPUTS = ("labels", "logits", "projection", "features", *INPUTS.values())  # from the last layer to the first


@dataclass(frozen=True, kw_only=True)
class Card:
    """One method: its paper, the images that a term compares together, and its term in one line.

    In a formula S is the student, T the teacher; p softened outputs, f features, F maps, r a
    learned adapter, |x| a length.
    """

    year: int | None
    paper: str
    among: str
    formula: str


# name; year; paper; images compared together; formula
TABLE = """\
ce; ; no teacher; one; -log p_S(label)
kd; 2015; Hinton et al., arXiv 1503.02531; one; KL(p_T, p_S), softened
kd+rotations; 2020; Xu et al., arXiv 2006.07114, without L_ss; one; KL(p_T, p_S) on four views
sskd; 2020; Xu et al., arXiv 2006.07114; many; KL of rows of A: rotated with upright views
sskd-exemplar; 2020; Xu et al., arXiv 2006.07114, Table 2; one; KL of a pretext's answers: which image?
sskd-jigsaw; 2020; Xu et al., arXiv 2006.07114, Table 2; one; KL of a pretext's answers: which order?
sskd-rotation; 2020; Xu et al., arXiv 2006.07114, Table 2; one; KL of a pretext's answers: which rotation?
fitnet; 2015; Romero et al., arXiv 1412.6550; one; (r(F_S) - F_T)²
at; 2017; Zagoruyko, Komodakis, arXiv 1612.03928; one; (Q_S/|Q_S| - Q_T/|Q_T|)², Q = sum of F² over channels
sp; 2019; Tung, Mori, arXiv 1907.09682; many; (G_S - G_T)², G = F F' with rows of length 1
vid; 2019; Ahn et al., arXiv 1904.05835; one; (F_T - r(F_S))²/σ² + log σ², σ per channel
rkd; 2019; Park et al., arXiv 1904.05068; many; Huber's: distances of two images, angles of three
pkt; 2018; Passalis, Tefas, arXiv 1803.10837; many; KL of which image is whose neighbour, by cosines of f
ab; 2019; Heo et al., arXiv 1811.03233; one; is a neuron of F_T on? r(F_S) the same, with a margin
ft; 2018; Kim et al., arXiv 1802.04977; one; |Q_S/|Q_S| - Q_T/|Q_T||, Q of learned factors of F
crd; 2020; Tian et al., arXiv 1910.10699; memory; own image against thousands of other classes'
cc; 2019; Peng et al., arXiv 1904.01802; many; |r(f_S) - r(f_T)|, times that of the next image
nst; 2017; Huang, Wang, arXiv 1707.01219; one; mean discrepancy of the channels, each of length 1
fsp; 2017; Yim et al., CVPR 2017; one; (G_S - G_T)², G = channels of two stages multiplied
kdsvd; 2018; Lee et al., arXiv 1807.06819; one; distances of two stages' first singular vectors
dkd; 2022; Zhao et al., arXiv 2203.08679; one; α KL(the label or not) + β KL(the other classes)
dist; 2022; Huang et al., arXiv 2205.10536; many; 1 - correlation of rows and of columns of p
kd-ls; 2024; Sun et al., arXiv 2403.01427; one; KL(p_T, p_S) of (logits - mean)/σ
dkd-ls; 2024; Sun et al., arXiv 2403.01427; one; dkd of (logits - mean)/σ
reviewkd; 2021; Chen et al., arXiv 2104.09044; one; (r(F_S and all deeper stages) - F_T)²
wttm; 2024; Zheng, Yang, arXiv 2402.11148; one; U KL(p_T^γ/U, p_S), U = sum of p_T^γ
simkd; 2022; Chen et al., arXiv 2203.14001; one; (r(F_S) - F_T)², and the teacher's own last layer
hsakd; 2021; Yang et al., arXiv 2107.13715; one; KL of class and rotation together, at every stage
"""


def _read_cards() -> dict[str, Card]:
    rows = (line.split("; ", 4) for line in TABLE.splitlines())
    return {
        name: Card(year=int(year) if year else None, paper=paper, among=AMONG[among], formula=formula)
        for name, year, paper, among, formula in rows
    }


CARDS = _read_cards()


def zoo_card(name: str) -> Card:
    """Return the card of a method. Raises ValueError, with the names there are, for one without."""
    if name not in CARDS:
        raise ValueError(f"there is no card of {name!r}; there are: {', '.join(CARDS)}.")
    return CARDS[name]


def compared_output(name: str) -> str:
    """Return the output that a method compares, one of OUTPUTS: the deepest that its terms need."""
    method = create_method(name)
    if not method.needs_teacher:
        return "labels"
    terms = [term for term in method.terms if not isinstance(term, Imitation)]  # that compares projections
    inputs = {INPUTS.get(term.inputs, term.inputs) for term in terms} - {"logits"}
    if inputs:
        return max(inputs, key=OUTPUTS.index)
    return "projection" if method.task else "logits"


def map_words(names: Iterable[str] = METHODS) -> str:
    """Return the map of the methods in words: each output, and the methods that compare it."""
    by_output: dict[str, list[str]] = {}
    for name in names:
        by_output.setdefault(compared_output(name), []).append(name)
    rows = [f"{output}: {', '.join(by_output[output])}" for output in OUTPUTS if output in by_output]
    return f"Map of the methods. From above, what they compare: {'; '.join(rows)}."


def zoo_table(names: Iterable[str] = METHODS) -> str:
    """Return the methods as lines of text: name, year, arXiv number, views, its term's weight and formula."""
    lines = [f"{'method':14}{'year':>5}  {'arXiv':11}{'views':>5}{'weight':>7}  its term"]
    for name in names:
        card, method = zoo_card(name), create_method(name)
        number = card.paper.partition("arXiv ")[2].partition(",")[0] or "–"
        weight = f"{method.terms[0].weight:g}" if len(method.terms) else ""
        lines.append(
            f"{name:14}{card.year or '–':>5}  {number:11}{method.needs.views:5}{weight:>7}  {card.formula}"
        )
    return "\n".join(lines)
