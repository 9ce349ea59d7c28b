"""A small explorer of each kind."""

from __future__ import annotations

from helpers import atlas_explorer, explorers, missing_class, recordings, similarity_explorer, views_explorer
from sskd_lib.lab.claims.fooled import explore_fooled
from sskd_lib.lab.explorers import explore_mix, explore_time_machine

MAKERS = {
    "explore_temperature": explorers.temperature_explorer,
    "explore_selection": explorers.selection_explorer,
    "explore_views": views_explorer.explorer,
    "explore_similarity": similarity_explorer.make,
    "explore_atlas": atlas_explorer.explorer,
    "explore_time_machine": lambda: explore_time_machine(recordings.made_recording()),
    "explore_missing_class": missing_class.explorer,
    "explore_fooled": explore_fooled,
    "explore_mix": lambda: explore_mix(recordings.mixed_recording()),
}
