"""The views explorer: windows, views and answers, against computations written here on their own."""

from __future__ import annotations

import base64
import itertools
import json
import math

import numpy as np
import pytest
import torch
from IPython.utils.capture import capture_output

import sskd_lib as sskd
from helpers.pages import Reader
from helpers.pictures import picture
from helpers.views_explorer import BATCH, CORNERS, NAMES, SIDE, data, explorer
from sskd_lib.data.views import centre
from sskd_lib.lab.explorers import explore_views, project_draws
from sskd_lib.lab.explorers.page import MOST, explorer_html
from sskd_lib.lab.explorers.views import APART, FIRST, FRAMED, OUTLINES, PITCH, TAKEN, VIEWS
from sskd_lib.models.network import Network


def cosine(a, b) -> float:
    a, b = a.tolist(), b.tolist()
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def signed(x: float) -> str:
    return f"{x:.2f}".replace("-", "−")


def sentence(projections: torch.Tensor, image: int, turns: int) -> str:
    """What the words should say of one turned view, by loops over the rows of one draw."""
    row = projections[turns * BATCH + image]
    cosines = [cosine(row, upright) for upright in projections[:BATCH]]
    ahead = sum(c > cosines[image] for c in cosines)
    start = f"{90 * turns}°: cosine {signed(cosines[image])} with its upright view, "
    if not ahead:
        return start + "right, no other image is more similar."
    best = cosines.index(max(cosines))
    return start + (
        f"wrong, {ahead} of the 5 others more similar, most of all image {best + 1}, {NAMES[best]} "
        f"({signed(cosines[best])})."
    )


def framed_by_hand(image: torch.Tensor, mirrored: bool) -> np.ndarray:
    black = np.zeros((SIDE + 8, SIDE + 8, 3), np.uint8)
    black[4:-4, 4:-4] = image.numpy().transpose(1, 2, 0)
    return black[:, ::-1] if mirrored else black


def sampled(frame: np.ndarray, left: int, top: int, size: int, pixels: int) -> np.ndarray:
    """The middle of each enlarged pixel of a photograph in the picture: [pixels, pixels, 3]."""
    middles = ((np.arange(pixels) + 0.5) * size / pixels).astype(int)
    return frame[top + middles][:, left + middles]


def test_words_say_flip_corners_and_the_answers_of_a_plain_loop(live) -> None:
    given, shown, rights = data(), explorer(), 0
    for image, number in itertools.product(range(4), range(3)):
        words = shown.describe(image=image, draw=number)
        flip, corner = given["draws"][number]
        how = "mirrored" if flip[image] else "not mirrored"
        assert words.startswith(f"Image {image + 1}, {NAMES[image]}, draw {number + 1} of 3: {how}.")
        begin = [f"({top}, {left})" for top, left in corner[image].tolist()]
        assert f"upright {begin[0]}, 90° {begin[1]}, 180° {begin[2]}, 270° {begin[3]}." in words
        for turns in (1, 2, 3):
            expected = sentence(given["projections"][number], image, turns)
            assert expected in words
            rights += "right," in expected
    assert 5 < rights < 31  # of 36: both kinds are among them


def test_the_picture_holds_the_views_that_numpy_cuts(live) -> None:
    given, shown = data(), explorer()
    for image, number in itertools.product((0, 3), range(3)):
        flip, corner = given["draws"][number]
        drawn = picture(shown.frame(image=image, draw=number))
        framed = framed_by_hand(given["images"][image], bool(flip[image]))
        for turns, (top, left) in enumerate(corner[image].tolist()):
            view = np.rot90(framed[top : top + SIDE, left : left + SIDE], turns)
            sample = sampled(drawn, FIRST + turns * PITCH, *VIEWS, SIDE)
            np.testing.assert_array_equal(sample, view)
        sample = sampled(drawn, *FRAMED, SIDE + 8)
        inside = slice(11, 17)  # away from every outline and angle
        np.testing.assert_allclose(sample[inside, inside], framed[inside, inside], atol=2)


def test_windows_are_outlined_where_the_draw_puts_them(live) -> None:
    drawn = picture(explorer().frame(image=1, draw=1))
    left, top, size = FRAMED
    scale = size / (SIDE + 8)
    for k, (y, x) in enumerate(CORNERS):
        inset = (k - 1.5) * APART  # outlines of windows that coincide stand one inside the other
        colour = np.array([int(OUTLINES[k][0][i : i + 2], 16) for i in (1, 3, 5)])
        columns = np.arange(left + scale * (x + 5), left + scale * (x + SIDE - 5)).astype(int)
        rows = top + scale * np.array([y, y + SIDE]) + np.array([inset, -inset])  # upper and lower edge
        for row in rows.astype(int):
            near = drawn[row - 1 : row + 2, columns]
            painted = (np.abs(near - colour).max(axis=2) < 40).any(axis=0).mean()
            assert painted > 0.85 if k == 0 else 0.3 < painted < 0.85  # one is solid, three are dashed


def test_right_and_wrong_differ_in_shape_and_show_the_image_taken(live) -> None:
    given, shown, seen = data(), explorer(), set()
    for image, number in itertools.product(range(4), range(3)):
        drawn = picture(shown.frame(image=image, draw=number))
        projections = given["projections"][number]
        for turns, column in enumerate(shown.columns, start=1):
            row = projections[turns * BATCH + image]
            cosines = [cosine(row, upright) for upright in projections[:BATCH]]
            best = cosines.index(max(cosines))
            right = best == image
            seen.add(right)
            assert column.upright.get_marker() == ("o" if right else "X")
            assert column.border.get_linestyle() == ("-" if right else "--")
            assert column.below.text.startswith("✓ right" if right else f"✗ wrong: image {best + 1}\n")
            left = FIRST + turns * PITCH + (VIEWS[1] - TAKEN[1]) // 2
            flip, corner = given["draws"][number]
            y, x = corner[best, 0].tolist()
            framed = framed_by_hand(given["images"][best], bool(flip[best]))
            view = framed[y : y + SIDE, x : x + SIDE]
            np.testing.assert_array_equal(sampled(drawn, left, *TAKEN, SIDE), view)
    assert seen == {True, False}


