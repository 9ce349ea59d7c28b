"""Rotated views of many images: right rows, picks, ranks and mistakes, against loops written here."""

from __future__ import annotations

import math

import pytest
import torch
from IPython.utils.capture import capture_output

import sskd_lib as sskd
from sskd_lib import lab
from sskd_lib.data.images import ImageSet

IMAGES, BATCH, WIDTH = 14, 6, 5  # two batches of 6, and two images too many
KEPT = 12


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    return torch.randn(4, IMAGES, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def images() -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (IMAGES, 1, 16, 16), generator=generator).to(torch.uint8)
    labels = torch.arange(IMAGES) % 3
    return ImageSet(images=pixels, labels=labels, classes=("a", "b", "c", "none"), name="made here")


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.tolist(), b.tolist()
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def by_hand(vectors: torch.Tensor) -> dict[tuple[int, int], list[float]]:
    """Cosines of each rotated view (turn, image) with the upright images of its batch."""
    rows = {}
    for turn in range(3):
        for image in range(KEPT):
            first = image // BATCH * BATCH
            rows[turn, image] = [
                cosine(vectors[turn + 1, image], vectors[0, other]) for other in range(first, first + BATCH)
            ]
    return rows


def test_picks_ranks_and_right_rows_equal_loops(vectors: torch.Tensor) -> None:
    rows = by_hand(vectors)
    picked, ranks, wrong = (
        f(vectors, BATCH) for f in (lab.picks, lab.ranks, lab.wrong_rows)
    )  # fmt: skip
    assert picked.shape == ranks.shape == wrong.shape == (3, KEPT)
    right = 0
    for (turn, image), row in rows.items():
        best = image // BATCH * BATCH + row.index(max(row))
        assert picked[turn, image] == best
        assert ranks[turn, image] == sum(c > row[image % BATCH] for c in row)
        assert wrong[turn, image] == (best != image)
        right += best == image
    assert lab.rows_right(vectors, BATCH) == pytest.approx(100 * right / len(rows))


def test_same_class_equals_a_loop(vectors: torch.Tensor, images: ImageSet) -> None:
    labels = images.labels.tolist()
    same, chance, wrong = 0, 0.0, 0
    for (_, image), row in by_hand(vectors).items():
        first = image // BATCH * BATCH
        best = first + row.index(max(row))
        if best != image:
            wrong += 1
            same += labels[best] == labels[image]
            others = [k for k in range(first, first + BATCH) if k != image]
            chance += sum(labels[k] == labels[image] for k in others) / len(others)
    expected = (100 * same / wrong, 100 * chance / wrong)
    assert lab.same_class(vectors, images.labels, BATCH) == pytest.approx(expected)


def test_fewer_images_than_a_batch_are_one_batch(vectors: torch.Tensor) -> None:
    assert [m.shape for m in lab.batch_matrices(vectors, 64)] == [(3 * IMAGES, IMAGES)]
    assert lab.picks(vectors, 64).shape == (3, IMAGES)


def test_ranks_among_all_rivals_are_those_of_one_batch(vectors: torch.Tensor) -> None:
    from sskd_lib.lab.rotated_views import ranks_among_rivals

    for image in range(IMAGES):
        found = ranks_among_rivals(vectors, image, batch=IMAGES, draws=5)
        assert found.tolist() == [int(lab.ranks(vectors, IMAGES)[0, image])] * 5
        assert ranks_among_rivals(vectors, image, batch=2, draws=50).max() <= 1


