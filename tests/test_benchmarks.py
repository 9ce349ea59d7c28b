"""The benchmarks compare like with like, and their tables say what was recorded."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import sskd_lib as sskd
from sskd_lib import Output, Recipe
from sskd_lib.losses import error_rank, own_image, similarity_matrix

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import few_labels  # noqa: E402
import published  # noqa: E402
import step  # noqa: E402
import timing  # noqa: E402

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose minutes where other programs want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def interleave(rows: Tensor) -> Tensor:
    """From the kit's layout (B upright | B at 90° | …) to the published one (four views of image 0, …)."""
    return rows.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)


def interleaved(output: Output) -> Output:
    return Output(*(interleave(part) for part in output))


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
    data = step.random_images(6, classes=5)
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
    images = step.random_images(3, classes=2).images
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


def test_the_kits_timed_step_is_the_step_of_distill() -> None:
    data = step.random_images(8, classes=4)
    teacher = sskd.create_network("resnet8", data, projection=True, seed=1)
    timed, trained, split = (sskd.create_network("resnet8", data, projection=True) for _ in range(3))
    runtime = sskd.choose_runtime("cpu", exact=True)
    phases = list(step.kit_step(timed, teacher, data, runtime)())
    split_phases = list(step.kit_step(split, teacher, data, runtime, split=True)())
    schedule = sskd.Schedule(epochs=1, batch_size=8, lr=1e-4, milestones=())
    sskd.distill(trained, teacher, data, schedule=schedule, runtime=runtime, progress=False)
    expected = trained.state_dict()
    for name, value in timed.state_dict().items():
        assert torch.equal(value, expected[name]), name
    for name, value in split.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert [name for name in split_phases if name != "losses backward"] == phases


def test_ratios_are_taken_round_by_round() -> None:
    times = {
        "published": [8.0, 30.0],
        "published, ready": [6.0, 20.0],
        "kit, exact": [4.0, 10.0],
        "kit": [2.0, 10.0],
        "networks, exact": [3.0, 9.0],
        "networks, kit": [1.0, 9.5],
    }
    phases = {"views": [1.0, 1.0], "teacher": [6.0, 5.0], "losses": [2.0, 1.0], "losses backward": [1.0, 3.0]}
    figures = step.ratios(times, phases)
    assert figures["published / kit, exact"] == [2.0, 3.0]
    assert figures["published / kit"] == [4.0, 3.0]
    assert figures["published, ready / kit"] == [3.0, 2.0]
    assert figures["share of views and losses in kit, exact, by difference"] == pytest.approx([0.25, 0.1])
    assert figures["share of views and losses in kit, by difference"] == pytest.approx([0.5, 0.05])
    assert figures["share of views and losses in kit, directly"] == pytest.approx([0.4, 0.5])


def test_summarise_gives_median_and_range() -> None:
    assert timing.summarise([3.0, 1.0, 8.00004]) == {"median": 3.0, "low": 1.0, "high": 8.0}


def test_step_records_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "step.json"
    step.main(pair=("resnet8", "resnet8"), batch=4, classes=3, repeats=1, device="cpu", name="test", out=out)
    record = json.loads(out.read_text())
    assert record["machine"]["name"] == "test"
    assert record["machine"]["torch"] == torch.__version__
    assert record["settings"] == {
        "pair": ["resnet8"] * 2, "batch": 4, "classes": 3, "rounds": 1, "steps": 1
    }  # fmt: skip
    printed = capsys.readouterr().out
    for title in ("seconds a step", "ratios", "gain of formats"):
        for row in record[title]:
            assert row in printed


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
