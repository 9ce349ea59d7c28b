"""Where and in which number format a training computes."""

from .device import Runtime, choose_runtime

__all__ = ["Runtime", "choose_runtime"]
