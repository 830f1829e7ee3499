"""Lanes whose sink goes away, whose thread is attacked, whose callers are in a hurry."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from helpers.land import BrokenSink, FakeSink, GatedSink, wait_until

from ctxkit.flushing import (
    BreakerState,
    SinkResult,
    SinkStatus,
    _alerts,
    add_sink,
    aflush,
    counters,
    engine,
    flush,
    on_report,
    remove_sink,
)
from ctxkit.flushing._latch import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing._lane import Lane

LONG = 20  # seconds that no test would wait


def only_lane() -> Lane:
    [lane] = engine._ENGINE.lanes()
    return lane


def test_sink_that_is_removed_during_a_pass_still_serves_who_waits_behind_it(
    flush_threads: Callable[[], list[str]],
) -> None:
    sink = GatedSink()
    add_sink(sink)
    lane = only_lane()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flush, LONG)
        assert sink.entered.acquire(timeout=10)
        second = pool.submit(flush, LONG)
        wait_until(lambda: lane._queued is not None)
        remove_sink(sink)
        assert engine.sinks() == ()

        sink.gate.release(2)

        assert [first.result(10).ok, second.result(10).ok] == [True, True]
    wait_until(lambda: flush_threads() == [])


def test_pass_of_a_sink_that_was_removed_meanwhile_is_carried_out(
    flush_threads: Callable[[], list[str]],
) -> None:
    sink = FakeSink()
    add_sink(sink)
    flush(LONG)
    lane = only_lane()
    remove_sink(sink)
    assert engine.sinks() == ()

    latch = Latch(1)
    due = lane.join(latch, LONG, 1)
    latch.wait(10)

    assert due.outcome is not None
    assert due.outcome.status is SinkStatus.OK
    wait_until(lambda: flush_threads() == [])


def test_listener_that_exits_does_not_end_the_thread_of_a_sink() -> None:
    sink = BrokenSink()
    add_sink(sink)
    lane = only_lane()
    told = threading.Event()

    def leave(_: object) -> None:
        told.set()
        raise SystemExit

    remove = on_report(leave)
    lane.join(None, 0.0, 1, pushed=True)
    assert told.wait(10)
    remove()
    sink.mended = True

    assert flush(10).results[0].status == "error", "what the push lost"
    assert flush(10).ok


def test_filter_of_logging_that_raises_is_no_matter_of_a_flush() -> None:
    class Refusing(logging.Filter):
        def filter(self, _: logging.LogRecord) -> bool:
            raise LookupError("no such field")

    sink = BrokenSink()
    add_sink(sink)
    refusing = Refusing()
    logging.getLogger("ctxkit.flushing").addFilter(refusing)
    try:
        assert [flush(10).results[0].status for _ in range(2)] == ["error", "error"]
        sink.mended = True
        only_lane().breaker.succeed()
        assert flush(10).ok
    finally:
        logging.getLogger("ctxkit.flushing").removeFilter(refusing)


def test_sink_slower_than_a_probe_closes_its_breaker() -> None:
    def work() -> bool | None:
        time.sleep(min(0.3, sink.timeouts[-1]))
        return sink.timeouts[-1] > 0.3

    sink = FakeSink(work=work)
    add_sink(sink)
    breaker = only_lane().breaker
    breaker.fail(2.0)

    assert flush(2).results[0].status == "timeout"

    wait_until(lambda: breaker.failures == 0)


def test_sink_that_fails_slowly_costs_the_next_caller_the_rest_of_the_budget() -> None:
    sink = FakeSink(work=lambda: time.sleep(0.3) or False)
    add_sink(sink)

    assert flush(LONG).results[0].status == "error"

    allowance = only_lane().allowance(LONG)
    assert allowance is not None
    assert allowance <= LONG - 0.3


def test_report_tells_of_each_sink_how_long_that_was_waited_for() -> None:
    wary, hanging = GatedSink("wary"), GatedSink("hanging")
    add_sink(wary)
    engine._ENGINE.lanes()[0].breaker.fail(LONG)
    add_sink(hanging)

    seconds = {result.sink: result.seconds for result in flush(0.4).results}

    assert seconds["wary"] == pytest.approx(0.1)
    assert seconds["hanging"] == pytest.approx(0.4)
    wary.gate.release()
    hanging.gate.release()


def test_flush_that_is_interrupted_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Latch, __: float) -> None:
        raise KeyboardInterrupt

    sink = GatedSink()
    add_sink(sink)
    with monkeypatch.context() as patch:
        patch.setattr(Latch, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flush(LONG)

    assert sink.entered.acquire(timeout=10)
    [running] = only_lane().running
    assert running.latches == []
    sink.gate.release()


def test_aflush_that_is_cancelled_late_has_waited_in_vain() -> None:
    sink = GatedSink()
    add_sink(sink)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aflush(LONG), 0.15)

    asyncio.run(main())

    assert only_lane().breaker.failures == 1
    sink.gate.release()


def test_counters_can_be_read_and_added_to_by_a_signal_handler() -> None:
    add_sink(FakeSink(waiting=0))
    tally = only_lane().tally

    def handle() -> None:
        with tally._lock:  # where the signal came
            tally.count(SinkResult("fake", SinkStatus.OK, 0.0, 0, ""))
            counters()

    thread = threading.Thread(target=handle, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_flush_while_another_thread_looks_for_sinks_does_not_miss_them(
    monkeypatch: pytest.MonkeyPatch, fresh_engine: engine.Engine
) -> None:
    sink = FakeSink()
    found = engine.discover
    answers: list[bool] = []
    looking = threading.Thread(target=lambda: answers.append(fresh_engine.idle()))

    def discover() -> Any:
        if not looking.ident:
            looking.start()
            looking.join(0.1)  # it would not come back, and rightly so
        return found()

    add_sink(sink)
    monkeypatch.setattr(engine, "discover", discover)
    fresh_engine.lanes()
    looking.join(10)

    assert answers == [False]


def test_counters_of_a_sink_that_stays_outlive_those_that_come_and_go() -> None:
    add_sink(FakeSink("stays"))
    flush(10)
    for number in range(120):
        sink = FakeSink(f"sink {number}", waiting=0)
        add_sink(sink)
        engine.sinks()
        remove_sink(sink)

    told = counters()
    assert told["stays"].results == {SinkStatus.OK: 1}
    assert len(told) == 100


def test_pass_that_fails_after_a_caller_in_a_hurry_has_left_is_one_failure() -> None:
    sink = GatedSink()
    pass_gate = sink.work
    sink.work = lambda: pass_gate() and False
    add_sink(sink)
    lane = only_lane()
    for passes in (1, 2):
        assert flush(0.01).results[0].status == "timeout"
        assert lane.breaker.failures == passes
        sink.gate.release()
        wait_until(lambda passes=passes: lane.tally.passes == passes and not lane.running)

    wait_until(lambda: lane.breaker.state is BreakerState.OPEN)


def test_alerts_of_sinks_without_end_are_bounded() -> None:
    for number in range(2000):
        _alerts.warn_of_opening(f"sink {number}", "it is a test")

    assert len(_alerts._last) <= 500
