"""The command line: teacher → head → distill → evaluate on a small folder of images, and its errors."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sskd_lib
from helpers.training import metrics, same, state
from sskd_lib import __main__ as cli
from sskd_lib.files import cache_folder
from sskd_lib.models.checkpoint import load_checkpoint, read_card

ROOT = Path(sskd_lib.__file__).parents[1]
QUICK = ["--epochs", "2", "--batch-size", "16", "--lr", "0.02", "--device", "cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with images of three classes, noise around three colours, and a cache of its own."""
    place = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "owl")):
        (place / "images" / name).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(0, 150, (20, 24, 3)) + 100 * (np.arange(3) == label)
            Image.fromarray(pixels.astype(np.uint8)).save(place / "images" / name / f"{i}.png")
    return place


@pytest.fixture(scope="module")
def command(place):
    """command(*words) → (exit status, stdout, stderr) of `python -m sskd_lib words…`, run in this process."""

    def run(*words: object) -> tuple[int, str, str]:
        out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
        torch.set_num_threads(1)  # quicker for networks this small
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["sskd_lib", *map(str, words)])
            for name in CACHE:
                patch.setenv(name, str(place / "cache"))
            patch.delenv("SSKD_DATASET", raising=False)
            try:
                cli.main()
                status = 0
            except SystemExit as stop:
                status = stop.code or 0
        torch.set_num_threads(threads)
        return status, out.getvalue(), err.getvalue()

    return run


CACHE = ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")  # what the cache folder hangs on, on each system


@pytest.fixture(scope="module")
def trained(command, place) -> Path:
    """Folder of a teacher, its head and a student, all made by commands; their output in <name>.txt."""
    data = ["--data", f"folder:{place / 'images'}", *QUICK]
    stages = {
        "teacher": ["teacher", "--model", "resnet8"],
        "head": ["head", "--teacher", place / "teacher" / "teacher.safetensors"],
        "sskd": ["distill", "--teacher", place / "head" / "teacher.safetensors", "--student", "resnet8"],
    }
    for name, words in stages.items():
        status, out, err = command(*words, "--out", place / name, *data)
        assert status == 0, err
        (place / f"{name}.txt").write_text(f"{out}\n{err}")
    return place


# ---- the way through -----------------------------------------------------------------------------


def test_every_stage_writes_its_files(trained):
    for name, file in (("teacher", "teacher"), ("head", "teacher"), ("sskd", "student")):
        folder = trained / name
        files = {f"{file}.safetensors", "metrics.jsonl", "summary.json", "resume.pt"}
        assert {path.name for path in folder.iterdir() if path.name != ".lock"} == files
        assert [record["epoch"] for record in metrics(folder)] == [1, 2]
        summary, card = (
            json.loads((folder / "summary.json").read_text()),
            read_card(folder / f"{file}.safetensors"),
        )
        assert summary["last"] == metrics(folder)[-1]
        assert summary["card"].items() <= card.items()
        assert card["train"] == {"name": "folder:images", "images": 38}
        assert card["test"]["images"] == 10
        printed = (trained / f"{name}.txt").read_text()
        assert f"last epoch {summary['last']['test_accuracy']:.2f} % (the result)" in printed
        assert str(folder) in printed


def test_the_stages_build_on_each_other(trained):
    teacher = state(load_checkpoint(trained / "teacher" / "teacher.safetensors"))
    head = state(load_checkpoint(trained / "head" / "teacher.safetensors"))
    for name, tensor in teacher.items():
        assert np.array_equal(tensor, head[name]) != name.startswith("head.")
    plan = read_card(trained / "sskd" / "student.safetensors")["plan"]
    assert plan["method"] == "sskd"
    assert plan["recipe"]["ss"] == 10.0
    assert plan["schedule"]["epochs"] == 2
    assert {"ce", "kd", "tf", "ss", "total"} <= metrics(trained / "sskd")[0].keys()


def test_the_bar_shows_accuracy_and_the_time_left(trained):
    for name, label in (("teacher", "teacher"), ("head", "head"), ("sskd", "sskd")):
        text = (trained / f"{name}.txt").read_text()
        assert re.search(rf"{label}: 100%.*6/6 \[\d\d:\d\d<\d\d:\d\d", text)
        assert re.search(r"train_accuracy=[\d.]+", text)  # an older tqdm cuts the rest off


