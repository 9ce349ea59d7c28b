"""Terms on one batch, checks of a learner's loss, and what recorded and printed figures show."""

from __future__ import annotations

import itertools
import re
import statistics

import numpy as np
import pytest
import torch

import sskd_lib as sskd
from sskd_lib import lab
from sskd_lib.lab.comparison import answers, evidence, loss_checks, printed, terms
from sskd_lib.reproduce.paper import PAIRS
from sskd_lib.runtime.device import Runtime

CPU = Runtime()


@pytest.fixture(scope="module")
def few() -> sskd.ImageSet:
    return sskd.load_images("fashion-mnist-lab", "test").take(12, seed=0)


@pytest.fixture(scope="module")
def term_set(few) -> terms.TermSet:
    networks = [sskd.create_network(name, few, projection=True, seed=0) for name in ("resnet8", "wrn_16_2")]
    return lab.set_up_terms(*networks, few, CPU)


# ---- terms ---------------------------------------------------------------------------------------


def test_every_term_is_set_up_or_refused_with_a_reason(term_set) -> None:
    assert set(term_set.terms) | set(term_set.refused) == set(sskd.losses.TERMS)
    assert set(term_set.refused) == {"fsp", "kdsvd", "simkd"}
    lines = lab.term_sizes(term_set).splitlines()
    weights = [float(line.split()[2]) for line in lines[1 : 1 + len(term_set.terms)]]
    assert weights == sorted(weights, reverse=True) and weights[0] == 30000
    assert sum("not for these two networks" in line for line in lines) == 3


def test_losses_on_single_images_have_adapters_more_often(term_set) -> None:
    with_layers = {name for name, term in term_set.terms.items() if list(term.parameters())}
    single = {"fitnet", "at", "vid", "ab", "ft", "nst", "reviewkd"}  # as in the papers, but for logits
    several = {"sp", "rkd", "pkt", "crd", "cc"}
    shares = [len(group & with_layers) / len(group) for group in (single, several)]
    assert lab.adapter_shares(term_set) == pytest.approx(shares)
    assert shares == pytest.approx([5 / 7, 2 / 5])


def test_each_term_gets_the_maps_that_it_compares(term_set) -> None:
    for name, term in term_set.terms.items():
        expected = (term.maps or "post_relu", term.teacher_maps or "post_relu")
        assert term_set.keys(name) == expected
    assert term_set.keys("ab") == ("pre_relu", "pre_relu")
    assert term_set.keys("reviewkd") == ("post_relu", "pre_relu")
    post, pre = (term_set.outputs[kind][0].maps[-1] for kind in ("post_relu", "pre_relu"))
    torch.testing.assert_close(pre.relu(), post)
    assert term_set.keys("L_ss") == ("views", "views")
    assert [len(term_set.outputs[key][0].logits) for key in ("post_relu", "views")] == [12, 48]


def test_values_are_those_of_the_library(term_set) -> None:
    student, teacher = term_set.outputs["post_relu"]
    value = terms.term_value(term_set, "sp", student, teacher)
    assert value == pytest.approx(
        sskd.losses.sp.sp_loss(student.maps[-1], teacher.maps[-1]).item(), rel=1e-12
    )
    kd = terms.term_value(term_set, "L_kd", student, teacher)
    assert kd == pytest.approx(sskd.losses.kd_loss(student.logits, teacher.logits, 4.0).item(), rel=1e-12)
    views = term_set.outputs["views"]
    expected = sskd.losses.sskd_terms(*views, term_set.labels, sskd.Recipe())["ss"].item()
    assert terms.term_value(term_set, "L_ss", *views) == pytest.approx(expected, rel=1e-12)


def test_changes_that_the_formulas_do_not_notice(term_set) -> None:
    changes = lab.loss_changes(term_set)
    lines = dict(line.split(": ") for line in lab.unnoticed(changes).replace("\n    ", " ").splitlines())
    found = {title: set(names.split(", ")) for title, names in lines.items()}
    assert {"L_ss", "at", "sp", "rkd", "pkt"} <= found["rotate"] <= found["shuffle channels"]
    assert {"L_kd", "dkd", "dist", "kd-ls", "dkd-ls", "wttm", "rkd"} <= found["add a constant"]
    assert {"kd-ls", "dkd-ls", "sp", "rkd"} <= found["all times 3"]
    assert "sp" not in found["each image its own scale"]
    assert not {"L_kd", "dkd", "dist", "fitnet", "vid"} & found["all times 3"]
    assert set(changes) - found["order of images (both)"] == {"cc"}


def test_a_change_of_ones_own_and_a_loss_of_zero(term_set) -> None:
    nothing = lab.loss_changes(term_set, {"nothing": lambda x: x})
    assert {row["nothing"] for row in nothing.values()} == {0.0}
    assert terms._relative(0.0, 0.0) == 0 and terms._relative(1.0, 0.0) == float("inf")
    x = torch.randn(5, 7, 2, 2, dtype=torch.float64)
    rotated, shuffled = terms.rotate_channels(x), terms.shuffle_channels(x)
    for changed in (rotated, shuffled):
        torch.testing.assert_close(
            torch.cdist(changed.flatten(1), changed.flatten(1)), torch.cdist(x.flatten(1), x.flatten(1))
        )
    assert not torch.allclose(rotated, x)
    factors = (terms.scale_each_image(x) / x).flatten(1)
    assert bool((factors.std(1) < 1e-12).all()) and 0.5 <= factors.min() <= factors.max() <= 2


