"""A training step as one CUDA graph: captured once, then replayed with a single launch.

Small networks leave a GPU waiting for Python to launch their kernels. A captured step needs no Python: batch,
views, teacher, students, terms, gradients and the optimizer's update run as they were captured.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # eager steps before the capture: libraries initialise, the optimizer makes its momenta


class GraphedStep:
    """A callable that runs `step(batch)` eagerly at first, then captures it and replays the graph.

    step: takes a NamedTuple of tensors (or None) of fixed shapes, returns a list of tensors; it must not wait
    for the device. Every call is a real step, the eager ones too; the capture itself computes nothing. A
    batch of another shape than the first (the short last one of an epoch) runs eagerly. Values that a step
    reads from Python, above all the learning rate, are fixed in the graph: call `reset` when one changes.
    """

    def __init__(self, step: Callable[[Any], list[Tensor]]) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        self.shapes: list[torch.Size | None] | None = None  # of the first batch
        self.eager_steps = 0  # of that shape
        self.graph: torch.cuda.CUDAGraph | None = None
        self.failed = False

    def reset(self) -> None:
        """Drop the graph; the next call captures the step again."""
        self.graph = None

    def __call__(self, batch: Any) -> list[Tensor]:
        """Run one step, on a stream of its own that is ordered with the caller's."""
        outside = torch.cuda.current_stream()
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            results = self._run(batch)
        outside.wait_stream(self.stream)
        for tensor in batch:
            if tensor is not None:
                tensor.record_stream(self.stream)  # its memory is not reused before this step has read it
        for tensor in results:
            tensor.record_stream(outside)
        return results

    def _run(self, batch: Any) -> list[Tensor]:
        shapes = [None if tensor is None else tensor.shape for tensor in batch]
        self.shapes = self.shapes or shapes
        usual = shapes == self.shapes
        if usual and self.graph is None and self.eager_steps >= WARM_UP and not self.failed:
            self._capture(batch)
        if usual and self.graph is not None:
            return self._replay(batch)
        self.eager_steps += usual
        return self.step(batch)

    def _capture(self, batch: Any) -> None:
        self.batch = type(batch)(*(None if tensor is None else tensor.clone() for tensor in batch))
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: the thread that prefetches the next batch may allocate meanwhile
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.results = self.step(self.batch)
        except RuntimeError as error:
            self.failed = True
            reason = str(error.__context__ or error).splitlines()[0]  # the first of the two errors
            warnings.warn(
                f"this step cannot be captured as a CUDA graph ({reason}); it goes on step by step, slower. "
                "exact=True, or a Runtime with cuda_graph=False, avoids the attempt.",
                stacklevel=2,
            )
            return
        self.graph = graph

    def _replay(self, batch: Any) -> list[Tensor]:
        assert self.graph is not None
        for static, tensor in zip(self.batch, batch, strict=True):
            if static is not None:
                static.copy_(tensor)
        self.graph.replay()
        return [tensor.clone() for tensor in self.results]  # the next replay overwrites them
