"""Explorers: pictures with sliders, computed from cached numbers."""

from .base import OPEN, Control, Explorer, Live
from .selection import explore_selection
from .similarity import explore_similarity
from .temperature import explore_temperature
from .views import explore_views, project_draws

__all__ = [
    "OPEN",
    "Control",
    "Explorer",
    "Live",
    "explore_selection",
    "explore_similarity",
    "explore_temperature",
    "explore_views",
    "project_draws",
]
