"""What others printed: the pairs of the SSKD paper, their figures in data/published.csv, and what to mind.

Each figure has its source and a group; only figures of one group are comparable to better than about one
point. Groups on CIFAR-100, by whose teachers they use: A CRD's, B SSKD's, C HSAKD's; `re-run`: somebody's
repetition with teachers of their own or the authors'. On ImageNet: `published`, and `torchdistill` for its
re-runs in one framework.

A method is named in lower case; `teacher` and `ce` (the student alone) are methods too. `hsakd*` has a
teacher trained jointly with the pretext task. A part after @ says under which condition, where it is not
top-1 accuracy in per cent on all the data: `sskd@top-5` (ImageNet), `sskd@25%` (few-shot: share of the
data), and in `pretext` `sskd-rotation@tiny-imagenet`, `…@head` (the teacher's accuracy on the pretext task),
`…@quality` (linear evaluation on ImageNet of a ResNet-50 trained on that task).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cache

from ..data.load import DATA_FOLDER
from ..models import MODELS
from ..recipes import IMAGENET, STUDENT, Schedule

FILE = DATA_FOLDER / "published.csv"
TABLES = ("similar", "cross", "imagenet", "pretext", "few-shot")
ZOOS = ("torchvision/", "timm/")
LOW_RATE = ("MobileNetV2", "ShuffleV1", "ShuffleV2")  # lr 0.01 in the published commands

FOOTNOTES: dict[str, str] = {
    "kd-row-copied": "The paper's KD row equals CRD's to both decimals although the teachers differ, so it "
    "was most likely copied and not run with these teachers.",
    "best-epoch": "This is the best epoch on the test set, which in public logs lies about 0.3 points above "
    "the last one, the epoch that CRD reports.",
    "swapped-weights": "The paper, its supplement and its code give L_ss and L_T different weights, and "
    "which of them made this figure is unknown.",
    "other-mobilenetv2": "HSAKD's MobileNetV2 is a stronger one (73.51 alone, against 65.79 in the SSKD "
    "paper), so this figure is not comparable with the other groups'.",
    "selection-fix": "The published code selected with the teacher's right and wrong rows swapped until "
    "7 July 2020, and which version made this figure is unknown.",
    "four-times-compute": "SSKD passes four views of each image through teacher and student, about four "
    "times KD's compute at equal epochs.",
    "rerun-below": "At least one independent re-run of this method on this pair came out below the published "
    "figure.",
    "paper-values-not-found": "The paper shows its few-shot and noisy-label results as curves whose values "
    "were not found in print; what stands here is another group's re-run.",
}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A teacher and a student by the names of MODELS; kind: "similar", "cross" or "imagenet"."""

    teacher: str
    student: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.teacher}→{self.student}"


def _pairs(kind: str, *names: str) -> tuple[Pair, ...]:
    return tuple(Pair(teacher=t, student=s, kind=kind) for t, s in (name.split("→") for name in names))


# The columns of tables 3 and 4 of the paper, CIFAR-100.
PAIRS: tuple[Pair, ...] = _pairs(
    "similar",
    "wrn_40_2→wrn_16_2",
    "wrn_40_2→wrn_40_1",
    "resnet56→resnet20",
    "resnet32x4→resnet8x4",
    "vgg13→vgg8",
) + _pairs(
    "cross",
    "vgg13→MobileNetV2",
    "ResNet50→MobileNetV2",
    "ResNet50→vgg8",
    "resnet32x4→ShuffleV1",
    "resnet32x4→ShuffleV2",
    "wrn_40_2→ShuffleV1",
)
IMAGENET_PAIR = _pairs("imagenet", "torchvision/resnet34→torchvision/resnet18")[0]