def test_the_cache_is_where_the_environment_says(trained, monkeypatch):
    for name in CACHE:
        monkeypatch.setenv(name, str(trained / "cache"))
    assert trained in cache_folder().parents
    assert [path.name.startswith("images-32-") for path in cache_folder().iterdir()] == [True]


def test_evaluate_prints_the_card_and_the_recorded_accuracy(trained, command):
    file = trained / "sskd" / "student.safetensors"
    status, out, err = command("evaluate", file, "--data", f"folder:{trained / 'images'}", "--device", "cpu")
    assert status == 0, err
    printed = dict(line.strip().split(": ", 1) for line in out.splitlines())
    assert printed["kind"] == "student"
    assert printed["method"] == "sskd"
    assert printed["seed"] == "0"
    assert printed["model"] == printed["teacher"] == "resnet8"
    assert "'ss': 10.0" in printed["recipe"]
    assert sskd_lib.__version__ in printed["versions"]
    assert printed["accuracy"] == f"{metrics(trained / 'sskd')[-1]['test_accuracy']:.3f}"
    assert printed["by_chance"] == "10.000"
    assert 0 <= float(printed["contrastive_accuracy"]) <= 100


def test_a_head_for_another_task_is_trained_imitated_and_measured(trained, command, tmp_path):
    data = ["--data", f"folder:{trained / 'images'}"]
    teacher = trained / "teacher" / "teacher.safetensors"
    words = ["head", "--teacher", teacher, "--task", "rotation", "--out", tmp_path / "head"]
    status, _, err = command(*words, *data, *QUICK)
    assert status == 0, err
    made = tmp_path / "head" / "teacher.safetensors"
    words = ["distill", "--teacher", made, "--out", tmp_path / "student", *data, *QUICK]
    status, _, err = command(*words, "--method", "sskd-rotation")
    assert status == 0, err
    status, _, err = command(*words, "--method", "hsakd")
    assert status == 2
    assert "python -m sskd_lib head --task joint" in err
    status, out, err = command("evaluate", made, *data, "--device", "cpu")
    printed = dict(line.strip().split(": ", 1) for line in out.splitlines())
    assert printed["rotation_accuracy"] == f"{metrics(tmp_path / 'head')[-1]['test_accuracy']:.3f}"
    assert printed["by_chance"] == "25.000"


def test_a_repeated_command_prints_the_same_and_trains_nothing(trained, command):
    words = ["teacher", "--model", "resnet8", "--out", trained / "teacher"]
    status, out, _ = command(*words, "--data", f"folder:{trained / 'images'}", *QUICK)
    assert status == 0
    assert out.strip() in (trained / "teacher.txt").read_text()


def test_every_option_reaches_the_training(trained, command, tmp_path):
    options = "--labels 12 --label-noise 0.5 --held-out 0.5 --seed 3 --exact --evaluate-every 2 --epochs 3"
    recipe = (
        "--method sskd --preset arxiv --override tf 5 ss_keep_wrong 0.5 --milestones 0.5 --save-seconds 0"
    )
    status, _, err = command(
        *("distill", "--teacher", trained / "head" / "teacher.safetensors", "--out", tmp_path / "run"),
        *("--data", f"folder:{trained / 'images'}", *QUICK[2:], *options.split(), *recipe.split()),
    )
    assert status == 0, err
    card = read_card(tmp_path / "run" / "student.safetensors")
    assert card["train"]["images"] == 12
    assert card["test"]["images"] == 19
    assert card["runtime"]["dtype"] == "float32"
    assert card["runtime"]["channels_last"] is False
    plan = card["plan"]
    assert plan["seed"] == 3
    assert plan["schedule"]["milestones"] == [0.5]
    assert plan["schedule"]["batch_size"] == 16
    assert (plan["recipe"]["tf"], plan["recipe"]["ss"], plan["recipe"]["ss_keep_wrong"]) == (5.0, 2.7, 0.5)
    assert ["test_accuracy" in record for record in metrics(tmp_path / "run")] == [False, True, True]


