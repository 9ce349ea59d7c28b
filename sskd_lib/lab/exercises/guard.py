"""Run code that a learner wrote: with a time limit, without its prints, on copies of the arguments."""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

SECONDS = 10.0  # for one call; the slowest right answers, with loops, take well under one


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one call gave: a value, or in words why there is none; and whether it changed its arguments."""

    value: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)  # after the call
    fault: str = ""
    changed: str = ""  # the name of an argument that the function changed
    printed: str = ""


class TooSlow(BaseException):
    """Raised in a learner's code when its time is over. No Exception: `except Exception` does not stop it."""


def call(
    function: Callable[..., Any], arguments: Mapping[str, Any], seconds: float | None = SECONDS
) -> Outcome:
    """Call a function with copies of the arguments, and describe what happened; never raises its errors.

    arguments: name → value, in the order of the parameters. seconds: the limit; None for code of the kit,
    which needs no watch.
    """
    given = copied(arguments)
    printed = io.StringIO()
    limit = contextlib.nullcontext() if seconds is None else time_limit(seconds)
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings(), limit:
            warnings.simplefilter("ignore")
            value = function(*given.values())  # by place: a learner may use other names
    except TooSlow:
        return Outcome(
            fault=f"Your function was stopped after {seconds:g} seconds. Does a loop never end, or does it "
            "go over single pixels?"
        )
    except (Exception, SystemExit, RecursionError) as error:
        return Outcome(fault=_words(function, error), printed=printed.getvalue())
    changed = next((name for name in arguments if not equal(given[name], arguments[name])), "")
    return Outcome(value=value, arguments=given, changed=changed, printed=printed.getvalue())


def copied(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return deep copies of the arguments. A network keeps its gradients, which copy.deepcopy leaves out.

    An optimizer belongs to the copy of the network, as the old one belonged to the network.
    """
    new = copy.deepcopy(dict(arguments))
    for name, value in arguments.items():
        if isinstance(value, torch.nn.Module):
            for old, parameter in zip(value.parameters(), new[name].parameters(), strict=True):
                parameter.grad = None if old.grad is None else old.grad.clone()
    return new


def equal(a: Any, b: Any) -> bool:
    """Return whether two arguments have the same content: tensors bit by bit, containers part by part."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, (int, float, str)):
        return bool(a == b)
    return True  # networks and optimizers may change


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow in this block when its time is over; again each second, where the first was caught.

    Works in any thread and on any system, between two Python instructions: one long call into C ends first.
    Python 3.10 does not look for such an exception in a loop that only tries; there each line is traced.
    """
    import ctypes

    end, before = time.monotonic() + seconds, sys.gettrace()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TooSlow
        return trace

    thread, over = threading.get_ident(), threading.Event()
    stop = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def wait() -> None:
        left = seconds
        while not over.wait(left):
            stop(ctypes.c_ulong(thread), ctypes.py_object(TooSlow))
            left = 1.0

    watch = threading.Thread(target=wait, daemon=True)
    watch.start()
    try:
        if sys.version_info < (3, 11):
            sys.settrace(trace)
        yield
    finally:
        _end(watch, over, before)


def _end(watch: threading.Thread, over: threading.Event, before: Any) -> None:
    """End the watch of `time_limit`, and let an exception that it raised too late arrive in this function.

    It is not taken back with PyThreadState_SetAsyncExc(thread, NULL): after that Python 3.11 looks for an
    exception for ever, and a profiler or a debugger that is started later never comes to an end.
    """
    while True:
        try:
            sys.settrace(before)
            over.set()
            watch.join()
            for _ in range(3):  # Python looks for exceptions where a loop begins again
                pass
            return
        except TooSlow:
            continue


def _words(function: Callable[..., Any], error: BaseException) -> str:
    """Return an error of the learner's code in words, with the line where it happened."""
    lines = _lines(function, error.__traceback__)
    first = next(iter(str(error).splitlines()), "no message")
    where = f" in line {lines[-1]} of your function" if lines else ""
    return f"Your function raised {type(error).__name__}{where}: {first}"


def _lines(function: Callable[..., Any], trace: Any) -> list[int]:
    code = getattr(function, "__code__", None)
    lines: list[int] = []
    frame: FrameType
    for frame, line in traceback.walk_tb(trace):
        if code is not None and frame.f_code is code:
            lines.append(line - code.co_firstlineno + 1)
    return lines
