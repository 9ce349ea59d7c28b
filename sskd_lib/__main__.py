"""Commands: python -m sskd_lib teacher | head | distill | evaluate | table | shards | reproduce | doctor."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from .data.folder import estimate_shards, make_shards
from .data.load import load_images
from .evaluation import evaluate, pretext_figures
from .files import CheckpointError
from .losses import create_method, create_task
from .models.checkpoint import load_checkpoint, read_card
from .recipes import HEAD, STUDENT, make_recipe
from .reproduce.cells import cost, train_cells
from .reproduce.plan import Plan, describe_plan
from .reproduce.results import read_diverged, read_results, write_results
from .runtime.device import choose_runtime
from .runtime.distributed import current, processes
from .training.command_line import run_command
from .training.estimate import estimate
from .training.head import train_head
from .training.options import DistillOptions, RunOptions, ScheduleOptions, SubsetOptions, TrainingOptions
from .training.state import Run, TrainingError
from .training.teacher_cache import cache_teacher
from .training.train import create_network, distill, train_teacher

Flat = tyro.conf.arg(name="")  # the fields of a dataclass become plain options: --epochs, --lr, …
USUAL = ScheduleOptions()
OF_TABLES = RunOptions(data="cifar100", evaluate_every=10)  # defaults of the command reproduce


def teacher_command(
    options: Annotated[TrainingOptions, Flat],
    pace: Annotated[ScheduleOptions, Flat] = USUAL,
    *,
    out: Path,
    model: str = "wrn_16_2",
) -> None:
    """Train a teacher on labels; its projection head stays untrained until `head`.

    Args:
        options: images and machine.
        pace: the schedule, and numbers of it to change.
        out: folder of the result; an interrupted training resumes there.
        model: name of the backbone.
    """
    schedule = pace.chosen(STUDENT)
    with processes(options.device):
        train, test = options.images()
        network = create_network(model, train, projection=True, seed=options.seed)
        report(train_teacher(network, train, test, schedule=schedule, out=out, **options.keywords()), out)


def head_command(
    options: Annotated[TrainingOptions, Flat],
    pace: Annotated[ScheduleOptions, Flat] = USUAL,
    *,
    teacher: Path,
    out: Path,
    task: str = "contrastive",
) -> None:
    """Train the head of a frozen teacher on a pretext task.

    Args:
        options: images and machine.
        pace: the schedule, and numbers of it to change.
        teacher: checkpoint of a teacher; for another task than contrastive it gets a fresh head.
        out: folder of the teacher with its head; an interrupted training resumes there.
        task: contrastive, exemplar, jigsaw, rotation (methods sskd, sskd-exemplar, …) or joint (hsakd).
    """
    create_task(task)  # raises for an unknown name, before images and teacher are read
    schedule = pace.chosen(HEAD)
    with processes(options.device):
        network = load_checkpoint(teacher)
        train, test = options.images()
        keywords = options.keywords() | {"schedule": schedule, "task": task}
        report(train_head(network, train, test, out=out, **keywords), out)


def distill_command(
    options: Annotated[DistillOptions, Flat], pace: Annotated[ScheduleOptions, Flat] = USUAL
) -> None:
    """Train a student, or several that share their teacher's forward passes."""
    recipe, rows = make_recipe(options.preset, options.override), options.students()
    schedule = pace.chosen(STUDENT)
    methods = [create_method(name, recipe) for _, name, _ in rows]
    teacher = options.load_teacher(methods)
    with processes(options.device):
        train, test = options.images()
        students = [
            create_network(name, train, projection=method.needs_projection, seed=seed)
            for (name, _, seed), method in zip(rows, methods, strict=True)
        ]
        keywords = options.keywords() | {"recipe": recipe, "table": options.table}
        keywords["schedule"] = schedule
        keywords["method"] = [method.name for method in methods]
        if options.dry_run and current().world_size > 1:
            raise ValueError("a dry run times one process; call it without torchrun.")
        if options.dry_run or (train.on_disk and current().world_size == 1):
            print(estimate(students, teacher, train, **keywords))
        if options.dry_run:
            return
        numbered = [options.out / str(number) for number in range(1, len(students) + 1)]
        folders = numbered if len(students) > 1 else [options.out]
        runs = cast("list[Run]", distill(students, teacher, train, test, out=folders, **keywords))
        for run, folder in zip(runs, folders, strict=True):
            report(run, folder)


def table_command(
    options: Annotated[SubsetOptions, Flat],
    *,
    teacher: Path,
    out: Path,
    draws: int = 8,
) -> None:
    """Write a teacher's outputs for a number of random views to disk, for `distill --table`.

    Args:
        options: images and machine.
        teacher: checkpoint of a teacher (with a trained head, for sskd).
        out: folder of the table; the same command continues one that was interrupted.
        draws: random draws of each image, each of four views.
    """
    network, runtime = load_checkpoint(teacher), options.runtime()
    train, _ = options.images()
    table = cache_teacher(network, train, out, draws=draws, seed=options.seed, runtime=runtime)
    print(f"{table}; written to {out}")


