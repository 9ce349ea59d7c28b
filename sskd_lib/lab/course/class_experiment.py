"""One seed of the class's experiment: SSKD and its control, trained here and kept in the learner's record."""

from __future__ import annotations

from typing import Any

from ...recipes import SHORT
from ...training.train import create_network, distill
from ..startup import Lab
from .progress import change_progress, read_progress

METHODS = ("kd", "kd+rotations", "sskd")
LABELS = 300


def train_class_seed(kit: Lab, seed: int | None = None) -> dict[str, float]:
    """Train three students with one seed, keep and return their test accuracies (%) after the last epoch.

    The seed comes from the random name in the learner's record, so that no two learners of a class train the
    same one. A seed that was trained already is not trained again.
    """
    record = read_progress()
    if not record["guesses"] and not record["runs"]:
        record = change_progress(lambda _: None)  # so that the random name stays
    seed = int(record["learner"], 16) % 2**31 if seed is None else seed
    key = f"{kit.dataset}-{LABELS}-{seed}"
    if key in record["runs"]:
        print("This seed was trained already; the record has its result.")
        return dict(record["runs"][key])
    few = kit.train.take(max(LABELS, 10 * len(kit.train.classes)), seed=seed)
    students = [create_network("resnet8", like=few, projection=m == "sskd", seed=seed) for m in METHODS]
    options = {"schedule": SHORT, "seed": seed, "runtime": kit.runtime, "evaluate_every": SHORT.epochs}
    runs = distill(students, kit.teacher(), few, kit.test, method=list(METHODS), **options)
    result = {
        name: float(run.summary["last"]["test_accuracy"]) for name, run in zip(METHODS, runs, strict=True)
    }

    def change(kept: dict[str, Any]) -> None:
        kept["runs"][key] = result

    change_progress(change)
    return result
