"""The similarity explorer's batches, and what pointing at a row shows, against loops written here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from helpers.pictures import picture
from helpers.similarity_explorer import projections
from sskd_lib.lab.explorers import explore_similarity
from sskd_lib.lab.explorers.page import MOST, page_options
from sskd_lib.lab.explorers.similarity_maps import LEFT, STEP
from sskd_lib.losses import similarity_matrix

POOL, SIZE = 20, 6


def make(**more):
    """Twenty images, six at a time; the first pixel of an image is its number."""
    shown = torch.randint(0, 256, (POOL, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    shown[:, 0, 0, 0] = torch.arange(POOL)
    pair = projections(12, 1.2, POOL), projections(5, 1.5, POOL)
    return explore_similarity(shown.to(torch.uint8), *pair, **({"batch": SIZE} | more))


def by_hand(explorer, batch: int) -> list[np.ndarray]:
    """Cosines of the batch's views, teacher's and student's, from its own rows of the projections."""
    numbers = explorer.batches[batch].numbers.tolist()
    similarities = []
    for z in (projections(12, 1.2, POOL).double(), projections(5, 1.5, POOL).double()):
        rows = [z[turn * POOL + i] for turn in range(4) for i in numbers]
        cosines = [[float(v @ u / (v.norm() * u.norm())) for u in rows[:SIZE]] for v in rows[SIZE:]]
        similarities.append(np.array(cosines))
    return similarities


def test_each_batch_has_its_images_and_their_cosines(live) -> None:
    explorer = make()
    assert len(explorer.batches) == len(explorer.controls["batch"].options) == 6
    drawn = {tuple(batch.numbers.tolist()) for batch in explorer.batches}
    assert len(drawn) == 6 and all(len(set(numbers)) == SIZE for numbers in drawn)
    for k, batch in enumerate(explorer.batches):
        for who, cosines in zip(("teacher", "student"), by_hand(explorer, k), strict=True):
            np.testing.assert_allclose(batch.cosine[who], cosines, atol=1e-12)
            true_image = cosines[np.arange(3 * SIZE), np.arange(3 * SIZE) % SIZE]
            assert batch.rank[who].tolist() == (cosines > true_image[:, None]).sum(1).tolist()


def test_a_batch_is_on_the_picture_and_in_the_words(live, monkeypatch) -> None:
    explorer = make()
    forbidden = lambda *a, **k: pytest.fail("a network ran in a callback")  # noqa: E731
    monkeypatch.setattr(torch.nn.Module, "__call__", forbidden)
    seen, widgets = set(), explorer.live
    for _, k in explorer.controls["batch"].options:
        widgets.controls["batch"].value = k
        numbers = explorer.batches[k].numbers.tolist()
        row = explorer.start()["row"]
        assert explorer.places[1].image[0, 0, 0] == numbers[row % SIZE]
        teacher, student = by_hand(explorer, k)
        for who, cosines in (("teacher", teacher), ("student", student)):
            shown = [int(photo.image[0, 0, 0]) for photo in explorer.ranked[who]]
            assert shown == [numbers[c] for c in np.argsort(-cosines[row])[:4]]
        right = [(c.argmax(1) == np.arange(3 * SIZE) % SIZE).sum() for c in (teacher, student)]
        assert f"Batch {k + 1}: 6 of 20 images." in widgets.words.value
        assert f"the teacher gets {right[0]} right, the student {right[1]}." in widgets.words.value
        assert explorer.facts.text.split("\n")[2] == f"batch {k + 1} of 6"
        seen.add(widgets.picture.value)
    assert len(seen) == 6


def test_the_same_seed_draws_the_same_batches() -> None:
    first, again, other = (
        [b.numbers.tolist() for b in make(seed=seed, draws=3).batches] for seed in (1, 1, 2)
    )
    assert first == again != other and len(first) == 3


def test_pointing_at_a_row_shows_what_both_take_it_for(live) -> None:
    explorer = make()
    for k, picked in ((0, 0), (3, explorer.controls["row"].options[-1][1])):
        pixels = picture(explorer.frame(batch=k, row=picked))
        spots, numbers = explorer.spots(batch=k, row=picked), explorer.batches[k].numbers
        cosines = by_hand(explorer, k)
        assert len(spots) == 3 * SIZE
        for row, spot in enumerate(spots):
            true_image, firsts = row % SIZE, [int(c[row].argmax()) for c in cosines]
            cards = [explorer.cards[card] for card in spot.cards]
            upright = [explorer.images[numbers[c]] for c in (true_image, *firsts)]
            assert (cards[0] == np.rot90(upright[0], row // SIZE + 1)).all()
            assert all((card == image).all() for card, image in zip(cards[1:], upright, strict=True))
            assert spot.words.startswith(f"image {true_image + 1} at {90 * (row // SIZE + 1)}°: teacher ")
            for who, first, c in zip(("teacher", "student"), firsts, cosines, strict=True):
                place = (c[row] > c[row, true_image]).sum() + 1
                spot_words = (
                    "✓" if first == true_image else f"✗ image {first + 1} first, own in place {place}"
                )
                assert f"{who} {spot_words}" in spot.words
            # The place is the row's: one colour from its top to its bottom, another above and below.
            top, bottom = int(spot.top), int(spot.top + spot.height) - 1
            for x in (LEFT + 3, LEFT + STEP + 3):
                assert (pixels[top : bottom + 1, x] == pixels[top, x]).all()
            assert spot.left == LEFT and spot.width == STEP + SIZE * explorer.maps.cell[1]
        tops = [spot.top for spot in spots]
        assert tops == sorted(tops)
        assert all(a.top + a.height <= b.top for a, b in itertools.pairwise(spots))


def test_without_batches_all_images_are_one(live) -> None:
    explorer = make(batch=None)
    assert "batch" not in explorer.controls and len(explorer.batches) == 1
    z = projections(12, 1.2, POOL).double()
    expected = similarity_matrix(z[POOL:], z[:POOL])
    torch.testing.assert_close(explorer.batches[0].cosine["teacher"], expected)
    assert explorer.describe().startswith("The view is image")


def test_a_page_holds_ends_and_start_of_each_control(live) -> None:
    options = page_options(make())
    count = int(np.prod([len(similarities) for similarities in options.values()]))
    assert 40 < count <= MOST and len(options["view"]) == 2


def test_batches_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="batch is 21, but there are 20 images"):
        make(batch=21)
    with pytest.raises(ValueError, match="draws is the number of batches .* at least 1, not 0"):
        make(draws=0)
    with pytest.raises(ValueError, match="images are 1, but the maps have room for 2 to 32"):
        make(batch=1)