# ---- help and errors -----------------------------------------------------------------------------


def test_help_lists_the_commands(command):
    status, out, _ = command("--help")
    assert status == 0
    for name in (*OPTIONS, "doctor"):
        assert re.search(rf"^  {name} +[A-Z]", out, flags=re.MULTILINE)
        status, text, _ = command(name, "--help")
        assert status == 0
        assert len(text) > 200
    for option in ("--data", "--out", "--epochs", "--seed", "--labels", "--save-seconds"):
        assert option in command("distill", "--help")[1]


TRAINING = """
    batch-size data decay device epochs evaluate-every exact held-out label-noise labels lr milestones
    momentum out root save-seconds seed weight-decay
"""
OPTIONS = {
    "teacher": TRAINING + "model",
    "head": TRAINING + "teacher task",
    "distill": TRAINING + "teacher table student method first-weights preset override dry-run",
    "table": "data device exact held-out labels out root seed teacher draws",
    "shards": "folder out side skip-unreadable dry-run",
    "evaluate": "data root split device",
    "reproduce": """
        data device dry-run epochs evaluate-every exact labels methods out pairs root save-seconds seeds shard
        table teacher-epochs
    """,
}


def described(page: str) -> dict[str, str]:
    """The options of a page of help, with their descriptions."""
    lines = [line.strip("│ ") for line in page.splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(("usage:", "╭", "╰")))
    parts = re.split(r" (?=--[a-z-]+,? (?:[A-Z{]|--no-))", text)[1:]
    names = [part.split()[0].strip(",") for part in parts]
    words = [re.sub(r"^\S+|--no-\S+|\((required|default:[^)]*)\)", "", part) for part in parts]
    return dict(zip(names, words, strict=True))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_are_these_and_each_is_described(command, name):
    options = described(command(name, "--help")[1])
    assert set(options) >= {f"--{option}" for option in OPTIONS[name].split()}
    for option, words in options.items():
        assert len(re.findall(r"[a-z]{2,}", words)) >= 2, (option, words)


