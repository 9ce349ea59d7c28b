"""Batches made ahead in a background thread."""

from __future__ import annotations

import threading
import time

import pytest

from sskd_lib.training.loader import prefetch


def prefetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def wait_for(condition) -> bool:
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch_keeps_the_items_and_runs_so_many_ahead(depth):
    made = []

    def batches():
        for number in range(8):
            made.append(threading.current_thread().name)
            yield number

    seen = []
    for item in prefetch(batches(), depth):
        seen.append(item)
        goal = min(len(seen) + depth, 8)
        assert wait_for(lambda goal=goal: len(made) == goal)
        time.sleep(0.002)
        assert len(made) == goal  # and no further
    assert seen == list(range(8)) and not prefetching()
    assert all(name.startswith("prefetch") for name in made)
    assert list(prefetch([], depth)) == [] and list(prefetch(iter([None, None]), depth)) == [None, None]


def test_prefetch_hands_on_the_exception_after_the_items_before_it():
    def batches():
        yield 1
        yield 2
        raise OSError("the disk was pulled out")

    seen = []
    with pytest.raises(OSError, match="pulled out"):
        seen.extend(prefetch(batches()))
    assert seen == [1, 2] and not prefetching()
    with pytest.raises(ValueError, match=r"prefetch\(depth=0\)"):
        prefetch([1], 0)


def test_a_consumer_that_stops_early_stops_the_thread():
    made, closed = [], []

    def endless():
        try:
            while True:
                made.append(1)
                yield len(made)
        finally:
            closed.append(True)

    for item in prefetch(endless(), depth=3):
        if item == 4:
            break
    assert wait_for(lambda: not prefetching()) and len(made) <= 4 + 3 and wait_for(lambda: closed)
    with pytest.raises(ZeroDivisionError):
        sum(item // 0 for item in prefetch(endless()))
    assert wait_for(lambda: not prefetching())


def test_a_closed_prefetch_makes_no_more_than_it_has_begun():
    made = []

    def slow():
        while True:
            made.append(1)
            time.sleep(0.02)
            yield len(made)

    stopped = prefetch(slow(), depth=8)
    assert next(stopped) == 1
    stopped.close()
    assert not prefetching() and len(made) <= 3