def test_every_control_moves_picture_and_words_and_no_network_runs(live, monkeypatch) -> None:
    shown = explorer()
    widgets, start = shown.live, shown.start()
    first = widgets.picture.value
    assert first == shown.frame()
    monkeypatch.setattr(torch.nn.Module, "__call__", lambda *a, **k: pytest.fail("a network ran"))
    for control in widgets.controls.values():
        pictures, words = set(), set()
        for _, value in control.options:
            control.value = value
            assert 'role="status"' in widgets.words.value
            pictures.add(widgets.picture.value)
            words.add(widgets.words.value)
        assert len(pictures) == len(words) == len(control.options) > 2
    widgets.buttons["Reset"].click()
    assert {name: control.value for name, control in widgets.controls.items()} == start
    assert widgets.picture.value == first


def test_a_static_page_holds_a_strip_with_alt_text(static) -> None:
    with capture_output() as captured:
        shown = explorer()
    (output,) = captured.outputs
    assert set(output.data) == {"image/png", "text/plain"}
    assert all(shown.describe(**state) in output.metadata["image/png"]["alt"] for state in shown.film)
    strip = picture(base64.b64decode(output.data["image/png"]))
    assert strip.shape == (3 * 500 + 2 * 14, 932, 3)
    frames = [picture(shown.frame(**state)) for state in shown.film]
    for number in range(3):  # each in its place, in the 256 colours of a strip
        part = strip[514 * number :][:500]
        differences = [abs(part - frame).mean() for frame in frames]
        assert differences[number] < 4  # of 255
        assert min(range(3), key=differences.__getitem__) == number
    assert shown.live is None


def test_a_page_without_a_kernel_holds_every_state(static) -> None:
    shown = explorer()
    options = [control.options for control in shown.controls.values()]
    states = [{"image": i, "draw": d} for (_, i), (_, d) in itertools.product(*options)]
    page = json.loads(Reader(explorer_html(shown)).data)
    assert page["words"] == [shown.describe(**state) for state in states]
    assert len(page["frames"]) == len(states) == 12 <= MOST
    for number in (0, 5, 11):
        sample = picture(base64.b64decode(page["frames"][number]))
        exact = picture(shown.frame(**states[number]))
        assert np.median(np.abs(sample - exact)) == 0 and np.abs(sample - exact).mean() < 10


def test_project_draws_shows_the_network_the_views_of_each_draw() -> None:
    images = data()["images"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = sskd.create_model("resnet8", num_classes=3)
        network = Network(backbone, mean=[0.5] * 3, std=[0.25] * 3, projection=True).train()
    projections, draws = project_draws(network, images, count=3, seed=5)
    assert network.training and not projections.requires_grad
    assert not draws[0].flip.any() and (draws[0].corner == 4).all()
    network.eval()
    for sample, (flip, corner) in zip(projections, draws, strict=True):
        rows = []
        for turns, i in itertools.product(range(4), range(BATCH)):
            top, left = corner[i, turns].tolist()
            window = framed_by_hand(images[i], bool(flip[i]))[top : top + SIDE, left : left + SIDE]
            rows.append(torch.from_numpy(np.rot90(window, turns).transpose(2, 0, 1).copy()))
        with torch.no_grad():
            expected = network(torch.stack(rows).float() / 255).projection
        torch.testing.assert_close(sample, expected)
    again, _ = project_draws(network, images, count=3, seed=5)
    torch.testing.assert_close(again, projections)
    network.head = None
    with pytest.raises(ValueError, match="no projection head"):
        project_draws(network, images)


def test_a_chosen_image_and_a_batch_of_one(live) -> None:
    shown = explorer(shown=[5, 2], names=None)
    assert shown.start() == {"image": 5, "draw": 0}
    assert shown.describe().startswith("Image 6, draw 1 of 3")
    given = data()
    one = explore_views(given["images"][:1], torch.randn(1, 4, 3), draws=[centre(1)])
    assert one.describe().count("right, no other image is more similar") == 3
    assert picture(one.frame()).shape == (500, 932, 3)


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"images": torch.zeros(6, 3, 20, 20)}, r"uint8 \[M, C, H, W\]; these are float32 \[6, 3, 20, 20\]"),
        (
            {"images": torch.zeros(6, 3, 20, 24, dtype=torch.uint8)},
            r"square, .* these are uint8 \[6, 3, 20, 24\]",
        ),
        ({"projections": torch.zeros(3, 18, 5)}, r"6 images in 3 draws .* \[3, 24, D\], not \[3, 18, 5\]"),
        ({"projections": torch.full((3, 24, 5), math.nan)}, "projections has numbers that are NaN"),
        ({"draws": []}, r"6 images in 0 draws \(one at least\)"),
        ({"draws": [centre(5)] * 3}, r"draws\[0\] needs flip \[6\] .* has \[5\] and \[5, 4, 2\]"),
        ({"draws": [centre(6, slack=20)] * 3}, r"in 0 to 8, .* with numbers outside"),
        ({"shown": [6]}, r"images from 0 to 5, at least one, but it is \[6\]"),
        ({"names": ["one"]}, "6 images need as many names, but there are 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changed, refusal) -> None:
    with pytest.raises(ValueError, match=refusal):
        explorer(**changed)
