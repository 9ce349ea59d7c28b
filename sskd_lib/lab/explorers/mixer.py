"""The term mixer: recorded trainings under many weights of the four terms, and what each term adds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...recipes import PRESETS, Recipe
from ..canvas import Canvas
from ..recordings import Recording, Settings, load_recording, recipe_of
from ..style import INK, Style
from .base import Control, Explorer
from .gains import Gains, Shares, added, differs
from .panels import OWN, TERMS, Curve, accuracy_axes, cursor
from .rerun import Rerun

WIDTH, HEIGHT = 940, 496  # pixels of the picture
THIS = Style(label="this mix", colour=INK, line="-", marker="o")
LABELS = 300  # of the recorded mixes
Weights = tuple[float, ...]  # ce, kd, tf, ss


def weights_of(recipe: Recipe) -> Weights:
    """The four weights of a recipe, in the order of TERMS."""
    return tuple(float(getattr(recipe, name)) for name in TERMS)


def named_weights(weights: Weights) -> Settings:
    """Weights by the names of their terms."""
    return dict(zip(TERMS, weights, strict=True))


class Mixer(Explorer):
    """Recorded trainings under many weights; see `explore_mix`."""

    def __init__(self, recording: Recording, key: str) -> None:
        self.recording, self.key = recording, key
        self.index: dict[Weights, dict[int, int]] = {}  # weights → seed → run
        for run, one in enumerate(recording.settings):
            self.index.setdefault(tuple(float(one[n]) for n in TERMS), {})[int(one["seed"])] = run
        self._add_controls()
        self.rerun = Rerun(recording, lambda: self.live and self.live.redraw())
        self.actions = {"Train this mix": self.train, "Stop training": self.rerun.stop}
        self.on_pages = ("preset", *TERMS)
        self.film = ({"preset": "official-code"}, {"preset": "arxiv"}, {"tf": 0.0, "ss": 0.0})
        self._draw_axes()

    def _add_controls(self) -> None:
        presets = [weights_of(recipe) for recipe in PRESETS.values()]
        grid = [weights for weights in self.index if weights not in presets] or list(self.index)
        usual = weights_of(PRESETS["official-code"])
        names = [("own: the sliders below", "own"), *((name, name) for name in PRESETS)]
        self.controls = {"preset": Control(label="Weights", options=tuple(names), start="own", slider=False)}
        for place, (name, style) in enumerate(TERMS.items()):
            values = sorted({weights[place] for weights in grid} | {0.0})
            start = usual[place] if usual[place] in values else values[-1]
            options = tuple((f"{value:g}", value) for value in values)
            self.controls[name] = Control(label=f"Weight of {style.label}", options=options, start=start)
        epochs = tuple((str(e), int(e)) for e in self.recording.epochs)
        self.controls["epoch"] = Control(label="Epoch", options=epochs, start=epochs[-1][1])

    def _draw_axes(self) -> None:
        self.canvas = canvas = Canvas(WIDTH, HEIGHT)
        self.headline = canvas.words(12, 20, points=13)
        axes = accuracy_axes(canvas, self.recording, (76, 52, 394, 300))
        look = {"markevery": 3, "linewidth": 1.8}
        self.without = {name: Curve(canvas, axes, style, 0.0, **look) for name, style in TERMS.items()}
        self.curve = Curve(canvas, axes, THIS, 0.25)
        self.own = Curve(canvas, axes, OWN, markerfacecolor="white")
        self.cursor = cursor(canvas, axes)
        handles = [self.curve.line, self.own.line, *(curve.line for curve in self.without.values())]
        names = [THIS.label, OWN.label, *(f"without {style.label}" for style in TERMS.values())]
        canvas.figure.legend(
            handles,
            names,
            loc="upper left",
            bbox_to_anchor=canvas.place(60, 404)[:2],
            ncols=2,
            fontsize=11,
            frameon=False,
            handlelength=2.8,
            borderpad=0,
        )
        self.gains = Gains(canvas, 520, 48)
        self.shares = Shares(canvas, 520, 350)

    def weights(self, preset: str, ce: float, kd: float, tf: float, ss: float) -> Weights:
        """The weights that count: the sliders', or a preset's."""
        return (ce, kd, tf, ss) if preset == "own" else weights_of(PRESETS[preset])

    def runs(self, weights: Weights) -> list[int]:
        """Recorded runs of these weights, one a seed."""
        return list(self.index.get(weights, {}).values())

    def accuracy(self, weights: Weights) -> np.ndarray:
        """Accuracy of these weights, float [seeds, E]; of all zeros that of the untrained students."""
        if not any(weights):
            first = {one["seed"]: run for run, one in enumerate(self.recording.settings)}
            untrained = self.recording.accuracy[list(first.values()), :1]
            return np.repeat(untrained, len(self.recording.epochs), axis=1)
        return self.recording.accuracy[self.runs(weights)]

    def gain(self, weights: Weights, name: str) -> np.ndarray | str:
        """What a term adds: accuracy with it minus without, seed by seed, float [seeds, E]; or why not."""
        rest = tuple(0.0 if other == name else w for other, w in zip(TERMS, weights, strict=True))
        if rest == weights:
            return "is off"
        if self.more_differs(weights):
            return "not recorded"
        with_it, without = self.index.get(weights, {}), self.index.get(rest, {})
        if not any(rest):
            return "is alone"
        both = [seed for seed in with_it if seed in without]
        if not both:
            return "not recorded"
        runs = ([table[seed] for seed in both] for table in (with_it, without))
        more, less = (self.recording.accuracy[run] for run in runs)
        return more - less

    def more_differs(self, weights: Weights) -> bool:
        """Whether these are a preset's weights, and it differs from other mixes in more than weights."""
        settings = named_weights(weights)
        return any(weights) and recipe_of(settings) != Recipe(**settings)

    def shares_of(self, weights: Weights, at: int) -> dict[str, float] | None:
        """Share of each weighted term in the loss of that epoch, its mean over seeds; None if unmeasured."""
        runs = self.runs(weights)
        terms = [
            weight * float(np.mean(self.recording.terms[name][runs, at])) if weight and runs else 0.0
            for name, weight in zip(TERMS, weights, strict=True)
        ]
        if not np.isfinite(terms).all() or not sum(terms):
            return None
        return {name: term / sum(terms) for name, term in zip(TERMS, terms, strict=True)}

    def update(self, preset, ce, kd, tf, ss, epoch) -> None:
        """Bring curves, gains and shares to these weights and this epoch."""
        weights, epochs = self.weights(preset, ce, kd, tf, ss), self.recording.epochs
        at = int(np.flatnonzero(epochs == epoch)[0])
        self.curve.show(epochs, self.accuracy(weights))
        own = self.rerun.runs.get(weights)
        self.own.show(epochs, self.recording.accuracy[:0] if own is None else own.accuracy)
        self.cursor.set_xdata([epoch, epoch])
        for name in TERMS:
            gain = self.gain(weights, name)
            rest = tuple(0.0 if other == name else w for other, w in zip(TERMS, weights, strict=True))
            self.without[name].show(epochs, [] if isinstance(gain, str) else self.accuracy(rest))
            self.gains.show(name, gain if isinstance(gain, str) else gain[:, at])
        self.shares.show(self.shares_of(weights, at))
        self.gains.title.text = f"What each term adds here, epoch {epoch} (dot: a seed)"
        self.shares.title.text = f"Share of each weighted term in the loss, epoch {epoch}"
        self.headline.text = f"{named(preset, weights)}, epoch {epoch}: {self._level(weights, at)}"

    def _level(self, weights: Weights, at: int) -> str:
        values = self.accuracy(weights)[:, at]
        if not len(values):
            return "not recorded"
        if len(values) == 1:
            return f"{values[0]:.1f} % right (one seed)"
        return f"{values.mean():.1f} % right ({len(values)} seeds, {values.min():.1f} to {values.max():.1f})"

    def describe(self, **state: Any) -> str:
        """Say which weights count, the accuracy, what each term adds with its interval, and the shares."""
        state = {**self.start(), **state}
        weights = self.weights(*(state[name] for name in ("preset", *TERMS)))
        at = int(np.flatnonzero(self.recording.epochs == state["epoch"])[0])
        last = self.recording.epochs[-1]
        said = [f"{named(state['preset'], weights)}; after epoch {state['epoch']} of {last}:"]
        said.append(f"{self._level(weights, at)}.")
        if state["preset"] != "own":
            said.append(f"The weights are those of the preset {state['preset']}; the sliders do not count.")
        if not any(weights):
            said.append("All four weights are 0: nothing is learned, the student stays as it was drawn.")
            return " ".join([*said, self.rerun.words(weights, None)]).strip()
        for name, style in TERMS.items():
            gain = self.gain(weights, name)
            said.append(f"{style.label} {added(gain if isinstance(gain, str) else gain[:, at])}.")
        said += self._against_usual(weights, at)
        shares = self.shares_of(weights, at)
        if shares:
            found = ", ".join(f"{TERMS[name].label} {100 * share:.1f} %" for name, share in shares.items())
            said.append(f"Shares of the loss: {found}.")
        seeds = self.index.get(weights, {})
        recorded = self.recording.accuracy[seeds[min(seeds)]] if seeds else None
        return " ".join([*said, self.rerun.words(weights, recorded)]).strip()

    def _against_usual(self, weights: Weights, at: int) -> list[str]:
        usual = self.index.get(weights_of(PRESETS["official-code"]), {})
        both = [seed for seed in self.index.get(weights, {}) if seed in usual]
        if not both or weights == weights_of(PRESETS["official-code"]):
            return []
        ours, theirs = (
            self.recording.accuracy[[table[s] for s in both], at] for table in (self.index[weights], usual)
        )
        return [f"Against official-code: {differs(ours - theirs)}."]

    def train(self) -> None:
        """Train the chosen mix on this machine, in a thread, with the first recorded seed."""
        state = self.start() if self.live is None else self.live.values()
        weights = self.weights(*(state[name] for name in ("preset", *TERMS)))
        settings = named_weights(weights) | {"seed": min(self.index.get(weights, {}), default=0)}
        self.rerun.begin(weights, settings, LABELS)

    def close(self) -> None:
        """Stop a training that is running."""
        self.rerun.close()


def named(preset: str, weights: Weights) -> str:
    """The weights in words."""
    parts = ", ".join(f"{style.label} {w:g}" for style, w in zip(TERMS.values(), weights, strict=True))
    return f"{parts}" if preset == "own" else f"{preset} ({parts})"


def explore_mix(recording: Recording | None = None, *, key: str = "mix") -> Mixer:
    """Weigh the four terms and see accuracy over epochs, what each term adds here, and its share in the loss.

    What a term adds is the accuracy of this mix minus that of the same mix with the term's weight at 0, seed
    by seed. A preset overrides the sliders. The button trains the mix anew on this machine.
    recording: from `load_recording`; None loads "mix". key: running a cell again replaces this key's
    explorer, and stops its training. Raises what `load_recording` raises.
    """
    return Mixer(load_recording("mix") if recording is None else recording, key).present()
