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
    "by_method": "zoo",
    "change_table": "zoo_figures",
    "embed": "tsne",
    "explore_atlas": "explorers",
    "explore_mix": "explorers",
    "explore_selection": "explorers",
    "explore_similarity": "explorers",
    "explore_temperature": "explorers",
    "explore_time_machine": "explorers",
    "explore_views": "explorers",
    "holm": "zoo",
    "image_grid": "plots",
    "interval": "curves",
    "learning_curves": "curves",
    "line_figure": "curves",
    "load_recording": "recordings",
    "looks_at": "zoo_cards",
    "mark_figure": "curves",
    "matrix_heatmap": "plots",
    "method_rows": "zoo_figures",
    "p_value": "zoo",
    "paired": "zoo",
    "pipeline_figure": "pipeline",
    "project_draws": "explorers",
    "scatter_tsne": "plots",
    "shape_key": "zoo_figures",
    "similarity_heatmap": "plots",
    "similarity_picture": "matrices",
    "soft_targets": "plots",
    "start": "startup",
    "styles": "style",
    "teacher_student_heatmaps": "plots",
    "theme": "style",
    "views_figure": "plots",
    "zoo_card": "zoo_cards",
    "zoo_command": "zoo",
    "zoo_map": "zoo_figures",
    "zoo_runs": "zoo",
    "zoo_table": "zoo_cards",
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
