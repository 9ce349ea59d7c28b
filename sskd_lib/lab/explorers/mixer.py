"""The term mixer: recorded trainings under many weights of the four terms, and the gain from each term."""

from __future__ import annotations

import numpy as np

from ...recipes import PRESETS, Recipe
from ..canvas import Canvas
from ..style import INK, Style, add_legend
from ..time_machine_data import TERMS, Recording, Settings, load_recording, recipe_of
from .control import Control
from .mixer_parts import Gains, Proportions, difference_words, gain_words
from .presentation import present
from .recorded_explorer import RecordedExplorer
from .training_curves import TERM_STYLES, YOURS, Curve, accuracy_axes, cursor

WIDTH, HEIGHT = 932, 496  # pixels of the picture
THIS = Style(label="this mix", colour=INK, line="-", marker="o")
Weights = tuple[float, ...]  # ce, kd, tf, ss


def weights_of(recipe: Recipe) -> Weights:
    """Return the four weights of a recipe, in the order of TERMS."""
    return tuple(float(getattr(recipe, name)) for name in TERMS)


def named_weights(weights: Weights) -> Settings:
    """Return weights by the names of their terms."""
    return dict(zip(TERMS, weights, strict=True))


class Mixer(RecordedExplorer):
    """Recorded trainings under many weights; see `explore_mix`."""

    def __init__(self, recording: Recording, key: str) -> None:
        super().__init__(recording, key, TERMS, "Train this mix")
        (self.labels,) = recording.schedules  # of all mixes
        self._add_controls()
        self.on_pages = ("preset", *TERMS)
        self.film = ({"preset": "official-code"}, {"preset": "arxiv"}, {"tf": 0.0, "ss": 0.0})
        self._draw_axes()

    def _add_controls(self) -> None:
        presets = [weights_of(recipe) for recipe in PRESETS.values()]
        grid = [weights for weights in self.index if weights not in presets] or list(self.index)
        usual = weights_of(PRESETS["official-code"])
        names = [("own: the sliders below", "own"), *((name, name) for name in PRESETS)]
        self.controls = {"preset": Control(label="Weights", options=tuple(names), start="own", slider=False)}
        for place, (name, style) in enumerate(TERM_STYLES.items()):
            values = sorted({weights[place] for weights in grid} | {0.0})
            start = usual[place] if usual[place] in values else values[-1]
            options = tuple((f"{value:g}", value) for value in values)
            self.controls[name] = Control(label=f"Weight of {style.label}", options=options, start=start)
        points = tuple((str(p), int(p)) for p in self.recording.percent)
        self.controls["trained"] = Control(label="Trained, %", options=points, start=points[-1][1])

    def _draw_axes(self) -> None:
        self.canvas = canvas = Canvas(WIDTH, HEIGHT)
        self.headline = canvas.words(12, 20, points=13)
        axes = accuracy_axes(canvas, self.recording, (76, 52, 394, 300))
        line = {"markevery": 3, "linewidth": 1.8}
        self.without = {name: Curve(canvas, axes, style, 0.0, **line) for name, style in TERM_STYLES.items()}
        self.curve = Curve(canvas, axes, THIS, 0.25)
        self.your_curve = Curve(canvas, axes, YOURS, markerfacecolor="white")
        self.cursor = cursor(canvas, axes)
        handles = [self.curve.line, self.your_curve.line, *(curve.line for curve in self.without.values())]
        names = [THIS.label, YOURS.label, *(f"without {style.label}" for style in TERM_STYLES.values())]
        place = {"loc": "upper left", "bbox_to_anchor": canvas.place(60, 404)[:2], "ncols": 2}
        add_legend(canvas.figure, handles, names, handlelength=2.8, **place)
        self.gains = Gains(canvas, 520, 48)
        self.proportions = Proportions(canvas, 520, 350)

    def weights(self, preset: str, ce: float, kd: float, tf: float, ss: float) -> Weights:
        """Return the weights that count: the sliders', or a preset's."""
        return (ce, kd, tf, ss) if preset == "own" else weights_of(PRESETS[preset])

    def runs(self, weights: Weights) -> list[int]:
        """Return the recorded runs of these weights, one per seed."""
        return list(self.index.get(weights, {}).values())

    def accuracy(self, weights: Weights) -> np.ndarray:
        """Return the accuracy of these weights, float [seeds, E]; of all zeros that of untrained students."""
        if not any(weights):
            first = {one["seed"]: run for run, one in enumerate(self.recording.settings)}
            untrained = self.recording.accuracy[list(first.values()), :1]
            return np.repeat(untrained, len(self.recording.percent), axis=1)
        return self.recording.accuracy[self.runs(weights)]

    def gain(self, weights: Weights, name: str) -> np.ndarray | str:
        """Return a term's gain, accuracy with it minus without it: float [seeds, E]; or why not known."""
        rest = without(weights, name)
        if rest == weights:
            return "is off"
        if self.more_differs(weights):
            return "not recorded"
        if not any(rest):
            return "is alone"
        gain = self._paired(weights, rest)
        return gain if len(gain) else "not recorded"

    def _paired(self, weights: Weights, others: Weights) -> np.ndarray:
        """Return the accuracy of weights minus that of others, for each seed of both: float [seeds, E]."""
        ours, theirs = self.index.get(weights, {}), self.index.get(others, {})
        both = [seed for seed in ours if seed in theirs]
        accuracy = self.recording.accuracy
        return accuracy[[ours[seed] for seed in both]] - accuracy[[theirs[seed] for seed in both]]

    def more_differs(self, weights: Weights) -> bool:
        """Return whether these are a preset's weights, and its recipe differs in more than weights."""
        settings = named_weights(weights)
        return any(weights) and recipe_of(settings) != Recipe(**settings)

    def proportions_of(self, weights: Weights, at: int) -> dict[str, float] | None:
        """Return each weighted term's proportion of an epoch's loss, mean over seeds; None if unmeasured."""
        runs = self.runs(weights)
        terms = [
            weight * float(np.mean(self.recording.terms[name][runs, at])) if weight and runs else 0.0
            for name, weight in zip(TERMS, weights, strict=True)
        ]
        if not np.isfinite(terms).all() or not sum(terms):
            return None
        return {name: term / sum(terms) for name, term in zip(TERMS, terms, strict=True)}

    def update(self, preset, ce, kd, tf, ss, trained) -> None:
        """Bring curves, gains and proportions to these weights and this point of the training."""
        weights, at = self.weights(preset, ce, kd, tf, ss), self.row(trained)
        percent, when = self.recording.percent, self.when(self.labels, at)
        self.curve.show(percent, self.accuracy(weights))
        self.your_curve.show(percent, self.yours(weights))
        self.cursor.set_xdata([trained, trained])
        for name in TERMS:
            gain = self.gain(weights, name)
            unknown = isinstance(gain, str)
            self.without[name].show(percent, [] if unknown else self.accuracy(without(weights, name)))
            self.gains.show(name, gain if unknown else gain[:, at])
        self.proportions.show(self.proportions_of(weights, at))
        self.gains.title.text = f"What each term adds here, {when} (dot: a seed)"
        self.proportions.title.text = f"Share of each weighted term in the loss, {when}"
        self.headline.text = f"{named(preset, weights)}, {when}: {self._level(weights, at)}"

    def _level(self, weights: Weights, at: int) -> str:
        values = self.accuracy(weights)[:, at]
        if not len(values):
            return "not recorded"
        if len(values) == 1:
            return f"{values[0]:.1f} % right (one seed)"
        return f"{values.mean():.1f} % right ({len(values)} seeds, {values.min():.1f} to {values.max():.1f})"

    def sentences(self, preset, ce, kd, tf, ss, trained) -> list[str]:
        """Name the weights that count, the accuracy, each term's gain and the proportions."""
        weights, at = self.weights(preset, ce, kd, tf, ss), self.row(trained)
        words = [
            f"{named(preset, weights)}; after {self.when(self.labels, at)}:",
            f"{self._level(weights, at)}.",
        ]
        if preset != "own":
            words.append(f"The weights are those of the preset {preset}; the sliders do not count.")
        if not any(weights):
            words.append("All four weights are 0: nothing is learned, the student stays as it was drawn.")
            return [*words, self.rerun.words(weights, None)]
        for name, style in TERM_STYLES.items():
            gain = self.gain(weights, name)
            words.append(f"{style.label} {gain_words(gain if isinstance(gain, str) else gain[:, at])}.")
        usual = weights_of(PRESETS["official-code"])
        difference = self._paired(weights, usual)
        if len(difference) and weights != usual:
            words.append(f"Against official-code: {difference_words(difference[:, at])}.")
        if proportions := self.proportions_of(weights, at):
            parts = (f"{TERM_STYLES[name].label} {100 * part:.1f} %" for name, part in proportions.items())
            words.append(f"Shares of the loss: {', '.join(parts)}.")
        seeds = self.index.get(weights, {})
        recorded = self.recording.accuracy[seeds[min(seeds)]] if seeds else None
        return [*words, self.rerun.words(weights, recorded)]

    def train(self) -> None:
        """Train the chosen mix on this machine, in a thread, with the first recorded seed."""
        state = self.start() if self.live is None else self.live.values()
        weights = self.weights(*(state[name] for name in ("preset", *TERMS)))
        settings = named_weights(weights) | {"seed": min(self.index.get(weights, {}), default=0)}
        self.rerun.begin(weights, settings, self.labels)


def without(weights: Weights, name: str) -> Weights:
    """Return the same weights with that of one term at 0."""
    return tuple(0.0 if other == name else w for other, w in zip(TERMS, weights, strict=True))


def named(preset: str, weights: Weights) -> str:
    """Return the weights in words."""
    labels = (style.label for style in TERM_STYLES.values())
    parts = ", ".join(f"{label} {w:g}" for label, w in zip(labels, weights, strict=True))
    return parts if preset == "own" else f"{preset} ({parts})"


def explore_mix(recording: Recording | None = None, *, key: str = "mix") -> Mixer:
    """Weigh the four terms and see accuracy over epochs, each term's gain, and its proportion of the loss.

    A term's gain is the accuracy of this mix minus that of the same mix with the term's weight at 0, seed by
    seed. A preset overrides the sliders. The button trains the mix again on this machine.
    recording: from `load_recording`; None loads "mix". key: running a cell again replaces this key's
    explorer, and stops its training. Raises what `load_recording` raises.
    """
    return present(Mixer(load_recording("mix") if recording is None else recording, key))
