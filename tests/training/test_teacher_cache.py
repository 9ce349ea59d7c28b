"""The teacher table: what it holds against a live teacher, and what it does when something goes wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sskd_lib.data.images import ImageSet
from sskd_lib.data.views import Draws, cut, draw, frame
from sskd_lib.models.network import Network
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import table as writing
from sskd_lib.training import table_files
from sskd_lib.training.table import TeacherTable, cache_teacher, open_table, table_bytes, views_an_image
from sskd_lib.training.train import create_network

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, or a limit on file sizes")
PLAIN = Runtime()


def pictures(count: int = 6, channels: int = 1, side: int = 18, window: int | None = 16, seed: int = 0):
    """An ImageSet of noise, 4 classes; with the usual window it has 2 x 4 x 3 x 3 = 72 views an image."""
    generator = torch.Generator().manual_seed(seed)
    return ImageSet(
        images=torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8),
        labels=torch.arange(count) % 4,
        classes=("a", "b", "c", "d"),
        name="pictures",
        window=window,
    )


def make_teacher(data: ImageSet, projection: bool = True, seed: int = 1) -> Network:
    """A teacher whose BatchNorm has seen data, so that eval mode is not train mode."""
    network = create_network("resnet8", data, projection=projection, seed=seed)
    with torch.no_grad():
        network(frame(data.images, None).float() / 255)
    return network.eval()


def make(teacher: Network, data: ImageSet, path: Path, **settings) -> TeacherTable:
    """A table in float32, made in plain float32 on the CPU, without a bar."""
    return cache_teacher(
        teacher, data, path, **{"dtype": torch.float32, "runtime": PLAIN, "progress": False} | settings
    )


def view_by_hand(data: ImageSet, image: int, flip: bool, corner: Tensor, turn: int) -> Tensor:
    """One view, in numpy: black around, mirror, cut, turn. float [C, S, S]."""
    pixels = data.images[image].numpy()
    size = data.window or pixels.shape[2]
    if data.window is None:
        pixels = np.pad(pixels, ((0, 0), (4, 4), (4, 4)))
    if flip:
        pixels = pixels[:, :, ::-1]
    top, left = corner.tolist()
    cut_out = pixels[:, top : top + size, left : left + size]
    return torch.from_numpy(np.rot90(cut_out, turn, axes=(1, 2)).copy()).float() / 255


@torch.no_grad()
def ask_by_hand(teacher: Network, data: ImageSet, draws: Draws, views: int) -> tuple[Tensor, Tensor | None]:
    """A live teacher's outputs, in the order all upright, all at 90°, …"""
    batch = [
        view_by_hand(data, i, bool(draws.flip[i]), draws.corner[i, turn], turn)
        for turn in range(views)
        for i in range(len(draws.flip))
    ]
    output = teacher(torch.stack(batch))
    return output.logits, output.projection


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- against a live teacher ----------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", [16, None])
@pytest.mark.parametrize("draws", ["all", 3])
def test_each_view_has_the_output_of_the_live_teacher(draws, window, channels, tmp_path):
    data = pictures(4, channels, side=18 if window else 16, window=window)
    teacher = make_teacher(data)
    table = make(teacher, data, tmp_path / "table", draws=draws)
    rows, generator = table.rows(data.images), torch.Generator().manual_seed(0)
    for views in (4, 1, 4):
        drawn, entry = table.draw(rows, generator)
        found = table.outputs(rows, entry, views)
        logits, projection = ask_by_hand(teacher, data, drawn, views)
        assert found.logits.dtype == found.projection.dtype == torch.float32 and found.features is None
        torch.testing.assert_close(found.logits, logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.projection, projection, rtol=1e-5, atol=1e-5)
        # No two of these outputs are that near, so each belongs to its view and to no other.
        assert torch.pdist(found.projection).min() > 1e-4


