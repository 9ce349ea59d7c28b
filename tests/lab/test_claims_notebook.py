"""Notebook 13: wagers, tricks against a hand count, one new seed, and figures with missing cells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sskd_lib import lab
from sskd_lib.evaluation import interval
from sskd_lib.lab.claims import figures, fooled, rerun, wagers
from sskd_lib.lab.claims.plan import read_plan
from sskd_lib.lab.claims.verdicts import verdicts
from sskd_lib.lab.course import progress

SEEDS = range(100, 111)
GAPS = (6.0, 6.5, 5.5, 6.2, 5.8, 6.0, 6.1, 5.9, 6.3, 5.7, 6.0)  # SSKD − KD
SMALL = (0.5, -0.5, 0.4, -0.3, 0.2, -0.4, 0.1, -0.2, 0.3, -0.1, 0.2)  # SSKD − KD on the same views


def made_rows(longer: float = 3.0) -> list[dict]:
    """Rows of hundred-50 with SSKD ahead of KD, not clearly ahead of its control, and behind longer KD."""
    rows = []
    for seed, gap, small in zip(SEEDS, GAPS, SMALL, strict=True):
        accuracy = {"kd": 28.0, "sskd": 28.0 + gap, "kd+rotations": 28.0 + gap - small}
        accuracy["kd x4"] = accuracy["sskd"] + longer + small / 10
        rows += [dict(cell="hundred-50", arm=arm, seed=seed, accuracy=a) for arm, a in accuracy.items()]
    return rows


@pytest.fixture
def learner(record, monkeypatch) -> Path:
    """A learner's file, under a live kernel, with the made rows as the record of the trainings."""
    for module in (wagers, rerun):
        monkeypatch.setattr(module, "is_static", lambda: False)
    for module in (wagers, fooled, figures):
        monkeypatch.setattr(module, "read_rows", made_rows)
    monkeypatch.setattr("IPython.display.display", lambda *shown, **more: None)
    return record


# ---- wagers ---------------------------------------------------------------------------------------


def test_the_made_rows_have_the_verdicts_that_the_tests_need() -> None:
    words = {key: verdict.word for key, verdict in verdicts(made_rows()).items()}
    assert (words["sskd-over-kd"], words["l-ss"]) == ("holds", "not shown")
    assert (words["equal-compute"], words["trained-head"]) == ("contradicted", "not tried")


def test_the_score_is_that_of_a_case_worked_by_hand(learner, capsys) -> None:
    # holds was right: +3; "not shown" was said of a contradicted one: −2; not shown was right: +1
    lab.settle_wagers()
    assert "score" not in capsys.readouterr().out
    bets = {"sskd-over-kd": ("holds", 3), "equal-compute": ("not shown", 2), "l-ss": ("not shown", 1)}
    assert wagers.keep_wagers(bets) == 3
    lab.settle_wagers()
    assert "2 of 3 wagers are right. Your score: +2 of 6 points." in capsys.readouterr().out


def test_a_settled_wager_stays_and_a_new_one_is_taken(learner, capsys) -> None:
    wagers.keep_wagers({"l-ss": ("holds", 3)})
    wagers.keep_wagers({"l-ss": ("not shown", 1)})  # changed in time
    lab.settle_wagers()
    wagers.keep_wagers({"l-ss": ("holds", 3), "same-views": ("holds", 2)})
    kept = json.loads(learner.read_text(encoding="utf-8"))["wagers"]
    assert kept["l-ss"] == {"verdict": "not shown", "stake": 1, "settled": True}
    assert kept["same-views"] == {"verdict": "holds", "stake": 2}
    assert "not shown, +1" in capsys.readouterr().out


def test_a_record_without_wagers_is_as_before(record) -> None:
    progress.keep_goal("one")
    assert "wagers" not in progress.read_progress() and "reruns" not in progress.read_progress()


@pytest.mark.parametrize("wager", [("true", 1), ("holds", 4), ("holds", 0), ("not tried", 1)])
def test_a_wager_that_is_none_is_refused(record, wager) -> None:
    with pytest.raises(ValueError, match="a stake of 1 to 3"):
        wagers.keep_wagers({"l-ss": wager})


def test_a_claim_that_was_not_tried_brings_nothing() -> None:
    assert wagers.points({"verdict": "holds", "stake": 3}, "not tried") == 0
    assert wagers.points(None, "holds") == 0


def test_the_card_has_the_tried_claims_and_keeps_what_is_chosen(learner) -> None:
    card = lab.wager_claims()
    tried = [key for key, verdict in verdicts(made_rows()).items() if verdict.word != "not tried"]
    assert list(card.choices) == tried
    card.button.click()
    assert "at least one claim" in card.line.value
    word, stake = card.choices["l-ss"]
    assert [value for _, value in word.options] == ["", *wagers.WORDS]
    word.value, stake.value = "not shown", 2
    card.button.click()
    assert "Kept: 1 wagers." in card.line.value
    assert progress.read_progress()["wagers"] == {"l-ss": {"verdict": "not shown", "stake": 2}}
    assert lab.wager_claims().choices["l-ss"][0].value == "not shown"  # when the cell is run again


