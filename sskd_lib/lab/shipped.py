"""The networks that the kit ships: their files, which of them are present, and how to get the others."""

from __future__ import annotations

import os
from pathlib import Path

from ..data.load import DATA_FOLDER

# data set with shipped weights: its teacher
FAMILIES = {"fashion-mnist": "wrn_16_2", "cifar10": "wrn_16_2", "grocery": "wrn_16_2"}
STUDENTS = ("ce", "kd", "kd+rotations", "sskd")  # methods of the shipped students
TEACHER = "teacher_wrn_16_2.safetensors"  # of every data set that FAMILIES gives no other teacher


def dataset_name() -> str:
    """Return the name of the notebooks' images: the environment variable SSKD_DATASET, or the lab pack."""
    return os.environ.get("SSKD_DATASET") or "fashion-mnist-lab"


def weights_folder(dataset: str) -> Path:
    """Return the folder of the shipped weights for a data set; the lab pack uses those of Fashion-MNIST."""
    return DATA_FOLDER / "weights" / dataset.removesuffix("-lab").replace(":", "_").replace(os.sep, "_")


def teacher_file(dataset: str) -> str:
    """Return the file name of the shipped teacher for a data set."""
    model = FAMILIES.get(weights_folder(dataset).name)
    return f"teacher_{model}.safetensors" if model else TEACHER


def student_file(method: str) -> str:
    """Return the file name of the shipped student of a method."""
    return f"student_resnet8_{method}.safetensors"


def shipped_files(dataset: str) -> list[str]:
    """Return the file names of teacher and students for a data set."""
    return [teacher_file(dataset), *map(student_file, STUDENTS)]


def missing_weights(dataset: str) -> list[str]:
    """Return the names of the shipped files that are not present."""
    return [file for file in shipped_files(dataset) if not (weights_folder(dataset) / file).is_file()]


def weights_remedy(dataset: str) -> str:
    """Return in words how to get weights for a data set."""
    family = weights_folder(dataset).name
    if family in FAMILIES:
        return (
            "`git checkout -- data/weights` brings back what the repository ships; "
            f"`python data/make_weights.py {family} teacher`, then `… students`, trains them again."
        )
    *others, last = FAMILIES
    return (
        f"The kit ships weights for {', '.join(others)} and {last} only. Train a teacher with "
        f"`python -m sskd_lib teacher --data {dataset} --out runs/teacher`, its head with `head`; load "
        "them with sskd.load_checkpoint."
    )


def weights_line(dataset: str) -> str:
    """Return in words which shipped weights are present."""
    missing = missing_weights(dataset)
    if not missing:
        return f"teacher and students found ({', '.join(STUDENTS)})"
    if len(missing) == len(shipped_files(dataset)):
        return f"none found in {weights_folder(dataset)}"
    return f"missing from {weights_folder(dataset)}: {', '.join(missing)}"