def test_broken_copy_has_the_same_tables_and_other_answers(few) -> None:
    teacher = sskd.create_network("resnet8", few, seed=1)
    output = sskd.predict(teacher, few, CPU)
    copy = lab.shuffled_copy(teacher, output, CPU)
    assert sorted(copy.features[0].tolist()) == sorted(output.features[0].tolist())
    assert sskd.losses.rkd.rkd_loss(copy.features, output.features).item() == pytest.approx(0, abs=1e-6)
    weight = teacher.backbone.fc.weight.detach()
    order = torch.randperm(output.features.shape[1], generator=torch.Generator().manual_seed(1))
    expected = output.features[:, order] @ weight.T + teacher.backbone.fc.bias.detach()
    torch.testing.assert_close(copy.logits, expected)


def test_answers_are_shown_for_one_image_of_each_class(few, capsys) -> None:
    output = sskd.Output(torch.eye(10)[few.labels])
    lab.show_answers(few, {"right": output})
    text = capsys.readouterr().out
    assert text.count("right: ") == 8
    assert len({part.split(" (")[0] for part in text.partition(". ")[2].split("; ")}) == 8
    lab.show_answers(few, {"right": output}, [3])
    assert capsys.readouterr().out.count(few.classes[few.labels[3]]) == 2
    lab.show_answers(few, {"right": output}, [])
    assert capsys.readouterr().out == "there is no such image\n"
    assert answers._one_of_each([5, 2, 2, 7]) == [1, 0, 3]
    assert len(answers._one_of_each([i % 81 for i in range(200)])) == 8


def test_the_other_classes_move_on_by_one() -> None:
    logits = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])
    mixed = lab.mix_other_classes(logits, torch.tensor([1, 3]))
    assert mixed.tolist() == [[4, 2, 1, 3], [7, 5, 6, 8]]


# ---- a learner's loss ----------------------------------------------------------------------------


def first_version(student, teacher):
    return (torch.cdist(student, student) - torch.cdist(teacher, teacher)).square().mean()


def solution(student, teacher):
    far_s, far_t = torch.cdist(student, student), torch.cdist(teacher, teacher)
    return (far_s / far_s.mean() - far_t / far_t.mean()).square().mean()


