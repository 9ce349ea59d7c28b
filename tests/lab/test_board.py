"""The class board: each learner once, nobody shown, and the pooled experiment by hand."""

from __future__ import annotations

import json
import os

import pytest

from sskd_lib.data.load import DATA_FOLDER
from sskd_lib.lab.course import board

EXAMPLE = DATA_FOLDER / "course" / "example-class"


def learner(name: str, **groups) -> dict:
    """A learner's record with these groups."""
    empty = {group: {} for group in ("guesses", "answers", "checks", "goals", "runs")}
    return {"kind": "sskd progress", "version": 1, "learner": name} | empty | groups


@pytest.fixture
def folder(tmp_path):
    """Three learners, one of them twice, and a file that is none of theirs."""
    kd = {"tries": 2, "passed": True, "mistakes": ["τ² forgotten", "KL turned round"], "hints": 0}
    records = {
        "1.json": learner("aaaa", runs={"s1": {"sskd": 76.0, "kd+rotations": 75.0}}),
        "2.json": learner("bbbb", runs={"s2": {"sskd": 75.0, "kd+rotations": 76.5}}, checks={"kd_loss": kd}),
        "3.json": learner("cccc", runs={"s3": {"sskd": 77.0}}, checks={"kd_loss": kd | {"passed": False}}),
        "4.json": learner("aaaa", runs={"s1": {"sskd": 76.0, "kd+rotations": 74.0}}),
    }
    for place, (name, record) in enumerate(records.items()):
        (tmp_path / name).write_text(json.dumps(record))
        os.utime(tmp_path / name, (place, place))
    (tmp_path / "notes.json").write_text("[]")
    return tmp_path


def test_each_learner_counts_once_by_the_newest_file(folder, capsys) -> None:
    records = board.read_class(folder)
    printed = capsys.readouterr().out
    assert [record["learner"] for record in records] == ["aaaa", "bbbb", "cccc"]
    assert records[0]["runs"]["s1"]["kd+rotations"] == 74.0
    assert "notes.json is no record of a learner" in printed
    assert "3 learners." in printed


def test_only_learners_with_both_runs_are_paired(folder) -> None:
    assert board.pooled_gaps(board.read_class(folder)) == [2.0, -1.5]


def test_mistakes_are_counted_by_learners(folder) -> None:
    counts = board.mistake_counts(board.read_class(folder))
    assert counts == {"kd_loss: τ² forgotten": 2, "kd_loss: KL turned round": 2}


def test_nothing_of_the_board_shows_a_learner(folder, capsys) -> None:
    records = board.read_class(folder)
    board.show_class_mistakes(records)
    board.show_class_experiment(records)
    printed = capsys.readouterr().out
    assert "kd_loss            1 of 2 right, 2.0 tries on average" in printed
    assert "SSKD − (KD + rotations), 2 seeds" in printed
    assert not any(name in printed for name in ("aaaa", "bbbb", "cccc"))


def test_first_and_last_guesses_are_before_and_after_the_discussion(capsys) -> None:
    guesses = [{"first": 0, "last": 2, "truth": 2}, {"first": 1, "last": 1, "truth": 2}]
    records = [learner(str(i), guesses={"01-tau2": guess}) for i, guess in enumerate(guesses)]
    first, last = board.guess_counts(records, "01-tau2")
    assert (first, last) == ({0: 1, 1: 1}, {2: 1, 1: 1})
    board.show_class_guesses(records, "01-tau2")
    printed = capsys.readouterr().out
    assert "✓ (c) about 1/4" in printed
    assert "(a) 1 → 0, (b) 1 → 1, (c) 0 → 1" in printed


def test_a_folder_without_records_says_what_to_do(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="lab.export_progress"):
        board.read_class(tmp_path)


def test_the_example_class_has_the_recorded_runs() -> None:
    from sskd_lib.lab.demonstrations import short_runs

    runs, gaps = short_runs(), board.pooled_gaps(board.read_class(EXAMPLE))
    recorded = [runs["sskd"][seed] - runs["kd+rotations"][seed] for seed in runs["sskd"]]
    assert sorted(gaps) == pytest.approx(sorted(recorded))