def find_pair(name: str) -> Pair:
    """The pair of this name, "TEACHER→STUDENT" or "TEACHER:STUDENT": one of the paper's, or one's own.

    One's own is of names in MODELS, torchvision/NAME or timm/NAME (not looked up here); its kind is
    "similar" where both names begin with the same letters, as resnet56 and resnet20 do, else "cross".
    Raises ValueError, listing the pairs, for anything else.

    >>> find_pair("wrn_40_2:ShuffleV1").kind
    'cross'
    """
    teacher, _, student = (part.strip() for part in str(name).partition("→" if "→" in str(name) else ":"))
    for pair in (*PAIRS, IMAGENET_PAIR):
        if (pair.teacher, pair.student) == (teacher, student):
            return pair
    unknown = [part for part in (teacher, student) if not _is_backbone(part)]
    if unknown:
        missing = "".join(f" There is no model '{part}'." for part in unknown if part)
        raise ValueError(
            f"'{name}' is no pair.{missing} Write TEACHER→STUDENT or TEACHER:STUDENT. "
            f"The paper's pairs are: {', '.join(pair.name for pair in (*PAIRS, IMAGENET_PAIR))}; or take any "
            "two of sskd_lib.MODELS, torchvision/NAME and timm/NAME."
        )
    kind = "similar" if _family(teacher) == _family(student) else "cross"
    return Pair(teacher=teacher, student=student, kind=kind)


# Numbers that a paper tuned for single pairs of CIFAR-100; elsewhere those of losses/zoo.py hold.
# Source: mdistiller's published settings of DKD (Zhao et al. 2022).
TUNED: dict[tuple[str, str], dict[str, float]] = {
    ("wrn_40_2→wrn_16_2", "dkd"): {"beta": 6.0},
    ("wrn_40_2→wrn_40_1", "dkd"): {"beta": 6.0},
    ("vgg13→vgg8", "dkd"): {"beta": 6.0},
    ("vgg13→MobileNetV2", "dkd"): {"beta": 6.0},
    ("resnet56→resnet20", "dkd"): {"beta": 2.0},
}


def numbers_for(pair: Pair, method: str) -> dict[str, dict[str, float]]:
    """What create_method takes beside the name of a method, for a pair: published numbers of its terms.

    >>> numbers_for(find_pair("resnet56:resnet20"), "sskd+dkd")
    {'dkd': {'beta': 2.0}}
    """
    return {term: TUNED[pair.name, term] for term in method.split("+") if (pair.name, term) in TUNED}


def schedule_for(student: str, epochs: int | None = None) -> Schedule:
    """The published schedule of a student: STUDENT, its lr 0.01 for MobileNetV2 and the ShuffleNets.

    torchvision/NAME and timm/NAME get IMAGENET. epochs: another length; the milestones keep their shares.
    Source: command.sh of the published code; issue 5 there for ImageNet.
    """
    schedule = IMAGENET if student.startswith(ZOOS) else STUDENT
    if student in LOW_RATE:
        schedule = replace(schedule, lr=0.01)
    return schedule if epochs is None else replace(schedule, epochs=epochs)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A printed number: per cent, its ± where one was given, its group and source, keys of FOOTNOTES."""

    value: float
    spread: float | None
    group: str
    source: str
    notes: tuple[str, ...]


def published(table: str, pair: Pair | str, method: str) -> list[Figure]:
    """The printed figures of one method on one pair, the paper's own first; [] where none was found.

    table: one of TABLES. Raises ValueError for another table or a pair that find_pair does not know.

    >>> [figure.value for figure in published("similar", "vgg13:vgg8", "sskd")]
    [75.33, 74.53]
    """
    if table not in TABLES:
        raise ValueError(f"there is no table '{table}'. The tables are: {', '.join(TABLES)}.")
    pair = pair if isinstance(pair, Pair) else find_pair(pair)
    return list(_figures().get((table, pair.name, method), ()))


@cache
def _figures() -> dict[tuple[str, str, str], tuple[Figure, ...]]:
    """Every figure of the file by table, pair and method."""
    if not FILE.exists():
        raise FileNotFoundError(f"{FILE} is missing. Take it back with: git checkout -- data/{FILE.name}")
    figures: dict[tuple[str, str, str], tuple[Figure, ...]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["table"], row["pair"], row["method"])
            figure = Figure(
                value=float(row["value"]),
                spread=float(row["spread"]) if row["spread"] else None,
                group=row["group"],
                source=row["source"],
                notes=tuple(filter(None, row["notes"].split(";"))),
            )
            figures[key] = (*figures.get(key, ()), figure)
    return figures


def _is_backbone(name: str) -> bool:
    return name in MODELS or any(name.startswith(zoo) and name != zoo for zoo in ZOOS)


def _family(name: str) -> str:
    """The letters that a name begins with, in lower case and without its zoo: wrn, resnet, shufflev."""
    return re.match("[a-z]*", name.rpartition("/")[2].lower())[0]
