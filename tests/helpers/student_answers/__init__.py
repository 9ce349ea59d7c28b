"""Answers to the exercises as students may write them: wrong ones by the name of the mistake, right ones."""

from __future__ import annotations

from collections.abc import Callable

from . import kd, matrices, selection, statistics, terms, training, views

TOPICS = (kd, views, matrices, selection, terms, training, statistics)
WRONG: dict[str, dict[str, Callable]] = {k: v for topic in TOPICS for k, v in topic.WRONG.items()}
RIGHT: dict[str, tuple[Callable, ...]] = {k: v for topic in TOPICS for k, v in topic.RIGHT.items()}
