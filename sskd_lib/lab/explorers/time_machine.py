"""The time machine: recorded trainings, epoch by epoch and setting by setting."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from ..canvas import Canvas
from ..comparison.statistics import minus, verdict
from ..few_labels import recorded
from ..softening import soft
from ..style import METHOD_STYLES, Style, add_legend
from ..time_machine_data import USUAL, Recording, load_recording
from .control import Control
from .presentation import present
from .recorded_explorer import Point, RecordedExplorer
from .time_machine_parts import OutputBars, Plane, separation, softened, spread
from .training_curves import TERM_STYLES, YOURS, Curve, accuracy_axes, cursor, term_axes

WIDTH, HEIGHT = 932, 522  # pixels of the picture
POINT = ("temperature", "tf_keep", "ss_keep", "labels")
START = USUAL | {"labels": 300, "seed": "mean", "image": 0}
LABELS = {
    "tf_keep": "Wrong rows kept, L_T",
    "ss_keep": "Wrong rows kept, L_ss",
    "temperature": "Temperature τ",
    "labels": "Labelled images",
    "seed": "Seed",
    "trained": "Trained, %",
    "image": "Image",
}


ANCHORED = 300  # labels of the runs of 240 epochs
ANCHOR = Style(label="240 epochs", colour="#6F4E37", line=(0, (1, 1.2)), marker="")


@functools.cache
def anchor() -> tuple[float, int]:
    """Return the mean accuracy of SSKD after 240 epochs, published schedule, and the number of seeds."""
    last = [run[-1]["test_accuracy"] for run in recorded("fashion", 240)["sskd"]]
    return sum(last) / len(last), len(last)


class TimeMachine(RecordedExplorer):
    """Recorded trainings from beginning to end; see `explore_time_machine`."""

    def __init__(self, recording: Recording, key: str) -> None:
        super().__init__(recording, key, POINT, "Train this very point")
        self._add_controls()
        self.on_pages = ("tf_keep", "temperature", "labels", "trained")
        middle = len(recording.percent) // 2
        self.film = tuple({"trained": int(recording.percent[i])} for i in (1, middle, -1))
        self._draw_axes()

    def _add_controls(self) -> None:
        recording = self.recording
        values = {name: recording.values(name) for name in (*POINT, "seed")}
        seeds = values["seed"]
        options = {
            "tf_keep": [(f"{100 * v:g} %", v) for v in values["tf_keep"]],
            "ss_keep": [(f"{100 * v:g} %", v) for v in values["ss_keep"]],
            "temperature": [(f"{v:g}", v) for v in values["temperature"]],
            "labels": [(f"{v:,.0f}", v) for v in values["labels"]],
            "seed": [(f"mean of {len(seeds)}", "mean"), *((f"{v:g}", int(v)) for v in seeds)],
            "trained": [(str(p), int(p)) for p in recording.percent],
            "image": [(f"{i + 1}: {recording.classes[k]}", i) for i, k in enumerate(recording.labels)],
        }
        start = START | {"trained": int(recording.percent[-1])}
        self.controls = {}
        for name, pairs in options.items():
            known = [value for _, value in pairs]
            first = start[name] if start[name] in known else known[-1]
            slider = name not in ("seed", "image")
            self.controls[name] = Control(
                label=LABELS[name], options=tuple(pairs), start=first, slider=slider
            )

    def _draw_axes(self) -> None:
        recording = self.recording
        self.canvas = canvas = Canvas(WIDTH, HEIGHT)
        self.headline, self.against = canvas.words(12, 16), canvas.words(12, 38)
        axes = accuracy_axes(canvas, recording, (76, 80, 394, 164))
        axes.set_xlabel("")  # it is that of the terms below
        grey = Style(label="all others", colour="#BDBDBD", line="none", marker="")
        self.others = Curve(canvas, axes, grey, alpha=1.0, linewidth=0)
        self.curve = Curve(canvas, axes, METHOD_STYLES["sskd"], alpha=0.45)
        self.your_curve = Curve(canvas, axes, YOURS, markerfacecolor="white")
        self.long_runs = Curve(canvas, axes, ANCHOR, 0.0)
        handles = [self.curve.line, Patch(color=grey.colour), self.your_curve.line, self.long_runs.line]
        place = {"loc": "lower right", "bbox_to_anchor": (1.03, 1.0), "ncols": 4}
        names = ["this", "others", "yours", ANCHOR.label]
        gaps = {"handlelength": 2.0, "columnspacing": 0.9}
        add_legend(axes, handles, names, **place, **gaps)
        below = term_axes(canvas, recording, (76, 298, 394, 172))
        self.terms = {
            name: Curve(canvas, below, style, 0.0, markevery=4) for name, style in TERM_STYLES.items()
        }
        handles = [curve.line for curve in self.terms.values()]
        names = [style.label for style in TERM_STYLES.values()]
        add_legend(below, handles, names, **place, **gaps)
        self.cursors = [cursor(canvas, axes), cursor(canvas, below)]
        self.plane = Plane(canvas, recording, (520, 78, 270, 190))
        canvas.words(520, 63, f"{len(recording.dots)} test images by their features (grey: teacher's)")
        self.below = canvas.words(520, 284)
        self.bars = OutputBars(canvas, recording, 520, 318)

    def runs(self, point: Point, seed: Any) -> list[int]:
        """Return the recorded runs of a point: of all seeds for "mean", else at most the one."""
        seeds = self.index.get(point, {})
        return list(seeds.values()) if seed == "mean" else [seeds[seed]] if seed in seeds else []

    def around(self, point: Point, seed: Any) -> np.ndarray:
        """Return the accuracy of the other points with as many labels, of a seed or its mean [n, E]."""
        accuracies = [
            self.recording.accuracy[runs].mean(0)
            for other in self.index
            if other[-1] == point[-1] and other != point and (runs := self.runs(other, seed))
        ]
        return np.array(accuracies).reshape(-1, len(self.recording.percent))

    def update(self, tf_keep, ss_keep, temperature, labels, seed, trained, image) -> None:
        """Bring curves, dots and bars to this setting, point of the training and image."""
        point, recording = (temperature, tf_keep, ss_keep, labels), self.recording
        runs, at, key = self.runs(point, seed), self.row(trained), self._key(point, seed)
        self.others.show(recording.percent, self.around(point, seed))
        self.curve.show(recording.percent, recording.accuracy[runs])
        for name, curve in self.terms.items():
            values = recording.terms[name][runs]
            curve.show(recording.percent, np.where(values > 0, values, np.nan))
        for line in self.cursors:
            line.set_xdata([trained, trained])
        self.your_curve.show(recording.percent, self.yours(key))
        self.long_runs.show(np.array([0, 100]), [[anchor()[0]] * 2] if labels == ANCHORED else [])
        points = recording.features[runs[0], at] if runs else None
        self.plane.show(points)
        self.below.text = f"spread: {self._times(points)} × the teacher's, drawn at one size" if runs else ""
        local, yours = self.rerun.runs.get(key), None
        if local is not None and np.isfinite(local.accuracy[at]):
            yours = soft(local.outputs[at, image], temperature)
        teacher = soft(recording.teacher_outputs[image], temperature)
        student = softened(recording.outputs, runs, at, image, temperature)
        self.bars.show(image, teacher, student, yours)
        setting = f"{self._setting(point, seed)}, {self.when(labels, at)}"
        self.headline.text = f"{setting}: {self._accuracy(runs, at)}"
        self.against.text = self.difference(point, at)

    def difference(self, point: Point, at: int) -> str:
        """Return in words the paired difference from the usual setting, and the least that would show."""
        accuracy, usual = self.recording.accuracy[:, at], (*USUAL.values(), point[-1])
        if not {point, usual} <= self.index.keys():
            return "Not recorded: some shares were varied only with the usual values of all other sliders"
        if point == usual:
            return "This is the usual setting, with which the others are compared"
        mine, base = (
            {seed: float(accuracy[run]) for seed, run in self.index[p].items()} for p in (point, usual)
        )
        return f"Minus the usual setting, paired by seed: {verdict(minus(mine, base)).strip()}"

    def _times(self, points: np.ndarray) -> str:
        return f"{spread(points) / spread(self.recording.teacher_features):.2f}"

    def _setting(self, point: Point, seed: Any) -> str:
        temperature, tf_keep, ss_keep, labels = point
        one = "" if seed == "mean" else f", seed {seed}"
        kept = f"kept in L_T {100 * tf_keep:g} %, in L_ss {100 * ss_keep:g} %"
        return f"τ = {temperature:g}, {kept}, {labels:,.0f} labels{one}"

    def _accuracy(self, runs: list[int], at: int) -> str:
        if not runs:
            return "not recorded"
        values = self.recording.accuracy[runs, at]
        if len(runs) == 1:
            return f"{values[0]:.1f} % right"
        seeds = f"mean of {len(runs)} seeds, {values.min():.1f} to {values.max():.1f}"
        return f"{values.mean():.1f} % right ({seeds})"

    def sentences(self, tf_keep, ss_keep, temperature, labels, seed, trained, image) -> list[str]:
        """Name setting, accuracy and its rank, terms, outputs, separation of the dots, and your training."""
        point, recording = (temperature, tf_keep, ss_keep, labels), self.recording
        runs, at, key = self.runs(point, seed), self.row(trained), self._key(point, seed)
        words = [
            f"{self._setting(point, seed)}, after {self.when(labels, at)}:",
            self._accuracy(runs, at) + self._rank(point, seed, runs, at) + ".",
            self.difference(point, at) + ".",
            f"The teacher has {recording.teacher_accuracy:.1f} %.",
        ]
        if labels == ANCHORED:
            words.append(
                "Published schedule, 240 epochs, usual setting: {:.1f} % ({} seeds).".format(*anchor())
            )
        words += [self._terms(runs, at)] if runs else []
        words.append(self._outputs(runs, at, image, temperature))
        words += [self._separation(runs[0], at)] if runs else []
        same = self.runs(point, key[-1])
        return [*words, self.rerun.words(key, recording.accuracy[same[0]] if same else None)]

    def _rank(self, point: Point, seed: Any, runs: list[int], at: int) -> str:
        others = self.around(point, seed)[:, at]
        if not runs or not len(others):
            return ""
        place = 1 + int((others > self.recording.accuracy[runs, at].mean()).sum())
        return (
            f", place {place} of {len(others) + 1} settings with as many labels"
            f" (the others: {others.min():.1f} to {others.max():.1f} %)"
        )

    def _terms(self, runs: list[int], at: int) -> str:
        means = {style.label: self.recording.terms[n][runs, at].mean() for n, style in TERM_STYLES.items()}
        known = [f"{label} {value:.3g}" for label, value in means.items() if np.isfinite(value)]
        return f"Unweighted terms: {', '.join(known)}." if known else "Terms are measured in training."

    def _outputs(self, runs: list[int], at: int, image: int, temperature: float) -> str:
        recording = self.recording
        teacher = soft(recording.teacher_outputs[image], temperature)
        roles, words = [("teacher", teacher)], []
        if runs:
            roles.append(("student", softened(recording.outputs, runs, at, image, temperature)))
        for role, p in roles:
            first = np.argsort(-p, kind="stable")[:2]
            words.append(f"{role} " + ", ".join(f"{recording.classes[k]} {100 * p[k]:.1f} %" for k in first))
        name = recording.classes[recording.labels[image]]
        return f"Image {image + 1}, {name}, at τ = {temperature:g}: {'; '.join(words)}."

    def _separation(self, run: int, at: int) -> str:
        recording = self.recording
        student = separation(recording.features[run, at], recording.dots)
        teacher = separation(recording.teacher_features, recording.dots)
        seed = recording.settings[run]["seed"]
        return (
            f"Of the spread of the student's dots (seed {seed:g}) {100 * student:.0f} % is between the "
            f"classes, of the teacher's {100 * teacher:.0f} %; it is "
            f"{self._times(recording.features[run, at])} times the teacher's spread."
        )

    def _key(self, point: Point, seed: Any) -> Point:
        """Return the point with the seed to train with: the chosen one, or the first recorded."""
        return (*point, min(self.index.get(point, {}), default=0) if seed == "mean" else seed)

    def train(self) -> None:
        """Train the setting of the controls on this machine, in a thread, and draw it as it comes."""
        state = self.start() if self.live is None else self.live.values()
        point = tuple(state[name] for name in POINT)
        key = self._key(point, state["seed"])
        settings = dict(zip(POINT, point, strict=True)) | {"seed": key[-1]}
        self.rerun.begin(key, settings, state["labels"])


def explore_time_machine(recording: Recording | None = None, *, key: str = "time machine") -> TimeMachine:
    """Go through recorded trainings: accuracy, terms, one image's outputs and the features, as they come.

    The button trains the setting of the controls again on this machine, and its curve is drawn over the
    recorded one. Under "mean of …" it takes the first seed; dots are then the first seed's, too.
    recording: from `load_recording`; None loads "grid". key: running a cell again replaces this key's
    explorer, and stops its training. Raises what `load_recording` raises.
    """
    return present(TimeMachine(load_recording("grid") if recording is None else recording, key))
