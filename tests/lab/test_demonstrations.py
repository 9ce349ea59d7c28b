"""Short trainings of the notebooks: recorded runs, and words that follow the outcome whatever it is."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats

from sskd_lib.lab import demonstrations
from sskd_lib.lab.comparison.statistics import minus
from sskd_lib.lab.transfer_tables import kept_losses, recorded_differences, recorded_gaps, selection_table


def live(**accuracies: float) -> dict:
    return {
        method: SimpleNamespace(summary={"last": {"test_accuracy": value}})
        for method, value in accuracies.items()
    }


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    rows = [
        {"setting": "fashion-300", "split": "test", "method": method, "seed": seed, "accuracy": accuracy}
        for method, accuracies in {"kd": (70.0, 71.0, 72.0), "sskd": (73.0, 72.5, 71.5)}.items()
        for seed, accuracy in enumerate(accuracies, start=100)
    ]
    rows.append(rows[0] | {"split": "validation", "accuracy": 1.0})
    monkeypatch.setattr(demonstrations, "ROWS", tmp_path / "rows.jsonl")
    demonstrations.ROWS.write_text("\n".join(map(json.dumps, rows)))


def test_only_test_runs_are_read_and_paired_by_seed(recorded):
    runs = demonstrations.short_runs()
    assert runs == {
        "kd": {100: 70.0, 101: 71.0, 102: 72.0},
        "sskd": {100: 73.0, 101: 72.5, 102: 71.5},
    }
    assert minus(runs["sskd"], runs["kd"]) == [3.0, 1.5, -0.5]
    with pytest.raises(ValueError, match=r"no runs of .cifar10-1000. are recorded; .*: fashion-300\."):
        demonstrations.short_runs("cifar10-1000")
    demonstrations.ROWS.unlink()
    with pytest.raises(FileNotFoundError, match="git checkout -- benchmarks/results"):
        demonstrations.short_runs()


@pytest.mark.parametrize(
    ("sskd", "words"),
    [
        (72.0, "Your difference is among the recorded ones."),
        (65.0, "outside the recorded ones: one seed can"),
    ],
)
def test_the_words_follow_the_outcome(recorded, sskd, words):
    kit = SimpleNamespace(dataset="fashion-mnist-lab")
    found = demonstrations.read_outcome(kit, live(kd=70.0, sskd=sskd))
    half = stats.sem([3.0, 1.5, -0.5]) * stats.t.ppf(0.975, 2)
    assert f"difference {sskd - 70:+.1f} points" in found and words in found
    assert f"3 other seeds: +1.3 ± {half:.1f} (95 %), from -0.5 to +3.0; sskd was ahead in 2 of 3" in found


def test_images_without_records_say_so(recorded):
    found = demonstrations.read_outcome(SimpleNamespace(dataset="grocery"), live(kd=70.0, sskd=71.0))
    assert "No runs of the short schedule are recorded for grocery." in found


def test_the_table_of_recorded_gaps_has_the_paired_means():
    lines = recorded_gaps().splitlines()
    assert len(lines) == 1 + 2 + 3 + 3
    for line, (name, schedule, over_kd, over_rotations) in zip(
        lines[1:], recorded_differences(), strict=True
    ):
        assert line.startswith(name) and schedule in line and f" {len(over_kd)} " in line
        mean = sum(over_rotations) / len(over_rotations)
        half = stats.sem(over_rotations) * stats.t.ppf(0.975, len(over_rotations) - 1)
        assert line.endswith(f"{mean:+.2f} ± {half:.2f}")
    for line, setting in zip(lines[1:3], ("fashion-300", "fashion-100"), strict=True):
        runs = demonstrations.short_runs(setting)
        pairs = minus(runs["sskd"], runs["kd"])
        assert f"{sum(pairs) / len(pairs):+.2f}" in line and f" {len(pairs)} " in line


def test_the_table_of_hidden_classes_has_their_means(tmp_path, monkeypatch):
    values = {
        ("Bag", 0): (1.0, 60.0),
        ("Bag", 1): (3.0, 70.0),
        ("Coat", 0): (0.0, 20.0),
        ("Coat", 1): (2.0, 31.0),
    }
    rows = [
        {"missing": name, "seed": seed, "labels only": ce, "soft targets only": kd}
        for (name, seed), (ce, kd) in values.items()
    ]
    monkeypatch.setattr(demonstrations, "MISSING_ROWS", tmp_path / "rows.jsonl")
    demonstrations.MISSING_ROWS.write_text("\n".join(map(json.dumps, rows)))
    assert demonstrations.missing_class_means() == {
        "Bag": {"labels only": 2.0, "soft targets only": 65.0},
        "Coat": {"labels only": 1.0, "soft targets only": 25.5},
    }
    lines = [line.split() for line in demonstrations.missing_class_table().splitlines()]
    assert lines[1] == ["Bag", "2.0", "%", "65.0", "%"]
    assert lines[2] == ["Coat", "1.0", "%", "25.5", "%"]
    assert lines[3] == ["mean", "1.5", "%", "45.2", "%"]  # 45.25


def test_the_loss_over_kept_rows_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(8, 5, generator=generator) for _ in range(2))
    columns, tau = torch.arange(8) % 5, 2.0
    ranks = [sum(s > row[c] for s in row) for row, c in zip(teacher.tolist(), columns.tolist(), strict=True)]
    wrong = sorted((i for i in range(8) if ranks[i]), key=lambda i: ranks[i])
    losses = kept_losses(student, teacher, columns, tau)
    for share, (rows, loss, _norm) in losses.items():
        kept = [i for i in range(8) if not ranks[i]] + wrong[: math.floor(share * len(wrong))]
        total = 0.0
        for i in kept:
            p_t, p_s = (
                [math.exp(x / tau) / sum(math.exp(y / tau) for y in z[i].tolist()) for x in z[i].tolist()]
                for z in (teacher, student)
            )
            total += sum(t * math.log(t / s) for t, s in zip(p_t, p_s, strict=True))
        assert rows == len(kept) and loss == pytest.approx(tau**2 * total / max(len(kept), 1), rel=1e-5)
    lines = selection_table("L_x", student, teacher, columns, tau).splitlines()[1:]
    for line, (share, (rows, loss, norm)) in zip(lines, losses.items(), strict=True):
        assert line.split()[:3] == [f"{100 * share:.0f}", "%", str(rows)]
        assert line.split()[3:5] == [f"{loss:.5f}", f"{norm:.5f}"]
