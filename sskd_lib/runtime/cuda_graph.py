"""A whole training step as one CUDA graph: recorded once, then replayed with a single launch.

Small networks leave a GPU waiting for Python to launch their kernels. A recorded step needs no Python: batch
in, views, teacher, students, terms, gradients and SGD update run as they were recorded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

WARM_UP = 3  # steps taken before one is recorded: libraries set themselves up, momenta come into being


class CapturedStep:
    """Calls `step(batch)`: plainly at first and for batches of an unusual size, else by replaying its
    recording.

    step: takes a NamedTuple of tensors (or None) of fixed shapes, returns a list of tensors; it must not wait
    for the device. Every call is a real step, the first ones too; recording computes nothing. What a step
    reads from Python, the learning rate above all, is fixed in the recording: call `forget` when it changes.
    """

    def __init__(self, step: Callable[[NamedTuple], list[Tensor]]) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        self.shapes = None  # of the first batch, the one that is recorded
        self.taken = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False

    def forget(self) -> None:
        """Record the step anew at the next call."""
        self.graph = None

    def __call__(self, batch: NamedTuple) -> list[Tensor]:
        """One step. Everything runs on a stream of its own, in order with the caller's."""
        outside = torch.cuda.current_stream()
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            results = self._take(batch)
        outside.wait_stream(self.stream)
        for tensor in batch:
            if tensor is not None:
                tensor.record_stream(self.stream)  # its memory is not given away before this step has read it
        for tensor in results:
            tensor.record_stream(outside)
        return results

    def _take(self, batch: NamedTuple) -> list[Tensor]:
        shapes = [None if tensor is None else tensor.shape for tensor in batch]
        self.shapes = self.shapes or shapes
        usual = shapes == self.shapes
        if usual and self.graph is None and self.taken >= WARM_UP and not self.failed:
            self._record(batch)
        if not usual or self.graph is None:
            self.taken += usual
            return self.step(batch)
        for mine, given in zip(self.batch, batch, strict=True):
            if mine is not None:
                mine.copy_(given)
        self.graph.replay()
        return [tensor.clone() for tensor in self.results]  # the next replay overwrites them

    def _record(self, batch: NamedTuple) -> None:
        self.batch = type(batch)(*(None if tensor is None else tensor.clone() for tensor in batch))
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: the thread that fetches the next batch may allocate meanwhile
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.results = self.step(self.batch)
        except RuntimeError as error:
            self.failed = True
            warnings.warn(
                f"this step cannot be recorded as a CUDA graph ({error}); it goes on step by step, slower. "
                "exact=True, or a Runtime with capture=False, avoids the attempt.",
                stacklevel=2,
            )
            return
        self.graph = graph
