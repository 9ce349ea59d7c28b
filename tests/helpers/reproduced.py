"""Settings of the small table of results that the tests of `reproduce` share."""

from __future__ import annotations

from typing import Any

from sskd_lib.recipes import Schedule
from sskd_lib.runtime.device import Runtime

METHODS = ("sskd", "ce", "at", "kd")  # not in the order of the results
OPTIONS: dict[str, Any] = {"runtime": Runtime(), "progress": False, "save_seconds": 0}
SCHEDULE = Schedule(epochs=2, batch_size=10)
