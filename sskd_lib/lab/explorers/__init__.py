"""Explorers: pictures with sliders, computed from cached numbers."""

from .base import OPEN, Control, Explorer, Live
from .selection import explore_selection
from .temperature import explore_temperature

__all__ = ["OPEN", "Control", "Explorer", "Live", "explore_selection", "explore_temperature"]
