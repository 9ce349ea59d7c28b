"""The benchmarks compare like with like, and their tables say what was recorded."""

from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import arithmetic
import few_labels
import memory
import numpy as np
import published
import pytest
import rows
import scaling
import step
import timing
import torch
from torch import Tensor

import sskd_lib as sskd
from sskd_lib import ImageSet, Output, Recipe, Runtime
from sskd_lib.losses import error_rank, own_image, similarity_matrix

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])


def interleave(rows: Tensor) -> Tensor:
    """From the kit's layout (B upright | B at 90° | …) to the published one (four views of image 0, …)."""
    return rows.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)


def interleaved(output: Output) -> Output:
    return Output(*(interleave(part) for part in output[:3]))


def share_without_tie(scores: Tensor, targets: Tensor) -> float:
    """A share of the wrong rows that cuts between two ranks: where ranks tie, either row may be kept."""
    ranks = error_rank(scores, targets).sort().values
    wrong = ranks[ranks > 0]
    cuts = (wrong.diff() > 0).nonzero() + 1
    return (cuts[len(cuts) // 2].item() + 0.5) / len(wrong)


def random_output(images: int, classes: int, width: int, dtype: torch.dtype, seed: int) -> Output:
    generator = torch.Generator().manual_seed(seed)
    widths = (classes, width, width)
    return Output(*(torch.randn(4 * images, d, generator=generator, dtype=dtype) for d in widths))


@PRECISIONS
@pytest.mark.parametrize("seed", range(5))
def test_published_terms_equal_the_kits_on_the_same_outputs(dtype: torch.dtype, seed: int) -> None:
    images, classes = 7, 11
    labels = torch.randint(0, classes, (images,), generator=torch.Generator().manual_seed(seed))
    student = random_output(images, classes, 5, dtype, seed)
    teacher = random_output(images, classes, 6, dtype, seed + 100)
    matrix = similarity_matrix(teacher.projection[images:], teacher.projection[:images])
    recipe = Recipe(
        tf_keep_wrong=share_without_tie(teacher.logits[images:], labels.repeat(3)),
        ss_keep_wrong=share_without_tie(matrix, own_image(3 * images, images)),
    )
    ours = sskd.create_method("sskd", recipe)(student, teacher, labels)
    theirs, _ = published.published_terms(interleaved(student), interleaved(teacher), labels, recipe)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@PRECISIONS
def test_published_step_moves_the_weights_as_the_kits_does_on_the_same_pixels(dtype: torch.dtype) -> None:
    data = rows.random_images(6, classes=5)
    teacher = sskd.create_network("resnet8", data, projection=True, seed=1).to(dtype).eval()
    ours = sskd.create_network("resnet8", data, projection=True, seed=2).to(dtype).train()
    theirs = copy.deepcopy(ours)
    views = sskd.four_views(data.images, torch.Generator().manual_seed(3)).to(dtype)
    recipe = Recipe(ss_keep_wrong=1.0)  # no selection: six columns tie at any cut

    optimizer = torch.optim.SGD(ours.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    with torch.no_grad():
        taught = teacher(views)
    sskd.create_method("sskd", recipe)(ours(views), taught, data.labels)["total"].backward()
    optimizer.step()

    normalised = interleave((views - theirs.mean) / theirs.std)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    phases = published.published_step(theirs, teacher, optimizer, lambda: normalised, data.labels, recipe)
    assert list(phases) == ["views", "teacher", "student forward", "losses", "backward", "update", "record"]

    expected = ours.state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


class Coin:
    """A generator that always draws the same number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


@pytest.mark.parametrize(("number", "mirrored"), [(0.1, True), (0.9, False)])
def test_published_views_show_the_kits_pixels_in_their_own_order(number: float, mirrored: bool) -> None:
    images = rows.random_images(3, classes=2).images
    upright_crop = published.transforms.ToTensor()
    theirs = published.published_views(images.permute(0, 2, 3, 1).numpy(), upright_crop, Coin(number))
    ours = sskd.four_views(images.flip(-1) if mirrored else images, augment=False)
    torch.testing.assert_close(theirs, interleave(ours))


def test_published_views_are_cropped_with_black_before_they_are_normalised() -> None:
    white = np.full((40, 32, 32, 3), 255, dtype=np.uint8)
    transform = published.published_transform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 32)
    views = published.published_views(white, transform, np.random.default_rng(0))
    assert views.shape == (160, 3, 32, 32)
    assert views.unique().tolist() == [-2.0, 2.0]  # (0 - 0.5) / 0.25 and (1 - 0.5) / 0.25


# ---- rows ----------------------------------------------------------------------------------------


@pytest.fixture
def setting(tmp_path: Path) -> rows.Setting:
    """A pair of small networks, two batches of 8 images."""
    data = rows.random_images(16, classes=4)
    return rows.Setting(
        pair=("resnet8", "resnet8"), batch=8, data=data, kit=Runtime(channels_last=True), folder=tmp_path
    )


def trained_weights(data: ImageSet, teacher: sskd.Network, runtime: Runtime) -> dict[str, Tensor]:
    """A student after one epoch of `distill` at the benchmarks' rate."""
    student = sskd.create_network("resnet8", data, projection=True)
    schedule = sskd.Schedule(epochs=1, batch_size=8, lr=rows.LR, milestones=())
    sskd.distill(student, teacher, data, schedule=schedule, runtime=runtime, progress=False)
    return student.state_dict()


def test_the_kits_timed_step_and_its_phases_are_the_step_of_distill(setting: rows.Setting) -> None:
    data, teacher = setting.data, setting.teacher()
    expected = trained_weights(data, teacher, setting.exact)
    timed, cut, split = (
        rows.real_step(setting.students(), teacher, data, 8, setting.exact) for _ in range(3)
    )
    for _ in range(2):  # an epoch
        timed[0].call(next(timed[1]))
    phases = []
    for (made, batches), halves in ((cut, False), (split, True)):
        phased = rows.phased_step(made.lesson, made.jobs[0], batches, split=halves)
        phases.append([list(phased()) for _ in range(2)][1])
    assert [name for name in phases[1] if name != "losses backward"] == phases[0]
    for name, value in expected.items():
        assert torch.equal(timed[0].jobs[0].network.state_dict()[name], value), name
        assert torch.equal(cut[0].jobs[0].network.state_dict()[name], value), name
        torch.testing.assert_close(split[0].jobs[0].network.state_dict()[name], value)


PASSES = {  # of 32 views in one step of each row: by teachers in eval mode, by students in train mode
    "published": (1, 1),
    "published, ready": (1, 1),
    "published, ready, memory kept": (1, 1),
    "kit, exact": (1, 1),
    "kit, float32": (1, 1),
    "kit": (1, 1),
    "kit, table": (0, 1),
    "networks, exact": (1, 1),
    "networks, float32": (1, 1),
    "networks, kit": (1, 1),
    "student alone": (0, 1),
    "three students": (1, 3),
    "resnet8, one student": (1, 1),
    "resnet8, three students": (1, 3),
}


def test_every_row_passes_the_views_through_its_networks_and_nothing_more(
    setting: rows.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "SMALL", ("resnet14", "resnet8"))
    features, seen = sskd.models.resnet.Backbone.features, []

    def counted(self: torch.nn.Module, x: Tensor) -> Tensor:
        seen.append((self.training, torch.is_grad_enabled(), len(x)))
        return features(self, x)

    monkeypatch.setattr(sskd.models.resnet.Backbone, "features", counted)
    found = {}
    for name, build in rows.builders(setting).items():
        row = build()
        seen.clear()
        row.take()
        assert set(seen) <= {(False, False, 32), (True, True, 32)}, name
        found[name] = (seen.count((False, False, 32)), seen.count((True, True, 32)))
    assert found == PASSES


def test_formats_of_the_rows(setting: rows.Setting) -> None:
    kit = Runtime(dtype=torch.bfloat16, channels_last=True, threads=1, keep_memory=False)
    formats = {name: build.args[1] for name, build in rows.builders(replace(setting, kit=kit)).items()}
    assert formats["published"] == formats["kit, exact"] == formats["networks, exact"] == Runtime()
    assert formats["published, ready, memory kept"] == Runtime(keep_memory=True)
    assert formats["kit, float32"] == formats["networks, float32"]
    assert formats["kit, float32"] == Runtime(channels_last=True, threads=1, keep_memory=True)
    for name in ("kit", "kit, table", "networks, kit", "student alone", "three students"):
        assert formats[name] == kit


# ---- stopwatch -----------------------------------------------------------------------------------


def test_rows_are_timed_in_turn_in_opposite_orders() -> None:
    order: list[str] = []
    made = {name: timing.Row(take=lambda name=name: order.append(name), runtime=Runtime()) for name in "abc"}
    times = timing.time_in_turn(made, rounds=3, least=0, after=lambda: order.append("|"))
    # each row: a step that is not counted, and one that is
    assert "".join(order) == "aabbcc|ccbbaa|aabbcc|"
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_first_step_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, durations = [100.0], iter([8.0, 1.0, 2.0, 3.0])  # seconds of each step
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def take() -> None:
        clock[0] += next(durations)

    # 20 s at 8 s a step, as far as the first step tells: three of them
    assert timing.time_row(timing.Row(take=take, runtime=Runtime()), threads=1, least=20) == 2.0


FAULTS = """
import resource, statistics, torch
from sskd_lib import Runtime
from timing import Row, time_row

def faults(keep):
    found = []
    def take():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(100_000_000, dtype=torch.uint8)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    time_row(Row(take=take, runtime=Runtime(keep_memory=keep)), threads=1, least=0.5)
    return found[0], round(statistics.median(found[1:]))  # of the first step, and of those that are counted

(first, given_back), (_, kept), (again, _), (_, kept_again) = map(faults, (False, True, False, True))
print(first, given_back, kept, again, kept_again)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults of glibc's allocator")
def test_a_row_keeps_or_gives_back_memory_whatever_the_row_before_did() -> None:
    if not timing.keep_freed_memory(False):
        pytest.skip("this C library keeps memory as it likes")
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, cwd=BENCHMARKS)
    first, given_back, kept, again, kept_again = (int(number) for number in done.stdout.split())
    pages = 100_000_000 / timing.os.sysconf("SC_PAGE_SIZE")
    if first < 0.9 * pages:
        pytest.skip("pages here are larger than the system says")
    assert min(given_back, again) >= 0.9 * pages
    assert max(kept, kept_again) <= 0.1 * pages


def test_ratios_are_taken_round_by_round() -> None:
    times = {
        "published": [8.0, 30.0],
        "kit, exact": [4.0, 10.0],
        "kit": [2.0, 10.0],
        "networks, exact": [3.0, 8.0],
        "three students": [5.0, 20.0],
    }
    phases = {
        "feed": [0.5, 0.5],
        "views": [0.5, 0.5],
        "teacher": [6.0, 5.0],
        "losses": [2.0, 1.0],
        "losses backward": [1.0, 3.0],
    }
    assert step.ratios(times, phases) == {
        "published / kit, exact": [2.0, 3.0],
        "published / kit": [4.0, 3.0],
        "kit, exact / networks, exact": pytest.approx([4 / 3, 1.25]),
        "three students / kit": [2.5, 2.0],
        "own work of the kit, share of its step": pytest.approx([0.4, 0.5]),
    }


def test_every_ratio_is_of_rows_that_there_are(setting: rows.Setting) -> None:
    known = set(rows.builders(setting))
    assert {name for pair in step.RATIOS for name in pair} <= known
    assert set(rows.SHORT) <= known and set(memory.ROWS) <= known


def test_summarise_gives_median_and_range() -> None:
    assert timing.summarise([3.0, 1.0, 8.00004]) == {"median": 3.0, "low": 1.0, "high": 8.0}


def test_wide_ranges_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert timing.warn_if_wide({"steady": [1.0, 1.25], "calm": [2.0]}) == ""
    assert capsys.readouterr().out == ""
    text = timing.warn_if_wide({"steady": [1.0, 1.25], "wild": [1.0, 1.3, 1.1]})
    assert "the rounds of wild differ by more than 25%" in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    "runtime",
    [
        Runtime(),
        Runtime(dtype=torch.bfloat16, channels_last=True, threads=3, keep_memory=True, why="so"),
        Runtime(device=torch.device("cuda:1"), cuda_graph=True),
    ],
)
def test_a_runtime_comes_through_a_command_as_it_was(runtime: Runtime) -> None:
    back = timing.runtime_from_text(timing.runtime_to_text(runtime))
    assert back == runtime and back.why == runtime.why


# ---- arithmetic and memory -----------------------------------------------------------------------


def test_macs_and_gflop_by_hand() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),  # 16·16 pixels · 8 channels · 27 weights
        torch.nn.BatchNorm2d(8),
        torch.nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=4),  # 8·8 · 8 · (2 · 9)
        torch.nn.Flatten(),
        torch.nn.Linear(512, 5),
    )
    assert arithmetic.count_macs(layers, torch.zeros(2, 3, 16, 16)) == 55296 + 9216 + 2560
    data = rows.random_images(2, classes=100)
    net = sskd.create_network("resnet8", data, projection=True)
    macs = arithmetic.count_macs(net, torch.zeros(1, 3, 32, 32))
    assert macs == 12_507_392 + 64 * 64 + 64 * 64  # backbone with classifier, and the two layers of the head
    pair = ("resnet8", "resnet8")
    assert arithmetic.gflop(pair, 64, data) == pytest.approx(256 * 8 * macs / 1e9)
    assert arithmetic.gflop(pair, 64, data, teachers=0, students=3) == pytest.approx(256 * 18 * macs / 1e9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="elsewhere the parent's memory counts")
def test_peak_memory_is_that_of_the_row_alone(setting: rows.Setting) -> None:
    mine = torch.ones(3 * 2**29, dtype=torch.uint8)  # what this process holds is not counted
    kit = Runtime(channels_last=True, threads=1)
    zero = memory.peak_in_own_process(memory.NOTHING, replace(setting, kit=kit))["resident"]
    step_ = memory.peak_in_own_process("kit", replace(setting, kit=kit, batch=32))["resident"]
    assert zero < mine.nbytes
    # what must be alive at once, at the least: inputs of the first convolutions of 128 views, float32
    assert step_ - zero > 128 * 32 * 32 * (3 + 3 * 16) * 4


def test_a_failed_memory_measurement_says_why(setting: rows.Setting) -> None:
    with pytest.raises(RuntimeError, match="memory of 'no row' failed:(.|\n)*KeyError: 'no row'"):
        memory.peak_in_own_process("no row", setting)


# ---- programs ------------------------------------------------------------------------------------


def test_step_records_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LEAST", 0.01)
    out = tmp_path / "new" / "step.json"
    names = ("published", "kit, exact", "kit", "kit, table", "networks, exact", "student alone")
    pairs = (("resnet8", "resnet8"), ("no_such_net", "resnet8"))
    step.main(pairs, names, batch=4, classes=3, rounds=2, device="cpu", memory=False, name="test", out=out)
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["machine"]["name"] == "test"
    assert record["versions"]["torch"] == torch.__version__
    assert record["settings"] == {"batch": 4, "classes": 3, "rounds": 2, "cudnn_search": False}
    assert record["runtime"] == sskd.choose_runtime("cpu").describe()
    assert list(record["pairs"]) == ["resnet8→resnet8"]
    found, printed = record["pairs"]["resnet8→resnet8"], capsys.readouterr().out
    assert list(found["seconds a step"]) == list(names)
    for title in ("seconds a step", "seconds a phase of the kit's step", "ratios", "utilisation"):
        for row in found[title]:
            assert row in printed
    seconds = found["seconds a step"]["kit"]["median"]
    epoch = found["seconds an epoch of 50,000 images"]["kit"]["median"]
    assert epoch == pytest.approx(12_500 * seconds, rel=1e-3)
    assert found["hours of 240 epochs"]["kit"]["median"] == pytest.approx(240 * epoch / 3600, rel=1e-3)
    assert ("not idle" in found["warning"]) == any(
        figure["high"] > 1.25 * figure["low"] for figure in found["seconds a step"].values()
    )


def test_memory_ratios_by_hand() -> None:
    held = {"kit, exact": 4, "networks, exact": 4, "kit": 3, "networks, kit": 2, "three students": 5}
    found = step.memory_ratios({name: {"resident": value} for name, value in held.items()})
    assert [figure["resident"] for figure in found.values()] == [1.0, 1.5, 2.5]


@pytest.mark.skipif(sys.platform != "linux", reason="two processes over gloo are tried on Linux")
def test_scaling_records_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "CYCLE", 2)
    monkeypatch.setattr(scaling, "usable_cores", lambda: 1)
    out = tmp_path / "scaling.json"
    scaling.main(
        ("resnet8", "resnet8"),
        images=(12, 16),
        batches=(2, 4),
        classes=(2, 3),
        students=(1, 2),
        processes=(2,),
        batch=4,
        rounds=1,
        least=0.01,
        device="cpu",
        out=out,
    )
    record = json.loads(out.read_text(encoding="utf-8"))
    tables = {title: list(record[title]) for title in record if title.startswith(("sec", "time", "images"))}
    assert tables == {
        "seconds a step, by images": ["images: 12", "images: 16"],
        "seconds a step, by batch": ["batch: 2", "batch: 4"],
        "seconds an image": ["batch: 2", "batch: 4"],
        "seconds a step, by classes": ["classes: 2", "classes: 3"],
        "seconds a step, by students": ["students: 1", "students: 2"],
        "time of students together, over that of one": ["students: 1", "students: 2"],
        "seconds of the feed for a step": ["images: 12", "images: 16"],
        "images a second": ["processes: 2"],
    }
    assert all(figure["low"] > 0 for title in tables for figure in record[title].values())


def test_growth_by_hand() -> None:
    times = {("batch", 4): [2.0, 4.0], ("students", 1): [1.0, 2.0], ("students", 3): [2.0, 5.0]}
    assert scaling.growth(times) == {
        "seconds a step, by batch": {"batch: 4": [2.0, 4.0]},
        "seconds an image": {"batch: 4": [0.5, 1.0]},
        "seconds a step, by students": {"students: 1": [1.0, 2.0], "students: 3": [2.0, 5.0]},
        "time of students together, over that of one": {"students: 1": [1.0, 1.0], "students: 3": [2.0, 2.5]},
    }


def test_the_steps_that_scaling_times_have_the_size_it_says() -> None:
    pair = ("resnet8", "resnet8")
    made, row = scaling.new_step(pair, Runtime(), images=24, batch=4, classes=7, students=2)
    feed = made.lesson.feed
    sizes = [len(batch.labels) for batch in itertools.islice(feed.epoch(0), 10)]
    assert sizes == [4] * 6 and len(made.jobs) == 2 and feed.train.num_classes == 7
    assert [len(found) for found in row.take()] == [6, 6]  # four terms, their sum, hits: of each student
    assert scaling.time_feed(made, epoch=1) > 0


# ---- few labels ----------------------------------------------------------------------------------


def test_interval_by_hand() -> None:
    # t(0.975) for 2, 1 and 4 degrees of freedom, from a printed table: 4.303, 12.706, 2.776
    assert few_labels.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3**0.5), abs=1e-3)
    assert few_labels.interval([0.0, 2.0]) == pytest.approx((1.0, 12.706), abs=1e-3)
    assert few_labels.interval([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((3.0, 2.776 / 2**0.5), abs=1e-3)
    mean, half = few_labels.interval([7.0])
    assert mean == 7.0 and np.isnan(half)


def test_table_pairs_runs_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def record(method: str, seed: int, last: float, split: str = "test") -> str:
        return json.dumps({"key": ["fashion", split, 60, method, seed], "last": last, "best": last + 1})

    lines = [
        record("kd", 0, 70.0),
        record("kd", 1, 72.0),
        record("sskd", 1, 75.0),  # seeds come in any order
        record("sskd", 0, 74.0),
        record("sskd", 0, 10.0, split="validation"),
        record("ce", 5, 60.0),  # no other run has this seed: nothing to pair it with
    ]
    results = tmp_path / "runs.jsonl"
    results.write_text("\n".join(lines) + "\n")
    few_labels.table(results)
    printed = capsys.readouterr().out.splitlines()
    # two values a and b: mean ± 12.706 · |a - b| / 2
    assert "**fashion, 300 labels, 60 epochs** (test images)" in printed
    assert "| kd | 2 | 71.00 ± 12.71 |  |  | 72.00 |" in printed
    assert "| sskd | 2 | 74.50 ± 6.35 | +3.50 ± 6.35 |  | 75.50 |" in printed
    assert "| ce | 1 | 60.00 ± nan |  |  | 61.00 |" in printed
    few_labels.table(results, split="validation")
    assert "| sskd | 1 | 10.00 ± nan |  |  | 11.00 |" in capsys.readouterr().out


def test_recorded_runs_are_found_again(tmp_path: Path) -> None:
    assert few_labels.read(tmp_path / "nothing.jsonl") == []
    plan = few_labels.Plan(
        setting="fashion", method="kd", epochs=1, seed=0, split="test", folder="", device="cpu", out=tmp_path
    )
    results = tmp_path / "runs.jsonl"
    results.write_text(json.dumps({"key": plan.key, "last": 1.0, "best": 1.0, "seconds": 1.0}) + "\n")
    few_labels.train_all([plan], jobs=1, results=results)  # recorded already: nothing is trained
    assert len(few_labels.read(results)) == 1


def write_runs(path: Path, exact: bool, last: dict[tuple[str, int], float]) -> Path:
    """A results file. last: accuracy by method and seed."""
    runs = [
        {"key": ["fashion", "test", 60, method, seed], "last": value, "best": value, "exact": exact}
        for (method, seed), value in last.items()
    ]
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return path


def test_compare_pairs_fast_and_exact_runs_by_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = write_runs(
        tmp_path / "fast.jsonl", False, {("kd", 1): 72.0, ("kd", 0): 70.0, ("kd", 2): 0.0, ("ce", 0): 60.0}
    )
    exact = write_runs(tmp_path / "exact.jsonl", True, {("kd", 0): 71.0, ("kd", 1): 71.0, ("sskd", 0): 80.0})
    few_labels.compare(fast, exact)
    printed = capsys.readouterr().out.splitlines()
    # differences -1 and 1: 0 ± 12.706 · 2 / 2; seed 2, ce and sskd have no partner
    assert [line for line in printed if line.startswith("| ")][1:] == [
        "| kd | 2 | 71.00 ± 12.71 | 71.00 ± 0.00 | +0.00 ± 12.71 |"
    ]
    with pytest.raises(ValueError, match="exact.jsonl has runs of the exact kind.*where the fast kind"):
        few_labels.compare(exact, fast)
    with pytest.raises(ValueError, match="no run in common"):
        few_labels.compare(fast, exact, split="validation")


def test_fast_and_exact_runs_are_kept_apart(tmp_path: Path) -> None:
    plan = few_labels.Plan(
        setting="fashion", method="ce", epochs=1, seed=0, split="test", folder="", device="cpu", out=tmp_path
    )
    exact = replace(plan, exact=True)
    assert plan.key == exact.key and plan.own_folder != exact.own_folder
    results = write_runs(tmp_path / "fast.jsonl", False, {("ce", 0): 60.0})
    before = results.read_bytes()
    with pytest.raises(ValueError, match="fast.jsonl has runs of the fast kind.*--results FILE"):
        few_labels.train_all([exact], jobs=1, results=results)
    assert results.read_bytes() == before and list(tmp_path.iterdir()) == [results]


def test_an_exact_run_is_trained_in_plain_float32(tmp_path: Path) -> None:
    plan = few_labels.Plan(
        setting="fashion", method="ce", epochs=1, seed=0, split="test", folder="", device="cpu", out=tmp_path,
        exact=True,
    )  # fmt: skip
    record = few_labels.train_one(plan)
    assert record["exact"] and record["runtime"]["dtype"] == "float32"
    assert not record["runtime"]["channels_last"]
    assert 0 <= record["last"] <= record["best"] <= 100


def test_the_cost_of_methods_is_that_of_their_terms(tmp_path: Path) -> None:
    command = ["methods.py", "--pair", "resnet14", "resnet8", "--images", "64", "--rounds", "1"]
    names = ["dkd", "fitnet", "simkd", "sskd-jigsaw", "hsakd"]
    options = ["--methods", *names, "--device", "cpu", "--out", str(tmp_path / "found.json")]
    environment = dict(os.environ) | {"SSKD_RUNTIME": "default"}
    done = subprocess.run(
        [sys.executable, *command, *options], capture_output=True, text=True, cwd=BENCHMARKS, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["methods"]
    assert list(found) == names and all(name in done.stdout for name in found)
    for figures in found.values():
        assert 0 < figures["own, s"] < figures["step, s"]
        assert figures["share"]["min"] <= figures["share"]["median"] <= figures["share"]["max"]
    assert found["fitnet"]["largest tensor"] >= 64 * 32 * 16 * 16  # the regressed maps of the second stage