WRONG = {  # what a learner may write → (the property that fails first, words of the hint)
    "features themselves": (lambda s, t: (s - t).square().mean(), 0, "raised RuntimeError: .* N × N"),
    "a table": (lambda s, t: s @ s.T - t @ t.T, 0, "one number"),
    "other products": (lambda s, t: (s @ s.T - torch.cdist(t, t)).square().mean(), 1, "same way"),
    "first number": (
        lambda s, t: (s[:, 0].std() / s.std() - t[:, 0].std() / t.std()).square(),
        2,
        "whole rows",
    ),
    "first version": (first_version, 3, "its own mean"),
    "no slope": (lambda s, t: solution(s.detach(), t), 4, "gradient"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_first_property_that_fails_gets_a_hint(case, capsys) -> None:
    loss, place, words = WRONG[case]
    found = lab.check_loss(loss)
    text = capsys.readouterr().out
    lines = text.splitlines()[: len(loss_checks.PROPERTIES)]
    assert found == sum(line.startswith("yes") for line in lines)
    assert [line.startswith("yes") for line in lines[: place + 1]] == [True] * place + [False]
    assert re.search(words, " ".join(text.split()))


def test_the_solution_has_all_five(capsys) -> None:
    assert lab.check_loss(solution) == 5
    assert "Hint" not in capsys.readouterr().out


# ---- recorded runs -------------------------------------------------------------------------------


def test_last_and_best_epochs() -> None:
    runs = {
        "kd": [
            [{"epoch": e, "test_accuracy": a} for e, a in enumerate(row)] for row in ((1, 3, 2), (4, 5, 6))
        ]
    }
    assert lab.last_and_best(runs) == ({"kd": {0: 2, 1: 6}}, {"kd": {0: 3, 1: 6}})


def test_pairing_by_hand() -> None:
    values = {"kd": {0: 1.0, 1: 2.0, 2: 3.0}, "a": {0: 2.0, 1: 3.0, 2: 4.0}, "b": {0: 3.0, 1: 2.0, 2: 1.0}}
    # variances 1 and 1: equal moves leave no spread, opposite ones 2 / √2
    assert lab.pairing(values) == pytest.approx({"a": 0, "b": 2**0.5})
    assert lab.pairing({"kd": {0: 1.0}, "a": {0: 2.0}}) == {}
    drawn = np.random.default_rng(0).normal(size=(2, 4000))
    unrelated = {name: dict(enumerate(row)) for name, row in zip(("kd", "a"), drawn, strict=True)}
    assert lab.pairing(unrelated)["a"] == pytest.approx(1, abs=0.05)


def test_pairing_helped_little_in_the_recorded_comparison() -> None:
    """What notebook 09 says: a ratio near 1 for both pairs, and well below 1 for ten seeds of SSKD."""
    runs = lab.zoo_runs()
    for pair in dict.fromkeys(run["pair"] for run in runs):
        assert 0.9 < statistics.median(lab.pairing(lab.by_method(runs, pair)).values()) < 1.1
    last, _ = lab.last_and_best(lab.recorded("fashion", 240))
    assert lab.pairing(last, "kd+rotations")["sskd"] < 0.7


def test_shapes_and_findings() -> None:
    gaps = {
        "up": [1.0, 1.01, 0.99],
        "down": [-1.0, -1.2, -1.1],
        "open": [1.0, -2.0, 0.5],
        "barely": [0.2, 0.5, 0.45],
    }
    shapes = lab.gap_shapes(gaps)
    assert shapes["up"] == "corrected" and shapes["open"] == ""
    assert shapes == {
        m: "corrected"
        if lab.holm({k: lab.p_value(v) for k, v in gaps.items()})[m] <= 0.05
        else "different"
        if lab.p_value(d) <= 0.05
        else ""
        for m, d in gaps.items()
    }
    text = lab.findings({"pair": gaps}, {m: m.upper() for m in gaps})
    assert "4 comparisons, about 0.2 expected" in text and "contains zero: " in text
    assert "above KD, after Holm: UP" in text


def test_orders_by_hand() -> None:
    one, other = {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 3.0, "c": 2.0}
    assert evidence.same_order(one, one, "abc") == 1
    assert evidence.same_order(one, {k: -v for k, v in one.items()}, "abc") == 0
    assert evidence.same_order(one, other, "abc") == pytest.approx(2 / 3)
    assert evidence.same_order(one, {"a": 1.0, "b": 1.0, "c": 1.0}, "abc") == 0.5


def test_what_notebook_09_says_of_the_records() -> None:
    last, best = lab.last_and_best(lab.recorded("fashion", 240))
    over_kd, over_control = lab.paired(last)["sskd"], lab.paired(last, "kd+rotations")["sskd"]
    assert min(over_kd) > 0 and 5 <= sum(d > 0 for d in over_control) <= 7 and len(over_kd) == 10
    mean, half = lab.interval(over_control)
    assert abs(mean) < half
    mixed = [best["sskd"][seed] - last["kd+rotations"][seed] for seed in last["sskd"]]
    assert 0.1 <= lab.interval(mixed)[0] - mean <= 0.3
    runs = lab.zoo_runs()
    similar, cross = (
        lab.paired(lab.by_method(runs, pair)) for pair in dict.fromkeys(r["pair"] for r in runs)
    )
    for method in ("fitnet", "nst"):
        assert lab.gap_shapes(similar)[method] and np.mean(similar[method]) > 0
        assert lab.gap_shapes(cross)[method] and np.mean(cross[method]) < 0
    shares = [
        int(line.split()[-1].rstrip("%"))
        for line in lab.order_words(
            {pair: lab.by_method(runs, pair) for pair in dict.fromkeys(r["pair"] for r in runs)}
        ).splitlines()[1:]
    ]
    assert len(shares) == 3 and shares[2] < min(shares[:2])


# ---- printed figures -----------------------------------------------------------------------------


def test_what_notebook_09_says_of_the_printed_figures() -> None:
    group_b = {m: np.mean(gaps) for m, gaps in lab.printed_gaps("B").items() if m != "sskd"}
    assert len(group_b) == 10 and [m for m, gap in group_b.items() if gap < 0] == ["ce"]
    shifts = {line.split()[0]: line for line in lab.group_shift().splitlines()}
    assert "mean +0.00, from +0.00 to +0.00" in shifts["kd"]
    assert all("mean +" in shifts[row] for row in ("teacher", "ce"))
    rows = [line.split() for line in lab.one_framework().splitlines()[1:]]
    gaps = [(float(a), float(b)) for _, a, b in rows]
    assert len(gaps) == 6 and all(b < a for a, b in gaps) and sum(a * b < 0 for a, b in gaps) == 4


def test_printed_noise_and_counts() -> None:
    assert lab.printed_noise() == pytest.approx(2 * 2**0.5 * 0.23, abs=0.01)
    for line in itertools.islice(lab.printed_findings().splitlines(), 2, None):
        if not line.startswith("group"):
            pairs, above, within, below = map(int, line.split()[-4:])
            assert pairs == above + within + below
    assert printed.printed_value("B", "sskd", PAIRS[4]) == 75.33
    assert lab.printed_traps().splitlines()[0].split()[:3] == ["11", "of", "261"]
    assert "4 of 5 pairs" in lab.paper_claims() and "6 of 6 pairs" in lab.paper_claims()
