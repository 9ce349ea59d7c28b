"""Claims on trial: plan, record and verdicts against hand-worked cases, simulation and scipy."""

from __future__ import annotations

import dataclasses
import json
import math
import time

import numpy as np
import pytest
import torch
from scipy import stats

import sskd_lib as sskd
from sskd_lib.lab.claims import trainings
from sskd_lib.lab.claims.plan import Cell, Comparison, read_plan
from sskd_lib.lab.claims.reasons import reasons_in_words
from sskd_lib.lab.claims.rows import RUNS, best_of_sweep, differences, read_rows, values_of
from sskd_lib.lab.claims.trainings import Sources, TimeUp, train_cell
from sskd_lib.lab.claims.verdicts import estimate, least_detectable, verdicts

PLAN = read_plan()


def rows_of(cell: str, arm: str, accuracies: dict[int, float]) -> list[dict]:
    return [{"cell": cell, "arm": arm, "seed": s, "accuracy": a} for s, a in accuracies.items()]


def comparison(weights: dict) -> Comparison:
    return Comparison(name="a − b", place="here", outcome="accuracy", weights=weights)


# ---- the plan ------------------------------------------------------------------------------------


def test_every_claim_has_a_null_and_enough_seeds():
    assert len(PLAN.claims) == 21
    for claim in PLAN.claims.values():
        assert claim.null.endswith(".") or claim.null.endswith(").")
        assert all(len(PLAN.cells[cell].seeds) >= 5 for c in claim.primary for cell in c.cells)


def test_the_central_comparison_has_its_arms_and_eleven_seeds():
    cell = PLAN.cells["hundred-50"]
    assert len(cell.seeds) >= 11
    assert {"kd", "kd+rotations", "sskd", "untrained head", "rows permuted"} <= set(cell.arms)


def test_a_slope_is_the_least_squares_slope():
    """Points for each halving of the labels: numpy's polyfit over 0, 1, 2, 3, 4 halvings of 800."""
    (slope,) = PLAN.claims["fewer-labels"].primary
    gains = {50: 9.0, 100: 4.0, 200: 5.5, 400: 3.0, 800: 2.0}
    rows = [
        row
        for labels, gain in gains.items()
        for arm, accuracy in (("sskd", 60 + gain), ("kd", 60))
        for row in rows_of(f"fashion-labels-{labels}", arm, {1: accuracy})
    ]
    halvings = [math.log2(800 / labels) for labels in gains]
    expected = np.polyfit(halvings, list(gains.values()), 1)[0]
    assert differences(values_of(rows, "accuracy"), slope) == {1: pytest.approx(expected)}


# ---- record and verdicts -------------------------------------------------------------------------


def test_differences_are_taken_for_the_seeds_that_both_have():
    rows = rows_of("c", "a", {1: 50.0, 2: 52.0, 3: 51.0}) + rows_of("c", "b", {2: 50.0, 3: 51.5, 4: 1.0})
    pair = comparison({("c", "a"): 1, ("c", "b"): -1})
    assert differences(values_of(rows, "accuracy"), pair) == {2: 2.0, 3: -0.5}


def test_larger_is_better_in_every_outcome():
    row = {"cell": "c", "arm": "a", "seed": 1, "kl": 0.25, "calibration_error": 4.0}
    assert values_of([row], "closeness")["c", "a"] == {1: -25.0}
    assert values_of([row], "calibration")["c", "a"] == {1: -4.0}
    assert values_of([row], "accuracy") == {}


def test_an_estimate_is_scipys():
    numbers = {1: 0.3, 2: -0.1, 3: 0.8, 4: 0.5, 5: 0.2}
    rows = rows_of("c", "a", numbers) + rows_of("c", "b", dict.fromkeys(numbers, 0.0))
    each = estimate(rows, comparison({("c", "a"): 1, ("c", "b"): -1}))
    test = stats.ttest_1samp(list(numbers.values()), 0)
    low, high = test.confidence_interval()
    assert (each.mean, each.half) == (pytest.approx(0.34), pytest.approx((high - low) / 2))
    assert each.p == pytest.approx(test.pvalue)


def test_the_least_effect_is_found_in_four_of_five_simulated_experiments():
    """4,000 experiments of 11 seeds with this true effect: 80 % have p ≤ 0.05, within 2.5 points."""
    least = least_detectable(0.53, 11)
    noise = np.random.default_rng(0).normal(least, 0.53, size=(4000, 11))
    share = np.mean(stats.ttest_1samp(noise, 0, axis=1).pvalue <= 0.05)
    assert share == pytest.approx(0.8, abs=0.025)
    assert least == pytest.approx(0.50, abs=0.01)


