"""Train teachers, heads and students."""

from .head import train_head
from .train import create_network, distill, train_teacher

__all__ = ["create_network", "distill", "train_head", "train_teacher"]
