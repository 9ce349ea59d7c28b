"""The teacher table: its numbers against a live teacher, and what happens when something goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.killing import die_while_writing, in_own_process
from sskd_lib.data.images import ImageSet
from sskd_lib.data.views import Draws, cut, frame
from sskd_lib.files import locked
from sskd_lib.models.network import Network
from sskd_lib.runtime.device import Runtime
from sskd_lib.training import teacher_cache
from sskd_lib.training.table_files import read_card
from sskd_lib.training.teacher_cache import TeacherTable, cache_teacher, open_table, table_bytes
from sskd_lib.training.train import create_network

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL, or a limit on file sizes")
PLAIN = Runtime()


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from a second thread, and lose much where another process has it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(count: int = 6, channels: int = 1, side: int = 18, window: int | None = 16, seed: int = 0):
    """An ImageSet of noise, 4 classes."""
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
def answers_by_hand(
    teacher: Network, data: ImageSet, draws: Draws, views: int
) -> tuple[Tensor, Tensor | None]:
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


def visible(folder: Path) -> dict[str, bytes]:
    """The same without the hidden files that a killed process may leave."""
    return {name: content for name, content in contents(folder).items() if not name.startswith(".")}


# ---- against a live teacher ----------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("window", [16, None])
def test_each_view_has_the_output_of_the_live_teacher(window, channels, tmp_path):
    data = pictures(4, channels, side=18 if window else 16, window=window)
    teacher = make_teacher(data)
    table = make(teacher, data, tmp_path / "table", draws=3)
    rows, generator = table.rows(data.images), torch.Generator().manual_seed(0)
    for views in (4, 1, 4):
        draws, entry = table.draw(rows, generator)
        logits, projection = table.outputs(rows, entry, views)
        expected, expected_projection = answers_by_hand(teacher, data, draws, views)
        assert logits.dtype == projection.dtype == torch.float32
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(projection, expected_projection, rtol=1e-5, atol=1e-5)
        # No two of these outputs are as close as that, so each belongs to its view and to no other.
        assert torch.pdist(projection).min() > 1e-4


def test_k_draws_come_again_each_as_often(tmp_path):
    data, count = pictures(40, side=24, window=16), 5
    teacher = make_teacher(data, projection=False)
    table = make(teacher, data, tmp_path / "table", draws=count)
    rows, generator = table.rows(data.images), torch.Generator().manual_seed(0)
    picked, seen = Counter(), [{} for _ in range(40)]
    for _ in range(50):
        draws, entry = table.draw(rows, generator)
        for i, number in enumerate(entry.tolist()):
            view = (bool(draws.flip[i]), *draws.corner[i].flatten().tolist())
            assert seen[i].setdefault(number, view) == view  # the same number, the same four views
            picked[number] += 1
    assert all(len(set(views.values())) == count for views in seen)  # K different draws
    assert len({view for views in seen for view in views.values()}) == 40 * count  # others for each image
    assert sorted(picked) == list(range(count)) and min(picked.values()) > 340  # of 400 expected
    again = make(teacher, data, tmp_path / "again", draws=count, seed=1)
    assert not torch.equal(again.draws.corner, table.draws.corner)


def test_an_epoch_picks_as_the_generator_says(tmp_path):
    data = pictures(6)
    table = make(make_teacher(data), data, tmp_path / "table", draws=3)
    generator, twin = (torch.Generator().manual_seed(7) for _ in range(2))
    for _ in range(3):
        draws, entry = table.draw(torch.tensor([4, 0]), generator)
        assert torch.equal(entry, torch.randint(0, 3, (2,), generator=twin))
        assert torch.equal(draws.flip, table.draws.flip[[4, 0], entry])
        assert torch.equal(draws.corner, table.draws.corner[[4, 0], entry].long())


def test_a_batch_of_an_epoch_equals_the_live_teacher_on_the_same_draws(tmp_path):
    data = pictures(20)
    teacher, runtime = make_teacher(data), Runtime(channels_last=True)
    table = make(teacher, data, tmp_path / "table", draws=4, runtime=runtime)
    rows, generator = table.rows(data.images), torch.Generator().manual_seed(1)
    draws, entry = table.draw(rows, generator)
    for index in torch.randperm(20, generator=generator).split(8):
        drawn = Draws(draws.flip[index], draws.corner[index])
        with torch.no_grad():
            live = runtime.run(teacher, cut(frame(data.images[index], 16), drawn, (16, 16), 4))
        logits, projection = table.outputs(rows[index], entry[index], 4)
        torch.testing.assert_close(logits, live.logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(projection, live.projection, rtol=1e-5, atol=1e-5)


def test_float16_rounds_once(tmp_path):
    data = pictures(5)
    teacher = make_teacher(data)
    exact, half = (
        make(teacher, data, tmp_path / str(dtype), draws=6, dtype=dtype)
        for dtype in (torch.float32, torch.float16)
    )
    assert half.logits.dtype == np.float16 and exact.logits.dtype == np.float32
    np.testing.assert_array_equal(half.projection, exact.projection.astype(np.float16))
    np.testing.assert_array_equal(half.logits, exact.logits.astype(np.float16))
    assert half.outputs(torch.tensor([0]), torch.tensor([0]), 4)[0].dtype == torch.float32


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
    draws, entry = table.draw(torch.arange(3))
    logits, projection = table.outputs(torch.arange(3), entry, 4)
    assert projection is None and table.projection is None and table.card["width"] is None
    torch.testing.assert_close(logits, answers_by_hand(teacher, data, draws, 4)[0], rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "table" / "projection.npy").exists()


def test_the_teacher_runs_in_eval_mode_and_keeps_its_own(tmp_path):
    data = pictures(3)
    teacher = make_teacher(data)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    expected = make(teacher, data, tmp_path / "eval", draws=2)
    assert not teacher.training
    other = make(teacher.train(), data, tmp_path / "train", draws=2)
    assert teacher.training and teacher.backbone.training
    np.testing.assert_array_equal(other.projection, expected.projection)
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
    draws, entry = table.draw(table.rows(twice.images))
    expected = answers_by_hand(make_teacher(data), twice, draws, 4)[0]
    logits, _ = table.outputs(table.rows(twice.images), entry, 4)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_images_that_are_not_in_it_are_counted(tmp_path):
    data = pictures(6)
    table = make(make_teacher(data), data, tmp_path / "table", draws=1)
    changed = data.images.clone()
    changed[2, 0, 0, 0] ^= 1  # one grey level of one pixel
    changed[5, 0, 17, 17] ^= 1
    with pytest.raises(
        ValueError, match=r"2 of the 6 images are not in the table .* which has 6.*cache_teacher"
    ):
        table.rows(changed)


def test_check_names_what_does_not_fit(tmp_path):
    data = pictures(4)
    teacher = make_teacher(data)
    table = make(teacher, data, tmp_path / "table", draws=1)
    table.check(teacher, data)
    table.check(None, data.take(2))
    other = make_teacher(data)
    other.head[2].bias.data[0] += 1e-6
    with pytest.raises(ValueError, match=r"another teacher.*Load .* or make a table"):
        table.check(other, data)
    with pytest.raises(ValueError, match=r"window \(16 there, 17 wanted\)"):
        table.check(teacher, replace(data, window=17))
    with pytest.raises(ValueError, match=r"side \(18 there, 20 wanted\)"):
        table.check(None, pictures(4, side=20))
    with pytest.raises(ValueError, match="made for other classes than those of pictures"):
        table.check(None, replace(data, classes=("a", "b", "c", "d", "e")))


# ---- called again --------------------------------------------------------------------------------


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
        (teacher, data.take(2), {}, r"pixels, images \(4 there, 2 wanted\)"),
        (teacher, replace(data, window=17), {}, r"window \(16 there, 17 wanted\)"),
        (teacher, data, {"draws": 3}, r"draws \(2 there, 3 wanted\)"),
        (teacher, data, {"seed": 1}, r"seed \(0 there, 1 wanted\)"),
        (teacher, data, {"dtype": torch.float16}, r"dtype \(float32 there, float16 wanted\)"),
    ]
    for network, images, changes, named in cases:
        with pytest.raises(ValueError, match=f"holds another table; what differs: .*{named}.*Choose another"):
            make(network, images, folder, **{"draws": 2} | changes)
        assert contents(folder) == before
    assert make(teacher, data, folder, draws=2).card["done"] == 4


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    data = pictures(2)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"is no teacher table.*Nothing was changed.*Choose another folder"):
        make(make_teacher(data), data, tmp_path, draws=1)
    with pytest.raises(ValueError, match="is no teacher table"):
        make(make_teacher(data), data, tmp_path / "thesis.txt", draws=1)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 0}, "at least 1, not 0"),
        ({"draws": "all"}, "draws is a number of draws per image"),
        ({"dtype": torch.bfloat16}, "float16 or torch.float32, not torch.bfloat16"),
    ],
)
def test_settings_that_make_no_sense(changes, message, tmp_path):
    data = pictures(2)
    with pytest.raises(ValueError, match=message):
        make(make_teacher(data), data, tmp_path / "table", **changes)
    assert not (tmp_path / "table").exists()


def test_a_teacher_for_other_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"colour images \(3 channels\), but pictures has grey images"):
        make(make_teacher(pictures(2, channels=3)), pictures(2), tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_numbers_too_large_for_float16_are_refused(tmp_path):
    data = pictures(2)
    teacher = make_teacher(data)
    teacher.head[2].bias.data += 70_000
    with pytest.raises(ValueError, match=r"no finite number in float16: the largest is 70.*store float32"):
        make(teacher, data, tmp_path / "table", dtype=torch.float16)
    assert make(teacher, data, tmp_path / "other").projection.max() > 65_504


def test_the_cost_is_known_before(tmp_path):
    assert table_bytes(50_000, 100, 128) == 50_000 * (4 * 8 * 2 * 228 + 17 * 8 + 8)  # 0.7 GB
    data = pictures(30)
    teacher = make_teacher(data)
    for draws, dtype in ((2, torch.float16), (7, torch.float32)):
        table = make(teacher, data, tmp_path / str(draws), draws=draws, dtype=dtype)
        written = sum(path.stat().st_size for path in (tmp_path / str(draws)).iterdir())
        assert 0 < written - table_bytes(30, 4, table.card["width"], draws, dtype) < 5_000


def test_the_bar_reaches_its_end(tmp_path, capsys):
    data = pictures(3)
    make(make_teacher(data), data, tmp_path / "table", draws=1, progress=True)
    assert "teacher table: 100%" in capsys.readouterr().err


# ---- interrupted ---------------------------------------------------------------------------------


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
def small_chunks(monkeypatch):
    """A table of 24 images and 4 draws has 6 chunks, each counted at once."""
    monkeypatch.setattr(teacher_cache, "DRAWS_PER_FORWARD", 16)
    monkeypatch.setattr(teacher_cache, "SAVE_SECONDS", 0)


def stop() -> None:
    raise KeyboardInterrupt


def test_interrupted_at_any_chunk_it_ends_with_the_same_files(small_chunks, tmp_path):
    data, folder = pictures(24), tmp_path / "table"
    teacher = make_teacher(data)
    make(teacher, data, tmp_path / "whole", draws=4)
    for done in (0, 4, 8):  # each call fails at its second chunk, so it counts one
        with pytest.raises(KeyboardInterrupt):
            make(teacher, data, folder, draws=4, runtime=Interrupted().at(2, stop))
        assert read_card(folder)["done"] == done + 4
        with pytest.raises(ValueError, match=r"unfinished: .* of 24 images are done.*cache_teacher again"):
            open_table(folder)
        logits = np.lib.format.open_memmap(folder / "logits.npy", "r+")
        logits[done + 4 :] = 77  # what the card does not count is written again
        logits.flush()
    make(teacher, data, folder, draws=4)
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_writer_goes_on_only_with_the_same_settings(small_chunks, tmp_path):
    data, folder = pictures(24), tmp_path / "table"
    teacher = make_teacher(data)
    with pytest.raises(KeyboardInterrupt):
        make(teacher, data, folder, draws=4, runtime=Interrupted().at(3, stop))
    before = contents(folder)
    with pytest.raises(ValueError, match="seed"):
        make(teacher, data, folder, draws=4, seed=1)
    assert contents(folder) == before
    (folder / "index.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"damaged: index.safetensors .*Delete the folder"):
        make(teacher, data, folder, draws=4)
    (folder / "index.safetensors").write_bytes(before["index.safetensors"])
    os.truncate(folder / "logits.npy", 200)
    with pytest.raises(ValueError, match=r"damaged: logits.npy is missing, cut short.*Delete the folder"):
        make(teacher, data, folder, draws=4)


def test_one_process_at_a_time_writes(tmp_path):
    data, folder = pictures(4), tmp_path / "table"
    with locked(folder / ".lock"), pytest.raises(OSError, match=r"is in use by process"):
        make(make_teacher(data), data, folder, draws=1)
    assert make(make_teacher(data), data, folder, draws=1).card["done"] == 4


def write_and_die(folder: str, moment: str, number: int) -> None:
    """Write the table of 24 images, and kill this process at its `number`-th file."""
    torch.set_num_threads(1)
    teacher_cache.DRAWS_PER_FORWARD, teacher_cache.SAVE_SECONDS = 16, 0
    die_while_writing(moment, number)
    data = pictures(24)
    make(make_teacher(data), data, Path(folder), draws=4)


@unix
@pytest.mark.kill
@pytest.mark.parametrize(
    ("moment", "numbers"),
    [("half", (1, 2, 3, 4, 2)), ("unnamed", (1, 2, 3, 4, 2)), ("named", (1, 2, 3, 2, 1))],
)
def test_killed_anywhere_it_ends_with_the_same_files(moment, numbers, small_chunks, tmp_path):
    """The files are card, index, and the card again after each chunk."""
    data, folder, done = pictures(24), tmp_path / "table", []
    make(make_teacher(data), data, tmp_path / "whole", draws=4)
    for number in numbers:
        process = in_own_process(write_and_die, str(folder), moment, number)
        process.join(300)
        assert process.exitcode == -signal.SIGKILL
        card = read_card(folder)
        done.append(card["done"] if card else 0)
    assert done == sorted(done) and 0 < done[-1] < 24  # it went on, and was not finished
    make(make_teacher(data), data, folder, draws=4)
    assert visible(folder) == visible(tmp_path / "whole")


# ---- a full disk ---------------------------------------------------------------------------------


def test_a_disk_too_small_is_an_error_before_the_first_write(small_disk):
    data = pictures(120)
    with pytest.raises(OSError, match=r"needs 2\.4 MB, and the disk has 2\.1 MB free.*fewer draws"):
        make(make_teacher(data), data, small_disk / "table", draws=18)
    assert not (small_disk / "table").exists()


def test_a_disk_that_fills_up_keeps_what_is_done(small_disk, small_chunks, tmp_path):
    data = pictures(40)
    teacher, folder, other = make_teacher(data), small_disk / "table", small_disk / "someone else's"

    def fill_the_disk() -> None:
        with contextlib.suppress(OSError), open(other, "wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    with pytest.raises(OSError, match=r"cannot write .*table.*No space left.*Free some space.*goes on"):
        make(teacher, data, folder, draws=8, runtime=Interrupted().at(4, fill_the_disk))
    assert 0 < read_card(folder)["done"] < 40
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
    other.unlink()
    make(teacher, data, folder, draws=8)
    make(teacher, data, tmp_path / "undisturbed", draws=8)
    assert contents(folder) == contents(tmp_path / "undisturbed")


@unix
def test_a_limit_on_the_size_of_files_is_an_error_before_the_teacher_runs(tmp_path):
    data = pictures(40)
    teacher, folder = make_teacher(data), tmp_path / "table"
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*table.*too large"):
            make(teacher, data, folder, draws=18, runtime=Interrupted().at(1, lambda: pytest.fail("it ran")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert make(teacher, data, folder, draws=18).card["done"] == 40


# ---- damaged -------------------------------------------------------------------------------------


def change(path: Path, offset: int, by: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(by)] = by
    path.write_bytes(content)


DAMAGE = {
    "cut short": (lambda f: os.truncate(f / "logits.npy", 500), "logits.npy is missing, cut short or of"),
    "gone": (lambda f: (f / "projection.npy").unlink(), "projection.npy is missing, cut short or of"),
    "another head": (lambda f: change(f / "logits.npy", 0, b"PK"), "logits.npy is missing, cut short or of"),
    "another shape": (
        lambda f: np.save(f / "logits.npy", np.zeros((3, 8, 5), "float32")),
        "logits.npy is missing, cut short or of another shape",
    ),
    "index gone": (lambda f: (f / "index.safetensors").unlink(), "index.safetensors is missing or cannot"),
    "index changed": (
        lambda f: change(f / "index.safetensors", -40, b"\x55" * 8),
        "index.safetensors is missing or cannot",
    ),
    "card cut short": (lambda f: os.truncate(f / "card.json", 100), "card.json is missing, damaged or not"),
    "card gone": (lambda f: (f / "card.json").unlink(), "card.json is missing, damaged or not"),
    "an older table": (
        lambda f: (f / "card.json").write_text('{"format": "sskd-kit-table-1", "done": 3}'),
        "card.json is missing, damaged or not of the format sskd-kit-table-2",
    ),
    "card no object": (lambda f: (f / "card.json").write_text("[1]"), "card.json is missing, damaged or not"),
    "card of another table": (
        lambda f: (f / "card.json").write_text(
            json.dumps(json.loads((f / "card.json").read_text()) | {"pixels": "0"})
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
        with pytest.raises(FileNotFoundError, match=r"there is no teacher table in .*cache_teacher"):
            open_table(path)
