"""Base of the explorers of recorded trainings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..time_machine_data import Recording
from .base import Explorer
from .rerun import Rerun

Point = tuple[float, ...]  # values of all settings but the seed


class RecordedExplorer(Explorer):
    """Base of the explorers of recorded trainings, one of which can be trained again on this machine.

    names: the settings without the seed; action: the label of the button that trains.
    """

    def __init__(self, recording: Recording, key: str, names: Sequence[str], action: str) -> None:
        self.recording, self.key, self.names = recording, key, tuple(names)
        self.index: dict[Point, dict[int, int]] = {}  # point → seed → run
        for run, one in enumerate(recording.settings):
            point = tuple(float(one[name]) for name in names)
            self.index.setdefault(point, {})[int(one["seed"])] = run
        self.rerun = Rerun(recording, lambda: self.live and self.live.redraw())
        self.actions = {action: self.train, "Stop training": self.rerun.stop}

    def row(self, epoch: int) -> int:
        """Return the place of an epoch among the measured ones."""
        return int(np.flatnonzero(self.recording.epochs == epoch)[0])

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
