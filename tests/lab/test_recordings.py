"""Recorded trainings: what is recorded is what a training does, and what is packed comes back."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import make_recordings as make
import pack_recordings as packing
import sskd_lib as sskd
from helpers.training import pictures
from sskd_lib.lab import time_machine_data
from sskd_lib.lab.time_machine_data import load_recording, recipe_of

SMALL = {
    "SCHEDULES": {
        16: sskd.Schedule(epochs=4, batch_size=8, lr=0.02),
        8: sskd.Schedule(epochs=6, batch_size=4, lr=0.02),
    },
    "PERCENT": (0, 50, 100),
    "GRID": {16: ((0, 1), (1.0, 4.0), (0.5,)), 8: ((0, 1), (1.0, 4.0), (0.5,))},
    "FINE": (0.5,),
    "MIXED": 16,
    "MIX_SEEDS": (0, 1),
    "FURTHER": {},
    "WEIGHTS": {"ce": (0.0, 0.1), "kd": (0.9,), "tf": (0.0,), "ss": (0.0,)},
    "DOTS": 3,
    "SHOWN": (7, 2, 30),
    "SAVE_SECONDS": 0.0,
}


def small_materials():
    """A teacher that has learned nothing, 40 images to draw from, 32 to test on: 16 x 16, four classes."""
    train = pictures(40)
    teacher = sskd.create_network("resnet8", train, projection=True, seed=100)
    teacher.head_trained = True
    return teacher, train, pictures(32, seed=5)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with all groups of a small plan, trained once; the plan stays in force for this file."""
    patch = pytest.MonkeyPatch()
    for name, value in SMALL.items():
        patch.setattr(make, name, value)
    patch.setattr(make, "materials", small_materials)
    folder = tmp_path_factory.mktemp("parts")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make.train(labels=(16, 8), seeds=(0, 1), folder=folder)
    torch.set_num_threads(threads)
    yield folder
    patch.undo()


@pytest.fixture
def packed(parts, tmp_path):
    packing.pack(folder=parts, out=tmp_path)
    return tmp_path


def lone_run(settings, labels: int):
    """One of the runs by itself: (history, outputs after the last epoch)."""
    teacher, train, test = small_materials()
    student = sskd.create_network("resnet8", train, projection=True, seed=settings["seed"])
    run = sskd.distill(
        student,
        teacher,
        train.take(labels, seed=settings["seed"]),
        recipe=recipe_of(settings),
        schedule=SMALL["SCHEDULES"][labels],
        seed=settings["seed"],
        runtime=sskd.choose_runtime("cpu"),
        progress=False,
    )
    return run.history, sskd.predict(student, test, sskd.choose_runtime("cpu"))


# ---- what is trained -----------------------------------------------------------------------------


def test_the_plan_has_every_point_once_and_the_presets():
    for labels, (seeds, temperatures, broad) in make.GRID.items():
        grid = make.wanted("grid", labels, 2)
        points = {(t, share, 0.75) for t in temperatures for share in broad}
        points |= {(4.0, share, 0.75) for share in make.FINE} | {(4.0, 1.0, share) for share in make.FINE}
        assert {(g["temperature"], g["tf_keep"], g["ss_keep"]) for g in grid} == points
        assert len(grid) == len(points) and make.wanted("grid", labels, max(seeds) + 1) == []
    mixes = make.wanted("mix", make.MIXED, 2)
    assert len({json.dumps(mix) for mix in mixes}) == len(mixes)
    assert [n for n in make.GRID if make.wanted("mix", n, 2)] == [make.MIXED]
    assert {mix["ss"] for mix in mixes} >= {30.0, 100.0}
    for preset in sskd.PRESETS.values():
        weights = {name: getattr(preset, name) for name in ("ce", "kd", "tf", "ss")}
        assert weights | {"seed": 2} in mixes
    assert not any(mix["ce"] == mix["kd"] == mix["tf"] == mix["ss"] == 0 for mix in mixes)


def test_settings_become_recipes():
    point = recipe_of({"temperature": 2.0, "tf_keep": 0.25, "ss_keep": 0.5, "labels": 300, "seed": 1})
    assert point == sskd.Recipe(kd_temperature=2, tf_temperature=2, tf_keep_wrong=0.25, ss_keep_wrong=0.5)
    for preset in sskd.PRESETS.values():
        weights = {name: getattr(preset, name) for name in ("ce", "kd", "tf", "ss")}
        assert recipe_of(weights | {"seed": 0}) == preset
    assert recipe_of({"ce": 1.0, "kd": 0.0, "tf": 0.0, "ss": 3.0, "seed": 0}) == sskd.Recipe(
        ce=1, kd=0, tf=0, ss=3
    )