@pytest.mark.parametrize("seeds", [3, 5, 11, 23])
def test_the_least_effect_shrinks_with_seeds_and_grows_with_spread(seeds):
    assert least_detectable(1.0, seeds) > least_detectable(1.0, seeds + 1)
    assert least_detectable(2.0, seeds) == pytest.approx(2 * least_detectable(1.0, seeds))


def made_up(effect: float, seeds: int = 11) -> list[dict]:
    """Rows of the central cell in which SSKD is ahead of KD+rotations by this much, with a little noise."""
    noise = np.random.default_rng(1).normal(0, 0.3, seeds)
    chosen = PLAN.cells["hundred-50"].seeds[:seeds]
    ahead = {seed: 60 + effect + n for seed, n in zip(chosen, noise, strict=True)}
    return rows_of("hundred-50", "sskd", ahead) + rows_of(
        "hundred-50", "kd+rotations", dict.fromkeys(chosen, 60.0)
    )


@pytest.mark.parametrize(("effect", "word"), [(2.0, "holds"), (0.0, "not shown"), (-2.0, "contradicted")])
def test_a_verdict_follows_the_rows(effect, word):
    assert verdicts(made_up(effect))["l-ss"].word == word


def test_no_verdict_before_all_planned_seeds():
    assert verdicts(made_up(2.0, seeds=10))["l-ss"].word == "not tried"


def test_the_best_of_the_sweep_is_the_highest_mean_gain():
    sweep, seeds = PLAN.sweep, PLAN.cells["fashion-sweep"].seeds
    rows = []
    for name, cell in PLAN.cells.items():
        if name.startswith("fashion-sweep"):
            for arm in cell.arms:
                high = arm in ("τ_ss 1", "λ_ss 30") or (name == "fashion-sweep-32" and arm == "sskd")
                rows += rows_of(name, arm, dict.fromkeys(seeds, 70.0 + high))
    assert set(sweep) == {"ss_temperature", "ss", "batch_size"}
    assert best_of_sweep(rows) == {"ss_temperature": 1, "ss": 30, "batch_size": 32}
    with pytest.raises(ValueError, match="not trained yet"):
        best_of_sweep(rows[1:])


