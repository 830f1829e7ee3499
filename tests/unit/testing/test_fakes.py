from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import Sink, SinkOutcome, SinkStatus, add_sink, flush, remove_sink
from ctxkit.flushing.breaker import REST, THRESHOLD, Breaker, BreakerState
from ctxkit.testing import FakeClock, MemorySink


def test_memory_sink_lands_what_was_recorded_when_it_is_flushed() -> None:
    sink = MemorySink()
    assert isinstance(sink, Sink)
    add_sink(sink)
    try:
        sink.record("order 7")
        report = flush(10)
        assert flush(10).results[-1].status == "empty"
    finally:
        remove_sink(sink)
    [result] = [result for result in report.results if result.sink == "memory"]
    assert (result.status, result.pending) == ("ok", 1)
    assert (sink.landed, sink.lost, sink.timeouts) == (["order 7"], [], [10])


@pytest.mark.parametrize(
    ("outcome", "answer", "landed"),
    [
        (True, True, True),
        (None, None, True),
        (False, False, False),
        (SinkStatus.TIMEOUT, SinkOutcome(SinkStatus.TIMEOUT), False),
        (SinkStatus.UNVERIFIED, SinkOutcome(SinkStatus.UNVERIFIED), True),
        (SinkOutcome(SinkStatus.ERROR, "full"), SinkOutcome(SinkStatus.ERROR, "full"), False),
        (SinkOutcome(SinkStatus.OK), SinkOutcome(SinkStatus.OK), True),
    ],
)
def test_memory_sink_ends_as_it_was_told(outcome: Any, answer: Any, *, landed: bool) -> None:
    sink = MemorySink(outcomes=[outcome])
    sink.record("order 7")
    assert sink.flush(1) == answer
    assert (sink.landed, sink.lost) == ((["order 7"], []) if landed else ([], ["order 7"]))
    assert sink.flush(1) is True
    assert sink.pending() == 0


def test_memory_sink_raises_what_it_was_told() -> None:
    sink = MemorySink(outcomes=[OSError("gone")])
    sink.record("order 7")
    with pytest.raises(OSError, match="gone"):
        sink.flush(1)
    assert (sink.lost, sink.pending()) == (["order 7"], 0)


def test_memory_sink_that_is_held_is_pending_until_it_is_let_go() -> None:
    sink = MemorySink()
    sink.record("order 7")
    thread = threading.Thread(target=sink.flush, args=(1,))
    with sink.held():
        thread.start()
        sink.wait_until_flushed()
        assert (sink.pending(), sink.landed) == (1, [])
    thread.join(10)
    assert (sink.pending(), sink.landed) == (0, ["order 7"])


def test_memory_sink_that_nobody_flushes_is_a_timeout() -> None:
    sink = MemorySink("audit")
    with sink.held(), pytest.raises(TimeoutError, match="nobody flushed 'audit'"):
        sink.wait_until_flushed(0.01)


def test_clock_stands_still_until_it_is_told() -> None:
    clock = FakeClock(5)
    before = clock(), clock.time()
    time.sleep(0.01)
    assert (clock(), clock.time()) == before
    clock.advance(2.5)
    assert (clock(), clock.monotonic(), clock.time() - clock.born) == (7.5, 7.5, 2.5)


@pytest.mark.parametrize(("monotonic", "now"), [(True, 60), (False, 0)])
def test_clock_passes_the_time_of_a_freeze(*, monotonic: bool, now: float) -> None:
    clock = FakeClock()
    clock.freeze(60, monotonic=monotonic)
    assert (clock(), clock.time() - clock.born) == (now, 60)


def test_clock_may_be_given_to_what_takes_one() -> None:
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(THRESHOLD):
        breaker.fail()
    states = [breaker.state]
    clock.freeze(REST)
    assert [*states, breaker.state] == [BreakerState.OPEN, BreakerState.HALF_OPEN]


def test_wall_clock_may_be_set_back_alone() -> None:
    clock = FakeClock(wall=100)
    clock.set_wall(40)
    assert (clock(), clock.time()) == (0, 40)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_clock_that_is_to_go_back_is_a_configuration_error(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="Clocks go forward"):
        FakeClock().advance(seconds)
