"""The command line: python -m sskd_lib teacher | head | distill | evaluate | doctor."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import field
from pathlib import Path
from typing import Annotated

import tyro

from .checkpoints import CheckpointError, load_checkpoint, read_card
from .data import ImageSet, load_images
from .evaluation import contrastive_accuracy, evaluate
from .loop import Run, TrainingError
from .losses import create_method
from .recipes import HEAD, PRESETS, STUDENT, Recipe, Schedule
from .runtime import choose_runtime
from .training import create_network, distill, train_head, train_teacher

Flat = tyro.conf.arg(name="")  # its fields become plain options: --epochs, --lr, …


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """Options every training takes."""

    data: str = "fashion-mnist-lab"  # fashion-mnist-lab, fashion-mnist, cifar10, cifar100, folder:PATH
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
    train, test = common.images()
    network = create_network(model, train, projection=True, seed=common.seed)
    report(train_teacher(network, train, test, out=out, **_options(common)), out)


def head(
    teacher: Path,
    common: Annotated[Common, Flat] = Common(schedule=HEAD),  # noqa: B008 - frozen
    *,
    out: Path,
) -> None:
    """Train the projection head of a frozen teacher by the contrastive task."""
    train, test = common.images()
    report(train_head(load_checkpoint(teacher), train, test, out=out, **_options(common)), out)


def distill_command(
    common: Annotated[Common, Flat],
    *,
    out: Path,
    teacher: Path | None = None,
    student: str = "resnet8",
    method: str = "sskd",
    preset: str = "official-code",
    override: dict[str, float] = {},  # noqa: B006 - never changed
) -> None:
    """Train a student.

    Args:
        out: folder for the result; the same command resumes there after a kill.
        teacher: checkpoint of a teacher with a trained head (not needed for ce).
        student: name of the backbone.
        method: ce, kd, kd+rotations or sskd.
        preset: weights of the terms: official-code, arxiv or eccv-supp.
        override: numbers of the preset to change, for example --override ss 5 ss_keep_wrong 0.5
    """
    recipe = make_recipe(preset, override)
    made = create_method(method, recipe)
    train, test = common.images()
    network = create_network(student, train, projection=made.needs_projection, seed=common.seed)
    taught_by = load_checkpoint(teacher) if teacher else None
    if taught_by is not None and made.needs_projection:
        check_head_is_trained(teacher)
    report(
        distill(network, taught_by, train, test, method=method, recipe=recipe, out=out, **_options(common)),
        out,
    )


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
    if network.head is not None:
        size = min(64, len(images))
        figures["contrastive_accuracy"] = contrastive_accuracy(network, images, size, runtime)
        figures["by_chance"] = 100 / size
    for name, value in figures.items():
        print(f"{name:>20}: {value:.3f}")


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
        "runtime": choose_runtime(common.device, exact=common.exact),
        "evaluate_every": common.evaluate_every,
        "save_seconds": common.save_seconds,
    }


def main() -> None:
    """Run a subcommand; a foreseen error is one line on stderr and exit status 2."""
    commands = {
        "teacher": teacher,
        "head": head,
        "distill": distill_command,
        "evaluate": evaluate_command,
        "doctor": doctor_command,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m sskd_lib", description=__doc__)
    except (ValueError, OSError, CheckpointError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last saved epoch", file=sys.stderr)
        sys.exit(130)
