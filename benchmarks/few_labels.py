"""Few labels: what do soft targets, rotated views and L_ss each add? Several seeds, paired.

    python benchmarks/few_labels.py run --setting fashion --seeds 5 --epochs 60 240 480
    python benchmarks/few_labels.py run --setting cifar10 --seeds 5 --epochs 30 60 240 --folder PATH
    python benchmarks/few_labels.py table      # the tables of docs/results.md, from the recorded runs
    python benchmarks/few_labels.py run --setting fashion --seeds 5 --exact --results exact.jsonl
    python benchmarks/few_labels.py compare fast.jsonl exact.jsonl    # what the fast formats change

A wrn_16_2 teacher, a resnet8 student. One seed draws the labelled images, the first weights and the order,
the same for every method, so differences between methods are taken pair by pair.

fashion: 300 labels of the embedded pack; the teacher saw all 60,000 training images of Fashion-MNIST; tested
    on the pack's 2,000 test images, which come from the original test images.
cifar10: 1,000 labels; of the folder's 50,000 images 10,000 are the test (load_images' fifth), 5,000 of
    the others validate, and the teacher saw the remaining 35,000, from which the labels are drawn.
Weights, temperatures, ratios and learning rates are the published ones; nothing was selected. To select
something, use --split validation. Runs resume where they were cut off; PATH has a sub-folder a class.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sskd_lib as sskd
from sskd_lib.evaluation import interval

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
METHODS = ("ce", "kd", "kd+rotations", "sskd")
LABELS = {"fashion": 300, "cifar10": 1000}
TEACHERS = {"fashion": "fashion-mnist", "cifar10": "cifar10"}
VALIDATION = {"fashion": 0.2, "cifar10": 0.125}  # share of the training images


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One student to train."""

    setting: str
    method: str
    epochs: int
    seed: int
    split: str  # "test" or "validation": what it is measured on
    folder: str
    device: str
    out: Path
    exact: bool = False  # in plain float32

    @property
    def key(self) -> list:
        """The run in a results file: setting, split, epochs, method, seed."""
        return [self.setting, self.split, self.epochs, self.method, self.seed]

    @property
    def run_folder(self) -> Path:
        """The output folder of the run."""
        return self.out / "-".join(str(part) for part in [*self.key, *["exact"] * self.exact])


def images(setting: str, folder: str) -> tuple[sskd.ImageSet, sskd.ImageSet, sskd.ImageSet]:
    """(pool, validation, test) of a setting; labelled images are drawn from the pool."""
    name = "fashion-mnist-lab" if setting == "fashion" else f"folder:{folder}"
    pool, validation = sskd.load_images(name).split(VALIDATION[setting], seed=0)
    return pool, validation, sskd.load_images(name, "test")


