"""Backbones, the network around one, its heads, and networks on disk."""

from .backbone import Backbone
from .build import MODELS, build_network, create_model
from .checkpoint import load_checkpoint, read_card, save_checkpoint
from .network import Network, Output

__all__ = [
    "MODELS",
    "Backbone",
    "Network",
    "Output",
    "build_network",
    "create_model",
    "load_checkpoint",
    "read_card",
    "save_checkpoint",
]
