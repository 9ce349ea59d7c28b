"""The similarity explorer: its maps, its ranked images and its words, against loops written here."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from IPython.utils.capture import capture_output

from helpers.pages import Reader
from helpers.pictures import picture
from helpers.similarity_explorer import IMAGES, make, projections
from sskd_lib.lab.explorers import explore_similarity
from sskd_lib.lab.explorers.page import MOST, explorer_html, page_options
from sskd_lib.lab.explorers.row_selection import choose_rows
from sskd_lib.lab.explorers.similarity_maps import LEFT, STEP, TOP, map_lines

ROWS = 3 * IMAGES


def softened_by_hand(projection: torch.Tensor, temperature: float) -> list[list[float]]:
    """Rows softmax(cosine / τ) of the rotated views, by plain loops."""
    z, softened_rows = projection.tolist(), []
    for view in z[IMAGES:]:
        cosines = [
            sum(a * b for a, b in zip(view, image, strict=True)) / (math.hypot(*view) * math.hypot(*image))
            for image in z[:IMAGES]
        ]
        grown = [math.exp(c / temperature) for c in cosines]
        softened_rows.append([g / sum(grown) for g in grown])
    return softened_rows


def by_hand(temperature: float) -> list[list[list[float]]]:
    pair = projections(12, 1.2), projections(5, 1.5)
    return [softened_by_hand(z, temperature) for z in pair]


def test_words_say_what_plain_loops_say(live) -> None:
    explorer = make()
    verdicts = set()
    for temperature in (0.1, 0.5, 2.0):
        matrices = by_hand(temperature)
        for _, row in explorer.controls["row"].options:
            words, true_image = explorer.describe(row=row, temperature=temperature), row % IMAGES
            assert f"image {true_image + 1} at {90 * (row // IMAGES + 1)}°, row {row + 1} of {ROWS}" in words
            for who, p in zip(("Teacher", "Student"), (m[row] for m in matrices), strict=True):
                order = sorted(range(IMAGES), key=lambda k: -p[k])
                place = order.index(true_image) + 1
                verdicts.add((who, place == 1))
                wrong = f"wrong, own image in place {place} with {percent(p[true_image])}"
                names = ["its own image" if k == true_image else f"image {k + 1}" for k in order]
                first = ", ".join(f"{names[i]} {percent(p[order[i]])}" for i in range(4))
                assert f"{who}: {'right' if place == 1 else wrong}; it ranks first {first}." in words
            teacher, student = (m[row] for m in matrices)
            kl = sum(a * math.log(a / b) for a, b in zip(teacher, student, strict=True))
            assert f"of this row is {temperature**2 * kl:.4f}." in words
        right = [sum(max(p) == p[r % IMAGES] for r, p in enumerate(m)) for m in matrices]
        assert f"the teacher gets {right[0]} right, the student {right[1]}." in words
    assert len(verdicts) == 4  # each of them was seen right and wrong


def percent(p: float) -> str:
    return f"{100 * p:.1f} %" if p >= 0.0005 else "< 0.1 %"


@pytest.mark.parametrize("view", ["student", "difference"])
def test_each_cell_of_the_maps_has_the_colour_of_its_value(live, view) -> None:
    explorer = make()
    teacher, student = map(np.array, by_hand(0.25))
    top, difference = max(teacher.max(), student.max()), student - teacher
    reach = np.abs(difference).max()
    right = student / top if view == "student" else (difference + reach) / (2 * reach)
    for _, row in explorer.controls["row"].options[:3]:
        pixels = picture(explorer.frame(row=row, temperature=0.25, view=view))
        lines = map_lines(row, IMAGES, explorer.maps.cell[0])
        for i, expected in enumerate((teacher / top, right)):
            colours = matplotlib.colormaps["cividis"](expected, bytes=True)[..., :3].astype(int)
            for r in range(ROWS):
                y = TOP + int(np.median(np.flatnonzero(lines == r)))
                xs = [LEFT + STEP * i + int(explorer.maps.cell[1] * (k + 0.5)) for k in range(IMAGES)]
                assert np.abs(pixels[y, xs] - colours[r]).max() <= 4, (row, r)
    ends = f"up to {percent(top)}" if view == "student" else f"within ± {100 * reach:.1f} points"
    assert explorer.describe(temperature=0.25, view=view).endswith(f"{ends}.")


def test_marks_stand_in_line_exactly_where_the_row_is_right(live) -> None:
    explorer = make()
    matrices = by_hand(1.0)
    for _, row in explorer.controls["row"].options:
        explorer.frame(row=row)
        for i, (p, marks) in enumerate(zip(matrices, explorer.maps.marks, strict=True)):
            columns = [(mark.x - LEFT - STEP * i) / explorer.maps.cell[1] - 0.5 for mark in marks]
            assert columns == pytest.approx([row % IMAGES, int(np.argmax(p[row]))])


def test_the_ranked_images_are_framed_at_the_right_one(live) -> None:
    explorer = make()
    for _, row in explorer.controls["row"].options:
        explorer.frame(row=row, temperature=1.0)
        true_image = row % IMAGES
        assert (explorer.places[0].image == np.rot90(explorer.images[true_image], row // IMAGES + 1)).all()
        assert (explorer.places[1].image == explorer.images[true_image]).all()
        for who, matrix in zip(("teacher", "student"), by_hand(1.0), strict=True):
            order = sorted(range(IMAGES), key=lambda k: -matrix[row][k])
            shown = explorer.ranked[who]
            for photo, column in zip(shown, order, strict=False):
                assert (photo.image == explorer.images[column]).all()
            solid, dashed = explorer.frames[who]
            assert solid.get_visible() == (true_image in order[:4]) and dashed.get_visible() == (
                order[0] != true_image
            )
            if solid.get_visible():
                assert solid.get_x() + 4 == shown[order.index(true_image)].left
            if dashed.get_visible():
                assert dashed.get_x() + 4 == shown[0].left
            assert ("✓" if order[0] == true_image else "✗") in explorer.verdicts[who].text


def test_equal_networks_differ_nowhere(live) -> None:
    z = projections(12, 1.2)
    explorer = explore_similarity(torch.zeros(IMAGES, 3, 32, 32), z, z)
    words = explorer.describe(view="difference")
    assert "of this row is 0.0000" in words and words.endswith("within ± 0.0 points.")
    pixels = picture(explorer.frame(view="difference"))
    grey = np.array(matplotlib.colormaps["cividis"](0.5, bytes=True)[:3]).astype(int)
    bottom = pixels[TOP + 300, LEFT + STEP : LEFT + STEP + IMAGES * explorer.maps.cell[1]]
    assert np.abs(bottom - grey).max() <= 4


def test_an_equal_score_counts_as_right_and_stands_first(live) -> None:
    explorer = explore_similarity(torch.zeros(3, 1, 28, 28), torch.ones(12, 2), torch.ones(12, 2))
    for _, row in explorer.controls["row"].options:
        assert explorer.batches[0].order("teacher", row).tolist() == [
            row % 3,
            *(k for k in range(3) if k != row % 3),
        ]
        assert "Teacher: right; it ranks first its own image 33.3 %" in explorer.describe(row=row)


def test_rows_hold_half_of_wrong_ones_where_there_are_enough() -> None:
    wrong = np.arange(96) % 3 == 0
    rows = choose_rows(wrong, 16)
    assert len(set(rows.tolist())) == 16 and wrong[rows].sum() == 8 and (np.diff(rows) > 0).all()
    few = np.arange(96) == 40
    assert 40 in choose_rows(few, 16) and len(choose_rows(few, 16)) == 16
    assert 40 in choose_rows(~few, 16) and len(choose_rows(~few, 16)) == 16
    assert choose_rows(wrong[:5], 16).tolist() == [0, 1, 2, 3, 4]


def test_each_row_of_the_matrix_has_its_lines_and_the_one_in_hand_more() -> None:
    for row in (0, 7, 8, 16, 23):
        lines = map_lines(row, IMAGES, 4).tolist()
        counts = [lines.count(r) for r in range(ROWS)]
        assert counts.pop(row) == 12 and set(counts) == {4}
        assert [r for r in lines if r >= 0] == sorted(r for r in lines if r >= 0)
        at = lines.index(row)
        assert set(lines[at - 9 : at]) == set(lines[at + 12 : at + 21]) == {-1}


def test_every_control_moves_picture_and_words(live, monkeypatch) -> None:
    explorer = make()
    widgets, start = explorer.live, explorer.start()
    first = widgets.picture.value
    forbidden = lambda *a, **k: pytest.fail("a network ran in a callback")  # noqa: E731
    monkeypatch.setattr(torch.nn.Module, "__call__", forbidden)
    for name, control in widgets.controls.items():
        pictures, words = set(), set()
        for _, value in explorer.controls[name].options:
            control.value = value
            assert 'role="status"' in widgets.words.value
            pictures.add(widgets.picture.value)
            words.add(widgets.words.value)
        assert len(pictures) == len(words) == len(explorer.controls[name].options), name
    widgets.buttons["Reset"].click()
    assert {name: control.value for name, control in widgets.controls.items()} == start
    assert widgets.picture.value == first == explorer.frame()


def test_row_labels_say_image_angle_and_the_teachers_mistakes(live) -> None:
    (matrix, _), wrong = by_hand(1.0), 0
    for label, row in make().controls["row"].options:
        miss = max(matrix[row]) != matrix[row][row % IMAGES]
        wrong += miss
        expected = f"image {row % IMAGES + 1} at {90 * (row // IMAGES + 1)}°"
        assert label == expected + (", teacher wrong" if miss else "")
    assert wrong > 0


def test_a_static_page_holds_a_right_row_a_wrong_one_and_the_difference(static) -> None:
    with capture_output() as captured:
        explorer = make()
    (output,) = captured.outputs
    alt = output.metadata["image/png"]["alt"]
    assert all(explorer.describe(**state) in alt for state in explorer.film)
    verdicts = re.findall(r"Teacher: (right|wrong)", alt)
    assert verdicts == ["right", "wrong", "wrong"] and "student minus teacher" in alt
    assert explorer.live is None


def test_the_page_twin_holds_every_state(static) -> None:
    explorer = make()
    assert page_options(explorer) == {name: c.options for name, c in explorer.controls.items()}
    few = replace(explorer.controls["row"], options=explorer.controls["row"].options[:3])  # for speed
    explorer.controls["row"] = few
    data, options = json.loads(Reader(explorer_html(explorer)).data), page_options(explorer)
    assert len(data["frames"]) == len(set(data["frames"])) == len(set(data["words"])) == 3 * 5 * 2
    row, temperature = options["row"][1][1], options["temperature"][2][1]
    number = (1 * len(options["temperature"]) + 2) * 2 + 1
    assert data["words"][number] == explorer.describe(row=row, temperature=temperature, view="difference")


@pytest.mark.parametrize("temperature", [0.5, 0.07])
def test_thirty_two_images_fit_the_page_with_any_temperature(live, temperature) -> None:
    explorer = make(32, temperature=temperature)
    sizes = [len(control.options) for control in explorer.controls.values()]
    assert math.prod(sizes) <= MOST and sizes[0] >= 13
    assert explorer.start()["temperature"] == temperature


def test_what_does_not_fit_is_refused() -> None:
    images, z = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.ones(16, 3)
    with pytest.raises(ValueError, match=r"teacher is \[12, 3\], but 4 images need projections \[16, D\]"):
        explore_similarity(images, z[:12], z)
    with pytest.raises(ValueError, match=r"student is \[16\], but 4 images"):
        explore_similarity(images, z, z[:, 0])
    with pytest.raises(ValueError, match="student has numbers that are NaN"):
        explore_similarity(images, z, z * math.nan)
    with pytest.raises(ValueError, match=r"images are 33, .* cells are too small to see"):
        explore_similarity(torch.zeros(33, 1, 8, 8), torch.ones(132, 3), torch.ones(132, 3))
    with pytest.raises(ValueError, match="images are 1, "):
        explore_similarity(images[:1], z[:4], z[:4])
    with pytest.raises(ValueError, match="square, .* 28 x 20"):
        explore_similarity(images[..., :20], z, z)
    for temperature in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"above 0 and finite, not {temperature}"):
            explore_similarity(images, z, z, temperature=temperature)
