"""The learner's own calibration: how often the guesses were right that were sure, fairly sure, or a guess."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from ..display import show
from ..style import INK, METHOD_STYLES, QUIET, clean_axes, new_figure
from .cards import SURE
from .progress import read_progress

Z = 1.96


def show_calibration() -> None:
    """Draw how many of the learner's guesses were right, by how sure the learner was, with 95 % intervals."""
    counts = calibration_counts(read_progress())
    total = sum(n for _, n in counts.values())
    if not total:
        print("No guess has been compared with an answer yet: answer a few predictions, then run this again.")
        return
    words = [f"{sure}: {right} of {n} right" for sure, (right, n) in counts.items() if n]
    show(calibration_figure(counts), alt=f"Your guesses. {'; '.join(words)}.")
    print(calibration_words(counts))


def calibration_counts(record: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return for each degree of sureness how many guesses were right, and how many there are."""
    guesses = [guess for guess in record["guesses"].values() if "right" in guess]
    return {
        sure: (sum(g["right"] for g in guesses if g["sure"] == sure), sum(g["sure"] == sure for g in guesses))
        for sure in SURE
    }


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson (1927), in 0 to 1, for `right` of `n` > 0 trials."""
    share, square = right / n, Z**2 / n
    middle = (share + square / 2) / (1 + square)
    half = Z * (share * (1 - share) / n + square / (4 * n)) ** 0.5 / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def calibration_figure(counts: Mapping[str, tuple[int, int]]) -> Figure:
    """Draw the share of right guesses and its interval for each degree of sureness."""
    figure = new_figure(6.5, 2.4)
    axes = figure.subplots()
    style = METHOD_STYLES["kd"]
    for y, (right, n) in enumerate(counts.values()):
        if not n:
            axes.text(2, y, "no guess", va="center", color=QUIET)
            continue
        low, high = wilson(right, n)
        axes.plot([100 * low, 100 * high], [y, y], color=style.colour, linewidth=3)
        axes.plot(100 * right / n, y, style.marker, color=style.colour, markersize=10)
        axes.text(102, y, f"{right} of {n}", va="center", color=INK)
    axes.set(xlim=(0, 100), ylim=(-0.6, len(counts) - 0.4), xlabel="right guesses, %")
    axes.set_yticks(range(len(counts)), list(counts))
    clean_axes(axes)
    return figure


def calibration_words(counts: Mapping[str, tuple[int, int]]) -> str:
    """Return in words whether the sure guesses were right more often than the unsure ones."""
    shares = {sure: right / n for sure, (right, n) in counts.items() if n}
    if "sure" not in shares or "a guess" not in shares:
        return "You need guesses of both kinds, sure and unsure, to compare them."
    low, high = wilson(*counts["a guess"]), wilson(*counts["sure"])
    if low[1] < high[0]:
        return "Where you were sure you were right more often: you know what you know."
    if high[1] < low[0]:
        return "Where you were sure you were right less often. Such a network would be overconfident."
    return "With so few guesses, chance alone could explain the difference between sure and unsure ones."
