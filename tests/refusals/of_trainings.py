"""Bad inputs of a training: networks that are trained already, folders, options, numbers, disks, tables."""

from __future__ import annotations

import copy
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.refusals import command, tried
from helpers.training import SETTINGS, Stop, networks, pictures
from sskd_lib.files import locked, read_tensors, write_atomically, write_tensors
from sskd_lib.losses import create_method
from sskd_lib.recipes import Schedule
from sskd_lib.training import create_network, distill, train_head, train_teacher
from sskd_lib.training.estimate import estimate
from sskd_lib.training.loader import prefetch
from sskd_lib.training.teacher_cache import TeacherTable, cache_teacher, open_table

ONCE = SETTINGS | {"schedule": Schedule(epochs=1, batch_size=8, lr=0.02)}
FEW = pictures(8)


def ce(out: Any = None, **changes: Any) -> None:
    """Train a fresh resnet8 with 8 images for an epoch on labels."""
    distill(create_network("resnet8", FEW), None, FEW, method="ce", out=out, **ONCE | changes)


def sskd(**changes: Any) -> None:
    """Train a fresh student for an epoch with sskd."""
    student, teacher = networks(FEW)
    distill(student, teacher, changes.pop("images", FEW), **ONCE | changes)


def table(folder: Path, **changes: Any) -> TeacherTable:
    """Make a small table of a teacher."""
    teacher = changes.pop("teacher", networks(FEW)[1])
    settings = {"draws": 1, "dtype": torch.float32, "progress": False, **changes}
    return cache_teacher(teacher, FEW, folder / "table", **settings)


# ---- trained again -------------------------------------------------------------------------------


@tried("`distill` with a student that has been trained")
def trained_student(folder: Path) -> None:
    student, _ = networks(FEW)
    for _ in range(2):
        distill(student, None, FEW, method="ce", **ONCE)


@tried("`distill` with a copy of a student that has been trained, and another method")
def copied_student(folder: Path) -> None:
    student, teacher = networks(FEW)
    distill(student, None, FEW, method="ce", **ONCE)
    distill(copy.deepcopy(student), teacher, FEW, **ONCE)


@tried("`distill` again after Ctrl-C, without an output folder")
def interrupted_student(folder: Path) -> None:
    student, _ = networks(FEW)
    with pytest.MonkeyPatch.context() as patch:
        Stop(patch, batch=2)
        with pytest.raises(KeyboardInterrupt):
            distill(student, None, FEW, method="ce", **SETTINGS)
    distill(student, None, FEW, method="ce", **SETTINGS)


@tried("`train_teacher` with a network that has been a student")
def student_as_network(folder: Path) -> None:
    student, _ = networks(FEW)
    distill(student, None, FEW, method="ce", **ONCE)
    train_teacher(student, FEW, **ONCE)


@tried("`train_head` twice with one teacher")
def head_twice(folder: Path) -> None:
    _, teacher = networks(FEW)
    for _ in range(2):
        train_head(teacher, FEW, **ONCE)


@tried("a trained student with another output folder than before")
def trained_student_elsewhere(folder: Path) -> None:
    student, _ = networks(FEW)
    for name in ("one", "two"):
        distill(student, None, FEW, method="ce", out=folder / name, **ONCE)


# ---- output folders ------------------------------------------------------------------------------


@tried("an output folder with somebody's metrics.jsonl and summary.json")
def files_of_a_person(folder: Path) -> None:
    for name in ("metrics.jsonl", "summary.json"):
        (folder / name).write_text("mine")
    ce(folder)


@tried("an output folder with another run's weights and no saved state")
def weights_of_another_run(folder: Path) -> None:
    ce(folder)
    (folder / "resume.pt").unlink()
    ce(folder, seed=1)


@tried("the command `distill` with an output folder that has weights and no saved state")
def weights_and_a_command(folder: Path) -> None:
    (folder / "student.safetensors").write_text("mine")
    command("distill", "--method", "ce", "--labels", 100, "--epochs", 1, "--device", "cpu", "--out", folder)


@tried("an output folder with a state that an earlier version saved")
def earlier_version(folder: Path) -> None:
    (folder / "resume.safetensors").write_bytes(b"")
    ce(folder)


@tried("the output folder of a run with another seed and other epochs")
def other_run(folder: Path) -> None:
    ce(folder)
    ce(folder, seed=1, schedule=Schedule(epochs=2, batch_size=8, lr=0.02))


@tried("the output folder of a run with other images")
def other_images(folder: Path) -> None:
    ce(folder)
    distill(create_network("resnet8", FEW), None, pictures(8, seed=1), method="ce", out=folder, **ONCE)


