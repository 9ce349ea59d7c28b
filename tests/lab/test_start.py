"""The first cell and the doctor: their summaries, and their remedies for what is missing."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch

from sskd_lib import lab, load_images
from sskd_lib.lab import diagnosis, shipped
from sskd_lib.models.checkpoint import save_checkpoint
from sskd_lib.training.train import create_network


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for weights, the embedded images, and matplotlib as it was afterwards."""
    monkeypatch.delenv("SSKD_DATASET", raising=False)
    for module in (diagnosis, shipped):
        monkeypatch.setattr(module, "DATA_FOLDER", tmp_path)
    with matplotlib.rc_context():
        yield tmp_path / "weights" / "fashion-mnist"


def fill(shelf: Path, dataset: str = "fashion-mnist-lab") -> None:
    images = load_images(dataset, "test")
    network = create_network("resnet8", images.take(images.num_classes), projection=True)
    for file in shipped.shipped_files(dataset):
        save_checkpoint(shelf / file, network, {})


def test_start_prints_a_summary_and_loads_the_networks(shelf: Path, capsys) -> None:
    fill(shelf)
    kit = lab.start()
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 5
    for words in (
        torch.__version__,
        "10,000 to train and 2,000 to test",
        "28 x 28 pixels, grey",
        "static, because",
    ):
        assert words in printed
    assert "teacher and students found (ce, kd, kd+rotations, sskd)" in printed
    assert (kit.dataset, len(kit.train), len(kit.test), kit.static) == (
        "fashion-mnist-lab",
        10_000,
        2_000,
        True,
    )
    teacher = kit.runtime.run(kit.teacher(), kit.test.images[:2].float() / 255)
    assert teacher.logits.shape == (2, 10) and teacher.projection is not None
    assert not kit.student("kd+rotations").training
    with pytest.raises(ValueError, match="[Mm]ethods are: ce, kd, kd\\+rotations, sskd"):
        kit.student("magic")
    with pytest.raises(dataclasses.FrozenInstanceError):
        kit.dataset = "other"
    assert matplotlib.rcParams["figure.facecolor"] == "white"


def test_missing_weights_are_named_with_a_remedy(shelf: Path, capsys) -> None:
    kit = lab.start()
    printed = capsys.readouterr().out
    assert f"none found in {shelf}" in printed and "git checkout -- data/weights" in printed
    with pytest.raises(FileNotFoundError, match="make_weights.py fashion-mnist teacher"):
        kit.teacher()
    fill(shelf)
    (shelf / "student_resnet8_kd.safetensors").unlink()
    assert shipped.missing_weights("fashion-mnist-lab") == ["student_resnet8_kd.safetensors"]


def test_start_refuses_an_unknown_data_set(shelf: Path, monkeypatch) -> None:
    monkeypatch.setenv("SSKD_DATASET", "fashion")
    with pytest.raises(ValueError, match="fashion-mnist-lab"):
        lab.start()


