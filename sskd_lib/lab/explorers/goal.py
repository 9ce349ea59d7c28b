"""What a task of an explorer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What to find, and `judge(state)` → (whether it is fulfilled here, a remark on this setting)."""

    task: str
    judge: Callable[[dict[str, Any]], tuple[bool, str]]

    def words(self, state: dict[str, Any]) -> str:
        """Return the task, and whether this setting fulfils it, in words."""
        reached, remark = self.judge(state)
        return f"Your task: {self.task} {'✓ Reached:' if reached else 'Not yet:'} {remark}"
