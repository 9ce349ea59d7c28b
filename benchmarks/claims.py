"""Claims on trial: train the cells of data/claims/plan.yaml, and say what they decide.

    python benchmarks/claims.py plan                       # the claims, written down before the runs
    python benchmarks/claims.py run --dry-run              # hours on this machine, cell by cell
    python benchmarks/claims.py run --minutes 60           # the cells for two cores; goes on where it stopped
    python benchmarks/claims.py run --cells hundred-500 --hundred folder:PATH --device cuda --processes 4
    python benchmarks/claims.py probe --caltech101 folder:PATH --cifar10 folder:PATH
    python benchmarks/claims.py verdicts                   # from the record; trains nothing
    python benchmarks/claims.py quick                      # one claim in two minutes

A run that is recorded in data/claims/runs.jsonl is not repeated; delete its lines to make it again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sskd_lib as sskd
from claims_hours import estimate, loops
from sskd_lib.files import did_you_mean
from sskd_lib.lab.claims.plan import Cell, read_plan
from sskd_lib.lab.claims.probes import probe_cell
from sskd_lib.lab.claims.rerun import CONTROL, compare_with_record
from sskd_lib.lab.claims.rows import PROBES, RUNS, best_of_sweep, read_rows
from sskd_lib.lab.claims.trainings import Sources, TimeUp, train_cell
from sskd_lib.lab.claims.verdicts import in_words, least_detectable, p_words, planned_seeds, verdicts

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "runs" / "claims"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `run`."""

    cells: tuple[str, ...] = ()  # names of the plan; default: all that are for two cores
    seeds: tuple[int, ...] = ()  # of each cell; default: those of the plan
    hundred: str = ""  # 100 classes of 500 images: folder:PATH or cifar100
    cifar10: str = ""  # folder:PATH
    teacher: str = ""  # a teacher for the hundred classes, in the place of the shipped one
    device: str = "auto"
    exact: bool = False  # plain float32
    processes: int = 2  # seeds trained at the same time, on a CPU each on one core
    minutes: float = 60.0  # then the trainings stop; the same command goes on with them
    dry_run: bool = False  # only estimate the hours
    rows: Path = RUNS


@dataclass(frozen=True, kw_only=True)
class Task:
    """The arms of one cell and one seed that are not recorded yet."""

    cell: Cell
    seed: int
    arms: tuple[str, ...]
    sources: Sources
    device: str
    exact: bool
    best: Mapping[str, float] | None
    end: float  # of time.time(): then the training stops at the end of an epoch

    def runtime(self) -> sskd.Runtime:
        """Return the runtime of a process: on a CPU one thread."""
        runtime = sskd.choose_runtime(self.device, exact=self.exact)
        return replace(runtime, threads=1) if runtime.device.type == "cpu" else runtime


def tasks(options: Options) -> Iterator[Task]:
    """Yield what is still to train, cell by cell."""
    plan, recorded = read_plan(), read_rows(options.rows)
    done = {(row["cell"], row["seed"], row["arm"]) for row in recorded}
    names = options.cells or [name for name, cell in plan.cells.items() if not cell.large]
    given = {"hundred": options.hundred, "cifar10": options.cifar10}
    sources = Sources(given, {"hundred": options.teacher})
    if unknown := [name for name in names if name not in plan.cells]:
        raise ValueError(
            f"the plan has no cell {unknown[0]!r}.{did_you_mean(unknown[0], plan.cells)} "
            f"Its cells are: {', '.join(plan.cells)}."
        )
    for name in names:
        cell = plan.cells[name]
        try:
            best = best_of_sweep(recorded) if cell.batch else None
        except ValueError as error:
            if not options.dry_run:
                print(f"{name} waits: {error}")
                continue
            best = None  # its hours are those of its own batch
        for seed in options.seeds or cell.seeds:
            arms = tuple(arm for arm in cell.arms if (name, seed, arm) not in done)
            if arms:
                yield Task(
                    cell=cell,
                    seed=seed,
                    arms=arms,
                    sources=sources,
                    device=options.device,
                    exact=options.exact,
                    best=best,
                    end=time.time() + 60 * options.minutes,
                )


def train(task: Task) -> list[dict]:
    """Train the students of a task in this process; return no rows where the time is up."""
    runtime = task.runtime()
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    try:
        return train_cell(
            task.cell,
            task.seed,
            task.arms,
            sources=task.sources,
            runtime=runtime,
            best=task.best,
            weights=WEIGHTS if task.cell.probe else None,
            work=WEIGHTS / "work",
            end=task.end,
        )
    except TimeUp:
        return []


