"""Theme of all pictures: one colour and one second cue for each method, text sizes, common parts of axes.

The hues are Okabe and Ito's (2008, safe for the common colour blindnesses), some of them darkened so that
each reads on white (contrast of at least 3 : 1) and they also differ as greys. A line style
or a marker says the same thing again, so no picture needs its colours to be understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#1A1A1A"  # text and axes
QUIET = "#5F5F5F"  # secondary text, 6 : 1 on white
FAINT = "#D9D9D9"  # fills in the background
GRID = "#E5E5E5"
RIGHT, WRONG, DROPPED = "#00493A", "#C95300", "#8A8A8A"  # right rows, wrong rows, what is left out
HEAT = "cividis"  # one-way scales, readable in grey and by the colour-blind
CLASS_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#B5598C", "#C68900"),
    *("#4A9BC8", "#000000", "#8A8A8A", "#7A6000", "#5B3A8C"),
)
FLAT, TALL = (((-x, -y), (x, -y), (x, y), (-x, y)) for x, y in ((1, 0.42), (0.42, 1)))
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", FLAT, TALL, "*", "p")  # 11 to 10: 110 pairs
LARGER = {"*": 1.5, "P": 1.2, "X": 1.2, FLAT: 1.2, TALL: 1.2}  # they cover less than a disc of their size
SMALL = 11  # points
FONT = {"fontsize": SMALL, "fontfamily": "DejaVu Sans", "color": INK}
WIDTH = 9.0  # inches: the width of a notebook's text
ANGLES = ("upright", "90°", "180°", "270°")  # of the four views


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colour and second cues of one curve or bar."""

    label: str
    colour: str
    line: str | tuple = "-"
    marker: str | tuple = "o"


METHOD_STYLES: dict[str, Style] = {
    "teacher": Style(label="Teacher", colour="#000000", line=(0, (1, 1)), marker="*"),
    "ce": Style(label="CE (labels only)", colour="#C97BA5", line=":", marker="v"),
    "kd": Style(label="KD", colour="#00639C", line="--", marker="s"),
    "kd+rotations": Style(label="KD + rotations", colour="#00493A", line="-.", marker="^"),
    "sskd": Style(label="SSKD", colour="#C95300", line="-", marker="o"),
}
_LINES = ("-", "--", "-.", ":")


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return a style for each name: the fixed one of a method, else the next of the palette, in order."""
    chosen: dict[str, Style] = {}
    for name in names:
        place = sum(other not in METHOD_STYLES for other in chosen)
        chosen[name] = METHOD_STYLES.get(name) or Style(
            label=name,
            colour=CLASS_COLOURS[place % len(CLASS_COLOURS)],
            line=_LINES[place % len(_LINES)],
            marker=CLASS_MARKERS[place % len(CLASS_MARKERS)],
        )
    return chosen


def class_marker(k: int, points: float) -> dict[str, Any]:
    """Return colour and marker of a class, about so many points across, as keywords of a Line2D."""
    marker = CLASS_MARKERS[k % len(CLASS_MARKERS)]
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": points * LARGER.get(marker, 1),
        "markerfacecolor": CLASS_COLOURS[k % len(CLASS_COLOURS)],
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }


def theme() -> None:
    """Set matplotlib's defaults for every figure after this call: kit.mplstyle, and seaborn's ticks."""
    file = Path(__file__).with_name("kit.mplstyle")
    rc = matplotlib.rc_params_from_file(file, use_default_template=False)
    try:
        import seaborn
    except ImportError:  # the pictures lose nothing that matters
        matplotlib.rcParams.update(rc)
    else:
        seaborn.set_theme(style="ticks", palette=CLASS_COLOURS, rc=dict(rc))


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that lays out its parts by itself and leaves a margin."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def pixels(images) -> np.ndarray:
    """Return images in the form that matplotlib draws: uint8 [M, H, W, 3], grey ones repeated three times.

    images: uint8 or float in [0, 1], torch or numpy, [M, C, H, W] with C = 1 or 3.
    Raises ValueError for another shape, for other numbers and for NaN.
    """
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        given = list(array.shape) if array.ndim else repr(images)
        raise ValueError(f"images to draw are [M, C, H, W] with C = 1 or 3, not {given}.")
    if array.dtype != np.uint8:
        _check_range(array)
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    array = np.moveaxis(array, 1, -1)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:3], 3)))


def _check_range(array: np.ndarray) -> None:
    """Raise ValueError unless these are floats from 0 to 1; resizing may leave a hundredth outside."""
    if array.dtype.kind != "f":
        raise ValueError(f"images to draw are uint8, or float from 0 to 1, not {array.dtype}.")
    if np.isnan(array).any():
        raise ValueError("images to draw are uint8, or float from 0 to 1, but these have NaN.")
    if array.size and not -0.01 <= array.min() <= array.max() <= 1.01:
        raise ValueError(
            f"images to draw are uint8, or float from 0 to 1, but these floats run from {array.min():.3g} to "
            f"{array.max():.3g}. Pass them as they were before they were normalised."
        )


def short(name: str, letters: int = 14) -> str:
    """Shorten a name to so many letters. The text beside the picture has the full one."""
    return name if len(name) <= letters else name[: letters - 1] + "…"


def clean_axes(axes: Axes, sides: Sequence[str] = ("top", "right"), **ticks: Any) -> None:
    """Give ticks small dark labels, and hide the lines at these sides. ticks: as for `Axes.tick_params`."""
    axes.tick_params(**{"labelsize": SMALL, "labelcolor": INK} | ticks)
    axes.spines[list(sides)].set_visible(False)


def add_legend(target: Any, handles: Sequence[Any], labels: Sequence[str], **more: Any) -> None:
    """Add a legend without a frame, in small letters, to a figure or to axes."""
    target.legend(handles, labels, **{"fontsize": SMALL, "frameon": False, "borderpad": 0} | more)
