"""The atlas explorer: its picture, words and places to point at, against computations of their own."""

from __future__ import annotations

import math
import re

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from helpers.atlas_explorer import CLASSES, COUNT, TEMPERATURES, data, explorer
from helpers.explorers import bits_by_hand, softened_by_hand
from helpers.pictures import picture
from sskd_lib.lab.explorers.atlas import FEATURES, choose_images
from sskd_lib.lab.explorers.page import MOST, page_options
from sskd_lib.lab.style import CLASS_COLOURS, WRONG


@pytest.fixture
def shown(live):
    return explorer()


@pytest.fixture
def every(live):
    """An explorer that steps through all its images."""
    return explorer(shown=range(COUNT))


def near_on_map_by_hand(points, i: int) -> set[int]:
    gaps = sorted((math.dist(points[i].tolist(), other.tolist()), j) for j, other in enumerate(points))
    return {j for _, j in gaps if j != i} and {j for _, j in [g for g in gaps if g[1] != i][:6]}


def test_every_control_changes_picture_and_words(shown) -> None:
    widgets = shown.live
    assert list(widgets.controls) == ["image", "mapped", "model", "colour"]
    for name, control in widgets.controls.items():
        seen = set()
        for _, value in shown.controls[name].options:
            control.value = value
            seen.add((widgets.picture.value, widgets.words.value))
        count = len(shown.controls[name].options)
        assert len({png for png, _ in seen}) == len({words for _, words in seen}) == count, name
    widgets.buttons["Reset"].click()
    assert widgets.picture.value == shown.frame()


def test_words_are_those_of_a_computation_by_hand(every) -> None:
    given = data()
    maps, labels, classes = given["maps"], given["labels"], given["classes"]
    for image, mapped, model in ((3, 4.0, 0), (10, 1.0, 1), (25, FEATURES, 2)):
        words = every.describe(image=image, mapped=mapped, model=model, colour="error")
        temperature, space = (1.0, 5) if mapped == FEATURES else (mapped, TEMPERATURES.index(mapped))
        p = softened_by_hand(maps.logits[model, image], temperature)
        best = sorted(range(10), key=lambda k: -p[k])
        likeliest = ", ".join(f"{classes[k]} {100 * p[k]:.1f} %" for k in best[:3])
        verdict = "right" if best[0] == labels[image] else "wrong"
        assert f"Image {image + 1} of 60, {classes[labels[image]]}." in words
        assert f"at temperature {temperature:g}: {likeliest}, so it is {verdict};" in words
        assert f"entropy {bits_by_hand(p):.2f} of 3.32 bits" in words
        near = maps.neighbours[model, space, image].tolist()
        assert f"themselves: {', '.join(classes[labels[i]] for i in near)};" in words
        both = len(set(near) & near_on_map_by_hand(maps.points[model, space], image))
        assert f"; {both} of these 6 are also among the 6 nearest on the map" in words
        wrong = sum(int(np.argmax(z)) != t for z, t in zip(maps.logits[model], labels, strict=True))
        assert f"each of the {wrong} of 60 images that it gets wrong" in words


def shows_colour(pixels: np.ndarray, spot, name) -> bool:
    """Whether one of the few pixels in the middle of a place has this colour; other dots are 40 away."""
    x, y = round(spot.left + spot.width / 2), round(spot.top + spot.height / 2)
    middle = pixels[y - 2 : y + 2, x - 2 : x + 2]
    return np.abs(middle - 255 * np.array(to_rgb(name))).max(-1).min() <= 3


@pytest.mark.parametrize("shows", ["class", "prediction", "entropy", "error"])
def test_places_to_point_at_lie_on_dots_that_have_their_colour(shown, shows) -> None:
    given = data()
    for mapped, model in ((2.0, 0), (FEATURES, 1)):
        state = {"mapped": mapped, "model": model, "colour": shows}
        pixels, spots = picture(shown.frame(**state)), shown.spots(**state)
        assert len(spots) == COUNT
        for i, spot in enumerate(spots):
            p = softened_by_hand(given["maps"].logits[model, i], 1.0 if mapped == FEATURES else mapped)
            predicted, true = int(np.argmax(p)), given["labels"][i]
            expected = {
                "class": CLASS_COLOURS[true],
                "prediction": CLASS_COLOURS[predicted],
                "entropy": matplotlib.colormaps["cividis"](bits_by_hand(p) / math.log2(10)),
                "error": WRONG if predicted != true else "white",
            }[shows]
            assert shows_colour(pixels, spot, expected), (i, predicted, true)


def test_spots_name_and_show_the_image_and_its_neighbours(shown) -> None:
    given = data()
    assert shown.cards.shape == (COUNT, 28, 28, 3)
    assert (shown.cards[..., 0] == given["images"][:, 0].numpy()).all()
    for i, spot in enumerate(shown.spots(mapped=4.0, model=1)):
        assert spot.cards == (i, *given["maps"].neighbours[1, 2, i].tolist())
        p = softened_by_hand(given["maps"].logits[1, i], 4.0)
        predicted, true = CLASSES[int(np.argmax(p))], CLASSES[given["labels"][i]]
        taken = "right" if predicted == true else f"taken for {predicted}"
        likeliest = f"{i + 1}: {true}, {taken} ({100 * max(p):.1f} %), {bits_by_hand(p):.2f} bits."
        assert spot.words.startswith(likeliest)
    assert shown.live.layer.value.count("<i ") == COUNT


