"""Diagnose this machine: which parts work, and what to do about those that do not."""

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
from ..runtime.device import Runtime, choose_runtime
from .shipped import (
    FAMILIES,
    dataset_name,
    missing_weights,
    shipped_files,
    weights_folder,
    weights_line,
    weights_remedy,
)

PACKAGES = ("jupyterlab", "ipywidgets", "matplotlib", "seaborn", "sklearn", "torchvision", "PIL")
ENVIRONMENT = (
    "Run `make lab` in the repository, or `conda env create -f environment.yml`, and use that Python"
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: its name, its result in words, and a remedy, which is empty where all is well."""

    name: str
    result: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.remedy


def checks() -> Iterator[Check]:
    """Check Python, packages, device, disk, images and weights, one after the other."""
    yield Check(
        name="Python",
        result=f"{sys.version.split()[0]}, in the environment {Path(sys.prefix).name}",
        remedy="" if sys.version_info >= (3, 10) else f"{ENVIRONMENT} 3.10 or newer.",
    )
    recent = torch.torch_version.TorchVersion(torch.__version__) >= (2, 6)
    remedy = "" if recent else f"{ENVIRONMENT} (torch 2.6 or newer)."
    yield Check(name="torch", result=torch.__version__, remedy=remedy)
    for package in PACKAGES:
        if not (package == "jupyterlab" and in_colab()):  # Colab has a front end of its own
            yield _check_package(package)
    yield from _check_sliders()
    runtime = choose_runtime()
    yield Check(name="device", result=f"{device_line(runtime)}; {runtime.why}")
    free = shutil.disk_usage(DATA_FOLDER if DATA_FOLDER.exists() else Path.cwd()).free / 2**30
    remedy = "" if free > 1 else "Free at least 1 GiB of disk space."
    yield Check(name="disk", result=f"{free:.1f} GiB free", remedy=remedy)
    yield _check_images(dataset_name())
    yield from _check_weights(dataset_name())


def doctor() -> bool:
    """Print every check, with a remedy beside each problem. Return whether all is well."""
    problems = 0
    for check in checks():
        print(f"{'[ok]     ' if check.ok else '[PROBLEM]'} {check.name}: {check.result}")
        if not check.ok:
            problems += 1
            print(f"          -> {check.remedy}")
    many = f"{problems} problem{'s' * (problems > 1)}; each has its remedy below it."
    print(many if problems else "All is well.")
    return not problems


def device_line(runtime: Runtime) -> str:
    """Return device and number format in words."""
    if runtime.device.type == "cuda":
        device = torch.cuda.get_device_name(runtime.device)
    elif runtime.device.type == "mps":
        device = "Apple GPU (mps)"
    else:
        threads = runtime.threads or torch.get_num_threads()
        device = f"CPU, {threads} thread{'s' * (threads > 1)}, no GPU (none is needed)"
    return f"{device}; numbers in {replace(runtime, threads=None).in_words()}"


def in_colab() -> bool:
    """Return whether this Python runs in Google Colab, by the variable that Colab sets."""
    return "COLAB_RELEASE_TAG" in os.environ


def _check_package(package: str) -> Check:
    name = {"sklearn": "scikit-learn", "PIL": "pillow"}.get(package, package)
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken binary raises anything
        result = f"not usable: {type(error).__name__}: {error}"
        remedy = f"Run `!pip install {name}` in a cell." if in_colab() else f"{ENVIRONMENT}."
        return Check(name=package, result=result, remedy=remedy)
    return Check(name=name, result=importlib.metadata.version(name))


def _check_sliders() -> Iterator[Check]:
    """Find widgets that are too old for JupyterLab 4. Colab shows those of ipywidgets 7 itself."""
    try:
        jupyterlab, widgets = (importlib.metadata.version(name) for name in ("jupyterlab", "ipywidgets"))
    except importlib.metadata.PackageNotFoundError:
        return  # its own check says so
    lab, major = (int(version.partition(".")[0]) for version in (jupyterlab, widgets))
    if lab >= 4 and major < 8 and not in_colab():
        result = f"ipywidgets {widgets} shows none in JupyterLab {jupyterlab}, which needs ipywidgets 8"
        remedy = f"Run `{sys.executable} -m pip install --upgrade ipywidgets`, then restart JupyterLab."
        yield Check(name="sliders", result=result, remedy=remedy)


def _check_images(dataset: str) -> Check:
    try:
        train, test = load_images(dataset, "train"), load_images(dataset, "test")
    except (ValueError, OSError) as error:
        remedy = f"{error} Or leave SSKD_DATASET unset for the embedded images."
        return Check(name="images", result=f"{dataset} cannot be loaded", remedy=remedy)
    return Check(name="images", result=f"{dataset}: {len(train):,} for training, {len(test):,} for testing")


def _check_weights(dataset: str) -> Iterator[Check]:
    folder, missing, remedy = weights_folder(dataset), missing_weights(dataset), weights_remedy(dataset)
    shipped = folder.name in FAMILIES
    result = weights_line(dataset) + ("" if shipped else f". {remedy}")
    yield Check(name="weights", result=result, remedy=remedy if missing and shipped else "")
    for file in shipped_files(dataset):
        if file not in missing:
            try:
                load_checkpoint(folder / file)
            except (CheckpointError, OSError) as error:
                yield Check(name="weights", result=f"{file} cannot be read", remedy=f"{error} {remedy}")
