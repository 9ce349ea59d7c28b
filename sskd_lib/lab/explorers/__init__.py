"""Explorers: pictures with sliders, computed from cached numbers."""

from .atlas import explore_atlas
from .base import Explorer
from .control import Control
from .live import Live
from .missing import explore_missing_class
from .mixer import explore_mix
from .presentation import OPEN, present
from .selection import explore_selection
from .similarity import explore_similarity
from .temperature import explore_temperature
from .time_machine import explore_time_machine
from .views import explore_views
from .views_data import project_draws

__all__ = [
    "OPEN",
    "Control",
    "Explorer",
    "Live",
    "explore_atlas",
    "explore_missing_class",
    "explore_mix",
    "explore_selection",
    "explore_similarity",
    "explore_temperature",
    "explore_time_machine",
    "explore_views",
    "present",
    "project_draws",
]
