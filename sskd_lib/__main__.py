"""The command line: python -m sskd_lib teacher | head | distill | evaluate | table | shards |
reproduce | doctor."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import field
from pathlib import Path
from typing import Annotated

import tyro

from .data.images import ImageSet
from .data.load import load_images
from .data.sharding import estimate_shards, make_shards
from .data.shards import Shards
from .evaluation import evaluate, pretext_accuracy
from .files import CheckpointError
from .losses import create_method
from .models.checkpoint import load_checkpoint, read_card
from .recipes import HEAD, PRESETS, STUDENT, Recipe, Schedule
from .reproduce.cells import (
    cost,
    describe_plan,
    make_teacher,
    plan_cells,
    read_diverged,
    read_results,
    teacher_file,
    teachers_of,
    train_cell,
)
from .reproduce.paper import schedule_for
from .reproduce.results import write_results
from .runtime.device import Runtime, choose_runtime
from .runtime.distributed import local_device, processes, world
from .training.estimate import estimate
from .training.records import Run, TrainingError
from .training.table import cache_teacher
from .training.train import create_network, distill, train_head, train_teacher

Flat = tyro.conf.arg(name="")  # its fields become plain options: --epochs, --lr, …


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """Options every training takes."""

    # fashion-mnist-lab, fashion-mnist, cifar10, cifar100, folder:PATH or shards:PATH
    data: str = "fashion-mnist-lab"
    root: Path | None = None  # where the original archives lie; else SSKD_DATA, else downloaded
    labels: int | None = None  # use only this many training images, the same number of each class
    label_noise: float = 0.0  # share of the training labels that is replaced by a wrong one
    held_out: float = 0.0  # share of the training images set aside and tested on INSTEAD of the test set
    seed: int = 0  # initial weights, subset, order and augmentation
    device: str = "auto"  # auto, cpu, cuda, mps
    exact: bool = False  # plain float32, the slow reference
    evaluate_every: int = 1  # epochs between tests
    save_seconds: float = 10.0  # least time between two saves of the state that a killed run resumes from
    schedule: Annotated[Schedule, Flat] = field(default=STUDENT)

    def images(self) -> tuple[ImageSet, ImageSet]:
        """(train, test) as the options ask for."""
        train = load_images(self.data, "train", self.root)
        if self.held_out:
            train, test = train.split(self.held_out, seed=0)
        else:
            test = load_images(self.data, "test", self.root)
        if self.labels is not None:
            train = train.take(self.labels, seed=self.seed)
        if self.label_noise:
            train = train.with_label_noise(self.label_noise, seed=self.seed)
        return train, test


def teacher(common: Annotated[Common, Flat], *, out: Path, model: str = "wrn_16_2") -> None:
    """Train a teacher on labels; its projection head stays untrained until `head`."""
    with processes(common.device):
        train, test = common.images()
        network = create_network(model, train, projection=True, seed=common.seed)
        report(train_teacher(network, train, test, out=out, **_options(common)), out)


def head(
    teacher: Path,
    common: Annotated[Common, Flat] = Common(schedule=HEAD),  # noqa: B008 - frozen
    *,
    out: Path,
    task: str = "contrastive",
) -> None:
    """Train the head of a frozen teacher by a pretext task.

    Args:
        teacher: checkpoint of a teacher; for another task than the contrastive one it gets a fresh head.
        out: folder for the teacher with its head; the training resumes there.
        task: contrastive, exemplar, jigsaw, rotation (the methods sskd, sskd-exemplar, …), or joint (hsakd).
    """
    with processes(common.device):
        train, test = common.images()
        report(train_head(load_checkpoint(teacher), train, test, out=out, task=task, **_options(common)), out)


def distill_command(
    common: Annotated[Common, Flat],
    *,
    out: Path,
    teacher: Path | None = None,
    table: Path | None = None,
    student: tuple[str, ...] = ("resnet8",),
    method: tuple[str, ...] = ("sskd",),
    first_weights: tuple[int, ...] = (),
    preset: str = "official-code",
    override: dict[str, float] = {},  # noqa: B006 - never changed
    dry_run: bool = False,
) -> None:
    """Train a student, or several that share their teacher's forward passes.

    Args:
        out: folder for the result, with sub-folders 1, 2, … for several students; it resumes there.
        teacher: checkpoint of a teacher with a trained head (not needed for ce, nor with a table).
        table: folder of a teacher table made by the command `table`, in place of the teacher.
        student: names of the backbones; one for all students or one each.
        method: ce, kd, kd+rotations, sskd, or one of the zoo (fitnet, at, dkd, …; an unknown name lists all),
            also joined, as in sskd+dkd; one for all students or one each. sskd-exemplar, sskd-jigsaw,
            sskd-rotation and hsakd want a teacher from `head --task`.
        first_weights: seeds of the students' first weights, one each; else all take --seed.
        preset: weights of the terms: official-code, arxiv or eccv-supp.
        override: numbers of the preset to change, for example --override ss 5 ss_keep_wrong 0.5
        dry_run: time a few steps and say what the whole training would take; write nothing.
    """
    recipe = make_recipe(preset, override)
    plans = line_up(student, method, first_weights or (common.seed,))
    made = [create_method(name, recipe) for _, name, _ in plans]
    taught_by = load_checkpoint(teacher) if teacher else None
    if taught_by is not None and any(m.needs_projection for m in made):
        check_head_is_trained(teacher)
    with processes(common.device):
        train, test = common.images()
        students = [
            create_network(name, train, projection=m.needs_projection, seed=seed)
            for (name, _, seed), m in zip(plans, made, strict=True)
        ]
        options = {"method": [m.name for m in made], "recipe": recipe, "table": table, **_options(common)}
        if dry_run and world().size > 1:
            raise ValueError("a dry run times one process; call it without torchrun.")
        if dry_run or (isinstance(train.images, Shards) and world().size == 1):
            print(estimate(students, taught_by, train, **options))
        if dry_run:
            return
        several = len(students) > 1
        runs = distill(students, taught_by, train, test, out=out if several else [out], **options)
        for number, run in enumerate(runs, start=1):
            report(run, out / str(number) if several else out)


def line_up(
    students: tuple[str, ...], methods: tuple[str, ...], seeds: tuple[int, ...]
) -> list[tuple[str, str, int]]:
    """(backbone, method, seed of the first weights) of each student: single entries serve all of them."""
    count = max(len(students), len(methods), len(seeds))
    columns = []
    for name, values in (("--student", students), ("--method", methods), ("--first-weights", seeds)):
        if len(values) not in (1, count):
            raise ValueError(
                f"{name} has {len(values)} entries for {count} students: give one each, or one for all."
            )
        columns.append(values * (count // len(values)))
    return list(zip(*columns, strict=True))


def table_command(
    teacher: Path,
    common: Annotated[Common, Flat],
    *,
    out: Path,
    draws: str = "8",
) -> None:
    """Write a teacher's outputs for a finite set of views to disk, for `distill --table`.

    Args:
        teacher: checkpoint of a teacher (with a trained head, for sskd).
        out: folder of the table; the same command goes on with one that was cut off.
        draws: random draws an image, each of four views, or "all" for every view there is.
    """
    if draws != "all" and not draws.isdecimal():
        raise ValueError(f"--draws is a number of draws an image, or all, not {draws!r}.")
    train, _ = common.images()
    made = cache_teacher(
        load_checkpoint(teacher),
        train,
        out,
        draws="all" if draws == "all" else int(draws),
        seed=common.seed,
        runtime=_runtime(common),
    )
    print(f"{made}; written to {out}")


def shards_command(
    folder: Path,
    *,
    out: Path,
    side: int = 256,
    images_a_shard: int = 1024,
    skip_unreadable: bool = False,
    dry_run: bool = False,
) -> None:
    """Resize a folder of images once, into uint8 files that a training maps into memory (--data shards:OUT).

    Args:
        folder: a sub-folder of images for each class, below train/ and val/ or test/ if wished.
        out: folder of the shards; the same command goes on with one that was cut off.
        side: pixels of the square that is kept of each image; views show 7/8 of it (256: 224).
        skip_unreadable: leave images that cannot be read out, instead of stopping at them.
        dry_run: only say how long it would take and how much disk.
    """
    if dry_run:
        print(estimate_shards(folder, out, side=side, images_a_shard=images_a_shard))
        return
    make_shards(folder, out, side=side, images_a_shard=images_a_shard, skip_unreadable=skip_unreadable)
    print(f"train with --data shards:{out}")


def evaluate_command(
    checkpoint: tyro.conf.Positional[Path],
    /,
    data: str = "fashion-mnist-lab",
    root: Path | None = None,
    split: str = "test",
    device: str = "auto",
) -> None:
    """Measure a checkpoint on a set of images and print its card."""
    network, card = load_checkpoint(checkpoint), read_card(checkpoint)
    images, runtime = load_images(data, split, root), choose_runtime(device)
    facts = {"model": card["network"]["model"], **card.get("plan", {}), **card}
    for name in (
        "kind",
        "model",
        "method",
        "teacher",
        "train",
        "seed",
        "recipe",
        "versions",
        "runtime",
        "date",
    ):
        if facts.get(name) is not None:
            print(f"{name:>20}: {facts[name]}")
    figures = evaluate(network, images, runtime)
    if network.head is not None and network.task != "exemplar":
        size = min(64, len(images))
        figures[f"{network.task}_accuracy"] = pretext_accuracy(network, images, size, runtime)
        classes = size if network.task == "contrastive" else network.spec["projection"]["outputs"]
        figures["by_chance"] = 100 / classes
    for name, value in figures.items():
        print(f"{name:>20}: {value:.3f}")


def reproduce_command(
    *,
    out: Path,
    table: str,
    pairs: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    seeds: int = 3,
    shard: str = "1/1",
    data: str = "cifar100",
    root: Path | None = None,
    labels: int | None = None,
    epochs: int | None = None,
    teacher_epochs: int | None = None,
    device: str = "auto",
    exact: bool = False,
    evaluate_every: int = 10,
    save_seconds: float = 10.0,
    dry_run: bool = False,
) -> None:
    """Train the cells of one of the paper's tables and write runs.csv, results.csv, results.md and figures.

    Args:
        out: folder of all runs; the same command goes on there and leaves alone what is done. A teacher of
            one's own goes to OUT/teachers/NAME/head/teacher.safetensors.
        table: similar, cross, imagenet, pretext, few-shot or noisy.
        pairs: TEACHER:STUDENT, in place of the table's pairs.
        methods: in place of the table's methods; names as in distill.
        seeds: trainings a cell gets: first weights, order, subset, noise. The teacher is the same for all.
        shard: i/n, the i-th of n parts of the cells, for several machines with one folder; train the teachers
            first, by one machine (n = 1 does both).
        data: what to train on; the table's own is cifar100, or shards:PATH for imagenet.
        labels: so many labelled images for the students, the same number of each class; the teacher has all.
        epochs: of the students, in place of the published number; cuts of the rate keep their shares.
        teacher_epochs: of the teachers, in place of the published number.
        evaluate_every: epochs between tests.
        dry_run: print the plan and what it would cost, timed on this machine; train and write nothing.
    """
    cells = plan_cells(table, pairs, methods, seeds, labels, shard)
    train, test = (load_images(data, split, root) for split in ("train", "test"))
    print(describe_plan(cells, out))
    runtime = choose_runtime(device, exact=exact)
    if dry_run:
        cost(cells, train, out, epochs, runtime=runtime)
        return
    options = {"runtime": runtime, "evaluate_every": evaluate_every, "save_seconds": save_seconds}
    for name, task in teachers_of(cells):
        path = teacher_file(out, name, task)
        if shard != "1/1" and not path.exists():
            raise ValueError(
                f"the teacher {name} with a head for the task {task} is not in {out} yet, and {shard} is one "
                f"of several machines. Put a checkpoint at {path}, or run the command once without --shard, "
                "which begins with the teachers."
            )
        make_teacher(name, train, test, out, teacher_epochs, task, **options)
    for cell in cells:
        train_cell(cell, train, test, out, schedule_for(cell.pair.student, epochs), **options)
        command = shlex.join(["python", "-m", "sskd_lib", *sys.argv[1:]])
        write_results(read_results(out), out, command, read_diverged(out))
    lost = len(read_diverged(out))
    print(
        f"results of {len(read_results(out))} runs: {out / 'results.md'}"
        + (f"; {lost} diverged and were given up (diverged.txt in their folders says why)" if lost else "")
    )


def doctor_command() -> None:
    """Check this machine: versions, device, data, weights; say what to do about each problem."""
    from .lab.doctor import doctor

    sys.exit(0 if doctor() else 1)


def make_recipe(preset: str, override: dict[str, float]) -> Recipe:
    """A preset with some of its numbers replaced. Raises ValueError for an unknown preset or number."""
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; the presets are: {', '.join(PRESETS)}.")
    known = [f.name for f in dataclasses.fields(Recipe)]
    unknown = [name for name in override if name not in known]
    if unknown:
        raise ValueError(f"a recipe has no number {', '.join(unknown)}; it has: {', '.join(known)}.")
    return dataclasses.replace(PRESETS[preset], **override)


def check_head_is_trained(teacher: Path) -> None:
    """Raise ValueError for a checkpoint of the command `teacher`: L_ss would imitate its untrained head."""
    card = read_card(teacher)
    if card.get("kind") == "teacher" and "head" not in card.get("stages", {}):
        raise ValueError(
            f"the projection head in {teacher} is not trained yet. Run `python -m sskd_lib head --teacher "
            f"{teacher} --out FOLDER` first, and give its teacher.safetensors to distill."
        )


def report(run: Run, out: Path) -> None:
    """Print the result of a training in two lines."""
    if not world().leads:
        return
    last, best = run.summary["last"], run.summary["best"]
    if best:
        print(
            f"test accuracy after the last epoch {last['test_accuracy']:.2f} % (the result); "
            f"highest {best['test_accuracy']:.2f} % in epoch {best['epoch']} (recorded only)"
        )
    print(f"{run.summary['epochs']} epochs, {run.summary['card']['seconds']:.0f} s; written to {out}")


def _options(common: Common) -> dict:
    return {
        "schedule": common.schedule,
        "seed": common.seed,
        "runtime": _runtime(common),
        "evaluate_every": common.evaluate_every,
        "save_seconds": common.save_seconds,
    }


def _runtime(common: Common) -> Runtime:
    """The format for this machine: every process computes in the leading one's, on a device of its own."""
    device = local_device(common.device)
    chosen = world().tell(choose_runtime(device, exact=common.exact) if world().leads else None)
    return dataclasses.replace(chosen, device=choose_runtime(device, exact=True).device)


def main() -> None:
    """Run a subcommand; a foreseen error is one line on stderr and exit status 2."""
    commands = {
        "teacher": teacher,
        "head": head,
        "distill": distill_command,
        "evaluate": evaluate_command,
        "table": table_command,
        "shards": shards_command,
        "reproduce": reproduce_command,
        "doctor": doctor_command,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m sskd_lib", description=__doc__)
    except (ValueError, OSError, CheckpointError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what was saved last", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