def test_start_takes_a_balanced_part_of_a_large_set(shelf: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sskd_lib.lab.startup.TRAIN", 50)
    kit = lab.start()
    assert torch.bincount(kit.train.labels).tolist() == [5] * 10


def test_start_takes_the_same_share_of_each_class_where_one_is_too_small(shelf, monkeypatch, capsys) -> None:
    """500 of 2,485 grocery images would be 6 of each class; 2,000 would be 24, and some have only 10."""
    monkeypatch.setenv("SSKD_DATASET", "grocery")
    whole = torch.bincount(load_images("grocery", "test").labels)
    monkeypatch.setattr("sskd_lib.lab.startup.TEST", 2000)
    counts = torch.bincount(lab.start().test.labels)
    assert counts.sum() == 2000 and (counts - whole * 2000 / 2485).abs().max() < 1
    monkeypatch.setattr("sskd_lib.lab.startup.TEST", 500)
    assert set(torch.bincount(lab.start().test.labels).tolist()) == {6, 7}


def list_teachers(monkeypatch: pytest.MonkeyPatch, families: dict[str, str]) -> None:
    for module in (diagnosis, shipped):
        monkeypatch.setattr(module, "FAMILIES", families)


def test_start_with_the_photographs_of_food(shelf, monkeypatch, capsys) -> None:
    """Without shipped weights it says what it says of any such set; with them it loads what is listed."""
    monkeypatch.setenv("SSKD_DATASET", "grocery")
    list_teachers(monkeypatch, {"fashion-mnist": "wrn_16_2", "cifar10": "wrn_16_2"})
    kit = lab.start()
    printed = capsys.readouterr().out
    assert "grocery: 2,936 to train and 2,485 to test on, 81 classes in 43 groups, 32 x 32 pixels" in printed
    assert "The kit ships weights for fashion-mnist and cifar10 only. Train a teacher" in printed
    with pytest.raises(FileNotFoundError, match="python -m sskd_lib teacher --data grocery"):
        kit.teacher()
    assert lab.doctor() is True  # nothing is missing that the kit has

    list_teachers(monkeypatch, {"fashion-mnist": "wrn_16_2", "grocery": "wrn_40_2"})
    assert shipped.missing_weights("grocery")[0] == "teacher_wrn_40_2.safetensors"
    with pytest.raises(FileNotFoundError, match="make_weights.py grocery teacher"):
        kit.teacher()
    fill(shelf.parent / "grocery", "grocery")
    for network in (kit.teacher(), kit.student("sskd")):
        assert kit.runtime.run(network, kit.test.images[:2].float() / 255).logits.shape == (2, 81)
    assert shipped.missing_weights("grocery") == [] and lab.doctor() is True


def test_every_folder_of_weights_is_listed_with_the_teacher_that_is_in_it() -> None:
    folders = {path.parent.name for path in shipped.DATA_FOLDER.glob("weights/*/*.safetensors")}
    assert folders == {*shipped.FAMILIES, "hundred"}  # a teacher for the claims, without students
    for family in shipped.FAMILIES:
        found = {path.name for path in shipped.weights_folder(family).iterdir()}
        assert found == set(shipped.shipped_files(family))


def test_doctor_finds_each_problem(shelf: Path, monkeypatch, capsys) -> None:
    fill(shelf)
    assert lab.doctor() is True
    assert "All is well." in capsys.readouterr().out
    cut = shelf / "student_resnet8_ce.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    (shelf / shipped.TEACHER).unlink()
    monkeypatch.setitem(sys.modules, "seaborn", None)  # its import fails
    monkeypatch.setenv("SSKD_DATASET", "fashion-mnist-lab")
    assert lab.doctor() is False
    printed = capsys.readouterr().out
    for words in (
        "[PROBLEM] seaborn: not usable",
        "make lab",
        f"[PROBLEM] weights: missing from {shelf}: {shipped.TEACHER}",
        "[PROBLEM] weights: student_resnet8_ce.safetensors cannot be read",
        "[ok]      images",
        "3 problems",
    ):
        assert words in printed
    monkeypatch.setenv("SSKD_DATASET", "folder:/nowhere")
    problems = {c.name: c for c in diagnosis.checks() if not c.ok}
    assert "SSKD_DATASET unset" in problems["images"].remedy and "weights" not in problems


@pytest.mark.parametrize(
    ("widgets", "jupyterlab", "colab", "problem"),
    [
        ("7.7.1", "4.2.0", False, True),
        ("7.7.1", "4.2.0", True, False),
        ("7.7.1", "3.6.8", False, False),
        ("8.1.9", "4.6.6", False, False),
    ],
)
def test_the_doctor_finds_widgets_that_are_too_old(monkeypatch, widgets, jupyterlab, colab, problem) -> None:
    versions = {"ipywidgets": widgets, "jupyterlab": jupyterlab}
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or real(name))
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    if colab:
        monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    found = [check for check in diagnosis.checks() if check.name == "sliders"]
    assert [check.ok for check in found] == [False] * problem
    if problem:
        assert "7.7.1 shows none in JupyterLab 4.2.0" in found[0].result
        assert "pip install --upgrade ipywidgets" in found[0].remedy


def test_the_doctor_asks_for_no_jupyterlab_in_colab(shelf: Path, monkeypatch, capsys) -> None:
    """Elsewhere a missing JupyterLab is a problem. Another missing package is one in Colab too."""
    fill(shelf)
    monkeypatch.setitem(sys.modules, "jupyterlab", None)  # its import fails
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert lab.doctor() is False
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    capsys.readouterr()
    assert lab.doctor() is True
    assert "jupyterlab" not in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert lab.doctor() is False
    assert "!pip install scikit-learn" in capsys.readouterr().out


def test_the_doctor_and_the_package_load_no_picture_library() -> None:
    code = (
        "import sys, json; from sskd_lib import lab; lab.doctor; "
        "heavy = ('matplotlib', 'seaborn', 'sklearn', 'scipy', 'joblib', 'ipywidgets'); "
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_doctor_is_a_function_also_after_its_modules_were_imported() -> None:
    code = (
        "from sskd_lib import lab; from sskd_lib.lab import diagnosis, display; print(lab.doctor, lab.show)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "<function doctor" in done.stdout and "<function show" in done.stdout


def test_every_public_name_exists() -> None:
    for name in lab.__all__:
        assert callable(getattr(lab, name)), name
    assert dir(lab) == sorted(lab.__all__)
    with pytest.raises(AttributeError, match="explore"):
        _ = lab.explore