@tried("the output folder of a teacher for its head")
def head_over_teacher(folder: Path) -> None:
    train_teacher(networks(FEW)[0], FEW, out=folder, **ONCE)
    train_head(networks(FEW)[1], FEW, out=folder, **ONCE)


@tried("the output folder of a run with another backbone")
def other_backbone(folder: Path) -> None:
    ce(folder)
    distill(create_network("resnet14", FEW), None, FEW, method="ce", out=folder, **ONCE)


@tried("a saved state that is cut short")
def cut_state(folder: Path) -> None:
    ce(folder)
    os.truncate(folder / "resume.pt", 1000)
    ce(folder)


@tried("a saved state that is a text file")
def text_as_state(folder: Path) -> None:
    (folder / "resume.pt").write_text("no state")
    ce(folder)


@tried("a saved state of another kind")
def other_state(folder: Path) -> None:
    torch.save({"format": "other"}, folder / "resume.pt")
    ce(folder)


@tried("a saved state that holds code")
def code_as_state(folder: Path) -> None:
    torch.save({"format": Path("a pickled object")}, folder / "resume.pt")
    ce(folder)


@tried("an output folder that another process uses")
def folder_in_use(folder: Path) -> None:
    with locked(folder / ".lock"):
        try:
            ce(folder)
        except OSError as error:  # without what is another in each process
            holder = "process 4711 on lab-3 since 2030-01-31 09:30:00"
            text = re.sub(r"process \d+ on \S+ since .{19}", holder, str(error))
            raise OSError(text) from error


@tried("a file in the place of the output folder")
def file_as_folder(folder: Path) -> None:
    (folder / "run").write_text("")
    ce(folder / "run")


@tried("an output folder below a file")
def folder_below_a_file(folder: Path) -> None:
    (folder / "file").write_text("")
    ce(folder / "file" / "run")


@tried("two students with one output folder")
def one_folder_for_two(folder: Path) -> None:
    pair = [create_network("resnet8", FEW, seed=seed) for seed in (0, 1)]
    distill(pair, None, FEW, method="ce", out=[folder, folder], **ONCE)


@tried("two students and three output folders")
def three_folders_for_two(folder: Path) -> None:
    pair = [create_network("resnet8", FEW, seed=seed) for seed in (0, 1)]
    distill(pair, None, FEW, method="ce", out=["a", "b", "c"], **ONCE)


@tried("a number in the place of the output folder")
def number_as_folder(folder: Path) -> None:
    ce(5)


