"""Bad options and arguments of the commands."""

from __future__ import annotations

import os
from pathlib import Path

from helpers.refusals import command, tried
from sskd_lib import create_network, load_images
from sskd_lib.models.checkpoint import save_checkpoint

SMALL = ("--model", "resnet8", "--labels", 10, "--epochs", 1, "--device", "cpu")


def teacher_of(folder: Path) -> Path:
    """A teacher without a trained head."""
    network = create_network("resnet8", load_images("fashion-mnist-lab").take(10), projection=True)
    return save_checkpoint(folder / "teacher.safetensors", network, {"kind": "teacher", "stages": {}})


# ---- names ---------------------------------------------------------------------------------------


@tried("a command that is misspelt")
def misspelt_command(folder: Path) -> None:
    command("distil", "--out", "run")


@tried("an option in front of the command")
def option_before_command(folder: Path) -> None:
    command("--out", "run", "teacher")


@tried("`distill` with a method's name in capitals")
def method_in_capitals(folder: Path) -> None:
    command("distill", "--method", "SSKD", "--epochs", 1, "--out", folder / "run")


@tried("`distill --method KD`")
def kd_in_capitals(folder: Path) -> None:
    command("distill", "--method", "KD", "--out", "run")


@tried("`distill --method kd+kd`")
def the_same_method_twice(folder: Path) -> None:
    command("distill", "--method", "kd+kd", "--out", "run")


@tried("`distill --method at+sskd`, in the wrong order")
def base_comes_last(folder: Path) -> None:
    command("distill", "--method", "at+sskd", "--out", "run")


@tried("`distill --method sskd,kd`, with a comma")
def methods_with_comma(folder: Path) -> None:
    command("distill", "--method", "sskd,kd", "--out", "run")


@tried("`distill --method` without a name")
def no_method(folder: Path) -> None:
    command("distill", "--out", "run", "--method")


@tried("two students and three methods")
def students_and_methods(folder: Path) -> None:
    command("distill", "--student", "resnet8", "resnet14", "--method", "ce", "kd", "at", "--out", "run")


@tried("`distill --student Resnet-9`")
def unknown_student(folder: Path) -> None:
    command("distill", "--method", "ce", "--student", "Resnet-9", "--out", "run", "--labels", 10)


@tried("`teacher --model ResNet8`")
def model_in_capitals(folder: Path) -> None:
    command("teacher", "--out", "run", "--model", "ResNet8")


@tried("`teacher --data CIFAR10`")
def data_in_capitals(folder: Path) -> None:
    command("teacher", "--out", "run", "--data", "CIFAR10")


@tried("`teacher --data` with the path of a folder, without folder:")
def data_without_kind(folder: Path) -> None:
    (folder / "pictures").mkdir()
    command("teacher", "--out", "run", "--data", "pictures")


@tried("`distill --preset Official-Code`")
def preset_in_capitals(folder: Path) -> None:
    command("distill", "--preset", "Official-Code", "--out", "run")


@tried("`distill --override kd_temprature 3`")
def misspelt_number(folder: Path) -> None:
    command("distill", "--override", "kd_temprature", 3, "--out", "run")


@tried("`teacher --schedule shrot`")
def misspelt_schedule(folder: Path) -> None:
    command("teacher", "--out", "run", "--schedule", "shrot")


@tried("`head --task contrastiv`")
def misspelt_task(folder: Path) -> None:
    command("head", "--teacher", teacher_of(folder), "--out", "run", "--task", "contrastiv")


@tried("`teacher --device gpu`")
def device_gpu(folder: Path) -> None:
    command("teacher", "--out", "run", "--device", "gpu", *SMALL[:6])


@tried("`evaluate --split valid`")
def unknown_split(folder: Path) -> None:
    command("evaluate", teacher_of(folder), "--split", "valid", "--device", "cpu")


@tried("`reproduce --table Similar`")
def table_in_capitals(folder: Path) -> None:
    command("reproduce", "--table", "Similar", "--out", "run")


@tried("`reproduce --pairs wrn_40_2:ShufleV1`")
def misspelt_pair(folder: Path) -> None:
    command("reproduce", "--table", "cross", "--pairs", "wrn_40_2:ShufleV1", "--out", "run")


