"""Base of the explorers of recorded trainings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.checks import describe
from ..time_machine_data import Recording
from .base import Explorer
from .rerun import Rerun

Point = tuple[float, ...]  # values of all settings but the seed


class RecordedExplorer(Explorer):
    """Base of the explorers of recorded trainings, one of which can be trained again on this machine.

    names: the settings without the seed; action: the label of the button that trains.
    """

    def __init__(self, recording: Recording, key: str, names: Sequence[str], action: str) -> None:
        if not isinstance(recording, Recording):
            raise TypeError(f"recording is what load_recording returns, not {describe(recording)}.")
        if missing := [name for name in names if name not in recording.settings[0]]:
            raise ValueError(
                f"this recording has the settings {', '.join(recording.settings[0])}, and the explorer needs "
                f"{', '.join(missing)}. Load another one: load_recording('grid') or load_recording('mix')."
            )
        self.recording, self.key, self.names = recording, key, tuple(names)
        self.index: dict[Point, dict[int, int]] = {}  # point → seed → run
        for run, one in enumerate(recording.settings):
            point = tuple(float(one[name]) for name in names)
            self.index.setdefault(point, {})[int(one["seed"])] = run
        self.rerun = Rerun(recording, lambda: self.live and self.live.redraw())
        self.actions = {action: self.train, "Stop training": self.rerun.stop}

    def row(self, trained: int) -> int:
        """Return the place of a point of the training, in percent, among the measured ones."""
        return int(np.flatnonzero(self.recording.percent == trained)[0])

    def when(self, labels: float, at: int) -> str:
        """Return the epoch of a measured point, in words."""
        epochs = self.recording.epochs(int(labels))
        return f"epoch {epochs[at]} of {epochs[-1]}"

    def yours(self, key: Point) -> np.ndarray:
        """Return the accuracies of the training here with this key: float [E], or [0, E] without one."""
        run = self.rerun.runs.get(key)
        return self.recording.accuracy[:0] if run is None else run.accuracy

    def train(self) -> None:
        """Train the setting of the controls on this machine, in a thread, and draw it as it comes."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop a training that is running."""
        self.rerun.close()