def test_numbers_of_the_tables_equal_loops(vectors: torch.Tensor, images: ImageSet) -> None:
    rows, labels = by_hand(vectors), images.labels.tolist()
    groups = {"own image": [], "other image, own class": [], "other class": []}
    for (_, image), row in rows.items():
        for place, value in enumerate(row):
            other = image // BATCH * BATCH + place
            same = "other image, own class" if labels[other] == labels[image] else "other class"
            groups["own image" if other == image else same].append(value)
    expected = {name: pytest.approx(sum(values) / len(values), abs=1e-6) for name, values in groups.items()}
    assert lab.mean_cosines(vectors, images.labels, BATCH) == expected
    student = torch.randn(4, IMAGES, 3, generator=torch.Generator().manual_seed(2))
    counts, wrong = {"own image": 0, "the teacher's pick": 0, "another": 0}, 0
    for key, row in by_hand(student).items():
        ours, theirs, own = row.index(max(row)), rows[key].index(max(rows[key])), key[1] % BATCH
        if theirs != own:
            wrong += 1
            kind = "own image" if ours == own else "the teacher's pick" if ours == theirs else "another"
            counts[kind] += 1
    shares = {name: pytest.approx(100 * count / wrong, abs=1e-4) for name, count in counts.items()}
    assert lab.picked_where_wrong(vectors, student, BATCH) == shares
    perfect = torch.eye(IMAGES).expand(4, -1, -1)
    several = lab.several_rows_right({"one": vectors, "two": [perfect, vectors]}, BATCH)
    assert several == {"one": [lab.rows_right(vectors, BATCH)], "two": [100, lab.rows_right(vectors, BATCH)]}


def test_an_easy_image_has_no_larger_ranks_than_a_hard_one(vectors: torch.Tensor) -> None:
    ranks = lab.three_among_rivals(vectors, batch=4, draws=200)
    cosines = [[cosine(vectors[1, i], vectors[0, j]) for j in range(IMAGES)] for i in range(IMAGES)]
    beaten_by = {image: sum(c > cosines[image][image] for c in cosines[image]) for image in ranks}
    assert list(beaten_by.values()) == sorted(beaten_by.values())
    for image, drawn in ranks.items():
        mean = 3 * beaten_by[image] / (IMAGES - 1)  # of 3 rivals out of 13
        assert len(drawn) == 200 and float(drawn.float().mean()) == pytest.approx(mean, abs=0.25)


