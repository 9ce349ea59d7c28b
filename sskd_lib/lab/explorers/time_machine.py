"""The time machine: recorded trainings, to be gone through epoch by epoch and setting by setting."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Patch

from ..canvas import Canvas
from ..recordings import Recording, load_recording
from ..style import METHOD_STYLES, Style
from .answers import Answer, Plane, share_between, softened, spread
from .base import Control, Explorer
from .panels import OWN, TERMS, Curve, accuracy_axes, cursor, term_axes
from .rerun import Rerun
from .softened import soft

WIDTH, HEIGHT = 940, 640  # pixels of the picture
START = {"temperature": 4.0, "keep_wrong": 1.0, "labels": 300, "seed": "mean", "image": 0}


class TimeMachine(Explorer):
    """Recorded trainings over their epochs; see `explore_time_machine`."""

    def __init__(self, recording: Recording, key: str) -> None:
        self.recording, self.key = recording, key
        self.index: dict[tuple, dict[int, int]] = {}  # (temperature, keep_wrong, labels) → seed → run
        for run, one in enumerate(recording.settings):
            point = (one["temperature"], one["keep_wrong"], one["labels"])
            self.index.setdefault(point, {})[int(one["seed"])] = run
        self._add_controls()
        self.rerun = Rerun(recording, lambda: self.live and self.live.redraw())
        self.actions = {"Train this very point": self.train, "Stop training": self.rerun.stop}
        self.on_pages = ("keep_wrong", "temperature", "labels", "epoch")
        looks = (1, len(recording.epochs) // 2, -1)
        self.film = tuple({"epoch": int(recording.epochs[i])} for i in looks)
        self._draw_axes()

    def _add_controls(self) -> None:
        recording = self.recording
        values = {name: recording.values(name) for name in ("temperature", "keep_wrong", "labels", "seed")}
        named = {
            "keep_wrong": [(f"{100 * v:g} %", v) for v in values["keep_wrong"]],
            "temperature": [(f"{v:g}", v) for v in values["temperature"]],
            "labels": [(f"{v:,.0f}", v) for v in values["labels"]],
            "seed": [(f"mean of {len(values['seed'])}", "mean")]
            + [(f"{v:g}", int(v)) for v in values["seed"]],
            "epoch": [(str(e), int(e)) for e in recording.epochs],
            "image": [(f"{i + 1}: {recording.classes[k]}", i) for i, k in enumerate(recording.labels)],
        }
        labels = {
            "keep_wrong": "Share of wrong rows kept",
            "temperature": "Temperature T",
            "labels": "Labelled images",
            "seed": "Seed",
            "epoch": "Epoch",
            "image": "Image",
        }
        start = START | {"epoch": int(recording.epochs[-1])}
        self.controls = {}
        for name, options in named.items():
            there = [value for _, value in options]
            first = start[name] if start[name] in there else there[-1]
            slider = name not in ("seed", "image")
            more = {"label": labels[name], "options": tuple(options)}
            self.controls[name] = Control(start=first, slider=slider, **more)

    def _draw_axes(self) -> None:
        recording = self.recording
        self.canvas = canvas = Canvas(WIDTH, HEIGHT)
        self.headline = canvas.words(12, 20, points=13)
        axes = accuracy_axes(canvas, recording, (76, 52, 394, 246))
        grey = Style(label="the other settings", colour="#BDBDBD", line="none", marker="")
        self.others = Curve(canvas, axes, grey, alpha=1.0, linewidth=0)
        self.curve = Curve(canvas, axes, METHOD_STYLES["sskd"], alpha=0.45)
        self.own = Curve(canvas, axes, OWN, markerfacecolor="white")
        handles = [self.curve.line, Patch(color=grey.colour), self.own.line]
        axes.legend(
            handles,
            ["this setting", "all others, these labels", OWN.label],
            loc="lower right",
            fontsize=11,
            frameon=False,
            handlelength=2.6,
        )
        below = term_axes(canvas, recording, (76, 386, 394, 194))
        self.terms = {name: Curve(canvas, below, style, 0.0, markevery=4) for name, style in TERMS.items()}
        handles = [curve.line for curve in self.terms.values()]
        canvas.words(14, 346, "loss terms, unweighted")
        below.legend(
            handles,
            [style.label for style in TERMS.values()],
            loc="lower right",
            bbox_to_anchor=(1.03, 1.0),
            ncols=4,
            fontsize=11,
            frameon=False,
            handlelength=2.4,
            columnspacing=1.0,
            borderpad=0,
        )
        self.cursors = [cursor(canvas, axes), cursor(canvas, below)]
        self.plane = Plane(canvas, recording, (520, 62, 270, 240))
        canvas.words(520, 47, f"{len(recording.dots)} test images by their features (grey: teacher's)")
        self.below = canvas.words(520, 316)
        self.answer = Answer(canvas, recording, 520, 386)
        canvas.words(520, 352, "one image")

    def runs(self, temperature: float, keep_wrong: float, labels: float, seed: Any) -> list[int]:
        """Recorded runs of a setting: of all seeds for "mean", else at most the one."""
        seeds = self.index.get((temperature, keep_wrong, labels), {})
        return list(seeds.values()) if seed == "mean" else [seeds[seed]] if seed in seeds else []

    def around(self, temperature: float, keep_wrong: float, labels: float, seed: Any) -> np.ndarray:
        """Accuracy of the other settings with as many labels, each its seed's or its mean, float [n, E]."""
        found = [
            self.recording.accuracy[runs].mean(0)
            for t, k, n in self.index
            if n == labels and (t, k) != (temperature, keep_wrong) and (runs := self.runs(t, k, n, seed))
        ]
        return np.array(found).reshape(-1, len(self.recording.epochs))

    def update(self, keep_wrong, temperature, labels, seed, epoch, image) -> None:
        """Bring curves, dots and bars to this setting, epoch and image."""
        point, recording = (temperature, keep_wrong, labels), self.recording
        runs, at = self.runs(*point, seed), self._place(epoch)
        others = self.around(*point, seed)
        self.others.show(recording.epochs, others)
        self.curve.show(recording.epochs, recording.accuracy[runs])
        for name, curve in self.terms.items():
            values = recording.terms[name][runs]
            curve.show(recording.epochs, np.where(values > 0, values, np.nan))
        for line in self.cursors:
            line.set_xdata([epoch, epoch])
        own = self.rerun.runs.get(self._key(*point, seed))
        self.own.show(recording.epochs, recording.accuracy[:0] if own is None else own.accuracy)
        points = recording.features[runs[0], at] if runs else None
        self.plane.show(points)
        self.below.text = (
            f"student's spread: {self._times(points)} × the teacher's, drawn alike" if runs else ""
        )
        mine = None
        if own is not None and np.isfinite(own.accuracy[at]):
            mine = soft(own.outputs[at, image], temperature)
        taught = soft(recording.teacher_outputs[image], temperature)
        self.answer.show(image, taught, softened(recording.outputs, runs, at, image, temperature), mine)
        self.headline.text = f"{self._setting(*point, seed)}, epoch {epoch}: " + self._accuracy(runs, at)

    def _times(self, points: np.ndarray) -> str:
        return f"{spread(points) / spread(self.recording.teacher_features):.2f}"

    def _place(self, epoch: int) -> int:
        return int(np.flatnonzero(self.recording.epochs == epoch)[0])

    def _setting(self, temperature: float, keep_wrong: float, labels: float, seed: Any) -> str:
        return f"T = {temperature:g}, {100 * keep_wrong:g} % kept, {labels:,.0f} labels" + (
            "" if seed == "mean" else f", seed {seed}"
        )

    def _accuracy(self, runs: list[int], at: int) -> str:
        if not runs:
            return "not recorded"
        values = self.recording.accuracy[runs, at]
        if len(runs) == 1:
            return f"{values[0]:.1f} % right"
        spread = f"mean of {len(runs)} seeds, {values.min():.1f} to {values.max():.1f}"
        return f"{values.mean():.1f} % right ({spread})"

    def describe(self, **state: Any) -> str:
        """Say setting, accuracy and its place, terms, answers, how far the dots settled, and yours."""
        state = {**self.start(), **state}
        point = tuple(state[name] for name in ("temperature", "keep_wrong", "labels"))
        seed, epoch, image = state["seed"], state["epoch"], state["image"]
        recording, runs, at = self.recording, self.runs(*point, seed), self._place(epoch)
        said = [f"{self._setting(*point, seed)}, after epoch {epoch} of {recording.epochs[-1]}:"]
        said.append(self._accuracy(runs, at) + self._rank(point, seed, runs, at) + ".")
        said.append(f"The teacher has {recording.teacher_accuracy:.1f} %.")
        if runs:
            said += [self._terms(runs, at), self._answers(runs, at, image, point[0]), self._settled(runs, at)]
        same = self.runs(*point, self._seed(*point, seed))
        own = self.rerun.words(self._key(*point, seed), recording.accuracy[same[0]] if same else None)
        return " ".join([*said, own]).strip()

    def _rank(self, point: tuple, seed: Any, runs: list[int], at: int) -> str:
        others = self.around(*point, seed)[:, at]
        if not runs or not len(others):
            return ""
        place = 1 + int((others > self.recording.accuracy[runs, at].mean()).sum())
        return (
            f", place {place} of {len(others) + 1} settings with as many labels"
            f" (the others: {others.min():.1f} to {others.max():.1f} %)"
        )

    def _terms(self, runs: list[int], at: int) -> str:
        means = {name: float(self.recording.terms[name][runs, at].mean()) for name in TERMS}
        found = [f"{TERMS[name].label} {value:.3g}" for name, value in means.items() if np.isfinite(value)]
        return f"Unweighted terms: {', '.join(found)}." if found else "Terms are measured in training."

    def _answers(self, runs: list[int], at: int, image: int, temperature: float) -> str:
        recording = self.recording
        teacher = soft(recording.teacher_outputs[image], temperature)
        student = softened(recording.outputs, runs, at, image, temperature)
        said = []
        for who, p in (("teacher", teacher), ("student", student)):
            first = np.argsort(-p, kind="stable")[:2]
            said.append(f"{who} " + ", ".join(f"{recording.classes[k]} {100 * p[k]:.1f} %" for k in first))
        name = recording.classes[recording.labels[image]]
        return f"Image {image + 1}, {name}, at T = {temperature:g}: {'; '.join(said)}."

    def _settled(self, runs: list[int], at: int) -> str:
        recording, run = self.recording, runs[0]
        student = share_between(recording.features[run, at], recording.dots)
        teacher = share_between(recording.teacher_features, recording.dots)
        seed = recording.settings[run]["seed"]
        return (
            f"Of the spread of the student's dots (seed {seed:g}) {100 * student:.0f} % lies between the "
            f"classes, of the teacher's {100 * teacher:.0f} %; it is "
            f"{self._times(recording.features[run, at])} times the teacher's spread."
        )

    def _seed(self, temperature: float, keep_wrong: float, labels: float, seed: Any) -> int:
        """The seed a training of one's own takes: the chosen one, or the first recorded."""
        seeds = self.index.get((temperature, keep_wrong, labels), {})
        return min(seeds, default=0) if seed == "mean" else seed

    def _key(self, temperature: float, keep_wrong: float, labels: float, seed: Any) -> tuple:
        point = (temperature, keep_wrong, labels)
        return (*point, self._seed(*point, seed))

    def train(self) -> None:
        """Train the setting of the controls on this machine, in a thread, and draw it as it comes."""
        state = self.start() if self.live is None else self.live.values()
        settings = {name: state[name] for name in ("temperature", "keep_wrong", "labels")}
        key = self._key(*settings.values(), state["seed"])
        self.rerun.begin(key, settings | {"seed": key[-1]}, settings["labels"])

    def close(self) -> None:
        """Stop a training that is running."""
        self.rerun.close()


def explore_time_machine(recording: Recording | None = None, *, key: str = "time machine") -> TimeMachine:
    """Go through recorded trainings: accuracy, terms, one image's answers and the features at every epoch.

    The button trains the setting of the controls anew on this machine, and its curve is drawn over the
    recorded one. Under "mean of …" it takes the first seed; dots are then the first seed's, too.
    recording: from `load_recording`; None loads "grid". key: running a cell again replaces this key's
    explorer, and stops its training. Raises what `load_recording` raises.
    """
    return TimeMachine(load_recording("grid") if recording is None else recording, key).present()