def shards_command(
    *,
    folder: Path,
    out: Path,
    side: int = 256,
    skip_unreadable: bool = False,
    dry_run: bool = False,
) -> None:
    """Resize a folder of images once, into uint8 files that a training maps into memory (--data shards:OUT).

    Args:
        folder: a sub-folder of images for each class, below train/ and val/ or test/ if there are splits.
        out: folder of the result; the same command continues one that was interrupted.
        side: pixels of the square that is kept of each image; views show 7/8 of it (256: 224).
        skip_unreadable: leave out images that cannot be read, instead of stopping at them.
        dry_run: only print how long it would take and how much disk.
    """
    if dry_run:
        print(estimate_shards(folder, out, side=side))
        return
    make_shards(folder, out, side=side, skip_unreadable=skip_unreadable)
    print(f"train with --data shards:{out}")


CARD = ("kind", "model", "method", "teacher", "train", "seed", "recipe", "versions", "runtime", "date")


def evaluate_command(
    checkpoint: tyro.conf.Positional[Path],
    /,
    data: str = "fashion-mnist-lab",
    root: Path | None = None,
    split: str = "test",
    device: str = "auto",
) -> None:
    """Measure a checkpoint on a set of images and print its card.

    Args:
        checkpoint: file of a teacher or a student.
        data: fashion-mnist-lab, grocery, fashion-mnist, cifar10, cifar100, folder:PATH or shards:PATH
        root: folder of the original archives; default: SSKD_DATA, else a download
        split: train or test.
        device: auto, cpu, cuda, mps
    """
    network, card = load_checkpoint(checkpoint), read_card(checkpoint)
    images, runtime = load_images(data, split, root), choose_runtime(device)
    facts = {"model": card["network"]["model"], **card.get("plan", {}), **card}
    figures = evaluate(network, images, runtime) | pretext_figures(network, images, runtime)
    for name in CARD:
        if facts.get(name) is not None:
            print(f"{name:>20}: {facts[name]}")
    for name, value in figures.items():
        print(f"{name:>20}: {value:.3f}")


def reproduce_command(
    plan: Annotated[Plan, Flat],
    options: Annotated[RunOptions, Flat] = OF_TABLES,
    *,
    out: Path,
    dry_run: bool = False,
) -> None:
    """Train the cells of one of the paper's tables and write runs.csv, results.csv, results.md and figures.

    Args:
        plan: cells and epochs.
        options: images and machine; the table imagenet needs shards:PATH.
        out: folder of all runs; the same command continues there and leaves finished runs as they are. A
            teacher from elsewhere goes to OUT/teachers/NAME/head/teacher.safetensors.
        dry_run: print the plan and its cost, timed on this machine; train and write nothing.
    """
    print(describe_plan(plan.cells(), out))  # first: a wrong name is refused before any download
    train, test = (load_images(options.data, split, options.root) for split in ("train", "test"))
    if dry_run:
        cost(plan.cells(), train, out, plan.epochs, runtime=options.runtime())
        return
    from .lab.curves import results_figure  # imports matplotlib, which no other command needs

    command = shlex.join(["python", "-m", "sskd_lib", *sys.argv[1:]])
    for _ in train_cells(plan, train, test, out, **options.keywords()):
        write_results(read_results(out), out, command, read_diverged(out), results_figure)
    print(f"results of {len(read_results(out))} runs: {out / 'results.md'}")
    if diverged := read_diverged(out):
        print(f"{len(diverged)} diverged and were given up; diverged.txt in their folders gives the reason")


def doctor_command() -> None:
    """Check this machine: versions, device, data, weights; explain each problem and its cure."""
    from .lab.diagnosis import doctor

    sys.exit(0 if doctor() else 1)


def report(run: Run, out: Path) -> None:
    """Print the result of a training in two lines."""
    if not current().is_main:
        return
    last, best = run.summary["last"], run.summary["best"]
    if best:
        print(
            f"test accuracy after the last epoch {last['test_accuracy']:.2f} % (the result); "
            f"highest {best['test_accuracy']:.2f} % in epoch {best['epoch']} (recorded only)"
        )
    print(f"{run.summary['epochs']} epochs, {run.summary['card']['seconds']:.0f} s; written to {out}")


def main() -> None:
    """Run a command; a foreseen error is one line on stderr and exit status 2."""
    commands: dict[str, Callable[..., Any]] = {
        "teacher": teacher_command,
        "head": head_command,
        "distill": distill_command,
        "evaluate": evaluate_command,
        "table": table_command,
        "shards": shards_command,
        "reproduce": reproduce_command,
        "doctor": doctor_command,
    }
    try:
        run_command(commands, sys.argv[1:])
    except (ValueError, OSError, CheckpointError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command continues from what is saved, or starts again", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