@tried("`reproduce --pairs wrn_40_2`, half a pair")
def half_a_pair(folder: Path) -> None:
    command("reproduce", "--table", "cross", "--pairs", "wrn_40_2", "--out", "run")


@tried("`reproduce --methods kd crdd`")
def misspelt_method_of_a_table(folder: Path) -> None:
    command("reproduce", "--table", "cross", "--methods", "kd", "crdd", "--out", "run")


# ---- options -------------------------------------------------------------------------------------


@tried("`distill --lables 300`")
def misspelt_option(folder: Path) -> None:
    command("distill", "--lables", 300, "--out", "run")


@tried("`teacher --Epochs 3`")
def option_in_capitals(folder: Path) -> None:
    command("teacher", "--Epochs", 3, "--out", "run")


@tried("`teacher --temperature 4`, an option of nothing")
def unknown_option(folder: Path) -> None:
    command("teacher", "--temperature", 4, "--out", "run")


@tried("`table --epochs 3`, an option of trainings")
def option_of_others(folder: Path) -> None:
    command("table", "--teacher", "t.safetensors", "--out", "run", "--epochs", 3)


@tried("`teacher` without --out")
def no_out(folder: Path) -> None:
    command("teacher", "--model", "resnet8")


@tried("`teacher run`, a path without its option")
def path_without_option(folder: Path) -> None:
    command("teacher", "run")


@tried("`evaluate` without a checkpoint")
def no_checkpoint(folder: Path) -> None:
    command("evaluate")


@tried("`evaluate` with two checkpoints")
def two_checkpoints(folder: Path) -> None:
    command("evaluate", "a.safetensors", "b.safetensors")


@tried("`teacher --labels` without a number")
def option_without_value(folder: Path) -> None:
    command("teacher", "--out", "run", "--labels")


# ---- numbers -------------------------------------------------------------------------------------


@tried("`teacher --epochs x`")
def epochs_in_letters(folder: Path) -> None:
    command("teacher", "--out", "run", "--epochs", "x")


@tried("`teacher --epochs 1.5`")
def part_of_an_epoch(folder: Path) -> None:
    command("teacher", "--out", "run", "--epochs", 1.5)


@tried("`teacher --epochs 0`")
def no_epochs(folder: Path) -> None:
    command("teacher", "--out", "run", "--epochs", 0)


@tried("`teacher --batch-size -4`")
def negative_batch(folder: Path) -> None:
    command("teacher", "--out", "run", "--batch-size", -4)


@tried("`teacher --lr 0,05`, a comma for the point")
def comma_for_point(folder: Path) -> None:
    command("teacher", "--out", "run", "--lr", "0,05")


@tried("`teacher --lr nan`")
def lr_not_a_number(folder: Path) -> None:
    command("teacher", "--out", "run", "--lr", "nan")


@tried("`teacher --milestones 150 180 210`, epochs for fractions")
def milestones_in_epochs(folder: Path) -> None:
    command("teacher", "--out", "run", "--milestones", 150, 180, 210)


@tried("`teacher --milestones half`")
def milestone_in_letters(folder: Path) -> None:
    command("teacher", "--out", "run", "--milestones", "half")


@tried("`teacher --seed 20261125133000`, date and time")
def long_seed(folder: Path) -> None:
    command("teacher", "--out", "run", "--seed", 20261125133000, *SMALL)


@tried("`teacher --seed` with 30 digits")
def endless_seed(folder: Path) -> None:
    command("teacher", "--out", "run", "--seed", "1" * 30)


@tried("`teacher --labels 0`")
def no_labels(folder: Path) -> None:
    command("teacher", "--out", "run", "--labels", 0)


@tried("`teacher --label-noise 50`, percent for a fraction")
def noise_in_percent(folder: Path) -> None:
    command("teacher", "--out", "run", "--label-noise", 50)


@tried("`teacher --held-out 1`")
def all_held_out(folder: Path) -> None:
    command("teacher", "--out", "run", "--held-out", 1)


@tried("`teacher --evaluate-every 0`")
def no_tests(folder: Path) -> None:
    command("teacher", "--out", "run", "--evaluate-every", 0, *SMALL)