def test_images_worth_watching():
    """Six classes of narrow leads, two wrong images, sure ones: chosen by hand from a table of logits."""
    labels = np.arange(24) % 8
    logits = np.zeros((24, 8), np.float32)
    logits[np.arange(24), labels] = 5 + np.arange(24) / 10  # sure, the later the surer
    logits[[1, 2, 3, 4, 5, 6], labels[[1, 2, 3, 4, 5, 6]]] = [0.3, 0.1, 0.2, 0.6, 0.5, 0.4]
    logits[9, 1] = 0.35  # narrow too, of the class of image 1
    logits[[8, 15], [3, 3]] = [20, 30]  # wrong
    chosen = make.chosen_images(logits, labels).tolist()
    assert chosen == [2, 3, 1, 6, 5, 4, 15, 8, 23, 22, 21][: len(chosen)] and len(chosen) == 11


def test_what_is_recorded_is_what_a_lone_training_does(parts):
    truth = small_materials()[2].labels.numpy()
    for labels, row in ((16, 1), (8, 0)):
        (file,) = parts.glob(f"labels-{labels}-seed-1-*.npz")
        group = time_machine_data.read_npz(file)
        facts = json.loads(str(group["facts"]))
        history, output = lone_run(facts["settings"][row], labels)
        logits = output.logits.numpy()
        middle, end = {16: (2, 4), 8: (3, 6)}[labels]
        assert facts["epochs"] == [0, middle, end] and np.isnan(group["kd"][row, 0])
        for term in ("ce", "kd", "tf", "ss"):
            recorded, expected = group[term][row, 1:], [history[at - 1].get(term) for at in (middle, end)]
            np.testing.assert_array_equal(recorded, np.array(expected, np.float32))
        np.testing.assert_array_equal(group["outputs"][row, -1], logits[list(SMALL["SHOWN"])])
        assert group["accuracy"][row, -1] == 100 * (logits.argmax(1) == truth).mean()
        first_of_class = [[i for i in range(32) if truth[i] == k][:3] for k in range(4)]
        kept = sorted(itertools.chain(*first_of_class))
        np.testing.assert_array_equal(
            group["features"][row, -1], output.features.numpy()[kept].astype(np.float16)
        )


def test_a_killed_recording_goes_on(parts, tmp_path):
    """Killed after the second look, by SIGKILL; then the same call ends with the same arrays."""
    script = "import test_recordings as t; t.train_small(t.sys.argv[1])"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("*/epoch-002.npz")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("*.npz"))
    make.train(labels=(16,), seeds=(0,), folder=tmp_path)
    (file,) = tmp_path.iterdir()
    again, once = time_machine_data.read_npz(file), time_machine_data.read_npz(parts / file.name)
    assert again.keys() == once.keys()
    for name in again.keys() - {"facts"}:
        np.testing.assert_array_equal(again[name], once[name])


def train_small(folder: str) -> None:
    """What the killed process does."""
    torch.set_num_threads(1)
    for name, value in SMALL.items():
        setattr(make, name, value)
    make.materials = small_materials
    make.train(labels=(16,), seeds=(0,), folder=Path(folder))


def test_only_what_is_missing_is_trained(parts, tmp_path, monkeypatch, capsys):
    make.train(labels=(16, 8), seeds=(0, 1), dry_run=True, folder=parts)
    assert "0 groups are left" in capsys.readouterr().out
    wider = {n: (seeds, temperatures, (0.5, 1.0)) for n, (seeds, temperatures, _) in make.GRID.items()}
    monkeypatch.setattr(make, "GRID", wider)
    groups = make.missing((16, 8), (1,), parts)
    assert [(group.labels, group.seed, len(group.settings)) for group in groups] == [(16, 1, 2), (8, 1, 2)]
    assert make.missing((16,), (1,), parts, ["mix"]) == []
    added = [settings for group in groups for settings in group.settings]
    assert {(settings["tf_keep"], settings["ss_keep"]) for settings in added} == {(1.0, 0.75)}


# ---- packed and read -----------------------------------------------------------------------------


