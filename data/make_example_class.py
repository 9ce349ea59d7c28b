"""Make data/course/example-class/: files of a class that does not exist, to try the class board with.

    python data/make_example_class.py

The answers and mistakes are drawn at random. The trained runs are real: those of the short schedule in
benchmarks/results/short_schedule.jsonl, one seed for each learner.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from sskd_lib.data.load import DATA_FOLDER
from sskd_lib.files import write_atomically
from sskd_lib.lab.course.bank import read_questions
from sskd_lib.lab.course.progress import KIND, VERSION
from sskd_lib.lab.demonstrations import short_runs
from sskd_lib.lab.exercises.registry import EXERCISES

FOLDER = DATA_FOLDER / "course" / "example-class"
TRUTHS = {"01-hot": 1, "01-tau2": 2, "01-columns": 1}  # what notebook 01 computes with the embedded images
METHODS = ("kd", "kd+rotations", "sskd")


def make_learner(seed: int, runs: dict[str, dict[int, float]]) -> dict:
    """Return the record of one invented learner: unsure at first, better after the discussion."""
    draw, questions = random.Random(seed), read_questions()
    guesses = {}
    for key, truth in TRUTHS.items():
        count = len(questions[key].options)
        first = truth if draw.random() < 0.4 else draw.randrange(count)
        last = truth if draw.random() < 0.6 else first
        sure = draw.choice(("a guess", "fairly sure", "sure"))
        guesses[key] = {"first": first, "changes": int(first != last), "last": last, "sure": sure}
        guesses[key] |= {"truth": truth, "right": last == truth}
    checks = {}
    for name in ("soften", "kd_loss", "kd_gradient"):
        known = [mistake.name for mistake in EXERCISES[name].mistakes[:5]]
        made = sorted(draw.sample(known, k=draw.choice((0, 0, 1, 1, 2))))
        passed = draw.random() < 0.85
        checks[name] = {
            "tries": len(made) + passed,
            "passed": passed,
            "mistakes": made,
            "hints": draw.randrange(3),
        }
    run = {method: runs[method][seed] for method in METHODS}
    groups = {"guesses": guesses, "answers": {}, "checks": checks, "goals": {}}
    groups["runs"] = {f"fashion-mnist-lab-300-{seed}": run}
    return {"kind": KIND, "version": VERSION, "learner": f"example{seed:02d}"} | groups


def main(folder: Path = FOLDER) -> None:
    """Write one file per recorded seed."""
    runs = short_runs()
    seeds = sorted(set.intersection(*(set(runs[method]) for method in METHODS)))
    for seed in seeds:
        text = json.dumps(make_learner(seed, runs), indent=1, ensure_ascii=False)
        write_atomically(folder / f"example-{seed:02d}.json", (text + "\n").encode())
    print(f"{len(seeds)} files in {folder}")


if __name__ == "__main__":
    main()
