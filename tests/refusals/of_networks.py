"""Networks, checkpoints, losses, recipes and schedules that do not fit."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sskd_lib as sskd
from helpers.refusals import ROOT, command, tried
from helpers.training import networks, pictures
from sskd_lib.losses import kd_loss, transfer_mask
from sskd_lib.recipes import make_recipe

WEIGHTS = ROOT / "data" / "weights"
CIFAR10 = WEIGHTS / "cifar10" / "teacher_wrn_16_2.safetensors"
FASHION = WEIGHTS / "fashion-mnist" / "teacher_wrn_16_2.safetensors"
QUICK: dict[str, Any] = {
    "schedule": sskd.Schedule(epochs=1, batch_size=8),
    "runtime": sskd.Runtime(),
    "progress": False,
}


@functools.cache
def images(classes: tuple[str, ...] = ("black", "white"), channels: int = 1) -> sskd.ImageSet:
    data = pictures(8, channels, classes=len(classes))
    return replace(data, classes=classes, name=f"pictures of {' and '.join(classes)}")


def plain(data: sskd.ImageSet | None = None, **changes: Any) -> sskd.Network:
    return sskd.create_network("resnet8", data or images(), **changes)


def pair(data: sskd.ImageSet | None = None) -> tuple[sskd.Network, sskd.Network]:
    return networks(data or images())


def distil(teacher: Any, student: Any = None, data: Any = None, **changes: Any) -> None:
    student = plain(projection=True) if student is None else student
    sskd.distill(student, teacher, images() if data is None else data, **QUICK | changes)


# ---- classes and channels ------------------------------------------------------------------------


@tried("`distill` with a teacher of the classes black and white, on images of white and zz_black")
def teacher_of_other_classes(folder: Path) -> None:
    path = sskd.save_checkpoint(folder / "teacher.safetensors", pair()[1], {})
    other = images(("white", "zz_black"))
    distil(sskd.load_checkpoint(path), plain(other), other, method="kd")


@tried("`train_head` of a teacher on images with its classes in another order")
def classes_in_another_order(folder: Path) -> None:
    sskd.train_head(pair()[1], images(("white", "black")), **QUICK)


@tried("test images of other classes than the training images")
def test_images_of_other_classes(folder: Path) -> None:
    sskd.train_teacher(plain(), images(), images(("white", "zz_black")), **QUICK)


@tried("`evaluate` of the CIFAR-10 teacher on ten other classes in colour")
def evaluate_on_other_classes(folder: Path) -> None:
    sskd.evaluate(
        sskd.load_checkpoint(CIFAR10), replace(images(tuple("0123456789"), channels=3), name="digits")
    )


@tried("the command `evaluate` of the CIFAR-10 teacher on grey images")
def evaluate_on_grey_images(folder: Path) -> None:
    command("evaluate", CIFAR10, "--data", "fashion-mnist-lab")


@tried("the command `evaluate` of the CIFAR-10 teacher on the 81 classes of grocery")
def evaluate_on_more_classes(folder: Path) -> None:
    command("evaluate", CIFAR10, "--data", "grocery")


@tried("the command `head` for a teacher of other images")
def head_for_other_images(folder: Path) -> None:
    command("head", "--teacher", CIFAR10, "--out", folder / "out", "--epochs", 1)


@tried("the command `distill` with a teacher of other images")
def distill_with_a_teacher_of_other_images(folder: Path) -> None:
    command("distill", "--teacher", CIFAR10, "--out", folder / "out", "--epochs", 1)


@tried("a teacher table on images of other classes")
def table_for_other_classes(folder: Path) -> None:
    table = sskd.cache_teacher(pair()[1], images(), folder / "table", draws=1, progress=False)
    other = images(("white", "zz_black"))
    distil(None, plain(other, projection=True), other, table=table)


@tried("images of a single class, to train")
def a_single_class(folder: Path) -> None:
    one = images(("white",))
    sskd.train_teacher(plain(one), one, **QUICK)


@tried("`kd-ls` with two classes")
def standardised_pair_of_classes(folder: Path) -> None:
    distil(pair()[1], method="kd-ls")


@tried("`dkd-ls` with two classes")
def standardised_dkd_of_two_classes(folder: Path) -> None:
    distil(pair()[1], method="dkd-ls")


@tried("`dist` with one class")
def dist_of_one_class(folder: Path) -> None:
    sskd.losses.create_term("dist")(
        sskd.Output(torch.zeros(4, 1)), sskd.Output(torch.ones(4, 1)), sskd.losses.Batch(torch.zeros(4))
    )


# ---- heads ---------------------------------------------------------------------------------------


@tried("`distill` by SSKD with a teacher whose head was never trained")
def untrained_head(folder: Path) -> None:
    distil(plain(projection=True, seed=1))


@tried("the command `distill` by SSKD with a teacher whose head was never trained")
def untrained_head_in_a_command(folder: Path) -> None:
    network = sskd.load_checkpoint(FASHION)
    network.head_trained = False
    sskd.save_checkpoint(folder / "teacher.safetensors", network, {})
    command("distill", "--teacher", "teacher.safetensors", "--out", folder / "out", "--epochs", 1)


@tried("a teacher table made before the head was trained, for SSKD")
def table_of_an_untrained_head(folder: Path) -> None:
    teacher = plain(projection=True, seed=1)
    table = sskd.cache_teacher(teacher, images(), folder / "table", draws=1, progress=False)
    distil(None, table=table)


@tried("SSKD with a teacher without a head")
def no_head(folder: Path) -> None:
    distil(plain(seed=1))


@tried("SSKD with a student without a head")
def student_without_head(folder: Path) -> None:
    distil(pair()[1], plain())


@tried("`sskd-jigsaw` with a teacher whose head is for the contrastive task")
def head_for_another_task(folder: Path) -> None:
    distil(pair()[1], method="sskd-jigsaw")


@tried("a head for a task that does not exist")
def unknown_task(folder: Path) -> None:
    sskd.train_head(pair()[1], images(), task="contrast", **QUICK)


@tried("the contrastive task with one image in a batch")
def contrastive_task_alone(folder: Path) -> None:
    sskd.train_head(pair()[1], images(), **QUICK | {"schedule": sskd.Schedule(epochs=1, batch_size=1)})


@tried("SSKD with one image in a batch")
def sskd_with_one_image(folder: Path) -> None:
    distil(pair()[1], schedule=sskd.Schedule(epochs=1, batch_size=1))


@tried("SSKD with a single training image")
def sskd_with_one_training_image(folder: Path) -> None:
    one = replace(images(), images=images().images[:1], labels=images().labels[:1])
    distil(pair()[1], data=one)


@tried("the accuracy of the contrastive task among one image")
def contrastive_accuracy_alone(folder: Path) -> None:
    sskd.contrastive_accuracy(pair()[1], images(), batch_size=1)


@tried("the accuracy of the contrastive task in a batch larger than the set")
def contrastive_accuracy_of_few(folder: Path) -> None:
    sskd.contrastive_accuracy(pair()[1], images(), batch_size=64)


@tried("the accuracy of the contrastive task for a network without a head")
def contrastive_accuracy_without_head(folder: Path) -> None:
    sskd.contrastive_accuracy(plain(), images(), batch_size=8)


# ---- networks that cannot be a pair --------------------------------------------------------------


@tried("a student that is its own teacher")
def own_teacher(folder: Path) -> None:
    student = pair()[1]
    distil(student, student)


@tried("a student with its teacher's backbone")
def shared_backbone(folder: Path) -> None:
    student, teacher = pair()
    student.backbone = teacher.backbone
    distil(teacher, student)


@tried("the same student twice in a list")
def student_twice(folder: Path) -> None:
    student, teacher = pair()
    distil(teacher, [student, student])


@tried("no student")
def no_student(folder: Path) -> None:
    distil(pair()[1], [])


@tried("`kd` without a teacher")
def no_teacher(folder: Path) -> None:
    distil(None, method="kd")


@tried("a teacher with a weight that is NaN")
def broken_teacher(folder: Path) -> None:
    teacher = pair()[1]
    teacher.backbone.fc.weight.data[0, 0] = math.nan
    distil(teacher, method="kd")


@tried("attention transfer (`at`) from torchvision/vit_b_16, which has a single map")
def single_stage_map(folder: Path) -> None:
    large = replace(
        images(), images=images().images[:2].new_zeros(2, 1, 224, 224), labels=images().labels[:2]
    )
    distil(sskd.create_network("torchvision/vit_b_16", large), plain(large), large, method="at")


@tried("`fsp` for networks of different widths")
def other_widths(folder: Path) -> None:
    distil(sskd.create_network("wrn_16_2", images()), plain(), method="fsp")


@tried("images that are too small for torchvision/inception_v3")
def small_for_inception(folder: Path) -> None:
    network = sskd.create_network("torchvision/inception_v3", images())
    sskd.predict(network, images())


@tried("images that are too small for torchvision/maxvit_t, to train")
def small_for_maxvit(folder: Path) -> None:
    sskd.train_teacher(sskd.create_network("torchvision/maxvit_t", images()), images(), **QUICK)


@tried("images that are too small for resnet8")
def small_for_resnet(folder: Path) -> None:
    small = replace(images(), images=images().images[..., :8, :8].contiguous())
    sskd.train_teacher(plain(small), small, **QUICK)


@tried("a model that does not exist")
def unknown_model(folder: Path) -> None:
    sskd.create_network("resnet-8x4", images())


@tried("a model that torchvision does not have")
def unknown_torchvision_model(folder: Path) -> None:
    sskd.create_model("torchvision/resnet19")


@tried("a model for 0 classes")
def no_classes(folder: Path) -> None:
    sskd.create_model("resnet8", num_classes=0)


# ---- files that are no checkpoint ----------------------------------------------------------------


def given(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def saved(folder: Path, **changes: Any) -> Path:
    return sskd.save_checkpoint(folder / "net.safetensors", plain(), changes)


@tried("a text file as a checkpoint")
def text_file(folder: Path) -> None:
    sskd.load_checkpoint(given(folder, "summary.json", b'{\n "last": {"epoch": 1}}'))


@tried("an `.npz` file as a checkpoint")
def arrays(folder: Path) -> None:
    np.savez(folder / "images.npz", images=np.zeros((2, 3)))
    sskd.load_checkpoint(folder / "images.npz")


@tried("the saved state of a training as a checkpoint")
def resume_file(folder: Path) -> None:
    sskd.train_teacher(plain(), images(), out=folder / "run", **QUICK)
    sskd.load_checkpoint(folder / "run" / "resume.pt")


@tried("an empty file as a checkpoint")
def empty_file(folder: Path) -> None:
    sskd.load_checkpoint(given(folder, "net.safetensors", b""))


@tried("a folder as a checkpoint")
def folder_as_checkpoint(folder: Path) -> None:
    saved(folder)
    sskd.load_checkpoint(folder)


@tried("a checkpoint that is not there")
def missing_checkpoint(folder: Path) -> None:
    sskd.load_checkpoint(saved(folder).with_name("teacher.safetensors"))


@tried("the command `evaluate` of a `.pth` file")
def evaluate_pth(folder: Path) -> None:
    torch.save({"a": torch.zeros(2)}, folder / "net.pth")
    command("evaluate", folder / "net.pth")


@tried("a checkpoint that is cut short")
def cut_checkpoint(folder: Path) -> None:
    path = saved(folder)
    path.write_bytes(path.read_bytes()[:-10])
    sskd.load_checkpoint(path)


@tried("a checkpoint with one changed byte")
def changed_checkpoint(folder: Path) -> None:
    path = saved(folder)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    sskd.load_checkpoint(path)


@tried("a safetensors file of others as a checkpoint")
def checkpoint_of_others(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, folder / "net.safetensors")
    sskd.load_checkpoint(folder / "net.safetensors")


@tried("a card with two names for three classes")
def card_with_too_few_names(folder: Path) -> None:
    network = plain(images(("a", "b", "c")))
    network.classes = ("a", "b")
    sskd.load_checkpoint(sskd.save_checkpoint(folder / "net.safetensors", network, {}))


@tried("a network with weights that are infinite, to save")
def infinite_weights(folder: Path) -> None:
    network = plain()
    network.backbone.fc.bias.data[0] = math.inf
    sskd.save_checkpoint(folder / "net.safetensors", network, {})


@tried("a weight of 100,000, to save in float16")
def too_large_for_half(folder: Path) -> None:
    network = plain()
    network.backbone.fc.bias.data[0] = 1e5
    sskd.save_checkpoint(folder / "net.safetensors", network, {}, dtype=torch.float16)


# ---- published .pth files ------------------------------------------------------------------------


def weights() -> dict[str, Tensor]:
    return dict(sskd.create_model("resnet8", num_classes=10).state_dict())


def load_pth(folder: Path, content: object, **more: Any) -> None:
    torch.save(content, folder / "net.pth")
    sskd.load_checkpoint(folder / "net.pth", format="repdistiller", **more)


@tried("a `.pth` file with a weight that is NaN")
def nan_in_pth(folder: Path) -> None:
    load_pth(folder, weights() | {"fc.bias": torch.full((10,), math.nan)})


@tried("a `.pth` file with int8 weights")
def int8_in_pth(folder: Path) -> None:
    load_pth(
        folder, {n: t.to(torch.int8) if t.dim() == 4 else t for n, t in weights().items()}, model="resnet8"
    )


@tried("a `.pth` file with one changed byte")
def changed_pth(folder: Path) -> None:
    torch.save(weights(), folder / "net.pth")
    content = bytearray((folder / "net.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "net.pth").write_bytes(content)
    sskd.load_checkpoint(folder / "net.pth", format="repdistiller")


@tried("a `.pth` file for another number of classes")
def pth_of_other_classes(folder: Path) -> None:
    load_pth(folder, weights(), num_classes=100)


@tried("a `.pth` file for another model")
def pth_of_another_model(folder: Path) -> None:
    load_pth(folder, weights(), model="resnet14")


@tried("a `.pth` file with a whole network in it")
def pickled_network(folder: Path) -> None:
    load_pth(folder, torch.nn.Linear(2, 2))


@tried("a `.pth` file with arrays in the place of weights")
def pth_without_weights(folder: Path) -> None:
    load_pth(folder, {"epoch": 3})


@tried("an `.npz` file as a `.pth` file")
def arrays_as_pth(folder: Path) -> None:
    np.savez(folder / "images.npz", images=np.zeros((2, 3)))
    sskd.load_checkpoint(folder / "images.npz", format="repdistiller")


@tried("a page of text as a `.pth` file")
def page_as_pth(folder: Path) -> None:
    sskd.load_checkpoint(given(folder, "net.pth", b"<html>404: not found</html>"), format="repdistiller")


@tried("a checkpoint of the kit as a `.pth` file")
def checkpoint_as_pth(folder: Path) -> None:
    sskd.load_checkpoint(saved(folder), format="repdistiller")


@tried("a format that does not exist")
def unknown_format(folder: Path) -> None:
    sskd.load_checkpoint(folder / "net.pth", format="mdistiller")


# ---- schedules and recipes -----------------------------------------------------------------------


@tried("milestones in epochs")
def milestones_in_epochs(folder: Path) -> None:
    sskd.Schedule(milestones=(150, 180, 210))


@tried("`--milestones 150 180 210`")
def milestones_in_a_command(folder: Path) -> None:
    command("teacher", "--out", folder / "out", "--milestones", 150, 180, 210)


@tried("milestones that do not ascend")
def milestones_backwards(folder: Path) -> None:
    sskd.Schedule(milestones=(0.75, 0.5))


@tried("one number as milestones")
def one_milestone(folder: Path) -> None:
    sskd.Schedule(milestones=0.5)


@tried("a batch size of 16.0")
def float_batch_size(folder: Path) -> None:
    sskd.Schedule(batch_size=16.0)


@tried("0 epochs")
def no_epochs(folder: Path) -> None:
    sskd.Schedule(epochs=0)


@tried("a learning rate that is NaN")
def nan_rate(folder: Path) -> None:
    sskd.Schedule(lr=math.nan)


@tried("a momentum of 1")
def momentum_of_one(folder: Path) -> None:
    sskd.Schedule(momentum=1.0)


@tried("a negative weight decay")
def negative_decay(folder: Path) -> None:
    sskd.Schedule(weight_decay=-1e-4)


@tried("a decay of 10 at each milestone")
def rising_rate(folder: Path) -> None:
    sskd.Schedule(decay=10)


@tried("a warm-up over 20 of the epochs")
def long_warmup(folder: Path) -> None:
    sskd.Schedule(shape="one-cycle", warmup=20)


@tried("a shape that does not exist")
def unknown_shape(folder: Path) -> None:
    sskd.Schedule(shape="cosine")


@tried("a weight of a recipe that is NaN")
def nan_in_a_recipe(folder: Path) -> None:
    sskd.Recipe(tf=math.nan)


@tried("a negative weight of a recipe")
def negative_weight(folder: Path) -> None:
    sskd.Recipe(kd=-0.9)


@tried("a text as a weight of a recipe")
def text_in_a_recipe(folder: Path) -> None:
    sskd.Recipe(kd="0.9")


@tried("a recipe with four weights of 0")
def empty_recipe(folder: Path) -> None:
    sskd.Recipe(ce=0, kd=0, tf=0, ss=0)


@tried("a temperature of 0")
def no_temperature(folder: Path) -> None:
    sskd.Recipe(kd_temperature=0)


@tried("a temperature of 1,000,000")
def hot_recipe(folder: Path) -> None:
    sskd.Recipe(tf_temperature=1e6)


@tried("75 as the share of wrong rows to keep")
def share_in_percent(folder: Path) -> None:
    sskd.Recipe(ss_keep_wrong=75)


@tried("a share of -0.1 of the wrong rows")
def negative_share(folder: Path) -> None:
    transfer_mask(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long), -0.1)


@tried("`--override` with a negative weight")
def negative_override(folder: Path) -> None:
    command("distill", "--out", folder / "out", "--override", "tf", -1)


@tried("a preset that does not exist")
def unknown_preset(folder: Path) -> None:
    make_recipe("arxive")


@tried("a number that a recipe does not have")
def unknown_number(folder: Path) -> None:
    make_recipe(changes={"temperature": 4.0})


# ---- methods and their numbers -------------------------------------------------------------------


@tried("a method that does not exist")
def unknown_method(folder: Path) -> None:
    sskd.create_method("skd")


@tried("a negative weight of a term")
def negative_term(folder: Path) -> None:
    sskd.create_method("at", at={"weight": -1000})


@tried("a number of a term that is NaN")
def nan_in_a_term(folder: Path) -> None:
    sskd.create_method("dkd", dkd={"beta": math.nan})


@tried("a text as the weight of a term")
def text_in_a_term(folder: Path) -> None:
    sskd.create_method("at", at={"weight": "1000"})


@tried("a temperature of a term below 0")
def cold_term(folder: Path) -> None:
    sskd.create_method("dist", dist={"temperature": -1})


@tried("a temperature of CRD so low that its exponentials overflow")
def cold_crd(folder: Path) -> None:
    sskd.create_method("crd", crd={"temperature": 0.01})


@tried("a number that a term does not have")
def unknown_number_of_a_term(folder: Path) -> None:
    sskd.create_method("at", at={"temperature": 4.0})


@tried("a bare number in the place of a term's numbers")
def bare_number(folder: Path) -> None:
    sskd.create_method("at", at=500)


@tried("numbers of a term that the method does not have")
def numbers_without_term(folder: Path) -> None:
    sskd.create_method("at", vid={"weight": 1.0})


@tried("`kd_loss` at a temperature of 1,000,000")
def hot_loss(folder: Path) -> None:
    kd_loss(torch.zeros(2, 3), torch.ones(2, 3), 1e6)


@tried("`kd_loss` of logits of different classes")
def other_logits(folder: Path) -> None:
    kd_loss(torch.zeros(2, 3), torch.ones(2, 10), 4.0)


# ---- arguments of another type -------------------------------------------------------------------


@tried("a path as a teacher")
def path_as_teacher(folder: Path) -> None:
    distil(folder / "teacher.safetensors")


@tried("a text as a student")
def text_as_student(folder: Path) -> None:
    distil(pair()[1], "resnet8")


@tried("a list of a network and a name as students")
def name_among_students(folder: Path) -> None:
    distil(pair()[1], [plain(), "resnet8"])


@tried("a dict as a schedule")
def dict_as_schedule(folder: Path) -> None:
    distil(pair()[1], schedule=asdict(sskd.SHORT))


@tried("a preset's name as a recipe")
def name_as_recipe(folder: Path) -> None:
    distil(pair()[1], recipe="arxiv")


@tried('"cpu" as a runtime')
def name_as_runtime(folder: Path) -> None:
    distil(pair()[1], runtime="cpu")


@tried("a number as a method")
def number_as_method(folder: Path) -> None:
    distil(pair()[1], method=3)


@tried("a list as training images")
def list_as_images(folder: Path) -> None:
    distil(pair()[1], data=[torch.zeros(1, 16, 16)])


@tried("a list as images, to predict")
def list_to_predict(folder: Path) -> None:
    sskd.predict(plain(), [torch.zeros(1, 16, 16)])


@tried("a path as a network, to evaluate")
def path_to_evaluate(folder: Path) -> None:
    sskd.evaluate("runs/teacher/teacher.safetensors", images())


@tried("`save_checkpoint` with network and path the wrong way round")
def path_as_network(folder: Path) -> None:
    sskd.save_checkpoint(plain(), folder / "net.safetensors", {})


@tried("a network as the path of a checkpoint")
def network_as_path(folder: Path) -> None:
    sskd.load_checkpoint(plain())


@tried("a name as training images of a head")
def name_as_images(folder: Path) -> None:
    sskd.train_head(pair()[1], "cifar10")


@tried("a tensor as images, to make a network")
def tensor_as_images(folder: Path) -> None:
    sskd.create_network("resnet8", images().images)


@tried("a text as the pace of tests")
def text_as_pace(folder: Path) -> None:
    sskd.train_teacher(plain(), images(), evaluate_every="1", **QUICK)


@tried("a number as a function to watch a training")
def number_as_watch(folder: Path) -> None:
    distil(pair()[1], watch=3)
