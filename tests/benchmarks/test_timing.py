"""The stopwatch: rows in turn, the first step left out, memory as in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import timing
from sskd_lib import Runtime

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_rows_are_timed_in_turn_in_opposite_orders() -> None:
    order: list[str] = []
    made = {name: timing.Row(take=lambda name=name: order.append(name), runtime=Runtime()) for name in "abc"}
    times = timing.time_in_turn(made, rounds=3, least=0, after=lambda: order.append("|"))
    # each row: a step that is not counted, and one that is
    assert "".join(order) == "aabbcc|ccbbaa|aabbcc|"
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_first_step_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, durations = [100.0], iter([8.0, 1.0, 2.0, 3.0])  # seconds of each step
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def take() -> None:
        clock[0] += next(durations)

    # 20 s at 8 s a step, as far as the first step tells: three of them
    assert timing.time_row(timing.Row(take=take, runtime=Runtime()), threads=1, least=20) == 2.0


FAULTS = """
import resource, statistics, torch
from sskd_lib import Runtime
from timing import Row, time_row

def faults(keep):
    found = []
    def take():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(100_000_000, dtype=torch.uint8)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    time_row(Row(take=take, runtime=Runtime(keep_memory=keep)), threads=1, least=0.5)
    for _ in range(10):  # on a busy machine half a second is one step
        take()
    return found[0], round(statistics.median(found[1:]))  # of the first step, and of those that are counted

(first, given_back), (_, kept), (again, _), (_, kept_again) = map(faults, (False, True, False, True))
print(first, given_back, kept, again, kept_again)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults of glibc's allocator")
def test_a_row_keeps_or_gives_back_memory_whatever_the_row_before_did() -> None:
    if not timing.keep_freed_memory(False):
        pytest.skip("this C library keeps memory as it likes")
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, cwd=BENCHMARKS)
    first, given_back, kept, again, kept_again = (int(number) for number in done.stdout.split())
    pages = 100_000_000 / timing.os.sysconf("SC_PAGE_SIZE")
    if first < 0.9 * pages:
        pytest.skip("pages here are larger than the system says")
    assert min(given_back, again) >= 0.9 * pages
    assert max(kept, kept_again) <= 0.1 * pages


def test_summarise_gives_median_and_range() -> None:
    assert timing.summarise([3.0, 1.0, 8.00004]) == {"median": 3.0, "low": 1.0, "high": 8.0}


def test_wide_ranges_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert timing.warn_if_wide({"steady": [1.0, 1.25], "calm": [2.0]}) == ""
    assert capsys.readouterr().out == ""
    text = timing.warn_if_wide({"steady": [1.0, 1.25], "wild": [1.0, 1.3, 1.1]})
    assert "the rounds of wild differ by more than 25%" in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    "runtime",
    [
        Runtime(),
        Runtime(dtype=torch.bfloat16, channels_last=True, threads=3, keep_memory=True, why="so"),
        Runtime(device=torch.device("cuda:1"), cuda_graph=True),
    ],
)
def test_a_runtime_comes_through_a_command_as_it_was(runtime: Runtime) -> None:
    back = timing.runtime_from_text(timing.runtime_to_text(runtime))
    assert back == runtime
    assert back.why == runtime.why
