"""Published figures: values typed by hand, means, sources and footnotes; pairs and their schedules."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from statistics import mean

import pytest

from helpers.documents import cells
from sskd_lib.losses import create_method
from sskd_lib.models import MODELS
from sskd_lib.recipes import IMAGENET, STUDENT
from sskd_lib.reproduce import paper as module
from sskd_lib.reproduce.paper import (
    FOOTNOTES,
    IMAGENET_PAIR,
    PAIRS,
    TUNED,
    Pair,
    find_pair,
    numbers_for,
    published,
    schedule_for,
)
from sskd_lib.reproduce.plan import PAPERS_ROWS

EVERY = (*PAIRS, IMAGENET_PAIR)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with module.FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def figure(table, pair, method, group):
    """The one figure of a group."""
    (result,) = [f for f in published(table, pair, method) if f.group == group]
    return result


# ---- figures -------------------------------------------------------------------------------------

SPOTS = [  # table, pair, method, group, value, spread
    ("similar", "wrn_40_2:wrn_16_2", "teacher", "B", 76.46, None),
    ("similar", "wrn_40_2:wrn_16_2", "ab", "B", 68.89, None),
    ("similar", "wrn_40_2:wrn_40_1", "crd", "B", 75.52, None),
    ("similar", "resnet56:resnet20", "at", "B", 71.78, None),
    ("similar", "resnet56:resnet20", "sskd", "C", 70.80, 0.02),
    ("similar", "resnet32x4:resnet8x4", "ce", "B", 72.51, None),
    ("similar", "resnet32x4:resnet8x4", "simkd", "A", 78.08, None),
    ("similar", "resnet32x4:resnet8x4", "mlkd-ls", "A", 78.28, None),
    ("similar", "vgg13:vgg8", "vid", "B", 73.96, None),
    ("cross", "vgg13:MobileNetV2", "kd", "C", 75.21, None),
    ("cross", "vgg13:MobileNetV2", "fitnet", "B", 68.58, None),
    ("cross", "ResNet50:MobileNetV2", "sskd", "B", 72.57, None),
    ("cross", "ResNet50:MobileNetV2", "dist", "A", 68.66, 0.23),
    ("cross", "ResNet50:vgg8", "wttm", "A", 74.82, None),
    ("cross", "resnet32x4:ShuffleV1", "dkd", "A", 76.45, None),
    ("cross", "resnet32x4:ShuffleV1", "ft", "B", 74.31, None),
    ("cross", "resnet32x4:ShuffleV2", "hsakd*", "C", 80.86, None),
    ("cross", "wrn_40_2:ShuffleV1", "kd", "A", 74.83, None),
    ("cross", "wrn_40_2:ShuffleV1", "sskd", "C", 76.71, 0.31),
    ("imagenet", IMAGENET_PAIR, "sskd", "published", 71.62, None),
    ("imagenet", IMAGENET_PAIR, "sskd@top-5", "published", 90.67, None),
    ("imagenet", IMAGENET_PAIR, "sskd", "torchdistill", 70.09, None),
    ("imagenet", IMAGENET_PAIR, "cc", "published", 69.96, None),
    ("pretext", "vgg13:vgg8", "sskd-jigsaw", "B", 74.85, None),
    ("pretext", "vgg13:vgg8", "sskd", "B", 75.48, None),
    ("pretext", "vgg13:vgg8", "sskd-rotation@tiny-imagenet", "re-run", 63.41, None),
    ("pretext", "resnet56:resnet20", "sskd-rotation", "re-run", 71.31, None),
    ("few-shot", "resnet56:resnet20", "sskd@25%", "C", 67.82, 0.30),
    ("few-shot", "resnet56:resnet20", "hsakd@75%", "C", 73.26, 0.11),
]


@pytest.mark.parametrize(("table", "pair", "method", "group", "value", "spread"), SPOTS)
def test_figures_are_those_in_print(table, pair, method, group, value, spread):
    result = figure(table, pair, method, group)
    assert (result.value, result.spread) == (value, spread)


@pytest.mark.parametrize(
    ("kind", "means"), [("similar", (73.09, 74.64, 75.04)), ("cross", (71.98, 73.39, 75.72))]
)
def test_means_over_the_pairs(kind, means):
    pairs = [pair for pair in PAIRS if pair.kind == kind]
    for method, expected in zip(("kd", "crd", "sskd"), means, strict=True):
        average = mean(figure(kind, pair, method, "B").value for pair in pairs)
        assert average == pytest.approx(expected, abs=0.00501)


def test_the_kd_row_is_crds():
    for pair in PAIRS:
        copied = figure(pair.kind, pair, "kd", "B")
        assert copied.value == figure(pair.kind, pair, "kd", "A").value
        assert "kd-row-copied" in copied.notes


def test_the_papers_tables_are_whole():
    methods = ["teacher", *PAPERS_ROWS]
    for pair in PAIRS:
        for method in methods:
            assert figure(pair.kind, pair, method, "B") == published(pair.kind, pair, method)[0]
    in_file = dict.fromkeys(method for table, _, method in module._figures() if table == "similar")
    assert list(in_file)[: len(methods)] == methods


@pytest.mark.parametrize("pair", EVERY, ids=lambda pair: pair.name)
def test_every_pair_has_teacher_student_and_sskd(pair):
    teacher, alone, sskd = (published(pair.kind, pair, m)[0].value for m in ("teacher", "ce", "sskd"))
    assert alone < sskd < 100
    assert alone < teacher


def test_what_was_not_found_is_an_empty_list():
    assert published("cross", "ResNet50:vgg8", "hsakd") == []
    assert published("similar", "resnet110:resnet20", "sskd") == []
    with pytest.raises(ValueError, match="similar, cross, imagenet, pretext, few-shot"):
        published("noisy", "vgg13:vgg8", "sskd")


# ---- the file ------------------------------------------------------------------------------------


def test_rows_are_well_formed(rows):
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    for row in rows:
        assert None not in row
        assert None not in row.values()
        assert row["table"] in module.PUBLISHED_TABLES
        assert row["pair"] in {pair.name for pair in EVERY}
        assert find_pair(row["pair"]).kind == row["table"] or row["table"] in ("pretext", "few-shot")
        assert re.fullmatch(r"[a-z0-9+*%@-]+", row["method"])
        assert re.fullmatch(r"\d{1,2}\.\d\d?", row["value"])
        assert re.fullmatch(r"(0\.\d\d)?", row["spread"])
        assert row["group"] in ("A", "B", "C", "re-run", "published", "torchdistill")
        assert row["source"].strip() == row["source"] != ""
        assert not re.search(r"\.md\b|(^|\s)/|\\", row["source"])


def test_one_figure_per_method_and_group(rows):
    """But for re-runs, and where two sources differ: DIST on one pair, CRD on ImageNet (71.38, 71.17)."""
    keys = [(row["table"], row["pair"], row["method"], row["group"]) for row in rows]
    twice = {key for key in keys if keys.count(key) > 1 and key[3] != "re-run"}
    assert twice == {
        ("similar", "wrn_40_2→wrn_40_1", "dist", "A"),
        ("imagenet", IMAGENET_PAIR.name, "crd", "published"),
    }


def test_every_note_has_its_footnote(rows):
    used = {key for row in rows for key in row["notes"].split(";") if key}
    assert used == set(FOOTNOTES)
    assert all(text[0].isupper() and text.endswith(".") for text in FOOTNOTES.values())


def test_notes_stand_where_they_belong(rows):
    def marked(key):
        return {
            (r["table"], r["pair"], r["method"], r["group"]) for r in rows if key in r["notes"].split(";")
        }

    def where(wanted):
        return {(r["table"], r["pair"], r["method"], r["group"]) for r in rows if wanted(r)}

    assert marked("kd-row-copied") == where(lambda r: r["method"] == "kd" and r["group"] == "B")
    assert marked("other-mobilenetv2") == where(
        lambda r: r["group"] == "C" and r["pair"].endswith("MobileNetV2") and r["method"] != "teacher"
    )
    assert marked("paper-values-not-found") == where(lambda r: r["table"] == "few-shot")
    assert marked("four-times-compute") == where(
        lambda r: (
            r["method"].partition("@")[0] in ("sskd", "sskd+dkd", "sskd+wsld")
            and not r["method"].endswith(("@head", "@quality"))
        )
    )
    assert marked("best-epoch") >= where(
        lambda r: r["table"] in ("similar", "cross") and r["group"] == "B" and r["method"] != "kd"
    )
    assert not marked("best-epoch") & where(lambda r: "CRD" in r["source"])
    for pair in PAIRS:
        assert {"swapped-weights", "selection-fix"} <= set(figure(pair.kind, pair, "sskd", "B").notes)
        values = [f.value for f in published(pair.kind, pair, "sskd") if "other-mobilenetv2" not in f.notes]
        below = "rerun-below" in figure(pair.kind, pair, "sskd", "B").notes
        assert below == (min(values) < values[0])


# ---- pairs and schedules -------------------------------------------------------------------------


def test_pairs_are_those_of_the_paper():
    assert [pair.kind for pair in PAIRS] == ["similar"] * 5 + ["cross"] * 6
    assert [pair.name for pair in PAIRS][::5] == [
        "wrn_40_2→wrn_16_2",
        "vgg13→MobileNetV2",
        "wrn_40_2→ShuffleV1",
    ]
    assert {name for pair in EVERY for name in (pair.teacher, pair.student)} <= set(MODELS)
    assert IMAGENET_PAIR.name == "torchvision/resnet34→torchvision/resnet18"
    for pair in EVERY:
        assert find_pair(pair.name) is pair is find_pair(f" {pair.teacher} : {pair.student}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet110:resnet32", "similar"),
        ("ShuffleV2→ShuffleV1", "similar"),
        ("wrn_40_2→resnet8x4", "cross"),
        ("timm/vit_tiny_patch16_224→torchvision/resnet18", "cross"),
        ("torchvision/resnet50:timm/resnet18.a1_in1k", "similar"),
    ],
)
def test_a_pair_of_ones_own(name, kind):
    teacher, student = re.split("[→:]", name)
    assert find_pair(name) == Pair(teacher=teacher, student=student, kind=kind)


@pytest.mark.parametrize("name", ["", "vgg13", "vgg13→", ":vgg8", "vgg13→vgg9", "vgg13-vgg8", "timm/→vgg8"])
def test_unknown_pairs_are_refused(name):
    with pytest.raises(ValueError, match="wrn_40_2→wrn_16_2") as error:
        find_pair(name)
    assert all(pair.name in str(error.value) for pair in EVERY)


def test_schedules_are_the_published_ones():
    rates = {pair.student: schedule_for(pair.student).lr for pair in EVERY}
    low = {name for name, lr in rates.items() if lr == 0.01}
    assert low == {"MobileNetV2", "ShuffleV1", "ShuffleV2"}
    assert schedule_for("vgg8") == STUDENT
    assert schedule_for("vgg8").lr == 0.05
    assert schedule_for("torchvision/resnet18") == IMAGENET
    short = schedule_for("ShuffleV1", epochs=24)
    assert (short.epochs, short.lr, short.batch_size) == (24, 0.01, 64)
    assert [short.lr_at(epoch) for epoch in (14, 15)] == pytest.approx([0.01, 0.001])
    with pytest.raises(ValueError, match="at least 1"):
        schedule_for("vgg8", epochs=0)


# Typed from published settings: mdistiller's of DKD, those of logit standardisation, ReviewKD's commands.
BETA = {
    "dkd": (
        {"wrn_40_2:wrn_16_2": 6, "wrn_40_2:wrn_40_1": 6, "vgg13:vgg8": 6, "vgg13:MobileNetV2": 6}
        | {"resnet56:resnet20": 2, "resnet110:resnet32": 2}
        | {"resnet32x4:resnet8x4": 8, "resnet32x4:ShuffleV1": 8, "resnet32x4:ShuffleV2": 8}
        | {"wrn_40_2:ShuffleV1": 8, "ResNet50:MobileNetV2": 8}
    ),
    "dkd-ls": (
        {"wrn_40_2:wrn_16_2": 6, "wrn_40_2:wrn_40_1": 6, "vgg13:vgg8": 6, "vgg13:MobileNetV2": 6}
        | {"resnet56:resnet20": 2, "resnet32x4:resnet8x4": 8}
    ),
}
REVIEW = (
    {"wrn_40_2:wrn_16_2": 5, "wrn_40_2:wrn_40_1": 5, "wrn_40_2:ShuffleV1": 5, "resnet32x4:resnet8x4": 5}
    | {"resnet32x4:ShuffleV1": 5, "resnet32x4:ShuffleV2": 8}
    | {"resnet56:resnet20": 0.6, "resnet110:resnet32": 1}
)


@pytest.mark.parametrize(
    ("term", "number", "values"),
    [*((term, "beta", values) for term, values in BETA.items()), ("reviewkd", "weight", REVIEW)],
)
def test_numbers_of_a_pair_are_those_in_print(term, number, values):
    """What a training of `reproduce` takes: the pair's own number, or the default of the term."""
    for pair, value in values.items():
        for name in (term, f"sskd+{term}"):
            method = create_method(name, **numbers_for(find_pair(pair), name))
            assert method.plan()[term][number] == value, pair
    typed = {find_pair(pair).name for pair in values}
    assert {pair for pair, known in TUNED if known == term} <= typed


def test_the_page_of_the_methods_has_the_numbers_of_all_tuned_pairs():
    columns = (("dkd", "beta"), ("dkd-ls", "beta"), ("reviewkd", "weight"))
    shown = {row.strip("`"): numbers for row, numbers in cells("docs/methods.md").items() if "→" in row}
    assert set(shown) == {pair for pair, _ in TUNED}
    for pair, numbers in (shown | {"vgg13→wrn_16_1": cells("docs/methods.md")["the default"]}).items():
        for (term, number), value in zip(columns, numbers, strict=True):
            method = create_method(term, **numbers_for(find_pair(pair), term))
            assert method.plan()[term][number] == float(value), (pair, term)


def test_a_missing_file_says_how_to_get_it_back(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "FILE", tmp_path / "published.csv")
    with pytest.raises(FileNotFoundError, match=r"git checkout -- data/published\.csv"):
        module._figures.__wrapped__()


def test_reading_needs_no_plotting_library():
    code = (
        "import sys, sskd_lib.reproduce.paper as p; p._figures(); "
        "print({'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=module.FILE.parents[1]
    )
    assert done.stdout.strip() == "set()", done.stderr
