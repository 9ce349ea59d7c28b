"""Explorers: pictures with sliders, computed from cached numbers."""

from .atlas import explore_atlas
from .base import OPEN, Control, Explorer, Live
from .mixer import explore_mix
from .selection import explore_selection
from .similarity import explore_similarity
from .temperature import explore_temperature
from .time_machine import explore_time_machine
from .views import explore_views, project_draws

__all__ = [
    "OPEN",
    "Control",
    "Explorer",
    "Live",
    "explore_atlas",
    "explore_mix",
    "explore_selection",
    "explore_similarity",
    "explore_temperature",
    "explore_time_machine",
    "explore_views",
    "project_draws",
]