@tried("a limit on the size of files, or a disk that is full, at the first save")
def limited_files(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        ce(folder / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- options -------------------------------------------------------------------------------------


@tried("`evaluate_every=0`")
def no_tests(folder: Path) -> None:
    ce(evaluate_every=0)


@tried("`evaluate_every=1.5`")
def broken_epochs(folder: Path) -> None:
    ce(evaluate_every=1.5)


@tried("`save_seconds=-1`")
def negative_seconds(folder: Path) -> None:
    ce(save_seconds=-1)


@tried("`save_seconds=nan`")
def no_seconds(folder: Path) -> None:
    ce(save_seconds=float("nan"))


@tried('`save_seconds="ten"`')
def seconds_in_words(folder: Path) -> None:
    ce(save_seconds="ten")


@tried("`seed=0.5`")
def broken_seed(folder: Path) -> None:
    ce(seed=0.5)


@tried("`seed=10**20`")
def huge_seed(folder: Path) -> None:
    ce(seed=10**20)


@tried("the command `distill` with a seed of 20 digits")
def huge_seed_of_a_command(folder: Path) -> None:
    command("distill", "--method", "ce", "--seed", 10**20, "--epochs", 1, "--device", "cpu", "--out", folder)


@tried("a number in the place of `watch`")
def number_as_watch(folder: Path) -> None:
    ce(watch=3)


# ---- numbers that are not finite, memory ---------------------------------------------------------


@tried("a learning rate of 1e12: the test figures are the first to overflow")
def huge_rate(folder: Path) -> None:
    schedule = Schedule(epochs=1, batch_size=64, lr=1e12, milestones=())
    distill(create_network("resnet8", FEW), None, FEW, FEW, method="ce", **ONCE | {"schedule": schedule})


@tried("a learning rate of 1e30")
def huger_rate(folder: Path) -> None:
    ce(schedule=Schedule(epochs=3, batch_size=4, lr=1e30, milestones=()))


@tried("one of two students diverges")
def one_diverges(folder: Path) -> None:
    pair = [create_network("resnet8", FEW, seed=seed) for seed in (0, 1)]
    methods = ["ce", create_method("at", at={"weight": 1e38})]
    distill(pair, networks(FEW)[1], FEW, method=methods, out=folder, **SETTINGS)


@tried("all students diverge, without output folders")
def all_diverge(folder: Path) -> None:
    pair = [create_network("resnet8", FEW, seed=seed) for seed in (0, 1)]
    distill(pair, networks(FEW)[1], FEW, method=create_method("at", at={"weight": 1e38}), **SETTINGS)


@tried("images that do not fit into memory")
def huge_images(folder: Path) -> None:
    pixels = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(8, 1, 2**20, 2**20)
    distill(create_network("resnet8", FEW), None, replace(FEW, images=pixels), method="ce", **ONCE)


@tried("`estimate` without students")
def estimate_of_nothing(folder: Path) -> None:
    estimate([], None, FEW)


@tried("`prefetch(…, depth=0)`")
def no_depth(folder: Path) -> None:
    prefetch([], depth=0)


# ---- tables of a teacher -------------------------------------------------------------------------


@tried("`open_table` of a folder that is not there")
def no_table(folder: Path) -> None:
    open_table(folder / "table")


@tried("`table=` a folder of something else")
def other_folder_as_table(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    sskd(table=folder)


@tried("`table=` a number")
def number_as_table(folder: Path) -> None:
    sskd(table=3)


@tried("`cache_teacher` into a file")
def file_as_table(folder: Path) -> None:
    (folder / "table").write_text("mine")
    table(folder)


@tried("`cache_teacher` into the folder of a table with another seed")
def other_table(folder: Path) -> None:
    table(folder)
    table(folder, seed=1)


@tried("a table whose logits are cut short")
def cut_table(folder: Path) -> None:
    table(folder)
    os.truncate(folder / "table" / "logits.npy", 200)
    sskd(table=folder / "table")


@tried("a table that is unfinished")
def unfinished_table(folder: Path) -> None:
    table(folder)
    card = json.loads((folder / "table" / "card.json").read_text())
    (folder / "table" / "card.json").write_text(json.dumps(card | {"done": 3}))
    sskd(table=folder / "table")


@tried("a table whose card is no JSON")
def card_in_words(folder: Path) -> None:
    table(folder)
    (folder / "table" / "card.json").write_text("done")
    open_table(folder / "table")


@tried("a table of another teacher")
def table_of_another(folder: Path) -> None:
    table(folder)
    other = create_network("resnet8", FEW, projection=True, seed=7)
    other.head_trained = True
    distill(networks(FEW)[0], other, FEW, table=folder / "table", **ONCE)


@tried("a table of other images")
def table_of_other_images(folder: Path) -> None:
    table(folder)
    sskd(images=pictures(8, seed=1), table=folder / "table")


@tried("a table for a method that compares maps")
def maps_from_a_table(folder: Path) -> None:
    table(folder)
    sskd(method="at", table=folder / "table")


@tried("a table without projections for sskd")
def no_projections(folder: Path) -> None:
    table(folder, teacher=create_network("resnet8", FEW))
    distill(networks(FEW)[0], None, FEW, table=folder / "table", **ONCE)


@tried("`cache_teacher` with `draws=0`")
def no_draws(folder: Path) -> None:
    table(folder, draws=0)


@tried("`cache_teacher` with `dtype=torch.bfloat16`")
def other_format(folder: Path) -> None:
    table(folder, dtype=torch.bfloat16)


@tried("`cache_teacher` with outputs too large for float16")
def large_outputs(folder: Path) -> None:
    _, teacher = networks(FEW)
    teacher.backbone.get_parameter(f"{teacher.backbone.classifier_path}.bias").data.fill_(1e6)
    table(folder, teacher=teacher, dtype=torch.float16)


# ---- files ---------------------------------------------------------------------------------------


@tried("`write_atomically` over a folder")
def folder_as_file(folder: Path) -> None:
    (folder / "file" / "more").mkdir(parents=True)
    write_atomically(folder / "file", b"content")


@tried("weights that are cut short")
def cut_weights(folder: Path) -> None:
    path = write_tensors(folder / "net.safetensors", {"weight": torch.zeros(100)}, {})
    os.truncate(path, 200)
    read_tensors(path)


@tried("weights in which a byte has changed")
def changed_weights(folder: Path) -> None:
    path = write_tensors(folder / "net.safetensors", {"weight": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    read_tensors(path)


@tried("weights that are not there, beside others")
def missing_weights(folder: Path) -> None:
    write_tensors(folder / "student.safetensors", {}, {})
    read_tensors(folder / "studnet.safetensors")
