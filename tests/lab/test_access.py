"""Colours that all can read: contrast by WCAG 2.2, and what remains of differences for colour-blind eyes."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
from PIL import Image

from helpers import views_explorer
from helpers.colours import contrast, linear, rgb
from helpers.pictures import picture
from sskd_lib.lab import style
from sskd_lib.lab.canvas import NIGHT, flipped
from sskd_lib.lab.explorers.views import FRAMED
from sskd_lib.lab.style import CLASS_COLOURS, CLASS_MARKERS, METHOD_STYLES

WHITE = (255, 255, 255)
# Machado, Oliveira, Fernandes (2009), table 1, severity 1.0: what dichromats see, on linear RGB.
SEEN = {
    "all colours": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
APART = 10  # CIE 1976 colour differences; about 2.3 is just noticeable side by side


def lab(colour: str, eye: str) -> np.ndarray:
    """CIE L*a*b* of a colour as an eye sees it."""
    seen = np.clip(np.asarray(SEEN[eye]) @ linear(rgb(colour)), 0, 1)
    t = TO_XYZ @ seen / TO_XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(first: str, second: str, eye: str) -> float:
    """Distance of two colours in L*a*b*, as an eye sees them."""
    return float(np.linalg.norm(lab(first, eye) - lab(second, eye)))


CUES = {name: (s.colour, (s.line, s.marker)) for name, s in METHOD_STYLES.items()}
CLASSES = dict(zip(CLASS_COLOURS, CLASS_MARKERS, strict=False))
DRAWN = (style.RIGHT, style.WRONG, style.DROPPED, *(colour for colour, _ in CUES.values()), *CLASS_COLOURS)


def test_contrast_and_difference_are_those_of_the_standards() -> None:
    assert contrast((0, 0, 0), WHITE) == pytest.approx(21)
    assert contrast(WHITE, (119, 119, 119)) == pytest.approx(4.48, abs=0.005)  # W3C's example, #777
    np.testing.assert_allclose(lab("white", "all colours"), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(lab("red", "all colours"), [53.24, 80.09, 67.20], atol=0.02)
    for eye in SEEN:  # white, black and greys stay what they are, whoever looks
        np.testing.assert_allclose(lab("#777777", eye), lab("#777777", "all colours"), atol=0.1)
    assert apart("#FF0000", "#7F6A00", "protanopia") < apart("#FF0000", "#7F6A00", "all colours") / 2


def test_text_is_read_on_white() -> None:
    assert {ink: contrast(rgb(ink), WHITE) for ink in (style.INK, style.QUIET)} == pytest.approx(
        {style.INK: 17.4, style.QUIET: 6.39}, abs=0.01
    )
    with matplotlib.rc_context():
        style.theme()
        names = ("font.size", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
        assert min(style.SMALL, *(matplotlib.rcParams[name] for name in names)) >= 11


@pytest.mark.parametrize("colour", DRAWN)
def test_what_is_drawn_stands_out_from_white(colour: str) -> None:
    assert contrast(rgb(colour), WHITE) >= 3


@pytest.mark.parametrize(("colours", "least"), [(DRAWN, 3), ((style.INK, style.QUIET), 4.5)])
def test_it_stands_out_in_the_dark_as_well(colours, least) -> None:
    for colour in colours:
        night = flipped(Image.new("RGB", (1, 1), colour)).getpixel((0, 0))
        assert contrast(night, (NIGHT,) * 3) >= least, colour


def test_greys_are_exchanged_in_the_dark_and_hues_stay() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    night = np.asarray(flipped(Image.fromarray(rows))).astype(float)
    luma = rows @ np.array([0.2126, 0.7152, 0.0722])
    np.testing.assert_allclose(night, np.clip(rows + (255 - 2 * luma + NIGHT)[..., None], 0, 255), atol=1)
    white, black = (flipped(Image.new("RGB", (1, 1), name)).getpixel((0, 0)) for name in ("white", "black"))
    assert (white, black) == ((NIGHT,) * 3, (255, 255, 255))


def test_the_dark_leaves_images_as_they_are_and_paper_white(tmp_path) -> None:
    explorer = views_explorer.explorer()
    bright = picture(explorer.frame())
    explorer.canvas.dark = True
    night = picture(explorer.frame())
    left, top, size = FRAMED
    places = [(left, top, size), *((p.left, p.top, p.size) for p in explorer.photos)]
    for x, y, side in places:
        assert (night[y : y + side, x : x + side] == bright[y : y + side, x : x + side]).all()
    assert (bright[-1] == 255).all() and (night[-1] == NIGHT).all()
    with Image.open(explorer.save(tmp_path / "page.png")) as page:
        assert page.convert("RGB").getpixel((0, page.height - 1)) == (255, 255, 255)


@pytest.mark.parametrize("eye", SEEN)
def test_methods_differ_for_every_eye(eye: str) -> None:
    for (one, _), (two, _) in itertools.combinations(CUES.values(), 2):
        assert apart(one, two, eye) >= APART


def test_methods_and_classes_differ_without_colours() -> None:
    """A line style and a marker of its own for each method, a marker of its own for each class."""
    lines, markers = zip(*(cue for _, cue in CUES.values()), strict=True)
    assert len({str(line) for line in lines}) == len(set(markers)) == len(CUES)
    assert len(set(CLASSES.values())) == len(CLASS_COLOURS)
    names = [f"method {i}" for i in range(len(CLASS_COLOURS) * len(CLASS_MARKERS))]
    made = [(s.colour, s.marker) for s in style.styles(names).values()]
    assert len(set(made)) == len(names)


@pytest.mark.parametrize("eye", SEEN)
def test_classes_differ_by_their_colours_for_most_eyes(eye: str) -> None:
    """Ten hues cannot all stay apart for everyone, hence the markers; with all colours they do."""
    pairs = list(itertools.combinations(CLASS_COLOURS, 2))
    alike = [pair for pair in pairs if apart(*pair, eye) < APART]
    assert len(alike) <= {"all colours": 0, "grey": len(pairs) / 2}.get(eye, len(pairs) / 9)


@pytest.mark.parametrize("eye", SEEN)
def test_right_and_wrong_differ_for_every_eye(eye: str) -> None:
    assert apart(style.RIGHT, style.WRONG, eye) >= 20
    assert apart(style.RIGHT, style.DROPPED, eye) >= 20  # wrong against left out: hatch and dashes say it
