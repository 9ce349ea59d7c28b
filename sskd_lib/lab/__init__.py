"""All that faces a notebook. Names are loaded when first used: the doctor must run without matplotlib."""

from __future__ import annotations

import importlib
from typing import Any

from .doctor import doctor
from .recorded import recorded
from .show import is_static, show

_HOMES = {
    "Lab": "startup",
    "align": "tsne",
    "atlas_maps": "mapping",
    "Recording": "recordings",
    "bars_with_intervals": "curves",
    "embed": "tsne",
    "explore_atlas": "explorers",
    "explore_mix": "explorers",
    "explore_selection": "explorers",
    "explore_similarity": "explorers",
    "explore_temperature": "explorers",
    "explore_time_machine": "explorers",
    "explore_views": "explorers",
    "image_grid": "plots",
    "interval": "curves",
    "learning_curves": "curves",
    "line_figure": "curves",
    "load_recording": "recordings",
    "mark_figure": "curves",
    "matrix_heatmap": "plots",
    "pipeline_figure": "pipeline",
    "project_draws": "explorers",
    "scatter_tsne": "plots",
    "similarity_heatmap": "plots",
    "similarity_picture": "matrices",
    "soft_targets": "plots",
    "start": "startup",
    "styles": "style",
    "teacher_student_heatmaps": "plots",
    "theme": "style",
    "views_figure": "plots",
}

__all__ = ["doctor", "is_static", "recorded", "show", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"sskd_lib.lab has no {name!r}; it has: {', '.join(sorted(__all__))}.")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
