"""Who is who in the zoo: what each method compares, its formula in one line, its paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..losses import METHODS, create_method

ONE, MANY, MEMORY = "one image at a time", "images among each other", "against a memory"
LAYERS = ("labels", "logits", "projection", "features", "maps", "pre_activation")


@dataclass(frozen=True, kw_only=True)
class Card:
    """One method: its paper, which images a term looks at together, and its term in one line.

    In a formula S is the student, T the teacher; z logits, p softened outputs, f features, F maps, r a
    learned adapter, |x| a length.
    """

    year: int | None
    paper: str
    among: str
    formula: str


XU = "Xu et al., arXiv 2006.07114"
CARDS: dict[str, Card] = {
    name: Card(year=year, paper=paper, among=among, formula=formula)
    for name, year, paper, among, formula in (
        ("ce", None, "no teacher", ONE, "-log p_S(label)"),
        ("kd", 2015, "Hinton et al., arXiv 1503.02531", ONE, "KL(p_T, p_S), softened"),
        ("kd+rotations", 2020, f"{XU}, without L_ss", ONE, "KL(p_T, p_S) on four views"),
        ("sskd", 2020, XU, MANY, "KL of rows of A: turned against upright views"),
        ("sskd-exemplar", 2020, f"{XU}, Table 2", ONE, "KL of a pretext's answers: which image?"),
        ("sskd-jigsaw", 2020, f"{XU}, Table 2", ONE, "KL of a pretext's answers: which order?"),
        ("sskd-rotation", 2020, f"{XU}, Table 2", ONE, "KL of a pretext's answers: which rotation?"),
        ("fitnet", 2015, "Romero et al., arXiv 1412.6550", ONE, "(r(F_S) - F_T)²"),
        (
            "at",
            2017,
            "Zagoruyko, Komodakis, arXiv 1612.03928",
            ONE,
            "(Q_S/|Q_S| - Q_T/|Q_T|)², Q = sum of F² over channels",
        ),
        ("sp", 2019, "Tung, Mori, arXiv 1907.09682", MANY, "(G_S - G_T)², G = F F' with rows of length 1"),
        ("vid", 2019, "Ahn et al., arXiv 1904.05835", ONE, "(F_T - r(F_S))²/σ² + log σ², σ by the channel"),
        (
            "rkd",
            2019,
            "Park et al., arXiv 1904.05068",
            MANY,
            "Huber's: distances of two images, angles of three",
        ),
        (
            "pkt",
            2018,
            "Passalis, Tefas, arXiv 1803.10837",
            MANY,
            "KL of who is whose neighbour, from cosines of f",
        ),
        (
            "ab",
            2019,
            "Heo et al., arXiv 1811.03233",
            ONE,
            "is a neuron of F_T on? r(F_S) likewise, by a margin",
        ),
        (
            "ft",
            2018,
            "Kim et al., arXiv 1802.04977",
            ONE,
            "|Q_S/|Q_S| - Q_T/|Q_T||, Q of learned factors of F",
        ),
        (
            "crd",
            2020,
            "Tian et al., arXiv 1910.10699",
            MEMORY,
            "own image against thousands of other classes'",
        ),
        (
            "cc",
            2019,
            "Peng et al., arXiv 1904.01802",
            MANY,
            "|r(f_S) - r(f_T)|, times that of the next image",
        ),
        (
            "nst",
            2017,
            "Huang, Wang, arXiv 1707.01219",
            ONE,
            "mean discrepancy of the channels, each of length 1",
        ),
        ("fsp", 2017, "Yim et al., CVPR 2017", ONE, "(G_S - G_T)², G = channels of two stages multiplied"),
        (
            "kdsvd",
            2018,
            "Lee et al., arXiv 1807.06819",
            ONE,
            "distances of two stages' first singular vectors",
        ),
        (
            "dkd",
            2022,
            "Zhao et al., arXiv 2203.08679",
            ONE,
            "α KL(the label or not) + β KL(the other classes)",
        ),
        ("dist", 2022, "Huang et al., arXiv 2205.10536", MANY, "1 - correlation of rows and of columns of p"),
        ("kd-ls", 2024, "Sun et al., arXiv 2403.01427", ONE, "KL(p_T, p_S) of (z - mean)/σ"),
        ("dkd-ls", 2024, "Sun et al., arXiv 2403.01427", ONE, "dkd of (z - mean)/σ"),
        ("reviewkd", 2021, "Chen et al., arXiv 2104.09044", ONE, "(r(F_S and all deeper stages) - F_T)²"),
        ("wttm", 2024, "Zheng, Yang, arXiv 2402.11148", ONE, "U KL(p_T^γ/U, p_S), U = sum of p_T^γ"),
        (
            "simkd",
            2022,
            "Chen et al., arXiv 2203.14001",
            ONE,
            "(r(F_S) - F_T)², and the teacher's own last layer",
        ),
        (
            "hsakd",
            2021,
            "Yang et al., arXiv 2107.13715",
            ONE,
            "KL of class and rotation together, at every stage",
        ),
    )
}


def zoo_card(name: str) -> Card:
    """The card of a method. Raises ValueError, with the names there are, for one without."""
    if name not in CARDS:
        raise ValueError(f"there is no card of {name!r}; there are: {', '.join(CARDS)}.")
    return CARDS[name]


def looks_at(name: str) -> str:
    """What a method compares, one of LAYERS: what its deepest look needs of the networks, in its own data."""
    method = create_method(name)
    if not method.needs_teacher:
        return "labels"
    further = [layer for layer in LAYERS if layer in method.looks_at]
    return further[-1] if further else "projection" if method.task else "logits"


def zoo_table(names: Iterable[str] = METHODS) -> str:
    """The methods as lines of text: name, year and arXiv number, views, its term's weight and formula."""
    lines = [f"{'method':14}{'year':>5}  {'arXiv':11}{'views':>5}{'weight':>7}  its term"]
    for name in names:
        card, method = zoo_card(name), create_method(name)
        number = card.paper.partition("arXiv ")[2].partition(",")[0] or "–"
        weight = f"{method.extra[0].weight:g}" if method.extra else ""
        lines.append(
            f"{name:14}{card.year or '–':>5}  {number:11}{method.views:5}{weight:>7}  {card.formula}"
        )
    return "\n".join(lines)