def test_packed_runs_come_back(parts, packed):
    for name in ("grid", "mix"):
        recording = load_recording(name, packed)
        assert recording.card["left_out"] == [] and recording.percent.tolist() == [0, 50, 100]
        assert recording.epochs(16).tolist() == [0, 2, 4]
        rows = {json.dumps(settings): (file, row) for settings, file, row in make.complete_runs(parts)}
        assert len(recording.settings) == len(rows) - len(
            load_recording("mix" if name == "grid" else "grid", packed).settings
        )
        for i, settings in enumerate(recording.settings):
            assert recording.find(**settings) == i
            whole = {key: int(v) if key in ("labels", "seed") else v for key, v in settings.items()}
            file, row = rows[json.dumps(whole)]
            group = time_machine_data.read_npz(file)
            np.testing.assert_array_equal(recording.accuracy[i], group["accuracy"][row].astype(np.float32))
            np.testing.assert_allclose(recording.outputs[i], group["outputs"][row], rtol=1e-3, atol=1e-4)
            for term, values in recording.terms.items():
                np.testing.assert_array_equal(values[i], group[term][row])
        teacher, _, test = small_materials()
        shown = list(SMALL["SHOWN"])
        np.testing.assert_array_equal(recording.images, test.images[shown].numpy())
        np.testing.assert_array_equal(recording.labels, test.labels[shown].numpy())
        logits = sskd.predict(teacher, test).logits
        np.testing.assert_array_equal(recording.teacher_outputs, logits[shown].numpy())
        assert recording.teacher_accuracy == pytest.approx(
            100 * (logits.argmax(1) == test.labels).float().mean()
        )
        assert recording.dots.tolist() == [0, 1, 2, 3] * 3 and recording.classes == test.classes


def test_the_plane_turns_and_scales_but_never_bends():
    """A student whose features are the teacher's, turned, halved and shifted, lies on them."""
    random = np.random.default_rng(0)
    teacher_output = random.normal(size=(30, 6)) * [5, 3, 1, 0.1, 0.1, 0.1]
    target = packing.principal_plane(teacher_output)
    centred = teacher_output - teacher_output.mean(0)
    np.testing.assert_allclose(target.var(0), np.sort(np.linalg.eigvalsh(centred.T @ centred / 30))[:-3:-1])
    turn = np.linalg.qr(random.normal(size=(6, 6)))[0]
    last = 0.5 * teacher_output @ turn + 7
    places = packing.in_plane(np.stack([2 * last, last + 1, last]), target)
    np.testing.assert_allclose(places[2], target, atol=1e-9)
    np.testing.assert_allclose(places[0] - places[0].mean(0), 2 * target, atol=1e-9)  # the same map
    shift = places[1] - places[2]
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-9)
    assert np.isfinite(packing.in_plane(np.zeros((2, 30, 6)), target)).all()  # all on one spot


def test_places_keep_their_size():
    places = np.random.default_rng(1).normal(size=(2, 3, 50, 2)) * [[[[1.0]], [[40.0]], [[0.01]]]]
    stored = packing.rounded_places(places)
    back = stored["features"] * stored["feature_scale"][:, :, None, None]
    largest = np.abs(places).max((2, 3), keepdims=True)
    assert (np.abs(back - places) <= 0.51 * largest / 32767).all()
    assert np.isfinite(packing.rounded_places(np.zeros((1, 1, 4, 2)))["feature_scale"]).all()


def test_only_complete_settings_are_packed(parts, tmp_path, capsys):
    for file in parts.glob("*.npz"):
        (tmp_path / file.name).symlink_to(file)
    (later,) = tmp_path.glob("labels-8-seed-1-*.npz")
    later.unlink()
    packing.pack(folder=tmp_path, out=tmp_path / "out")
    grid = load_recording("grid", tmp_path / "out")
    assert grid.values("labels") == (8, 16) and grid.values("seed") == (0, 1)
    assert grid.card["left_out"] == ["8 labels, seed 1"]
    (first,) = tmp_path.glob("labels-16-seed-0-*.npz")
    first.unlink()
    packing.pack(folder=tmp_path, out=tmp_path / "out")
    assert load_recording("mix", tmp_path / "out").card["left_out"] == ["16 labels, seed 0"]
    packing.pack(folder=tmp_path / "nothing", out=tmp_path / "none")
    assert "nothing is written" in capsys.readouterr().out and not (tmp_path / "none").exists()


