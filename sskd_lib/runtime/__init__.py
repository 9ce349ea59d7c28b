"""Device and formats of a training, its CUDA graph, and its processes."""

from .device import Runtime, choose_runtime

__all__ = ["Runtime", "choose_runtime"]