def run(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Train what is not recorded yet, and append one row per student as each seed ends."""
    todo = list(tasks(options))
    if options.dry_run:
        estimate(todo, options.processes)
        return
    end, waiting = time.time() + 60 * options.minutes, iter(todo)
    running: set[Future] = set()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        while True:
            while len(running) < options.processes and time.time() < end:
                task = next(waiting, None)
                if task is None:
                    break
                running.add(pool.submit(train, task))
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.remove(future)
                write(future.result(), options.rows)
    left = sum(1 for _ in tasks(options))
    print(
        f"{left} of the seeds are still to train; the same command goes on." if left else "All is recorded."
    )


def write(rows: list[dict], path: Path) -> None:
    """Append rows to the record and print them."""
    if not rows:
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))  # all or none
    accuracies = "  ".join(f"{row['arm']} {row['accuracy']:.2f}" for row in rows)
    print(
        rows[0]["cell"],
        rows[0]["seed"],
        f"{max(row['seconds'] for row in rows):.0f} s ",
        accuracies,
        flush=True,
    )


def probe(
    caltech101: str,
    cifar10: str,
    cells: tuple[str, ...] = ("hundred-50",),
    processes: int = 2,
    rows: Path = PROBES,
) -> None:
    """Fit linear probes on the features of the students that `run` kept in runs/claims.

    Args:
        caltech101: folder:PATH of the images of Caltech-101 (a sub-folder per class).
        cifar10: folder:PATH.
        cells: names of the plan.
        processes: students probed at the same time.
        rows: where the results go.
    """
    names = {"caltech101": caltech101, "cifar10": cifar10, "grocery": "grocery"}
    done = {(row["cell"], row["seed"], row["arm"]) for row in read_rows(rows)}
    todo = [
        (name, arm, seed, names)
        for name in cells
        for seed in read_plan().cells[name].seeds
        for arm in read_plan().cells[name].arms
        if (name, seed, arm) not in done and (WEIGHTS / name / f"{arm}-{seed}.safetensors").is_file()
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for row in pool.map(probe_student, todo):
            with open(rows, "a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(*row.values(), flush=True)


def probe_student(task: tuple[str, str, int, dict[str, str]]) -> dict:
    """Probe one student in this process."""
    cell, arm, seed, names = task
    torch.set_num_threads(1)
    return probe_cell(WEIGHTS / cell / f"{arm}-{seed}.safetensors", cell, arm, seed, names)


def show_plan() -> None:
    """Print each claim, its null hypothesis, what decides it, and the least effect its seeds can detect."""
    for claim in read_plan().claims.values():
        least = least_detectable(claim.spread, planned_seeds(claim, read_plan()))
        print(f"\n{claim.id}: {claim.claim}\n  null: {claim.null}")
        for comparison in claim.primary:
            print(f"  decides: {comparison.name} ({comparison.outcome}), {comparison.place}")
        print(f"  least detectable effect, if the differences spread by {claim.spread:g}: {least:.2f}")


def show_verdicts(rows: tuple[Path, ...] = ()) -> None:
    """Print the verdict of each claim from recorded rows; trains nothing.

    Args:
        rows: files in the place of the kit's record.
    """
    for verdict in verdicts(read_rows(*rows)).values():
        print(f"\n{verdict.claim.claim}\n  {verdict.word}, p after Holm {p_words(verdict.corrected)}")
        for each in (*verdict.primary, *verdict.other):
            name, place = each.comparison.name, each.comparison.place
            print(f"    {place}: {name}, {each.comparison.outcome}: {in_words(each)}")


def quick(seed: int = 1000) -> None:
    """Rerun the claim about L_ss in two minutes: one new seed, 300 labels, the short schedule.

    Args:
        seed: outside those of the plan; it draws labelled images, first weights and order.
    """
    cell, runtime = read_plan().cells[CONTROL.place], sskd.choose_runtime("cpu")
    arms = tuple(arm for _, arm in CONTROL.weights)
    rows = train_cell(cell, seed, arms, sources=Sources(), runtime=runtime, progress=True)
    result = {row["arm"]: row["accuracy"] for row in rows}
    print(", ".join(f"{arm} {accuracy:.2f} %" for arm, accuracy in result.items()))
    print("\n".join(compare_with_record(CONTROL, {seed: result})))


COMMANDS = {
    "plan": show_plan,
    "run": run,
    "loops": loops,
    "probe": probe,
    "verdicts": show_verdicts,
    "quick": quick,
}

if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, description=__doc__)
    except ValueError as error:
        sys.exit(f"{error}")