def test_a_table_takes_no_options_of_a_training(command):
    page = command("table", "--help")[1]
    for option in ("--epochs", "--lr", "--label-noise", "--evaluate-every", "--save-seconds"):
        assert option not in page


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("name", ["", "distill"])
def test_help_is_printed_in_any_terminal(encoding, name):
    done = subprocess.run(
        [sys.executable, "-m", "sskd_lib", *name.split(), "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m sskd_lib" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_has_colours_unless_no_color_is_set(colours):
    import pty

    main_end, terminal = pty.openpty()
    variables = os.environ | {"COLUMNS": "80", "TERM": "xterm-256color", "NO_COLOR": "" if colours else "1"}
    words = [sys.executable, "-m", "sskd_lib", "evaluate", "--help"]
    process = subprocess.Popen(words, cwd=ROOT, env=variables, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a pseudo-terminal
        while part := os.read(main_end, 65536):
            shown += part
    os.close(main_end)
    assert process.wait() == 0
    assert b"usage:" in shown
    assert (b"\x1b[" in shown) == colours


def test_the_head_has_a_schedule_of_its_own(command):
    """The pages of both say so; the numbers are those of tests/test_recipes.py."""
    for name in ("head", "teacher"):
        page = " ".join(command(name, "--help")[1].replace("│", " ").split())
        assert "student (240 epochs), head (60; the default of `head`)" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("teacher --data fashionmnist", "Did you mean 'fashion-mnist'"),
        ("teacher --data folder:nowhere", "there is no folder"),
        ("teacher --model resnet9", "Did you mean 'resnet8'"),
        ("teacher --labels 1000", "has at most"),
        ("teacher --labels 0", "n must be at least 1"),
        ("teacher --held-out 1.5", "between 0 and 1"),
        ("teacher --label-noise -1", "from 0 to 1"),
        ("teacher --device tpu-9000", "choose auto, cpu, cuda or mps"),
        ("teacher --evaluate-every 0", "at least 1"),
        ("teacher --lr 1e36 --milestones 0.9", "stopped being a finite number"),
        ("teacher --out TEACHER/teacher.safetensors", "is a file, where a folder is needed"),
        ("teacher --out TEACHER --seed 7", "seed (0 there, 7 wanted)"),
        ("head --teacher nowhere.safetensors", "there is no checkpoint"),
        ("head --teacher PICKLE", "is a pickle"),
        ("distill", "needs a teacher; load one with load_checkpoint (command: --teacher)"),
        ("distill --method sskdd", "Did you mean 'sskd'"),
        ("distill --preset paper", "the presets are: official-code, arxiv, eccv-supp"),
        ("distill --override sss 3", "a recipe has no number sss; it has: ce"),
        ("distill --override kd_temperature 0", "must be above 0"),
        ("distill --teacher TEACHER/teacher.safetensors", "is not trained yet. Run `python -m sskd_lib head"),
        (
            "distill --teacher HEAD/teacher.safetensors --data fashion-mnist-lab",
            "has grey images (1 channel)",
        ),
        ("evaluate TEACHER/wrong.safetensors", "That folder has: teacher.safetensors"),
        (
            "evaluate TEACHER/teacher.safetensors --data fashion-mnist-lab",
            "is for colour images (3 channels)",
        ),
        ("evaluate TEACHER/teacher.safetensors --split valid", "the splits are"),
        ("evaluate TEACHER/summary.json", "is a text file"),
    ],
)
def test_a_foreseen_error_is_one_line_and_status_2(trained, command, tmp_path, words, message):
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": 1}))
    names = {"TEACHER": trained / "teacher", "HEAD": trained / "head", "PICKLE": tmp_path / "old.pth"}
    for name, path in names.items():
        words = words.replace(name, str(path))
    name, *given = words.split()
    usual = ["--data", f"folder:{trained / 'images'}", "--device", "cpu"]
    if name != "evaluate":
        usual += [*QUICK, "--out", str(tmp_path / "run")]
    if name == "teacher":
        usual += ["--model", "resnet8"]
    status, _, err = command(name, *usual, *given)  # of an option given twice the last counts
    lines = [line for line in re.split(r"[\r\n]", err) if line and not re.match(r"teacher: +\d+%", line)]
    assert status == 2
    assert lines[-1].startswith("error: ")
    assert message in lines[-1]
    assert "Traceback" not in err
    assert len(lines) == 1


@pytest.mark.parametrize(
    "words", ["", "teach", "teacher", "teacher --out x --epochs 0", "teacher --out x --lr fast"]
)
def test_a_wrong_command_line_is_explained_with_status_2(command, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*words.split())
    assert status == 2
    assert "Traceback" not in out + err
    assert len(out + err) > 20
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_says_how_to_go_on(command, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_checkpoint", interrupt)
    status, _, err = command("evaluate", "x.safetensors")
    assert status == 130
    assert "the same command continues from what is saved, or starts again" in err
    assert "Traceback" not in err


# ---- doctor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("well", "expected"), [(True, 0), (False, 1)])
def test_the_status_of_doctor_says_whether_all_is_well(command, monkeypatch, well, expected):
    monkeypatch.setattr(importlib.import_module("sskd_lib.lab.diagnosis"), "doctor", lambda: well)
    assert command("doctor")[0] == expected


def test_doctor_looks_at_this_machine(command):
    status, out, err = command("doctor")
    assert "torch" in out
    assert err == ""
    assert (status == 0) == out.rstrip().endswith("All is well.")


def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "sskd_lib", "evaluate", "nowhere.safetensors"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no checkpoint nowhere.safetensors")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# ---- several students, tables, large images ------------------------------------------------------


def test_students_of_one_command_share_their_teacher(trained, command, tmp_path):
    """Three methods together, each as its own command would train it; then the same with a table."""
    words = ["--data", f"folder:{trained / 'images'}", *QUICK, "--exact"]
    teacher = ["--teacher", trained / "head" / "teacher.safetensors"]
    status, out, err = command(
        "distill",
        *teacher,
        *words,
        "--out",
        tmp_path / "all",
        "--method",
        "sskd",
        "kd",
        "ce",
        "--first-weights",
        0,
    )
    assert status == 0, err
    assert out.count("(the result)") == 3
    assert "sskd, kd, ce (3 students): 100%" in err
    status, _, err = command("distill", *teacher, *words, "--out", tmp_path / "kd", "--method", "kd")
    assert status == 0, err
    together, alone = (tmp_path / place / "student.safetensors" for place in ("all/2", "kd"))
    assert same(state(load_checkpoint(together)), state(load_checkpoint(alone)))

    of_a_table = ["--data", f"folder:{trained / 'images'}", "--device", "cpu", "--exact"]
    status, out, err = command("table", *teacher, *of_a_table, "--draws", "2", "--out", tmp_path / "table")
    assert status == 0, err
    assert "38 images x 8 views" in out
    status, out, err = command(
        "distill", "--table", tmp_path / "table", *words, "--out", tmp_path / "two", "--first-weights", 0, 1
    )
    assert status == 0, err
    assert out.count("(the result)") == 2
    plans = [read_card(tmp_path / "two" / n / "student.safetensors")["plan"] for n in ("1", "2")]
    assert plans[0]["initial_weights"] != plans[1]["initial_weights"]
    assert plans[0]["table"]["draws"] == 2
    assert plans[0]["teacher_weights"]

    status, _, err = command(
        "distill",
        *teacher,
        *words,
        "--out",
        tmp_path / "x",
        "--student",
        "resnet8",
        "resnet14",
        "--method",
        *"abc",
    )
    assert status == 2
    assert "--student has 2 entries for 3 students" in err
    status, _, err = command("table", *teacher, *of_a_table, "--draws", "all", "--out", tmp_path / "x")
    assert status == 2
    assert "Error parsing --draws: 'all' is not a whole number" in err
    assert not (tmp_path / "x").exists()


def test_resnet34_teaches_resnet18_on_shards_of_any_folder(command, tmp_path):
    """The ImageNet recipe's way, on 30 images of 60 x 72 pixels: shards, teacher, head, cost, student."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4)):
        for label, name in enumerate(("cat", "dog", "owl")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 150, (60, 72, 3)) + 100 * (np.arange(3) == label)
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / split / name / f"{i}.jpg")
    shards = tmp_path / "shards"
    words = ["shards", "--folder", tmp_path / "images", "--out", shards, "--side", 48, "--dry-run"]
    status, out, err = command(*words)
    assert status == 0, err
    assert "42 of 42 images are left" in out
    assert not shards.exists()
    status, out, err = command("shards", "--folder", tmp_path / "images", "--out", shards, "--side", 48)
    assert status == 0, err
    assert f"--data shards:{shards}" in out
    words = ["--data", f"shards:{shards}", "--epochs", "1", "--batch-size", "8", "--lr", "0.01"]
    words += ["--weight-decay", "1e-4", "--milestones", "0.333", "0.667", "--device", "cpu", "--exact"]
    status, out, err = command("teacher", *words, "--model", "torchvision/resnet34", "--out", tmp_path / "t")
    assert status == 0, err
    status, out, err = command(
        "head", "--teacher", tmp_path / "t" / "teacher.safetensors", *words, "--out", tmp_path / "h"
    )
    assert status == 0, err
    distill = ["distill", "--teacher", tmp_path / "h" / "teacher.safetensors", *words]
    distill += ["--student", "torchvision/resnet18", "--out", tmp_path / "s"]
    status, out, err = command(*distill, "--dry-run")
    assert status == 0, err
    assert re.search(r"1 epochs of 4 steps, [\d.]+ s a step \(measured\): [\d.e-]+ h", out)
    assert not (tmp_path / "s").exists()
    status, out, err = command(*distill)
    assert status == 0, err
    card = read_card(tmp_path / "s" / "student.safetensors")
    assert card["teacher"] == "torchvision/resnet34"
    assert card["train"] == {
        "name": "shards:shards",
        "images": 30,
    }
    assert card["plan"]["window"] == 42
    assert card["test"]["images"] == 12
    figures = command("evaluate", tmp_path / "s" / "student.safetensors", "--data", f"shards:{shards}")
    assert figures[0] == 0
    assert "accuracy" in figures[1]
