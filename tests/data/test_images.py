"""Image sets: what they refuse, their seeded subsets, their hash; in memory and on disk."""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import FrozenInstanceError, replace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sskd_lib.data.checks import check_memory
from sskd_lib.data.images import ImageSet


def image_set(labels, num_classes: int | None = None, side: int = 2, channels: int = 1) -> ImageSet:
    """Images whose pixels hold their own number, so that every subset tells where it comes from."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    number = torch.arange(len(labels)).reshape(-1, 1, 1, 1)
    digits = torch.cat([number // 256, number % 256], dim=3).to(torch.uint8)
    images = digits.expand(-1, channels, side, 2).contiguous()
    count = int(labels.max()) + 1 if num_classes is None else num_classes
    return ImageSet(
        images=images, labels=labels, classes=tuple(f"class {k}" for k in range(count)), name="toy"
    )


def numbers(images: ImageSet) -> list[int]:
    pixels = images.images[:, 0, 0].long()
    return (256 * pixels[:, 0] + pixels[:, 1]).tolist()


TOY = image_set([k % 5 for k in range(500)])


# ImageSet


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(4, 1, 2, 2)}, r"must be uint8 .* float32 \[4, 1, 2, 2\]\. From floats"),
        ({"images": torch.zeros(4, 2, 2, dtype=torch.uint8)}, r"must be uint8 \[M, C, H, W\].*\[4, 2, 2\]"),
        ({"images": torch.zeros(4, 2, 2, 2, dtype=torch.uint8)}, r"C = 1 \(grey\) or 3 \(colour\)"),
        ({"images": torch.zeros(4, 1, 2, 3, dtype=torch.uint8)}, "square, with C = 1"),
        ({"labels": torch.zeros(4)}, r"int64 \[4\], one .* float32 \[4\]\. Convert them: labels.long\(\)"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"int64 \[4\], one number for each image"),
        ({"labels": torch.tensor([0, 1, 2, 3])}, "labels run from 0 to 3, but 3 classes"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, "labels run from -1 to 2"),
        ({"labels": torch.zeros(4, dtype=torch.int64, device="meta")}, "put both on one device"),
        ({"classes": ["a", "b", "c"]}, "tuple of names"),
        ({"classes": (0, 1, 2)}, "tuple of names"),
        ({"coarse": ("a", "b")}, r"coarse must be a tuple of 3 names.*\('a', 'b'\)"),
        ({"coarse": ["a", "b", "b"]}, "coarse must be a tuple of 3 names"),
        (
            {
                "images": torch.zeros(0, 1, 2, 2, dtype=torch.uint8),
                "labels": torch.zeros(0, dtype=torch.int64),
            },
            "is empty",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(image_set([0, 1, 2, 0]), **change)


def test_facts_of_a_set():
    images = image_set([0, 1, 1], num_classes=7, channels=3)
    assert (len(images), images.num_classes, images.in_channels) == (3, 7, 3)
    assert repr(images) == "ImageSet(toy: 3 images 3x2x2, 7 classes)"
    assert images.to("cpu").fingerprint() == images.fingerprint()
    with pytest.raises(FrozenInstanceError):
        images.name = "other"


def test_fingerprint_is_the_hash_of_shape_images_and_labels():
    images = image_set([0, 1, 1, 0])
    digest = hashlib.sha256(b"(4, 1, 2, 2)")
    digest.update(bytes(images.images.flatten().tolist()))
    digest.update(struct.pack("<4q", 0, 1, 1, 0))
    assert images.fingerprint() == digest.hexdigest()
    other_pixel = images.images.clone()
    other_pixel[3, 0, 1, 1] += 1
    others = [
        replace(images, images=other_pixel),
        replace(images, labels=images.labels.flip(0).roll(1)),
        replace(images, images=images.images.reshape(4, 1, 2, 2).transpose(2, 3)),
    ]
    assert len({images.fingerprint(), *(other.fingerprint() for other in others)}) == 4
    assert replace(images, name="renamed").fingerprint() == images.fingerprint()


def test_channel_statistics_are_numpys():
    pixels = torch.randint(
        0, 256, (50, 3, 5, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    images = ImageSet(images=pixels, labels=torch.zeros(50, dtype=torch.int64), classes=("a",), name="noise")
    scaled = pixels.numpy().astype(np.float64) / 255
    mean, std = images.channel_statistics()
    assert isinstance(mean[0], float) and len(mean) == len(std) == 3
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-12)


def test_classes_without_images_are_named():
    assert image_set([0, 2, 2], num_classes=5).without_images() == ("class 1", "class 3", "class 4")
    assert TOY.without_images() == ()


def test_anything_but_tensors_is_explained():
    toy = image_set([0, 1])
    for change, message in (
        ({"images": toy.images.numpy()}, "must be a torch tensor.*torch.from_numpy"),
        ({"images": [toy.images[0]] * 2}, "torch.stack"),
        ({"labels": [0, 1]}, "torch.tensor"),
        ({"labels": toy.labels.numpy()}, "torch.from_numpy"),
    ):
        with pytest.raises(TypeError, match=message):
            replace(toy, **change)


def test_images_of_0_and_1_are_warned_of_where_a_network_is_made_for_them():
    toy = image_set([0, 1])
    with pytest.warns(UserWarning, match="0 or 1, so all images are black"):
        toy.channel_statistics()


# take


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_take_is_balanced_and_keeps_order(n, seed, random):
    labels = [k for k in range(4) for _ in range(10 + k)]
    random.shuffle(labels)
    images = image_set(labels)
    taken = images.take(n, seed=seed)
    counts = taken.labels.bincount(minlength=4)
    assert len(taken) == n and counts.max() - counts.min() <= 1
    chosen = numbers(taken)
    assert chosen == sorted(set(chosen))
    assert taken.labels.tolist() == [labels[index] for index in chosen]


def test_take_spreads_the_remainder_over_random_classes_and_nests():
    extras = {tuple(TOY.take(7, seed=seed).labels.bincount().tolist()) for seed in range(30)}
    assert len(extras) > 5 and all(sorted(extra) == [1, 1, 1, 2, 2] for extra in extras)
    sizes = [3, 5, 7, 50, 52, 500]
    subsets = [set(numbers(TOY.take(n, seed=9))) for n in sizes]
    assert all(small < large for small, large in itertools.pairwise(subsets))
    assert numbers(TOY.take(50, seed=1)) != numbers(TOY.take(50, seed=2))


def test_take_says_what_is_missing():
    images = image_set([0] * 9 + [1] * 3 + [2] * 9)
    with pytest.raises(ValueError, match=r"needs 4 images of the class 'class 1', but toy has 3.* at most 9"):
        images.take(12)
    with pytest.raises(ValueError, match="n must be at least 1"):
        images.take(0)
    with pytest.raises(TypeError):
        images.take(2.5)


# with_label_noise


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.2, 0.333, 0.5, 1.0])
def test_label_noise_changes_exactly_the_share(rate):
    noisy = TOY.with_label_noise(rate, seed=3)
    assert int((noisy.labels != TOY.labels).sum()) == round(rate * 500)
    assert torch.equal(noisy.images, TOY.images) and int(TOY.labels.sum()) == 1000
    assert noisy.labels.min() >= 0 and noisy.labels.max() < 5
    facts = [{"rate": rate, "changed": round(rate * 500), "of": 500}] if rate else []
    assert list(noisy.noise) == list(noisy.take(50).noise) == facts and TOY.noise == ()


def test_label_noise_draws_the_other_classes_uniformly():
    images = image_set([k % 4 for k in range(12_000)])
    noisy = images.with_label_noise(1.0)
    pairs = torch.bincount(4 * images.labels + noisy.labels, minlength=16).reshape(4, 4)
    assert pairs.diagonal().sum() == 0
    off = pairs[~torch.eye(4, dtype=torch.bool)].float()
    assert ((off - 1000) / 1000**0.5).abs().max() < 4.5


def test_label_noise_refuses_nonsense():
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="a fraction is expected, a number from 0 to 1"):
            TOY.with_label_noise(rate)
    with pytest.raises(ValueError, match=r"changes none of 500 labels\. One label is a rate of 0\.002"):
        TOY.with_label_noise(0.0009)
    with pytest.raises(ValueError, match="at least two classes"):
        image_set([0, 0]).with_label_noise(0.5)


# split


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=80), st.floats(0.2, 0.8), st.integers(0, 99))
def test_split_is_disjoint_complete_and_stratified(labels, fraction, seed):
    images = image_set(labels, num_classes=4)
    kept, held_out = images.split(fraction, seed=seed)
    assert sorted(numbers(kept) + numbers(held_out)) == list(range(len(labels)))
    assert len(held_out) == round(fraction * len(labels))
    for part in (kept, held_out):
        assert part.labels.tolist() == [labels[index] for index in numbers(part)]
    share = fraction * images.labels.bincount(minlength=4)
    assert (held_out.labels.bincount(minlength=4) - share).abs().max() < 1


def test_split_refuses_an_empty_side():
    for fraction in (0.0, 1.0, -1, 2):
        with pytest.raises(ValueError, match="a number between 0 and 1"):
            TOY.split(fraction)
    with pytest.raises(ValueError, match="leaves one side empty; load more images"):
        image_set([0, 1, 0]).split(0.1)


# batches


def test_batches_give_every_image_once_in_the_generators_order():
    order = torch.randperm(500, generator=torch.Generator().manual_seed(4))
    batches = list(TOY.batches(64, torch.Generator().manual_seed(4)))
    assert [len(x) for x, _ in batches] == [64] * 7 + [52]
    assert torch.equal(torch.cat([x for x, _ in batches]), TOY.images[order])
    assert torch.equal(torch.cat([y for _, y in batches]), TOY.labels[order])
    assert batches[0][0].dtype == torch.uint8 and batches[0][1].dtype == torch.int64


def test_batches_without_a_generator_keep_the_order():
    batches = list(TOY.batches(300))
    assert torch.equal(torch.cat([x for x, _ in batches]), TOY.images)
    assert torch.equal(torch.cat([y for _, y in batches]), TOY.labels)


def test_batches_refuse_at_the_call():
    with pytest.raises(ValueError, match="at least one image"):
        TOY.batches(0)


def test_two_epochs_differ():
    generator = torch.Generator().manual_seed(0)
    first, second = ([y.tolist() for _, y in TOY.batches(100, generator)] for _ in range(2))
    assert first != second


@pytest.mark.gpu
def test_the_gpu_gets_the_same_images():
    there = TOY.to("cuda")
    for method in (lambda s: s.take(52), lambda s: s.split(0.3)[1], lambda s: s.with_label_noise(0.4)):
        assert method(there).images.is_cuda
        assert method(there).fingerprint() == method(TOY).fingerprint()
    assert there.channel_statistics() == TOY.channel_statistics()
    for device in ("cpu", "cuda"):
        batches = list(there.batches(64, torch.Generator(device).manual_seed(1)))
        assert batches[0][0].is_cuda and sum(len(x) for x, _ in batches) == 500


def test_seeds_decide_and_the_global_state_does_not():
    def all_of_them(seed):
        kept, held_out = TOY.split(0.3, seed=seed)
        sets = [kept, held_out, TOY.take(33, seed=seed), TOY.with_label_noise(0.3, seed=seed)]
        return [images.fingerprint() for images in sets]

    torch.manual_seed(1)
    np.random.seed(1)
    first, state = all_of_them(5), torch.get_rng_state()
    assert torch.equal(state, torch.manual_seed(1).get_state())  # nothing was drawn from it
    torch.manual_seed(2)
    np.random.seed(2)
    assert all_of_them(5) == first
    assert not set(all_of_them(6)) & set(first)


def test_images_of_a_single_shade_can_be_normalised():
    images = torch.full((4, 1, 16, 16), 51, dtype=torch.uint8)
    data = ImageSet(images=images, labels=torch.arange(4) % 2, classes=("a", "b"), name="flat")
    (mean,), (std,) = data.channel_statistics()
    assert mean == pytest.approx(0.2) and std == 1 / 255


# on disk


@pytest.fixture
def on_disk(tmp_path) -> ImageSet:
    """The images of TOY in a file, mapped into memory."""
    np.save(tmp_path / "images.npy", TOY.images.numpy())
    images = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    return replace(TOY, images=images, window=1, sha256="12ab")


def test_a_set_on_disk_says_so_and_stays_there(on_disk):
    assert on_disk.on_disk and not TOY.on_disk
    assert on_disk.to("meta") is on_disk and on_disk.with_label_noise(0.1).on_disk
    assert on_disk.channel_statistics() == TOY.channel_statistics()
    batches = list(on_disk.batches(64, torch.Generator().manual_seed(4)))
    expected = list(TOY.batches(64, torch.Generator().manual_seed(4)))
    assert all(
        torch.equal(x, z) and torch.equal(y, t) for (x, y), (z, t) in zip(batches, expected, strict=True)
    )


def test_statistics_of_a_set_on_disk_are_those_of_its_first_images():
    images = torch.cat([torch.zeros(4096, 1, 2, 2), torch.full((904, 1, 2, 2), 255)]).to(torch.uint8)
    some = ImageSet(
        images=images, labels=torch.zeros(5000, dtype=torch.int64), classes=("a",), name="", sha256="0"
    )
    assert some.channel_statistics() == ((0.0,), (1 / 255,))


def test_the_hash_of_a_set_on_disk_is_its_stored_one_with_the_labels(on_disk):
    digest = hashlib.sha256(b"(500, 1, 2, 2)" + b"12ab")
    digest.update(TOY.labels.numpy().astype("<i8").tobytes())
    assert on_disk.fingerprint() == digest.hexdigest()
    others = {on_disk, replace(on_disk, sha256="12ac"), on_disk.with_label_noise(0.1), TOY}
    assert len({other.fingerprint() for other in others}) == 4


def test_a_part_of_a_set_on_disk_is_in_memory(on_disk):
    parts = [on_disk.take(33, seed=1), *on_disk.split(0.3, seed=1)]
    expected = [TOY.take(33, seed=1), *TOY.split(0.3, seed=1)]
    for part, other in zip(parts, expected, strict=True):
        assert not part.on_disk and part.window == 1 and part.fingerprint() == other.fingerprint()
        part.images.zero_()
    assert torch.equal(on_disk.images, TOY.images)


def test_a_part_that_is_too_large_for_the_memory_is_refused(on_disk, monkeypatch):
    memory = psutil.virtual_memory()._replace(available=600)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert len(on_disk.take(75)) == 75  # 300 bytes
    with pytest.raises(
        ValueError, match=r"80 images of toy needs 3\.2e-07 GB of memory, more than half of the 6e-07"
    ):
        on_disk.take(80)
    assert len(TOY.take(80)) == 80
    check_memory(300, "this")
    with pytest.raises(
        ValueError, match=r"this needs .* Use fewer or smaller images\..* `shards` stays on disk"
    ):
        check_memory(301, "this")