def test_lines_lead_to_the_neighbours_and_are_dashed_where_the_map_has_them_elsewhere(every) -> None:
    maps = data()["maps"]
    for image in (0, 17):
        every.frame(image=image, mapped=8.0, model=2)
        points, near = maps.points[2, 3], maps.neighbours[2, 3, image].tolist()
        ends = [segment[1].tolist() for segment in every.dots.near.get_segments()]
        assert ends == [points[i].tolist() for i in near]
        solid = [offset_and_dash[1] is None for offset_and_dash in every.dots.near.get_linestyles()]
        assert solid == [i in near_on_map_by_hand(points, image) for i in near]
        captions = [lines[2].text for lines in every.card.captions]
        assert captions == [f"map: {'near' if both else 'far'}" for both in solid]


def test_bars_have_the_length_of_the_outputs(every) -> None:
    logits = data()["maps"].logits
    for image, mapped, temperature in ((4, 20.0, 20.0), (9, FEATURES, 1.0)):
        every.frame(image=image, mapped=mapped, model=1)
        p = softened_by_hand(logits[1, image], temperature)
        lengths = [bar.get_width() / 195 for bar in every.card.bars]
        assert lengths == pytest.approx(p)


def test_chosen_images_are_of_all_kinds_and_of_different_classes() -> None:
    labels = np.repeat(np.arange(4), 10)
    logits = np.zeros((2, 40, 4))
    logits[:, np.arange(40), labels] = 2 + np.arange(40) % 10  # in each class the last is the surest
    logits[0, [5, 15], 0] += 30  # of class 0 and 1: one stays right, one is wrong, and sure of it
    logits[1, [22, 32], 1] += 30  # the second network alone is wrong
    chosen = choose_images(logits, labels, 8)
    assert chosen[0][0] == 5 and {why for i, why in chosen if i == 15} == {"wrong"}
    assert [i for i, why in chosen if why == "another wrong"] == [32, 22]
    kinds = [why for _, why in chosen]
    assert kinds == sorted(kinds, key=["sure", "another wrong", "wrong", "unsure"].index)
    assert len({i for i, _ in chosen}) == 8
    unsure = [i for i, why in chosen if why == "unsure"]
    assert set(unsure) <= {0, 10, 20, 30} and len(unsure) >= 2


def test_a_page_keeps_every_kind_of_image_and_the_ends(shown) -> None:
    options = {name: [value for _, value in kept] for name, kept in page_options(shown).items()}
    assert math.prod(map(len, options.values())) <= MOST
    assert options["mapped"] == [1.0, 4.0, 20.0, FEATURES]
    assert len(options["image"]) == 3 and len(options["model"]) == 3 and len(options["colour"]) == 4
    texts = dict((value, text) for text, value in shown.controls["image"].options)
    assert [texts[i].rsplit(" ", 1)[1] for i in options["image"]] == ["sure", "wrong", "unsure"]


@pytest.mark.parametrize(("classes", "networks"), [(2, 1), (40, 2)])
def test_other_numbers_of_classes_and_networks(live, classes, networks) -> None:
    given = data(min(classes, 10), networks) | {"shown": [7, 3, 7]}
    if classes > 10:  # the card has room for the ten likeliest
        given["maps"] = given["maps"]._replace(logits=np.tile(given["maps"].logits, 4) - np.arange(40))
        given["classes"] = tuple(f"species number {k}" for k in range(40))
    made = explorer(**given)
    assert [value for _, value in made.controls["image"].options] == [7, 3]
    assert made.start()["image"] == 3
    for colours in ("class", "entropy"):
        made.frame(colour=colours)
    p = softened_by_hand(given["maps"].logits[0, 3], 4.0)
    best = sorted(range(classes), key=lambda k: -p[k])[:10] if classes > 10 else range(classes)
    assert [bar.get_width() / 195 for bar in made.card.bars] == pytest.approx([p[k] for k in best])


def test_static_pages_get_a_filmstrip_and_print_a_picture(static, tmp_path) -> None:
    made = explorer()
    for state in made.film:
        assert set(state) <= set(made.controls)
        assert re.match(r"Image \d+ of 60", made.describe(**state))
    assert len({made.frame(**state) for state in made.film}) == len(made.film)
    with Image.open(made.save(tmp_path / "atlas.png", colour="entropy")) as image:
        assert image.width >= 3 * 932


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(59, int)}, r"labels is \[59\], but 60 images and 10 classes ask for \[60\]"),
        ({"labels": np.full(60, 10)}, "class numbers from 0 to 9"),
        ({"classes": CLASSES[:9], "labels": np.zeros(60, int)}, r"maps.logits is .* ask for \[3, 60, 9\]"),
        ({"images": torch.zeros(50, 1, 28, 28, dtype=torch.uint8)}, "50 images"),
        ({"images": torch.zeros(60, 28, 28)}, r"\[M, C, H, W\]"),
        ({"shown": [60]}, "images from 0 to 59"),
        ({"shown": []}, "at least one"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(live, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        explorer(**changes)


def test_maps_that_do_not_fit_are_refused(live) -> None:
    maps = data()["maps"]
    for changes in ({"points": maps.points[:, 1:]}, {"neighbours": maps.neighbours[..., :5]}):
        with pytest.raises(ValueError, match="Pass the images that atlas_maps saw"):
            explorer(maps=maps._replace(**changes))