def test_questions_without_an_answer(packed):
    grid = load_recording("grid", packed)
    words = r"no run with temperature=3 .*Give every setting: temperature 1, 4; .*labels 8, 16; seed 0, 1"
    with pytest.raises(ValueError, match=words):
        grid.find(temperature=3)
    with pytest.raises(ValueError, match="no run with no settings"):
        grid.find()
    with pytest.raises(ValueError, match="no setting 'ce'; the settings are: temperature, tf_keep"):
        grid.values("ce")
    with pytest.raises(ValueError, match="the recordings are 'grid' and 'mix'"):
        load_recording("grit")
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.card = {}


def test_damaged_and_missing_files(packed):
    pack, card = packed / "fashion-mnist-grid.npz", packed / "fashion-mnist-grid.json"
    content, text = pack.read_bytes(), card.read_text()
    middle = len(content) // 2
    for bad in (content[:middle], content[:middle] + b"?" + content[middle + 1 :], b""):
        pack.write_bytes(bad)
        with pytest.raises(ValueError, match="damaged: its sha256 .* git checkout -- data/recordings"):
            load_recording("grid", packed)
    pack.write_bytes(content)
    for bad in ("{", "[]", "{}", "\udcff"):
        card.write_bytes(bad.encode(errors="surrogateescape"))
        with pytest.raises(ValueError, match=r"card .*json is damaged"):
            load_recording("grid", packed)
    card.write_text(text)
    load_recording("grid", packed)
    for file in (pack, card):
        file.rename(packed / "away")
        with pytest.raises(FileNotFoundError, match=f"{file.name} is missing.*git checkout"):
            load_recording("grid", packed)
        (packed / "away").rename(file)


def test_nothing_is_unpickled(packed):
    """A file with a pickle in it, and a card to match, is refused."""
    pack, card = packed / "fashion-mnist-mix.npz", packed / "fashion-mnist-mix.json"
    np.savez(pack, **time_machine_data.read_npz(pack) | {"labels": np.array([{}], dtype=object)})
    facts = json.loads(card.read_text()) | {"sha256": hashlib.sha256(pack.read_bytes()).hexdigest()}
    card.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_recording("mix", packed)


# ---- what is shipped -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grid", "mix"])
def test_the_shipped_recording_is_whole(name):
    recording = load_recording(name)
    runs, count = len(recording.settings), len(recording.percent)
    assert recording.schedules[300] == sskd.SHORT
    assert recording.percent.tolist() == list(range(0, 101, 10))
    assert recording.epochs(300).tolist() == list(range(0, sskd.SHORT.epochs + 1, 2))
    assert recording.accuracy.shape == (runs, count) and recording.outputs.shape == (runs, count, 12, 10)
    assert recording.features.shape == (runs, count, 100, 2) and recording.teacher_features.shape == (100, 2)
    for values in (recording.accuracy, recording.outputs, recording.features):
        assert np.isfinite(values).all()
    test = sskd.load_images("fashion-mnist-lab", "test")
    for image, label in zip(recording.images, recording.labels, strict=True):
        same = (test.images.numpy() == image).all((1, 2, 3))
        assert test.labels.numpy()[same].tolist() == [label]
    for i, settings in enumerate(recording.settings):
        weights = dataclasses.asdict(recipe_of(settings))
        for term, values in recording.terms.items():
            assert np.isnan(values[i, 0]) and np.isfinite(values[i, 1:]).all() == (weights[term] > 0)
        twin = next(j for j, s in enumerate(recording.settings) if s["seed"] == settings["seed"])
        assert recording.accuracy[i, 0] == recording.accuracy[twin, 0]  # the same first weights
    assert recording.card["left_out"] == []


def test_the_shipped_recordings_are_small_and_of_the_shipped_teacher():
    files = [time_machine_data.FOLDER / f"fashion-mnist-{name}.npz" for name in ("grid", "mix")]
    assert sum(file.stat().st_size for file in files) < 4_000_000
    grid = load_recording("grid")
    teacher = sskd.load_checkpoint(time_machine_data.FOLDER.parent / grid.card["teacher"])
    logits = sskd.predict(teacher, torch.from_numpy(grid.images)).logits.numpy()
    np.testing.assert_allclose(grid.teacher_outputs, logits, atol=1e-3)