def test_all_holds_every_view_at_its_own_place(tmp_path):
    data = pictures(2)
    teacher = make_teacher(data)
    table = make(teacher, data, tmp_path / "table", draws="all")
    stored = np.load(tmp_path / "table" / "logits.npy").reshape(
        2, 2, 3, 3, 4, 4
    )  # M, flip, top, left, turn, K
    for flip, top, left in np.ndindex(2, 3, 3):
        draws = Draws(torch.full((2,), bool(flip)), torch.tensor([top, left]).expand(2, 4, 2))
        expected = ask_by_hand(teacher, data, draws, 4)[0].view(4, 2, 4).transpose(0, 1)
        np.testing.assert_allclose(stored[:, flip, top, left], expected, rtol=1e-5, atol=1e-5)
    rows, seen = torch.tensor([0, 1]), Counter()
    for epoch in range(150):
        seen.update(table.draw(rows, torch.Generator().manual_seed(epoch))[1].flatten().tolist())
    assert sorted(seen) == list(range(72))


def test_all_draws_what_a_training_with_the_live_teacher_draws(tmp_path):
    data = pictures(6)
    table = make(make_teacher(data), data, tmp_path / "table", draws="all")
    ours, theirs = (torch.Generator().manual_seed(7) for _ in range(2))
    for _ in range(3):
        drawn, _ = table.draw(table.rows(data.images), ours)
        expected = draw(6, theirs, slack=2)
        assert torch.equal(drawn.flip, expected.flip) and torch.equal(drawn.corner, expected.corner)
    assert torch.equal(ours.get_state(), theirs.get_state())