def train_one(plan: Plan) -> dict:
    """Train one student, or pick up where it was cut off; returns its record."""
    pool, validation, test = images(plan.setting, plan.folder)
    measured = test if plan.split == "test" else validation
    labelled = pool.take(LABELS[plan.setting], seed=plan.seed)
    teacher = sskd.load_checkpoint(
        ROOT / "data" / "weights" / TEACHERS[plan.setting] / "teacher_wrn_16_2.safetensors"
    )
    student = sskd.create_network(
        "resnet8", like=pool, projection=sskd.create_method(plan.method).needs_projection, seed=plan.seed
    )
    run = sskd.distill(
        student,
        teacher,
        labelled,
        measured,
        method=plan.method,
        schedule=sskd.Schedule(epochs=plan.epochs),
        seed=plan.seed,
        out=plan.run_folder,
        runtime=sskd.choose_runtime(plan.device, exact=plan.exact),
        progress=False,
        evaluate_every=max(1, plan.epochs // 24),
    )
    measured_epochs = [record for record in run.history if "test_accuracy" in record]
    return {
        "key": plan.key,
        "last": round(run.summary["last"]["test_accuracy"], 3),
        "best": round(run.summary["best"]["test_accuracy"], 3),
        "curve": {
            name: [round(record[name], 5) for record in measured_epochs if name in record]
            for name in ("epoch", "test_accuracy", "train_accuracy", "ce", "kd", "tf", "ss")
        },
        "seconds": run.summary["card"]["seconds"],
        "runtime": run.summary["card"]["runtime"],
        "exact": plan.exact,
        "torch": torch.__version__,
    }


def train_all(plans: Iterable[Plan], processes: int, results: Path) -> None:
    """Train what is not recorded yet, `processes` at a time, appending each record to `results` as it ends.

    Raises ValueError if runs of the other kind, exact or not, are recorded there.
    """
    plans, records = list(plans), read(results)
    for plan in plans[:1]:
        check_kind(results, records, plan.exact)
    recorded = {json.dumps(record["key"]) for record in records}
    todo = [plan for plan in plans if json.dumps(plan.key) not in recorded]
    todo.sort(key=lambda plan: METHODS.index(plan.method), reverse=True)  # the long ones first
    results.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, open(results, "a") as file:
        for record in pool.map(train_one, todo):
            file.write(json.dumps(record) + "\n")
            file.flush()
            print(*record["key"], f"{record['last']:.2f} %", f"{record['seconds']:.0f} s", flush=True)


def check_kind(results: Path, records: list[dict], exact: bool) -> None:
    """Raise ValueError if some of a file's runs are not of the kind, exact or fast, that belongs there."""
    kinds = ("the fast kind", "the exact kind (--exact)")
    if any(record.get("exact", False) != exact for record in records):
        raise ValueError(
            f"{results} has runs of {kinds[not exact]}, where {kinds[exact]} belongs. Keep each kind in a "
            "file of its own: --results FILE."
        )


def read(results: Path) -> list[dict]:
    """All records of a results file; none if it does not exist."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of the command run."""

    setting: str  # fashion or cifar10
    seeds: int = 5  # runs of each method and length
    epochs: tuple[int, ...] = (240,)  # lengths
    methods: tuple[str, ...] = METHODS
    split: str = "test"  # test, or validation where a setting is to be selected
    folder: str = ""  # for cifar10: a folder with one sub-folder of images for each class
    device: str = "auto"  # auto, cpu, cuda, mps
    exact: bool = False  # train in plain float32, to compare with
    processes: int = 1  # students trained at the same time
    out: Path = ROOT / "runs" / "few_labels"  # folder of all runs
    results: Path | None = None  # records; default: few_labels.jsonl or few_labels_exact.jsonl in results/


def run(options: Annotated[RunOptions, tyro.conf.arg(name="")]) -> None:
    """Train every method for every seed and length."""
    default = FOLDER / "results" / f"few_labels{'_exact' * options.exact}.jsonl"
    names = ("setting", "split", "folder", "device", "out", "exact")
    common = {name: getattr(options, name) for name in names}
    plans = [
        Plan(method=method, epochs=length, seed=seed, **common)
        for length in options.epochs
        for method in options.methods
        for seed in range(options.seeds)
    ]
    train_all(plans, options.processes, options.results or default)


def table(results: Path = FOLDER / "results" / "few_labels.jsonl", split: str = "test") -> None:
    """Print one Markdown table a setting and length: last epoch, mean ± 95 % interval, paired differences."""
    by_place: dict[tuple, dict[str, dict[int, dict]]] = {}
    for record in read(results):
        setting, measured, epochs, method, seed = record["key"]
        if measured == split:
            by_place.setdefault((setting, epochs), {}).setdefault(method, {})[seed] = record
    for (setting, epochs), methods in sorted(by_place.items()):
        print(f"\n**{setting}, {LABELS[setting]} labels, {epochs} epochs** ({split} images)\n")
        print(
            "| method | seeds | accuracy, last epoch (%) | minus KD | minus KD+rotations | best epoch (%) |"
        )
        print("|---|---|---|---|---|---|")
        for method in METHODS:
            if method in methods:
                print(row(method, methods))


def row(method: str, methods: dict[str, dict[int, dict]]) -> str:
    """One line of the table."""
    mine = methods[method]
    cells = [method, str(len(mine)), "{:.2f} ± {:.2f}".format(*interval([r["last"] for r in mine.values()]))]
    for other in ("kd", "kd+rotations"):
        pairs = [mine[s]["last"] - methods[other][s]["last"] for s in mine if s in methods.get(other, {})]
        cells.append("{:+.2f} ± {:.2f}".format(*interval(pairs)) if pairs and other != method else "")
    cells.append(f"{statistics.fmean(r['best'] for r in mine.values()):.2f}")
    return "| " + " | ".join(cells) + " |"


def compare(fast: tyro.conf.Positional[Path], exact: tyro.conf.Positional[Path], split: str = "test") -> None:
    """Print a table a setting and length: last epochs of fast and of exact runs, and their difference.

    Only runs that both files have are compared, a seed with itself.
    Raises ValueError if a file is of the other kind, or if they have no run in common.
    """
    kinds = read(fast), read(exact)
    check_kind(fast, kinds[0], exact=False)
    check_kind(exact, kinds[1], exact=True)
    left, right = ({tuple(record["key"]): record["last"] for record in records} for records in kinds)
    shared = [key for key in sorted(left.keys() & right.keys()) if key[1] == split]
    if not shared:
        raise ValueError(f"{fast} and {exact} have no run in common ({split} images): nothing to compare.")
    for setting, epochs in sorted({(key[0], key[2]) for key in shared}):
        print(f"\n**{setting}, {LABELS[setting]} labels, {epochs} epochs** ({split} images)\n")
        print("| method | seeds | fast, last epoch (%) | exact, last epoch (%) | fast minus exact |")
        print("|---|---|---|---|---|")
        for method in METHODS:
            keys = [key for key in shared if (key[0], key[2], key[3]) == (setting, epochs, method)]
            if keys:
                a, b = interval([left[key] for key in keys]), interval([right[key] for key in keys])
                gap = interval([left[key] - right[key] for key in keys])
                cells = "{:.2f} ± {:.2f} | {:.2f} ± {:.2f} | {:+.2f} ± {:.2f}".format(*a, *b, *gap)
                print(f"| {method} | {len(keys)} | {cells} |")


if __name__ == "__main__":
    commands = {"run": run, "table": table, "compare": compare}
    try:
        tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)
    except ValueError as error:
        sys.exit(f"{error}")