def test_every_recorded_row_is_one_of_the_plan_and_says_how_it_was_made():
    rows = read_rows(RUNS)
    keys = [(row["cell"], row["arm"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys) > 400
    for row in rows:
        cell = PLAN.cells[row["cell"]]
        arm = PLAN.arms[row["arm"]]
        assert (row["student"], row["labels"], row["noise"]) == (cell.student, cell.labels, cell.noise)
        assert row["seed"] in cell.seeds and row["arm"] in cell.arms
        assert row["schedule"]["epochs"] == arm.times * cell.schedule.epochs
        assert row["recipe"].keys() == dataclasses.asdict(sskd.Recipe()).keys()
        assert row["device"] and row["torch"] and row["date"] and row["dtype"]


# ---- the trainings -------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch) -> Cell:
    """The cell fashion-300 with 20 labels, two epochs and 40 test images."""
    cell = PLAN.cells["fashion-300"]
    pool, validation, test = trainings.read_images("fashion-mnist-lab", 0.2)
    few = pool, validation, test.take(40, seed=0)
    monkeypatch.setattr(trainings, "read_images", lambda *_: few)
    monkeypatch.setattr(trainings, "SAVE_SECONDS", 0.0)
    schedule = dataclasses.replace(cell.schedule, epochs=2, batch_size=10)
    return dataclasses.replace(cell, labels=20, schedule=schedule)


ARMS = ("kd", "kd x4", "sskd", "untrained head", "rows permuted", "relations permuted")
EXACT = sskd.choose_runtime("cpu", exact=True)


def test_arms_in_one_loop_end_as_if_each_were_trained_alone(small):
    """Sharing views and the teacher's passes changes no digit of any student."""
    together = train_cell(small, 200, ARMS, sources=Sources(), runtime=EXACT)
    alone = [train_cell(small, 200, [arm], sources=Sources(), runtime=EXACT)[0] for arm in ARMS]
    figures = ("accuracy", "loss", "kl", "cka", "agreement", "calibration_error")
    by_arm = {row["arm"]: row for row in together}
    for row in alone:
        assert {k: row[k] for k in figures} == {k: by_arm[row["arm"]][k] for k in figures}


def test_a_part_that_ends_in_time_goes_on_to_the_same_numbers(small, tmp_path):
    """Stopped after the second of several epochs, and begun again: the row is that of one go."""
    long = dataclasses.replace(small, schedule=dataclasses.replace(small.schedule, epochs=4))
    whole = train_cell(long, 201, ["sskd"], sources=Sources(), runtime=EXACT)[0]
    options = {"sources": Sources(), "runtime": EXACT, "work": tmp_path}
    stops = 0
    while True:
        try:
            part = train_cell(long, 201, ["sskd"], end=time.time() if stops == 0 else math.inf, **options)[0]
            break
        except TimeUp:
            stops += 1
    assert stops == 1
    assert {k: part[k] for k in ("accuracy", "kl", "cka")} == {k: whole[k] for k in ("accuracy", "kl", "cka")}
    assert list(tmp_path.iterdir()) == []


def test_figures_of_a_student_are_those_of_a_plain_computation(small):
    """Accuracy, KL and agreement by loops over images, in float64."""
    _, labelled, test = trainings.images_of(small, Sources(), 0)
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        sskd.Output(torch.randn(40, 10, generator=generator), None, torch.randn(40, 8, generator=generator))
        for _ in range(2)
    )
    kl = right = same = 0.0
    for s, t, label in zip(student.logits.double(), teacher.logits.double(), test.labels, strict=True):
        p = [math.exp(x) / sum(map(math.exp, t.tolist())) for x in t.tolist()]
        q = [math.exp(x) / sum(map(math.exp, s.tolist())) for x in s.tolist()]
        kl += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 40
        right += 100 / 40 * (q.index(max(q)) == int(label))
        same += 100 / 40 * (q.index(max(q)) == p.index(max(p)))
    figures = trainings.compare(student, teacher, test)
    assert figures["kl"] == pytest.approx(kl, abs=1e-4)
    assert (figures["accuracy"], figures["agreement"]) == (pytest.approx(right), pytest.approx(same))
    assert len(labelled) == 20


def test_the_hundred_classes_may_be_any_others(monkeypatch, tmp_path):
    """A cell of `hundred` on 100 classes of noise, with a teacher given by its file: CIFAR-100's place."""
    generator = torch.Generator().manual_seed(0)
    noise = sskd.ImageSet(
        images=torch.randint(0, 256, (200, 3, 32, 32), generator=generator, dtype=torch.uint8),
        labels=torch.arange(200) % 100,
        classes=tuple(map(str, range(100))),
        name="noise",
    )
    monkeypatch.setattr(trainings, "read_images", lambda *_: (noise, None, noise.take(100, seed=0)))
    teacher = sskd.create_network("wrn_16_2", like=noise, projection=True)
    teacher.head_trained = True
    sskd.save_checkpoint(tmp_path / "teacher.safetensors", teacher, {})
    cell = PLAN.cells["hundred-50"]
    cell = dataclasses.replace(cell, labels=100, schedule=dataclasses.replace(cell.schedule, epochs=1))
    sources = Sources({"hundred": "cifar100"}, {"hundred": str(tmp_path / "teacher.safetensors")})
    rows = train_cell(cell, 100, cell.arms, sources=sources, runtime=EXACT)
    assert {row["arm"] for row in rows} == set(cell.arms)
    assert {row["images"] for row in rows} == {"cifar100"}


def test_images_that_the_kit_does_not_ship_are_asked_for():
    with pytest.raises(ValueError, match="--hundred folder:PATH"):
        Sources().name("hundred")
    assert Sources({"hundred": "cifar100"}).name("hundred") == "cifar100"


def test_a_row_is_plain_json(small):
    row = train_cell(small, 202, ["kd"], sources=Sources(), runtime=EXACT)[0]
    assert json.loads(json.dumps(row)) == row


# ---- the reasons ---------------------------------------------------------------------------------


def test_reasons_are_means_over_seeds_and_leave_out_what_was_not_measured():
    """Two seeds, 0.1 and 0.3: mean 0.2; half of the interval t · 0.1 with one degree of freedom."""
    rows = [
        {"place": "here", "kind": "gradient", "what": "share ss", "epoch": e, "seed": seed, "value": value}
        for e, seed, value in ((0, 1, 0.1), (0, 2, 0.3), (20, 1, 0.5))
    ]
    half = 0.1 * stats.t.ppf(0.975, 1)
    text = reasons_in_words("here", rows)
    assert text.splitlines()[1].strip() == f"at the start 0.200 ± {half:.3f}, at the end 0.500"
    assert len(text.splitlines()) == 2
    assert reasons_in_words("elsewhere", rows) == ""