def test_a_static_page_lists_claims_and_verdicts_without_a_learner(record, monkeypatch, capsys) -> None:
    monkeypatch.setattr(wagers, "read_rows", made_rows)
    wagers.keep_wagers({"l-ss": ("holds", 3)})
    assert lab.wager_claims() is None
    lab.settle_wagers()
    printed = capsys.readouterr().out
    assert "1. SSKD trains a better student than KD." in printed
    assert "Each of the four terms helps. not tried" in printed
    assert "score" not in printed and "Your wager:" not in printed


# ---- tricks ---------------------------------------------------------------------------------------


def test_one_seed_and_unequal_compute_are_as_counted_by_hand() -> None:
    tricks = fooled.make_tricks(made_rows())
    assert list(tricks) == ["one seed", "best epoch", "copied baseline", "unequal compute"]
    one = tricks["one seed"]
    assert one.fair_gaps == pytest.approx(SMALL)
    assert [one.claimed(i) > 0 for i in range(5)] == [True, False, True, False, True]
    assert one.false_gain == pytest.approx(0.5 - sum(SMALL) / 11)
    compute = tricks["unequal compute"]
    assert compute.claimed(0) == pytest.approx(sum(GAPS) / 11)
    assert compute.false_gain == pytest.approx(sum(GAPS) / 11 + 3.0 + sum(SMALL) / 110)


def test_best_epoch_and_copied_baseline_are_as_counted_from_the_recorded_curves() -> None:
    tricks = fooled.make_tricks(made_rows())
    long, short = lab.recorded("fashion", 240), lab.recorded("fashion", 60)

    def curve(runs, method, seed):
        return [row["test_accuracy"] for row in runs[method][seed]]

    for seed, gap in enumerate(tricks["best epoch"].reported_gaps):
        assert gap == pytest.approx(max(curve(long, "sskd", seed)) - curve(long, "kd+rotations", seed)[-1])
    for seed, gap in enumerate(tricks["copied baseline"].reported_gaps):
        assert gap == pytest.approx(curve(long, "sskd", seed)[-1] - curve(short, "kd", seed)[-1])
    copied = tricks["copied baseline"]
    assert len(copied.fair_gaps) == len(copied.reported_gaps) == len(short["kd"])


def hint_rows() -> list[dict]:
    """Rows of the two hints, two seeds, and of their repetition, three other seeds."""
    gaps = {
        ("fashion-noise-20", 200): 1.0,
        ("fashion-noise-20", 201): 2.0,
        ("fashion-noise-30", 200): 0.0,
        ("fashion-noise-30", 201): 1.0,
        **{("fashion-again-20", seed): 0.4 for seed in (400, 401, 402)},
        **{("fashion-again-30", seed): -0.2 for seed in (400, 401, 402)},
    }
    arms = (("kd+rotations", 0.0), ("sskd", 1.0))
    return [
        dict(cell=cell, arm=arm, seed=seed, accuracy=75.0 + share * gap)
        for (cell, seed), gap in gaps.items()
        for arm, share in arms
    ]


def test_the_best_setting_is_beside_its_repetition_with_new_seeds() -> None:
    """Seed by seed the mean of both settings: 0.5 and 1.5 at first; 0.1 three times with new seeds."""
    trick = fooled.make_tricks(hint_rows())["best setting"]
    assert trick.reported_gaps == pytest.approx([0.5, 1.5])
    assert trick.fair_gaps == pytest.approx([0.1, 0.1, 0.1])
    assert trick.false_gain == pytest.approx(0.9)
    explorer = fooled.Fooled({"best setting": trick}, "test")
    words = explorer.describe(trick="best setting", seed=2)
    assert "Reported: two settings whose intervals were above zero: +1.00." in words
    assert len(explorer.rows[1].ring.get_xdata()) == 0  # its seeds are others


def test_tricks_whose_trainings_are_missing_are_left_out() -> None:
    assert list(fooled.make_tricks([])) == ["best epoch", "copied baseline"]


def test_the_explorer_says_and_draws_each_seed(learner) -> None:
    explorer = fooled.Fooled(fooled.make_tricks(made_rows()), "test")
    assert "Reported: one seed (2 of 11): -0.50." in explorer.describe(trick="one seed", seed=2)
    assert "ahead in 6 of 11 seeds" in explorer.describe(trick="one seed")
    assert "The sign is another one." in explorer.describe(trick="unequal compute")
    assert "This record has 5 seeds." in explorer.describe(trick="copied baseline", seed=8)
    pictures = {explorer.frame(trick=trick, seed=seed) for trick in explorer.tricks for seed in (1, 2)}
    assert len(pictures) == 8
    assert all(explorer.frame(**state) for state in explorer.film)


