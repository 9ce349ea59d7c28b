"""The published figures of the SSKD paper's tables (data/published.csv), its pairs and its schedules.

Each figure has a source and a group. Only figures of one group can be compared to better than about one
point. The groups on CIFAR-100 differ in the teachers: A has CRD's, B SSKD's, C HSAKD's; `re-run` is a
repetition by other authors. The groups on ImageNet are `published` and `torchdistill` (re-runs in one
framework).

Names of methods are in lower case; `teacher` and `ce` (the student without a teacher) count as methods.
`hsakd*` has a teacher that was trained jointly with the pretext task. A part after @ names the condition if
the figure is not top-1 accuracy in percent on all the data: `sskd@top-5` (ImageNet), `sskd@25%` (few-shot:
fraction of the data), and in the table `pretext`: `sskd-rotation@tiny-imagenet`, `…@head` (the teacher's
accuracy on the pretext task), `…@quality` (linear evaluation on ImageNet of a ResNet-50 trained on that
task).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ..data.load import DATA_FOLDER
from ..files import did_you_mean
from ..models import MODELS
from ..recipes import IMAGENET, STUDENT, Schedule

FILE = DATA_FOLDER / "published.csv"
PUBLISHED_TABLES = ("similar", "cross", "imagenet", "pretext", "few-shot")
LIBRARIES = ("torchvision/", "timm/")
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
    "were not found in print. This figure is another group's re-run.",
}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A teacher and a student, by their names in MODELS. kind: "similar", "cross" or "imagenet"."""

    teacher: str
    student: str
    kind: str

    @property
    def name(self) -> str:
        """The pair as it is printed: "TEACHER→STUDENT"."""
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
    """Return the pair "TEACHER→STUDENT" or "TEACHER:STUDENT": one of the paper's, or a new one.

    A new pair takes its names from MODELS, torchvision/NAME or timm/NAME (these two are not looked up). Its
    kind is "similar" if both names begin with the same letters, as resnet56 and resnet20 do, else "cross".
    Raises ValueError, with a list of the pairs, for anything else.

    >>> find_pair("wrn_40_2:ShuffleV1").kind
    'cross'
    """
    teacher, _, student = (part.strip() for part in str(name).partition("→" if "→" in str(name) else ":"))
    for pair in (*PAIRS, IMAGENET_PAIR):
        if (pair.teacher, pair.student) == (teacher, student):
            return pair
    unknown = [part for part in (teacher, student) if not _is_backbone(part)]
    if unknown:
        missing = "".join(
            f" There is no model '{part}'.{did_you_mean(part, MODELS)}" for part in unknown if part
        )
        raise ValueError(
            f"'{name}' is no pair.{missing} Write TEACHER→STUDENT or TEACHER:STUDENT. "
            f"The paper's pairs are: {', '.join(pair.name for pair in (*PAIRS, IMAGENET_PAIR))}; or take any "
            "two of sskd_lib.MODELS, torchvision/NAME and timm/NAME."
        )
    kind = "similar" if _family(teacher) == _family(student) else "cross"
    return Pair(teacher=teacher, student=student, kind=kind)


# Numbers that a paper tuned for single pairs of CIFAR-100; elsewhere the defaults of the terms apply.
# Sources: mdistiller's settings of DKD (Zhao et al. 2022); the files of settings in the code of logit
# standardisation (Sun et al. 2024); the script of commands in the code of ReviewKD (Chen et al. 2021).
BETAS = {
    "wrn_40_2→wrn_16_2": 6.0,
    "wrn_40_2→wrn_40_1": 6.0,
    "vgg13→vgg8": 6.0,
    "vgg13→MobileNetV2": 6.0,
    "resnet56→resnet20": 2.0,
}
TUNED: dict[tuple[str, str], dict[str, float]] = {
    **{(pair, term): {"beta": beta} for pair, beta in BETAS.items() for term in ("dkd", "dkd-ls")},
    ("resnet110→resnet32", "dkd"): {"beta": 2.0},
    ("resnet56→resnet20", "reviewkd"): {"weight": 0.6},
    ("resnet110→resnet32", "reviewkd"): {"weight": 1.0},
    ("resnet32x4→ShuffleV2", "reviewkd"): {"weight": 8.0},
}


def numbers_for(pair: Pair, method: str) -> dict[str, Any]:
    """Return the published numbers of a method's terms for a pair, as keywords of `create_method`.

    >>> numbers_for(find_pair("resnet56:resnet20"), "sskd+dkd")
    {'dkd': {'beta': 2.0}}
    """
    return {term: TUNED[pair.name, term] for term in method.split("+") if (pair.name, term) in TUNED}


def schedule_for(student: str, epochs: int | None = None) -> Schedule:
    """Return the published schedule of a student: STUDENT, with lr 0.01 for MobileNetV2 and the ShuffleNets.

    torchvision/NAME and timm/NAME get IMAGENET. epochs: another length; the milestones, which are fractions
    of it, stay.
    Source: command.sh of the published code; issue 5 there for ImageNet.
    """
    schedule = IMAGENET if student.startswith(LIBRARIES) else STUDENT
    if student in LOW_RATE:
        schedule = replace(schedule, lr=0.01)
    return schedule if epochs is None else replace(schedule, epochs=epochs)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published accuracy in percent, with its ± (if given), group, source and keys of FOOTNOTES."""

    value: float
    spread: float | None
    group: str
    source: str
    notes: tuple[str, ...]


def published(table: str, pair: Pair | str, method: str) -> list[Figure]:
    """Return the published figures of a method on a pair, the paper's first; [] if none was found.

    table: one of PUBLISHED_TABLES. Raises ValueError for another table, or a pair unknown to find_pair.

    >>> [figure.value for figure in published("similar", "vgg13:vgg8", "sskd")]
    [75.33, 74.53]
    """
    if table not in PUBLISHED_TABLES:
        raise ValueError(f"there is no table '{table}'. The tables are: {', '.join(PUBLISHED_TABLES)}.")
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
    return name in MODELS or any(name.startswith(library) and name != library for library in LIBRARIES)


def _family(name: str) -> str:
    """The letters that a name begins with, in lower case and without its library: wrn, resnet, shufflev."""
    letters = re.match("[a-z]*", name.rpartition("/")[2].lower())
    return letters[0] if letters else ""
