"""Look over this machine: what works, and what to do about what does not."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..data.load import DATA_FOLDER, load_images
from ..files import CheckpointError
from ..models.checkpoint import load_checkpoint
from ..runtime.device import choose_runtime

TEACHER = "teacher_wrn_16_2.safetensors"
STUDENTS = ("ce", "kd", "kd+rotations", "sskd")  # methods of the shipped students
SHIPPED = ("fashion-mnist", "cifar10")
ENVIRONMENT = (
    "Run `make lab` in the repository, or `conda env create -f environment.yml`, and use that Python"
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. `remedy` is empty where all is well."""

    name: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.remedy


def dataset_name() -> str:
    """The images the notebooks use: the environment variable SSKD_DATASET, or the embedded lab pack."""
    return os.environ.get("SSKD_DATASET") or "fashion-mnist-lab"


def weights_folder(dataset: str) -> Path:
    """Where the shipped weights for a data set lie; the lab pack shares those of the full Fashion-MNIST."""
    return DATA_FOLDER / "weights" / dataset.removesuffix("-lab").replace(":", "_").replace(os.sep, "_")


def student_file(method: str) -> str:
    """File name of the shipped student of a method."""
    return f"student_resnet8_{method}.safetensors"


def checks() -> Iterator[Check]:
    """Look at Python, packages, device, disk, images and weights, one after the other."""
    version = sys.version.split()[0]
    new = sys.version_info >= (3, 10)
    yield Check(
        name="Python",
        found=f"{version}, in the environment {Path(sys.prefix).name}",
        remedy="" if new else f"{ENVIRONMENT} 3.10 or newer.",
    )
    enough = torch.torch_version.TorchVersion(torch.__version__) >= (2, 6)
    yield Check(
        name="torch", found=torch.__version__, remedy="" if enough else f"{ENVIRONMENT} (torch 2.6 or newer)."
    )
    for package in ("jupyterlab", "ipywidgets", "matplotlib", "seaborn", "sklearn", "torchvision", "PIL"):
        yield _check_package(package)
    yield Check(name="device", found=f"{device_line()}; {choose_runtime().why}")
    free = shutil.disk_usage(DATA_FOLDER if DATA_FOLDER.exists() else Path.cwd()).free / 2**30
    yield Check(
        name="disk",
        found=f"{free:.1f} GiB free",
        remedy="" if free > 1 else "Free at least 1 GiB of disk space.",
    )
    yield _check_images(dataset_name())
    yield from _check_weights(dataset_name())


def doctor() -> bool:
    """Print every check, with a remedy beside each problem. Returns whether all is well."""
    bad = 0
    for check in checks():
        print(f"{'[ok]     ' if check.ok else '[PROBLEM]'} {check.name}: {check.found}")
        if not check.ok:
            bad += 1
            print(f"          -> {check.remedy}")
    print("All is well." if not bad else f"{bad} problem{'s' * (bad > 1)}; what to do stands beside each.")
    return not bad


def device_line() -> str:
    """Device and number format in words, as `choose_runtime` picks them."""
    runtime = choose_runtime()
    if runtime.device.type == "cuda":
        where = torch.cuda.get_device_name(runtime.device)
    elif runtime.device.type == "mps":
        where = "Apple GPU (mps)"
    else:
        threads = runtime.threads or torch.get_num_threads()
        where = f"CPU, {threads} thread{'s' * (threads > 1)}, no GPU (none is needed)"
    return f"{where}; numbers in {replace(runtime, threads=None).in_words()}"


def missing_weights(dataset: str) -> list[str]:
    """Names of the shipped files that are not there."""
    folder = weights_folder(dataset)
    return [f for f in (TEACHER, *map(student_file, STUDENTS)) if not (folder / f).is_file()]


def weights_remedy(dataset: str) -> str:
    """How to come by weights for a data set."""
    family = weights_folder(dataset).name
    if family in SHIPPED:
        return (
            "`git checkout -- data/weights` brings back what the repository ships; "
            f"`python data/make_weights.py {family} teacher`, then `… students`, trains them anew."
        )
    return (
        f"The kit ships weights for {' and '.join(SHIPPED)} only. Train a teacher with "
        f"`python -m sskd_lib teacher --data {dataset} --out runs/teacher`, its head with `head`; load "
        "them with sskd.load_checkpoint."
    )


def weights_line(dataset: str) -> str:
    """Which shipped weights are there, in words."""
    missing = missing_weights(dataset)
    if not missing:
        return f"teacher and students found ({', '.join(STUDENTS)})"
    if len(missing) == 1 + len(STUDENTS):
        return f"none found in {weights_folder(dataset)}"
    return f"missing from {weights_folder(dataset)}: {', '.join(missing)}"


def _check_package(package: str) -> Check:
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken binary raises anything
        return Check(
            name=package, found=f"not usable: {type(error).__name__}: {error}", remedy=f"{ENVIRONMENT}."
        )
    name = {"sklearn": "scikit-learn", "PIL": "pillow"}.get(package, package)
    return Check(name=name, found=importlib.metadata.version(name))


def _check_images(dataset: str) -> Check:
    try:
        train, test = load_images(dataset, "train"), load_images(dataset, "test")
    except (ValueError, OSError) as error:
        return Check(
            name="images",
            found=f"{dataset} cannot be loaded",
            remedy=f"{error} Or leave SSKD_DATASET unset for the embedded images.",
        )
    return Check(name="images", found=f"{dataset}: {len(train):,} for training, {len(test):,} for testing")


def _check_weights(dataset: str) -> Iterator[Check]:
    folder, missing = weights_folder(dataset), missing_weights(dataset)
    shipped = folder.name in SHIPPED
    remedy = weights_remedy(dataset) if missing and shipped else ""
    note = "" if shipped else f". {weights_remedy(dataset)}"
    yield Check(name="weights", found=weights_line(dataset) + note, remedy=remedy)
    for file in (TEACHER, *map(student_file, STUDENTS)):
        if file not in missing:
            try:
                load_checkpoint(folder / file)
            except (CheckpointError, OSError) as error:
                told = f"{error} {weights_remedy(dataset)}"
                yield Check(name="weights", found=f"{file} cannot be read", remedy=told)