# ---- one more seed --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "00000000", "000000c8", "ffffffff", "0000012c"])
def test_new_seeds_are_none_of_the_plan_s(name) -> None:
    planned = {seed for cell in read_plan().cells.values() for seed in cell.seeds}
    seeds = rerun.fresh_seeds(3, name)
    assert len(set(seeds)) == 3 and not planned & set(seeds) and max(seeds) < 2**31 + 3


def test_a_claim_of_another_cell_or_arm_is_refused() -> None:
    assert [c.name for c in rerun.comparisons_here("l-ss")] == ["sskd − kd+rotations"]
    both = [comparison.name for _, comparison in rerun.with_same_arms("trained-head")]
    assert both == ["sskd − untrained head", "sskd − kd+rotations"]
    for name in ("tuned", "equal-compute", "nothing"):
        with pytest.raises(ValueError, match="These are: .*l-ss"):
            rerun.comparisons_here(name)


def test_a_new_seed_is_trained_once_kept_and_pooled(learner, monkeypatch, capsys) -> None:
    trained = []

    def train_cell(cell, seed, arms, **more):
        trained.append((cell.name, seed))
        return [{"arm": arm, "accuracy": 76.0 + i} for i, arm in enumerate(arms)]

    monkeypatch.setattr(rerun, "train_cell", train_cell)
    old = [
        {"cell": "fashion-300", "arm": arm, "seed": seed, "accuracy": a + seed / 100}
        for seed in (200, 201, 202)
        for arm, a in (("sskd", 77.0 + seed % 2), ("kd+rotations", 76.5))
    ]
    monkeypatch.setattr(rerun, "read_rows", lambda: old)
    kit = type("Kit", (), {"runtime": None})()
    (seed,) = lab.rerun_claim(kit, "l-ss")
    printed = capsys.readouterr().out
    assert trained == [("fashion-300", seed)]
    assert "sskd − kd+rotations: +1.00  here" in printed  # the arms in their order: 76, 77
    for gaps in ([0.5, 1.5, 0.5], [0.5, 1.5, 0.5, 1.0]):
        assert "{:+.2f} ± {:.2f}".format(*interval(gaps)) in printed
    assert "One seed decides nothing." in printed
    lab.rerun_claim(kit, "l-ss")
    assert "trained already" in capsys.readouterr().out and len(trained) == 1
    lab.rerun_claim(kit, "l-ss", seeds=2)
    assert len(trained) == 2
    assert set(progress.read_progress()["reruns"]["fashion-300"]) == {str(seed), str(seed + 1)}


def test_without_recorded_seeds_nothing_is_pooled(monkeypatch) -> None:
    monkeypatch.setattr(rerun, "read_rows", list)
    lines = rerun.compare_with_record(rerun.CONTROL, {9: {"sskd": 77.0, "kd+rotations": 76.0}})
    assert "not trained yet" in lines[-1]
    assert list(rerun.claim_rows([0.5, 0.1], [])) == ["the class, 2 seeds"]


# ---- figures --------------------------------------------------------------------------------------


FEW = [row for row in made_rows() if row["seed"] < 104]  # fewer seeds than were planned


@pytest.mark.parametrize("rows", [[], FEW, made_rows()], ids=["nothing", "few seeds", "one cell"])
def test_the_figure_has_a_row_for_every_primary_comparison(rows) -> None:
    result = verdicts(rows)
    figure = figures.verdict_figure(result)
    figure.canvas.draw()
    count = sum(len(verdict.primary) for verdict in result.values())
    assert sum(len(axes.get_yticks()) for axes in figure.axes) == count
    words = figures.verdict_words(result)
    assert all(verdict.claim.claim.rstrip(".") in words for verdict in result.values())


def test_units_other_than_points_of_accuracy_have_a_panel_of_their_own() -> None:
    other = {line.claim for line in figures.lines_of(verdicts([]), accuracy=False)}
    claims = read_plan().claims
    assert other == {claims[key].claim for key in ("fewer-labels", "like-teacher", "transfer", "calibration")}


def test_only_a_whole_interval_within_half_a_point_is_named() -> None:
    assert figures.within_band(verdicts(made_rows())) == [read_plan().claims["l-ss"].claim]
    assert figures.within_band(verdicts([])) == []


def test_every_verdict_has_a_shape_of_its_own() -> None:
    shapes = [(marker, filled) for marker, _, filled, _ in figures.MARKS.values()]
    signs = [sign for *_, sign in figures.MARKS.values()]
    assert len(set(shapes)) == len(set(signs)) == 4


def test_arms_of_a_cell_that_is_not_trained_are_said_to_be_missing(learner, capsys) -> None:
    lab.show_arms(cell="cifar10-1000")
    assert capsys.readouterr().out == "The cell cifar10-1000 is not trained yet.\n"
    lab.show_arms("kd", "sskd")
    assert "means: kd 28.0 %, sskd 34.0 %" in capsys.readouterr().out