def test_k_draws_come_again_each_as_often(tmp_path):
    data, count = pictures(40, side=24, window=16), 5
    table = make(make_teacher(data, projection=False), data, tmp_path / "table", draws=count)
    rows, generator = table.rows(data.images), torch.Generator().manual_seed(0)
    picked, seen = Counter(), [{} for _ in range(40)]
    for _ in range(50):
        drawn, entry = table.draw(rows, generator)
        assert torch.equal(entry % 4, torch.arange(4).expand(40, 4))
        for i, number in enumerate((entry[:, 0] // 4).tolist()):
            view = (bool(drawn.flip[i]), *drawn.corner[i].flatten().tolist())
            assert seen[i].setdefault(number, view) == view  # the same number, the same four views
            picked[number] += 1
    assert all(
        len(set(views.values())) == count for views in seen
    )  # K different draws, others for each image
    assert len({view for views in seen for view in views.values()}) == 40 * count
    assert sorted(picked) == list(range(count)) and min(picked.values()) > 340  # of 400 expected
    again = make(make_teacher(data, projection=False), data, tmp_path / "again", draws=count, seed=1)
    assert not torch.equal(again.draws.corner, table.draws.corner)


def test_a_batch_of_an_epoch_equals_the_live_teacher_on_the_same_draws(tmp_path):
    data = pictures(20)
    teacher, runtime = make_teacher(data), Runtime(channels_last=True)
    for kind in ("all", 4):
        table = make(teacher, data, tmp_path / str(kind), draws=kind, runtime=runtime)
        rows, generator = table.rows(data.images), torch.Generator().manual_seed(1)
        drawn, entry = table.draw(rows, generator)
        for index in torch.randperm(20, generator=generator).split(8):
            views = cut(
                frame(data.images[index], 16), Draws(drawn.flip[index], drawn.corner[index]), (16, 16), 4
            )
            with torch.no_grad():
                live = runtime.run(teacher, views)
            found = table.outputs(rows[index], entry[index], 4)
            torch.testing.assert_close(found.logits, live.logits, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(found.projection, live.projection, rtol=1e-5, atol=1e-5)


def test_float16_rounds_once_and_halves_the_files(tmp_path):
    data = pictures(5)
    teacher = make_teacher(data)
    exact, half = (
        make(teacher, data, tmp_path / str(dtype), draws="all", dtype=dtype)
        for dtype in (torch.float32, torch.float16)
    )
    assert half.logits.dtype == np.float16 and exact.logits.dtype == np.float32
    np.testing.assert_array_equal(half.projection, exact.projection.astype(np.float16))
    np.testing.assert_array_equal(half.logits, exact.logits.astype(np.float16))
    assert half.outputs(torch.tensor([0]), torch.tensor([[0, 1, 2, 3]]), 4).logits.dtype == torch.float32


def test_a_teacher_in_bfloat16_is_stored_as_it_computes(tmp_path):
    data = pictures(3)
    teacher, runtime = make_teacher(data), Runtime(dtype=torch.bfloat16, channels_last=True)
    table = make(teacher, data, tmp_path / "table", draws=2, runtime=runtime)
    exact = make(teacher, data, tmp_path / "exact", draws=2)
    distance = np.abs(table.projection - exact.projection).max() / np.abs(exact.projection).max()
    assert 1e-4 < distance < 0.05
    assert table.card["runtime"]["dtype"] == "bfloat16"


def test_a_teacher_without_a_head(tmp_path):
    data = pictures(3)
    teacher = make_teacher(data, projection=False)
    table = make(teacher, data, tmp_path / "table", draws=2)
    drawn, entry = table.draw(torch.arange(3))
    found = table.outputs(torch.arange(3), entry, 4)
    assert found.projection is None and table.projection is None and table.card["width"] is None
    torch.testing.assert_close(found.logits, ask_by_hand(teacher, data, drawn, 4)[0], rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "table" / "projection.npy").exists()


def test_the_teacher_runs_in_eval_mode_and_keeps_its_own(tmp_path):
    data = pictures(3)
    teacher = make_teacher(data)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    expected = make(teacher, data, tmp_path / "eval", draws=2)
    assert not teacher.training
    found = make(teacher.train(), data, tmp_path / "train", draws=2)
    assert teacher.training and teacher.backbone.training
    np.testing.assert_array_equal(found.projection, expected.projection)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


# ---- which image is which ------------------------------------------------------------------------


def test_images_are_found_by_their_pixels(tmp_path):
    data = pictures(30)
    table = make(make_teacher(data), data, tmp_path / "table", draws=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:17]
    assert torch.equal(table.rows(data.images[order]), order)
    assert torch.equal(
        table.rows(data.images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)[order]), order
    )
    few = data.take(8)
    assert torch.equal(data.images[table.rows(few.images)], few.images)
    noisy = data.with_label_noise(0.5)
    assert not torch.equal(noisy.labels, data.labels)
    table.check(None, noisy)
    assert make(make_teacher(data), noisy, tmp_path / "table", draws=1).card == table.card


def test_equal_images_share_a_row(tmp_path):
    data = pictures(4)
    twice = replace(data, images=data.images[[0, 1, 0, 2]])
    table = make(make_teacher(data), twice, tmp_path / "table", draws=3)
    assert table.rows(twice.images).tolist() == [0, 1, 0, 3]
    drawn, entry = table.draw(table.rows(twice.images))
    expected = ask_by_hand(make_teacher(data), twice, drawn, 4)[0]
    found = table.outputs(table.rows(twice.images), entry, 4).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_images_that_are_not_in_it_are_counted(tmp_path):
    data = pictures(6)
    table = make(make_teacher(data), data, tmp_path / "table", draws=1)
    changed = data.images.clone()
    changed[2, 0, 0, 0] ^= 1  # one grey level of one pixel
    changed[5, 0, 17, 17] ^= 1
    with pytest.raises(
        ValueError, match="2 of the 6 images are not in the table .* which has 6.*cache_teacher"
    ):
        table.rows(changed)
    with pytest.raises(ValueError, match="2 of the 6 images"):
        table.rows(changed)


def test_check_names_what_does_not_fit(tmp_path):
    data = pictures(4)
    teacher = make_teacher(data)
    table = make(teacher, data, tmp_path / "table", draws=1)
    table.check(teacher, data)
    table.check(None, data.take(2))
    other = make_teacher(data)
    other.head[2].bias.data[0] += 1e-6
    with pytest.raises(ValueError, match="another teacher.*Load .* or make a table"):
        table.check(other, data)
    with pytest.raises(
        ValueError, match=r"window \(16 there, 17 asked for\), slack \(2 there, 1 asked for\)"
    ):
        table.check(teacher, replace(data, window=17))
    with pytest.raises(ValueError, match=r"side \(18 there, 20 asked for\)"):
        table.check(None, pictures(4, side=20))
    with pytest.raises(ValueError, match=r"classes \(4 there, 5 asked for\)"):
        table.check(None, replace(data, classes=("a", "b", "c", "d", "e")))


# ---- asked again ---------------------------------------------------------------------------------


def test_a_finished_table_is_opened_and_the_teacher_not_run(tmp_path):
    data = pictures(4)
    teacher = make_teacher(data)
    first = make(teacher, data, tmp_path / "table", draws=2)
    before = contents(tmp_path / "table")
    teacher.forward = None  # whoever runs it now fails
    again = make(teacher, data, tmp_path / "table", draws=2, runtime=Runtime(channels_last=True))
    assert contents(tmp_path / "table") == before and again.card == first.card
    np.testing.assert_array_equal(again.logits, open_table(str(tmp_path / "table")).logits)
    assert repr(first) == f"TeacherTable({tmp_path / 'table'}: resnet8, 4 images x 8 views, float32)"
    assert first.identity() == {"draws": 2, "seed": 0, "dtype": "float32", "pixels": first.card["pixels"]}


def test_another_table_in_the_folder_is_refused_by_name(tmp_path):
    data = pictures(4)
    teacher, folder = make_teacher(data), tmp_path / "table"
    make(teacher, data, folder, draws=2)
    before = contents(folder)
    cases = [
        (make_teacher(data, seed=2), data, {}, "teacher_weights"),
        (make_teacher(data, projection=False), data, {}, "teacher_weights, .*projection.*, width"),
        (teacher, pictures(4, seed=3), {}, "pixels"),
        (teacher, data.take(2), {}, r"pixels, images \(4 there, 2 asked for\)"),
        (teacher, replace(data, window=17), {}, r"window \(16 there, 17 asked for\)"),
        (teacher, data, {"draws": 3}, r"draws \(2 there, 3 asked for\)"),
        (teacher, data, {"draws": "all"}, r"draws \(2 there, all asked for\)"),
        (teacher, data, {"seed": 1}, r"seed \(0 there, 1 asked for\)"),
        (teacher, data, {"dtype": torch.float16}, r"dtype \(float32 there, float16 asked for\)"),
    ]
    for network, images, changes, named in cases:
        with pytest.raises(ValueError, match=f"holds another table; what differs: .*{named}.*Choose another"):
            make(network, images, folder, **{"draws": 2} | changes)
        assert contents(folder) == before
    assert make(teacher, data, folder, draws=2).card["done"] == 4


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    data = pictures(2)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is no teacher table.*Nothing was changed.*Choose an empty"):
        make(make_teacher(data), data, tmp_path, draws=1)
    with pytest.raises(ValueError, match="is no teacher table"):
        make(make_teacher(data), data, tmp_path / "thesis.txt", draws=1)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 0}, "at least 1, not 0"),
        ({"draws": "every"}, 'draws is "all" or a number'),
        ({"dtype": torch.bfloat16}, "float16 or torch.float32, not torch.bfloat16"),
    ],
)
def test_settings_that_make_no_sense(changes, message, tmp_path):
    data = pictures(2)
    with pytest.raises(ValueError, match=message):
        make(make_teacher(data), data, tmp_path / "table", **changes)
    assert not (tmp_path / "table").exists()