@tried("`teacher --save-seconds nan`")
def never_saved(folder: Path) -> None:
    command("teacher", "--out", "run", "--save-seconds", "nan", *SMALL)


@tried("`distill --first-weights 1.5`")
def part_of_a_seed(folder: Path) -> None:
    command("distill", "--out", "run", "--first-weights", 1.5)


@tried("`distill --override ss`, a name without a number")
def name_without_number(folder: Path) -> None:
    command("distill", "--out", "run", "--override", "ss")


@tried("`distill --override ss ten`")
def number_in_letters(folder: Path) -> None:
    command("distill", "--out", "run", "--override", "ss", "ten")


@tried("`distill --override kd_temperature 0`")
def temperature_0(folder: Path) -> None:
    command("distill", "--out", "run", "--override", "kd_temperature", 0)


@tried("`distill --override ss_keep_wrong 75`, percent for a fraction")
def ratio_in_percent(folder: Path) -> None:
    command("distill", "--out", "run", "--override", "ss_keep_wrong", 75)


@tried("`table --draws all`")
def all_draws(folder: Path) -> None:
    command("table", "--teacher", "t.safetensors", "--out", "run", "--draws", "all")


@tried("`table --draws 0`")
def no_draws(folder: Path) -> None:
    command("table", "--teacher", teacher_of(folder), "--out", "run", "--draws", 0, "--labels", 10)


@tried("`reproduce --seeds 0`")
def no_seeds(folder: Path) -> None:
    command("reproduce", "--table", "cross", "--out", "run", "--seeds", 0)


@tried("`reproduce --shard 5/4`")
def fifth_of_four(folder: Path) -> None:
    command("reproduce", "--table", "cross", "--out", "run", "--shard", "5/4")


@tried("`reproduce --table noisy --labels 300`")
def labels_of_a_table(folder: Path) -> None:
    command("reproduce", "--table", "noisy", "--labels", 300, "--out", "run")


# ---- paths ---------------------------------------------------------------------------------------


@tried('`teacher --out ""`')
def empty_out(folder: Path) -> None:
    command("teacher", "--out", "", *SMALL)


@tried('`distill --teacher ""`')
def empty_teacher(folder: Path) -> None:
    command("distill", "--out", "run", "--teacher", "")


@tried("`teacher --out` in the home of a user who is not there")
def home_of_nobody(folder: Path) -> None:
    command("teacher", "--out", "~nobody-here/run")


@tried("`teacher --out` with the name of a file")
def out_is_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    try:
        command("teacher", "--out", "notes.txt", *SMALL)
    finally:
        assert (folder / "notes.txt").read_text() == "mine"


@tried("`teacher --out` below a file")
def out_below_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    command("teacher", "--out", "notes.txt/run", *SMALL)


@tried("`teacher --out` with a link that leads nowhere")
def out_is_a_broken_link(folder: Path) -> None:
    os.symlink("elsewhere", folder / "run")
    command("teacher", "--out", "run", *SMALL)


@tried("`evaluate` with a file that is not there")
def missing_checkpoint(folder: Path) -> None:
    command("evaluate", teacher_of(folder).with_name("student.safetensors"))


@tried("`evaluate` with a link that leads nowhere")
def broken_link_for_checkpoint(folder: Path) -> None:
    os.symlink("elsewhere", folder / "student.safetensors")
    command("evaluate", "student.safetensors")


@tried("`evaluate` with a folder")
def folder_for_checkpoint(folder: Path) -> None:
    command("evaluate", teacher_of(folder).parent)


@tried("`distill` without a teacher")
def no_teacher(folder: Path) -> None:
    command("distill", "--out", "run", "--method", "kd", "--labels", 10)


@tried("`distill` with a teacher whose head is not trained")
def untrained_head(folder: Path) -> None:
    command("distill", "--out", "run", "--teacher", teacher_of(folder))


@tried("`distill --table` with a folder that is no table")
def no_table(folder: Path) -> None:
    (folder / "pictures").mkdir()
    command("distill", "--out", "run", "--method", "kd", "--table", "pictures", "--labels", 10)


@tried("`shards --folder` with a folder that is not there")
def no_folder(folder: Path) -> None:
    command("shards", "--folder", "pictures", "--out", "run")