def same_window(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Four views with one flip and one window."""
    upright = sskd.data.views.one_view(images, generator)
    return torch.cat([torch.rot90(upright, turns, (-2, -1)) for turns in range(4)])


def own_flips(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Four views that are mirrored one by one, without a crop."""
    views = sskd.four_views(images, augment=False).unflatten(0, (4, -1))
    flip = torch.rand(views.shape[:2], generator=generator) < 0.5
    for turn, image in flip.nonzero().tolist():
        views[turn, image] = torch.rot90(views[0, image].flip(-1), turn, (-2, -1))
    return views.flatten(0, 1)


def test_what_the_views_of_a_draw_share_is_measured() -> None:
    assert lab.shared_in_draws() == (True, False)
    assert lab.shared_in_draws(same_window) == (True, True)
    assert lab.shared_in_draws(own_flips)[0] is False


def test_view_outputs_are_those_of_the_network(images: ImageSet) -> None:
    network = sskd.create_network("resnet8", images, projection=True, seed=0)
    output = lab.view_outputs(network, images, batch=BATCH)
    assert network.training  # as it was before
    network.eval()
    with torch.no_grad():
        expected = network(sskd.four_views(images.images, augment=False))
    for name in ("logits", "features", "projection"):
        got, want = getattr(output, name), getattr(expected, name)
        torch.testing.assert_close(got.flatten(0, 1), want, atol=1e-4, rtol=1e-4)
    drawn = lab.view_outputs(network, images, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(drawn.features, output.features)
    assert lab.view_outputs(sskd.create_network("resnet8", images, seed=0), images).projection is None


def test_a_head_learns_on_stored_features() -> None:
    generator = torch.Generator().manual_seed(0)
    upright = torch.randn(128, WIDTH, generator=generator)
    noise = 0.3 * torch.randn(4, 128, WIDTH, generator=generator)
    features = torch.cat([upright + noise, 1 + torch.zeros(4, 128, WIDTH)], 2)  # half of it says nothing
    head = torch.nn.Linear(2 * WIDTH, WIDTH)
    with torch.no_grad():
        head.weight.copy_(torch.randn(WIDTH, 2 * WIDTH, generator=generator))
    history = lab.train_on_features(
        head, features[:, :96], lambda z: sskd.losses.contrastive_loss(z, len(z) // 4)[0], features[:, 96:],
        epochs=20, batch=32,
    )  # fmt: skip
    assert len(history) == 20
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["train"] == pytest.approx(lab.rows_right(head(features[:, :96]).detach(), 32))
    assert history[-1]["test"] == pytest.approx(lab.rows_right(head(features[:, 96:]).detach(), 32))


def test_class_groups_pass_over_small_classes(images: ImageSet) -> None:
    groups = lab.class_groups(images, classes=2, each=5)  # "a" and "b" have 5 images, "c" has 4
    assert groups.labels.tolist() == [0] * 5 + [1] * 5
    assert (groups.images[0] == images.images[0]).all()
    assert set(lab.class_groups(images, classes=9, each=1).labels.tolist()) == {0, 1, 2}
    assert lab.class_groups(images, classes=4, each=99).labels.tolist() == [0] * 5 + [1] * 5


def test_figures_name_what_they_show(static, vectors: torch.Tensor, images: ImageSet) -> None:
    network = sskd.create_network("resnet8", images, projection=True, seed=0)
    output = lab.view_outputs(network, images)
    history = [{"loss": 1.2, "train": 40.0, "test": 30.0}]
    calls = [
        lambda: lab.show_rotated_guesses(output, images),
        lambda: lab.show_draws(images.images[0]),
        lambda: lab.show_head_training(history, {"guess": 25.0}, batch=4),
        lambda: lab.show_batch_sizes({"noise": vectors}, [2, 4, 8, 256]),
        lambda: lab.show_mistakes(images, vectors, BATCH),
        lambda: lab.show_ranks(vectors, BATCH),
    ]
    for call in calls:
        with capture_output() as captured:
            call()
        (picture,) = captured.outputs
        assert len(picture.metadata["image/png"]["alt"]) > 40
    with capture_output() as captured:
        lab.show_mistakes(images, torch.eye(IMAGES).expand(4, -1, -1), BATCH)
    assert captured.stdout == "no row is wrong\n"


def test_tables_print_the_numbers(
    capsys: pytest.CaptureFixture, vectors: torch.Tensor, images: ImageSet
) -> None:
    perfect = torch.eye(IMAGES).expand(4, -1, -1)
    lab.print_rows_right({"noise": [vectors, vectors.flip(2)], "perfect": perfect}, BATCH)
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split() == ["100.0", "%", "perfect"]
    assert f"{100 / BATCH:6.1f} %  a guess" in printed
    lab.print_mistakes({"noise": vectors, "perfect": perfect}, images.labels, BATCH)
    assert f"{lab.rows_right(vectors, BATCH):.1f} %" in capsys.readouterr().out
    lab.print_mean_cosines(perfect, images.labels, BATCH)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["1.00", "0.00", "0.00"]
    lab.print_ranks_among_rivals(vectors, BATCH, draws=20)
    assert len(capsys.readouterr().out.splitlines()) == 3
    lab.print_copied_mistakes(vectors, {"itself": vectors, "perfect": perfect}, BATCH)
    _, _, itself, ideal = capsys.readouterr().out.splitlines()
    assert "own image 0 %, the teacher's pick 100 %, another 0 %" in itself
    assert "own image 100 %, the teacher's pick 0 %, another 0 %" in ideal
    lab.print_always_right(perfect.flatten(0, 1)[None].expand(2, -1, -1), IMAGES)
    assert f"found every time: {IMAGES}; never found: 0" in capsys.readouterr().out