def test_a_teacher_for_other_images_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"takes 3 channel\(s\) and tells 4 classes apart, but pictures has 1"
    ):
        make(make_teacher(pictures(2, channels=3)), pictures(2), tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_numbers_too_large_for_float16_are_refused(tmp_path):
    data = pictures(2)
    teacher = make_teacher(data)
    teacher.head[2].bias.data += 70_000
    with pytest.raises(ValueError, match="no finite number in float16: the largest is 70.*store float32"):
        make(teacher, data, tmp_path / "table", dtype=torch.float16)
    assert make(teacher, data, tmp_path / "other").projection.max() > 65_504


def test_what_it_costs_is_known_before(tmp_path):
    assert views_an_image("all") == 648 and views_an_image(8) == 32
    assert table_bytes(50_000, 100, 128, "all") == pytest.approx(14.8e9, rel=0.01)
    data = pictures(30)
    teacher = make_teacher(data)
    for draws, dtype in (("all", torch.float16), (7, torch.float32)):
        table = make(teacher, data, tmp_path / str(draws), draws=draws, dtype=dtype)
        written = sum(path.stat().st_size for path in (tmp_path / str(draws)).iterdir())
        expected = table_bytes(30, 4, table.card["width"], draws, slack=2, dtype=dtype)
        assert 0 < written - expected < 5_000
        assert table.card["views"] == views_an_image(draws, slack=2)


def test_the_bar_counts_images(tmp_path, capsys):
    data = pictures(3)
    make(make_teacher(data), data, tmp_path / "table", draws=1, progress=True)
    shown = capsys.readouterr().err
    assert "teacher table: 100%" in shown and "3/3" in shown


# ---- killed --------------------------------------------------------------------------------------


def write_here(folder: Path, fault: tuple[str, int] | None = None) -> None:
    """What a killed process does: a table of 24 images in 6 chunks, each counted at once."""
    torch.set_num_threads(1)
    writing.FORWARD, writing.SAVE_SECONDS = 16, 0
    if fault:
        die_while_writing(*fault)
    data = pictures(24)
    make(make_teacher(data), data, folder, draws=4)


def die_while_writing(moment: str, number: int) -> None:
    """Kill this process at a moment it comes to for the `number`-th time."""
    append, fsync, replaced, calls = table_files.append, os.fsync, os.replace, Counter()

    def die_at(now: str) -> None:
        calls[now] += 1
        if (now, calls[now]) == (moment, number):
            os.kill(os.getpid(), signal.SIGKILL)

    def dying_append(file, data) -> None:
        data = memoryview(data).cast("B")
        append(file, data[: len(data) // 2])
        die_at("half")
        append(file, data[len(data) // 2 :])

    def dying_fsync(handle: int) -> None:
        die_at("fsync")
        fsync(handle)

    def dying_replace(source, target) -> None:
        die_at("unnamed")
        replaced(source, target)
        die_at("named")

    table_files.append, os.fsync, os.replace = dying_append, dying_fsync, dying_replace


def life(*arguments) -> int:
    """Exit code of a process of its own that writes the table; its server has imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sskd_lib", "pytest", "torch._dynamo"])
    process = context.Process(target=write_here, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The files of a table that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "table"
    assert life(folder) == 0
    return contents(folder)


# At which of its calls each of the lives ends. Files named: card, index, and the card after each chunk.
LIVES = {
    "half": (1, 2, 3, 5, 6),
    "fsync": (1, 2, 5, 8, 10),
    "unnamed": (1, 2, 3, 4, 2),
    "named": (1, 2, 3, 2, 1),
}


@unix
@pytest.mark.parametrize("moment", LIVES)
def test_killed_anywhere_it_ends_with_the_same_files(moment, whole, tmp_path):
    folder, done = tmp_path / "table", []
    for number in LIVES[moment]:
        assert life(folder, (moment, number)) == -signal.SIGKILL
        card = table_files.read_card(folder)
        done.append(card["done"] if card else 0)
        with pytest.raises((ValueError, FileNotFoundError), match="unfinished|no teacher table"):
            open_table(folder)
    assert done == sorted(done) and 0 < done[-1] < 24  # it did go on, and was not finished
    assert life(folder) == 0
    assert contents(folder) == whole
    assert len(open_table(folder).keys) == 24


@unix
def test_a_writer_goes_on_only_with_the_same_settings(tmp_path):
    folder = tmp_path / "table"
    assert life(folder, ("fsync", 7)) == -signal.SIGKILL
    before, data = contents(folder), pictures(24)
    assert 0 < table_files.read_card(folder)["done"] < 24
    with pytest.raises(ValueError, match="seed"):
        make(make_teacher(data), data, folder, draws=4, seed=1)
    assert contents(folder) == before
    (folder / "index.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged: index.safetensors .*Delete the folder"):
        make(make_teacher(data), data, folder, draws=4)
    (folder / "index.safetensors").write_bytes(before["index.safetensors"])
    os.truncate(folder / "logits.npy", 200)
    with pytest.raises(ValueError, match="damaged: logits.npy is missing or shorter.*Delete the folder"):
        make(make_teacher(data), data, folder, draws=4)


# ---- a full disk ---------------------------------------------------------------------------------


class Interrupted(Runtime):
    """A runtime that does something else first at one of its forwards."""

    def at(self, forward: int, act) -> Interrupted:
        object.__setattr__(self, "rest", [forward, act])
        return self

    def run(self, network, views):
        self.rest[0] -= 1
        if self.rest[0] == 0:
            self.rest[1]()
        return super().run(network, views)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_too_small_is_told_before_the_first_write(small_disk):
    data = pictures(120)
    with pytest.raises(OSError, match=r"needs 2\.4 MB more, and the disk has 2\.1 MB free.*fewer draws"):
        make(make_teacher(data), data, small_disk / "table", draws="all")
    assert not (small_disk / "table").exists()


def test_a_disk_that_fills_up_keeps_what_is_done(small_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SAVE_SECONDS", 0)
    data = pictures(40)
    teacher, folder, other = make_teacher(data), small_disk / "table", small_disk / "someone else's"

    def fill() -> None:
        with open(other, "wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    def fill_the_disk() -> None:
        with pytest.raises(OSError, match="No space left"):
            fill()

    with pytest.raises(OSError, match="cannot write .*table.*No space left.*Free some space.*goes on"):
        make(teacher, data, folder, draws="all", runtime=Interrupted().at(4, fill_the_disk))
    assert 0 < json.loads((folder / "card.json").read_text())["done"] < 40
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    with pytest.raises(ValueError, match="unfinished: .* of 40 images are done.*cache_teacher again"):
        open_table(folder)
    other.unlink()
    make(teacher, data, folder, draws="all")
    make(teacher, data, tmp_path / "undisturbed", draws="all")
    assert contents(folder) == contents(tmp_path / "undisturbed")


@unix
def test_a_limit_on_the_size_of_files_keeps_what_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SAVE_SECONDS", 0)
    data = pictures(40)
    teacher, folder = make_teacher(data), tmp_path / "table"
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match="cannot write .*table.*too large.*goes on"):
            make(teacher, data, folder, draws="all")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 0 < json.loads((folder / "card.json").read_text())["done"] < 40
    make(teacher, data, folder, draws="all")
    make(teacher, data, tmp_path / "undisturbed", draws="all")
    assert contents(folder) == contents(tmp_path / "undisturbed")


# ---- damaged -------------------------------------------------------------------------------------


def change(path: Path, offset: int, by: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(by)] = by
    path.write_bytes(content)


DAMAGE = {
    "cut short": (lambda f: os.truncate(f / "logits.npy", 500), "logits.npy has 500 bytes; it should have"),
    "too long": (
        lambda f: os.truncate(f / "projection.npy", 9999),
        "projection.npy has 9999 bytes; it should",
    ),
    "gone": (lambda f: (f / "logits.npy").unlink(), "logits.npy is missing"),
    "another head": (lambda f: change(f / "logits.npy", 0, b"PK"), "logits.npy does not begin as"),
    "index gone": (lambda f: (f / "index.safetensors").unlink(), "index.safetensors is missing or cannot"),
    "index changed": (
        lambda f: change(f / "index.safetensors", -40, b"\x55" * 8),
        "index.safetensors .* cannot",
    ),
    "card cut short": (lambda f: os.truncate(f / "card.json", 100), "card.json is damaged, or not that of"),
    "another format": (lambda f: (f / "card.json").write_text('{"format": "x"}'), "card.json is damaged"),
    "card no object": (lambda f: (f / "card.json").write_text("[1]"), "card.json is damaged"),
    "card changed": (
        lambda f: (f / "card.json").write_text(
            (f / "card.json").read_text().replace('"seed": 0', '"seed": 1')
        ),
        "index.safetensors and card.json are of two different tables",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_table_is_not_opened(damage, tmp_path):
    data = pictures(3)
    folder = tmp_path / "table"
    make(make_teacher(data), data, folder, draws=2)
    act, message = DAMAGE[damage]
    act(folder)
    before = contents(folder)
    with pytest.raises(ValueError, match=f"{message}.*(Delete the folder|delete this one)"):
        open_table(folder)
    assert contents(folder) == before


def test_there_is_no_table(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="there is no teacher table in .*cache_teacher"):
            open_table(path)
