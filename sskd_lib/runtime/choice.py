"""The measured choice of a runtime, kept between programs: one JSON file in the user's cache folder.

An entry holds for one machine, torch and number of threads asked for, and has the timings that it rests on.
The file can be deleted at any time: then the machine is measured again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..data.download import opened_alone
from ..files import cache_folder, write_atomically
from .device import Runtime, cpu_name, rule_of_thumb, usable_cores
from .probe import VERSION, Race, conclude, run_races

BUDGET = 10.0  # seconds
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_CHOSEN: dict[tuple[str, torch.device], Runtime] = {}  # by this process


def measured_runtime(device: torch.device) -> Runtime:
    """What the probe chose for this machine: known to this process, kept in the file, or measured now.

    Never raises: where measuring fails, the rule of thumb holds, and `.why` names the failure.
    """
    key = machine_key(device)
    if (key, device) not in _CHOSEN:
        path = cache_folder() / "runtime.json"
        with _alone(path):  # a second program waits here, and then reads what the first has measured
            _CHOSEN[key, device] = _read(path, key, device) or _measure(path, key, device)
    return _CHOSEN[key, device]


def machine_key(device: torch.device) -> str:
    """All that a measurement depends on, as one line of text."""
    facts = {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "threads asked for": os.environ.get("OMP_NUM_THREADS", ""),
        "probe": VERSION,
    }
    return ", ".join(f"{name} {value}".strip() for name, value in facts.items())


def busy() -> bool:
    """Whether other programs have used more than half of the cores in the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > usable_cores() / 2


def _measure(path: Path, key: str, device: torch.device) -> Runtime:
    """Run the probe, keep its choice in the file and say both on stderr."""
    started, disturbed = time.perf_counter(), device.type == "cpu" and busy()
    try:
        races = run_races(device, BUDGET)
        chosen = conclude(races, time.perf_counter() - started)
    except Exception as error:  # whatever is wrong with this machine, a format can be had without measuring
        reason = f"measuring failed with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        print(f"this machine could not be measured; {reason}", file=sys.stderr)
        return rule_of_thumb(device, reason)
    kept = f"Kept in {path} (delete it to measure again)"
    if disturbed:
        kept = "Not kept, because other programs were busy meanwhile: the next program measures again"
    else:
        try:
            text = json.dumps(_load(path) | {key: _to_json(chosen, races)}, indent=1)
            write_atomically(path, f"{text}\n".encode())
        except OSError:
            kept = f"Not kept, because {path} cannot be written: the next program measures again"
    print(
        f"This machine was {chosen.why}. {kept}; exact=True turns it off",
        file=sys.stderr,
    )
    return chosen


def _load(path: Path) -> dict[str, Any]:
    """All entries of the file; none if it is missing or damaged."""
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _read(path: Path, key: str, device: torch.device) -> Runtime | None:
    """The kept choice for this machine; None if there is none that makes sense."""
    match _load(path).get(key):
        case {
            "dtype": str(dtype),
            "channels_last": bool(channels_last),
            "threads": threads,
            "capture": bool(capture),
            "keep_memory": bool(keep_memory),
            "why": str(why),
        } if dtype in DTYPES and threads in (None, *range(1, usable_cores() + 1)) and threads is not True:
            return Runtime(
                device=device,
                dtype=DTYPES[dtype],
                channels_last=channels_last,
                threads=threads,
                capture=capture and device.type == "cuda",
                keep_memory=keep_memory,
                why=why,
            )
    return None


def _to_json(chosen: Runtime, races: list[Race]) -> dict[str, Any]:
    """An entry of the file: the choice, and each race as it was run."""
    timings = [
        [_format(runtime) | {"seconds": [round(s, 5) for s in seconds]} for runtime, seconds in race.items()]
        for race in races
    ]
    return _format(chosen) | {"why": chosen.why, "races": timings}


def _format(runtime: Runtime) -> dict[str, Any]:
    return {
        "dtype": str(runtime.dtype).removeprefix("torch."),
        "channels_last": runtime.channels_last,
        "threads": runtime.threads,
        "capture": runtime.capture,
        "keep_memory": runtime.keep_memory,
    }


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One program at a time, where the folder can be written: two that measure at once mislead each other."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(opened_alone(path.with_suffix(".lock")))
        yield
