"""Views: np.rot90 on known pixels, and every random view explained by a search over all flips and offsets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from helpers.views import OFFSETS, all_windows, explain_batch, explanations, random_images
from sskd_lib.data.views import PADDING, centre, cut, draw, four_views, frame, one_view, rotate

# ---- without chance ------------------------------------------------------------------------------


def test_rotate_turns_counter_clockwise_like_np_rot90():
    # 1 2        2 4        4 3        3 1
    # 3 4  90°:  1 3  180°: 2 1  270°: 4 2
    image = torch.tensor([[[1, 2], [3, 4]]], dtype=torch.uint8)
    assert rotate(image, 1).tolist() == [[[2, 4], [1, 3]]]
    assert rotate(image, 2).tolist() == [[[4, 3], [2, 1]]]
    assert rotate(image, 3).tolist() == [[[3, 1], [4, 2]]]
    images = random_images(3, channels=2)
    for turns in range(-2, 6):
        assert np.array_equal(rotate(images, turns), np.rot90(images.numpy(), turns, axes=(2, 3)))


@pytest.mark.parametrize(("count", "channels", "size"), [(1, 1, 2), (2, 3, 5), (5, 1, 28), (3, 3, 32)])
def test_plain_views_are_rot90_of_the_pixels_over_255(count, channels, size):
    images = random_images(count, channels, size)
    views = four_views(images, augment=False)
    assert views.dtype == torch.float32 and views.shape == (4 * count, channels, size, size)
    scaled = images.numpy().astype(np.float32) / np.float32(255)
    for turns in range(4):
        for i in range(count):  # B upright | B at 90° | B at 180° | B at 270°
            assert np.array_equal(views[turns * count + i], np.rot90(scaled[i], turns, axes=(1, 2)))
    assert np.array_equal(one_view(images, augment=False), scaled)


def test_scale_runs_from_black_0_to_white_1():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    values = one_view(ramp, augment=False).flatten().tolist()
    assert values == [float(np.float32(v) / np.float32(255)) for v in range(256)]
    assert values[0] == 0.0 and values[255] == 1.0


def test_the_images_handed_in_stay_as_they_are():
    images = random_images(4)
    before = images.clone()
    for make in (one_view, four_views):
        for augment in (False, True):
            make(images, torch.Generator().manual_seed(0), augment).zero_()
            assert torch.equal(images, before)


# ---- with chance: every view explained -----------------------------------------------------------


@pytest.mark.parametrize(("count", "channels", "size"), [(1, 1, 8), (6, 3, 12), (9, 1, 17)])
def test_each_view_is_a_whole_shift_of_the_flipped_or_unflipped_image(count, channels, size):
    images = random_images(count, channels, size)
    flips, offsets = explain_batch(four_views(images, torch.Generator().manual_seed(1)), images)
    assert (flips == flips[0]).all()  # the four views of an image share its flip
    assert offsets.min() >= 0 and offsets.max() <= 2 * PADDING


def test_flips_differ_between_images_and_crops_between_views():
    images = random_images(24)
    flips, offsets = explain_batch(four_views(images, torch.Generator().manual_seed(2)), images)
    assert 0 < flips[0].sum() < 24
    for i in range(24):
        assert len(np.unique(offsets[:, i], axis=0)) >= 2  # never one crop for all four
    assert len(np.unique(offsets.reshape(-1, 2), axis=0)) > 40


def test_one_view_is_a_whole_shift_too():
    images = random_images(12, channels=3)
    views = one_view(images, torch.Generator().manual_seed(3))
    found = [explanations(view, image, turns=0) for view, image in zip(views, images, strict=True)]
    assert [len(rows) for rows in found] == [1] * 12
    assert len({rows[0][0] for rows in found}) == 2  # some flipped, some not
    assert len({rows[0][1:] for rows in found}) > 6


def test_padding_is_exactly_black_and_as_wide_as_the_shift():
    images = random_images(20)
    views = four_views(images, torch.Generator().manual_seed(4))
    _, offsets = explain_batch(views, images)
    for t in range(4):
        for i in range(20):
            upright = np.rot90(views[t * 20 + i, 0].numpy(), -t)
            black_rows, black_columns = (upright == 0).all(1).sum(), (upright == 0).all(0).sum()
            assert (black_rows, black_columns) == tuple(abs(offsets[t, i] - PADDING))


@pytest.mark.parametrize(("make", "views"), [(one_view, 1), (four_views, 4)])
def test_a_window_smaller_than_the_image_is_cut_without_padding(make, views):
    images = random_images(7, channels=3, size=9)
    found = make(images, torch.Generator().manual_seed(2), window=6).view(views, 7, 3, 6, 6)
    draws = draw(7, torch.Generator().manual_seed(2), slack=3)
    assert draws.corner.min() == 0 and draws.corner.max() == 3
    for i, image in enumerate(images.numpy()):
        image = image[:, :, ::-1] if draws.flip[i] else image
        for t in range(views):
            top, left = draws.corner[i, t].tolist()
            window = image[:, top : top + 6, left : left + 6].astype(np.float32) / np.float32(255)
            assert np.array_equal(found[t, i], np.rot90(window, t, axes=(1, 2)))
    middle = make(images, augment=False, window=7)[:7]
    assert torch.equal(middle, images[:, :, 1:8, 1:8].float() / 255)


def test_a_method_with_one_view_sees_the_upright_ones_of_a_method_with_four():
    images = random_images(5)
    one, four = (make(images, torch.Generator().manual_seed(3)) for make in (one_view, four_views))
    assert torch.equal(one, four[:5])


def test_an_epoch_drawn_at_once_gives_the_views_of_its_batches():
    images, draws = random_images(10), draw(10, torch.Generator().manual_seed(4))
    whole = cut(frame(images), draws, (12, 12), 4).view(4, 10, 1, 12, 12)
    for rows in torch.arange(10).split(4):
        batch = cut(frame(images[rows]), type(draws)(*(part[rows] for part in draws)), (12, 12), 4)
        assert torch.equal(batch.view(4, -1, 1, 12, 12), whole[:, rows])
    assert torch.equal(cut(frame(images), centre(10), (12, 12), 1), images.float() / 255)


# ---- distributions -------------------------------------------------------------------------------


def test_flips_are_even_and_offsets_uniform_and_independent():
    # A white pixel with a grey one to its right shows both the shift and the flip of a view.
    count, size = 4050, 18
    image = torch.zeros(count, 1, size, size, dtype=torch.uint8)
    image[:, :, 9, 9], image[:, :, 9, 10] = 255, 100
    views = four_views(image, torch.Generator().manual_seed(5)).numpy().reshape(4, count, size, size)
    flips, tops, lefts = np.empty((3, 4, count), dtype=int)
    for t in range(4):
        upright = np.rot90(views[t], -t, axes=(1, 2)).reshape(count, -1)
        row, column = np.divmod(upright.argmax(1), size)
        flips[t] = upright[np.arange(count), upright.argmax(1) - 1] > 0  # grey on the left: mirrored
        tops[t] = 9 + PADDING - row
        lefts[t] = np.where(flips[t], size - 1 - 9, 9) + PADDING - column
    assert (flips == flips[0]).all()
    assert abs(flips[0].mean() - 0.5) < 4 * 0.5 / np.sqrt(count)
    for t in range(4):
        counts = np.bincount(tops[t] * OFFSETS + lefts[t], minlength=OFFSETS**2)
        expected = count / OFFSETS**2  # 50 in each of the 81 cells
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert len(counts) == 81 and chi_square < 80 + 4 * np.sqrt(2 * 80)  # 80 degrees of freedom
    drawn = np.concatenate([tops, lefts, flips[:1]])  # nine columns that should know nothing of each other
    correlation = np.corrcoef(drawn) - np.eye(9)
    assert abs(correlation).max() < 4 / np.sqrt(count)


@pytest.mark.parametrize("size", [3, 6])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_crop_then_rotate_has_the_distribution_of_rotate_then_crop(size, turns):
    """The published order is rotate, crop; ours is crop, rotate: the same 81 outcomes, equally often."""
    image = random_images(1, channels=2, size=size).numpy()[0]
    cropped_first = np.rot90(all_windows(image), turns, axes=(3, 4)).reshape(81, -1)
    rotated_first = all_windows(np.rot90(image, turns, axes=(1, 2))).reshape(81, -1)
    assert Counter(map(bytes, cropped_first)) == Counter(map(bytes, rotated_first))
    if turns:  # and yet a given offset means another window: the sets agree, the order does not
        assert not np.array_equal(cropped_first, rotated_first)


# ---- generators and errors -----------------------------------------------------------------------


@pytest.mark.parametrize("make", [one_view, four_views])
def test_a_generator_repeats_itself_and_the_global_one_is_not_touched(make):
    images = random_images(16)
    before = torch.get_rng_state()
    first, second, other = (make(images, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [one_view, four_views])
def test_plain_views_draw_nothing(make):
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    make(random_images(2), generator, augment=False)
    assert torch.equal(generator.get_state(), state) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [one_view, four_views])
@pytest.mark.parametrize(
    ("images", "described"),
    [
        (torch.rand(2, 1, 8, 8), r"float32 \[2, 1, 8, 8\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), r"int64 \[2, 1, 8, 8\]"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"uint8 \[1, 8, 8\]"),
    ],
)
def test_only_uint8_batches_are_taken(make, images, described):
    with pytest.raises(ValueError, match=rf"uint8 images \[B, C, H, W\].*these are {described}.*torch.uint8"):
        make(images)


def test_four_views_refuses_oblong_images():
    oblong = torch.zeros(2, 1, 8, 10, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"square images, but these are 8 x 10 pixels.*Crop or resize"):
        four_views(oblong)
    assert one_view(oblong).shape == (2, 1, 8, 10)
