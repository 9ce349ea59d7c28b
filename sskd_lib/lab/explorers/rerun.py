"""Train one point of a recording again, in a thread beside the notebook, to compare both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ...data.images import ImageSet
from ...data.load import load_images
from ...evaluation import evaluate, predict
from ...models.checkpoint import load_checkpoint
from ...models.network import Network
from ...recipes import Recipe
from ...runtime.device import Runtime, choose_runtime
from ...training.train import distill
from ..shipped import TEACHER, weights_folder
from ..time_machine_data import Recording, Settings, fresh_student, recipe_of

DATASET = "fashion-mnist-lab"
EQUAL = 0.05  # points of accuracy: one of 2,000 test images
WHY = (
    "Another processor, number format or number of threads rounds the last digits differently, and training "
    "enlarges that, until such a gap says no more than the gap between two seeds."
)


class Stopped(Exception):
    """The person pressed stop, or the explorer was closed."""


@dataclass(kw_only=True)
class LocalRun:
    """One training on this machine: its settings, and the measurements so far (nan: not yet)."""

    recipe: Recipe
    labels: int
    seed: int
    epochs: np.ndarray  # int [E]: when to measure; the training ends with the last
    accuracy: np.ndarray  # float [E], percent
    outputs: np.ndarray  # float [E, P, K], logits of the recording's chosen images
    epoch: int = -1  # the last one that ended; -1: nothing is ready yet
    state: str = "training"  # or "done", "stopped", "failed"
    error: str = ""
    machine: str = ""
    stop_requested: threading.Event = field(default_factory=threading.Event)

    def measured(self) -> np.ndarray:
        """Return the places, among `epochs`, that were reached."""
        return np.flatnonzero(np.isfinite(self.accuracy))


class Rerun:
    """The trainings on this machine by the setting's key, one at a time.

    redraw: called after every epoch, from the training's thread.
    """

    def __init__(self, recording: Recording, redraw: Callable[[], None]) -> None:
        self.recording, self.redraw = recording, redraw
        self.runs: dict[Hashable, LocalRun] = {}
        self.note = ""
        self.thread: threading.Thread | None = None
        self._running: LocalRun | None = None

    @property
    def busy(self) -> bool:
        """Whether a training is running."""
        return self.thread is not None and self.thread.is_alive()

    def begin(self, key: Hashable, settings: Settings, labels: int) -> None:
        """Start the training of a recording's settings, unless one is running."""
        recipe, seed = recipe_of(settings), int(settings["seed"])  # first: a bad one leaves all as it was
        if self.busy:
            self.note = "A training is running already: wait for its end, or press Stop training first."
            return
        recording, self.note = self.recording, ""
        self._running = self.runs[key] = LocalRun(
            recipe=recipe,
            labels=int(labels),
            seed=seed,
            epochs=recording.epochs(int(labels)),
            accuracy=np.full(len(recording.percent), np.nan),
            outputs=np.full((len(recording.percent), *recording.teacher_outputs.shape), np.nan),
        )
        self.thread = threading.Thread(target=self._train, args=(self._running,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Request the training to end; it does so after the epoch it is in."""
        if not self.busy:
            self.note = "No training is running."
            return
        self._running.stop_requested.set()
        self.note = "Stopping after this epoch."

    def close(self) -> None:
        """Stop for good, and draw nothing more."""
        self.redraw = lambda: None
        if self.busy:
            self._running.stop_requested.set()

    def _train(self, run: LocalRun) -> None:
        """Run in the thread: train, measure, and end with a state that says how it went."""
        try:
            train, test = load_images(DATASET, "train"), load_images(DATASET, "test")
            teacher = load_checkpoint(weights_folder(DATASET) / TEACHER)
            runtime = choose_runtime()
            run.machine = machine_words(runtime.describe())
            distill(
                [fresh_student(train, run.seed)],
                teacher,
                train.take(run.labels, seed=run.seed),
                method="sskd",
                recipe=run.recipe,
                schedule=self.recording.schedules[run.labels],
                seed=run.seed,
                runtime=runtime,
                progress=False,
                watch=lambda epoch, networks: self._measure(run, epoch, networks[0], test, runtime),
            )
            run.state, self.note = "done", ""
        except Stopped:
            run.state, self.note = "stopped", ""
        except Exception as error:  # nobody would see it in a thread
            run.state, run.error, self.note = "failed", f"{type(error).__name__}: {error}", ""
        self.redraw()

    def _measure(self, run: LocalRun, epoch: int, student: Network, test: ImageSet, runtime: Runtime) -> None:
        """Measure after the epochs that the recording measured, and go on or stop."""
        if run.stop_requested.is_set():
            raise Stopped
        for at in np.flatnonzero(run.epochs == epoch):
            images = torch.from_numpy(self.recording.images)
            run.outputs[at] = predict(student, images, runtime).logits.numpy()
            run.accuracy[at] = evaluate(student, test, runtime)["accuracy"]
        run.epoch = epoch
        self.redraw()

    def words(self, key: Hashable, recorded: np.ndarray | None) -> str:
        """Return the state of this setting's training, beside the recorded accuracies, float [E]."""
        run = self.runs.get(key)
        words = [self.note] if self.note else []
        if run is None:
            if self.busy:
                epoch, last = max(self._running.epoch, 0), self._running.epochs[-1]
                words.append(f"Your training of another setting is at epoch {epoch} of {last}.")
            return " ".join(words)
        last = run.epochs[-1]
        if run.state == "failed":
            return " ".join([*words, f"Your training ended with an error: {run.error}"])
        done = f"epoch {run.epoch} of {last}"
        how = {"training": f"is at {done}", "stopped": f"was stopped after {done}", "done": "is over"}
        if run.epoch < 0:
            how |= {"training": "is getting ready", "stopped": "was stopped before it began"}
        words.append(f"Your training (seed {run.seed}) {how[run.state]}.")
        words += compare(run, recorded)
        machines = [machine_words(one["runtime"]) for one in self.recording.card.get("machines", ())]
        if machines and run.machine:
            words.append(f"Recorded with {' and '.join(dict.fromkeys(machines))}; yours with {run.machine}.")
        return " ".join(words)


def machine_words(runtime: dict[str, Any]) -> str:
    """Return number format, threads and processor of a `Runtime.describe()` in words."""
    threads = f"{runtime['threads']} thread{'s' * (runtime['threads'] > 1)}"
    return f"{runtime['dtype']}, {threads}, {runtime['device_name']}"


def compare(run: LocalRun, recorded: np.ndarray | None) -> list[str]:
    """Return sentences that compare a training on this machine with the recorded one of the same seed.

    recorded: float [E] percent, or None where this seed was not recorded.
    """
    seen = run.measured()
    if not len(seen):
        return []
    at = seen[-1]
    yours = f"At epoch {run.epochs[at]} yours has {run.accuracy[at]:.2f} %"
    if recorded is None:
        return [f"{yours}; there is no recorded run of this seed to compare it with."]
    gap = run.accuracy - recorded
    apart = seen[np.abs(gap[seen]) > EQUAL + 1e-4]
    words = [f"{yours}, the recorded run of the same seed {recorded[at]:.2f} % ({gap[at]:+.2f} points)."]
    if not len(apart):
        return [*words, f"So far they agree at every epoch measured, within {EQUAL:g} points."]
    return [*words, f"They differ from epoch {run.epochs[apart[0]]} on. {WHY}"]
