"""The list of exercises, in the order of the course."""

from __future__ import annotations

from . import (
    kd,
    kd_gradient,
    matrices,
    selected_terms,
    selection,
    statistics,
    terms,
    total,
    training,
    views,
)
from .exercise import Exercise

TOPICS = (
    kd, kd_gradient, views, matrices, selection, terms, selected_terms, total, training, statistics,
)  # fmt: skip
EXERCISES: dict[str, Exercise] = {exercise.name: exercise for topic in TOPICS for exercise in topic.EXERCISES}
