"""A dead sink costs one budget, then nothing until it is probed."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from helpers.land import BrokenSink, FakeSink, GatedSink, wait_until

from ctxkit.flushing import (
    BreakerState,
    FlushReport,
    SinkOutcome,
    SinkStatus,
    add_sink,
    counters,
    drain,
    engine,
    flush,
    on_report,
)
from ctxkit.flushing.breaker import REST

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 20  # seconds that no test would wait


@pytest.fixture
def hanging() -> Iterator[GatedSink]:
    sink = GatedSink("hanging")
    add_sink(sink)
    yield sink
    sink.gate.release(99)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return what to add to the clock of the breakers that are made from now on."""
    added = [0.0]
    from ctxkit.flushing import _lane, breaker  # noqa: PLC0415 - to be patched

    monkeypatch.setattr(
        _lane, "Breaker", lambda: breaker.Breaker(lambda: breaker.monotonic() + added[0])
    )
    return added


def status(report: FlushReport) -> str:
    [result] = report.results
    return result.status


def test_flush_does_not_wait_for_a_pass_that_somebody_waited_for_in_vain(
    hanging: GatedSink,
) -> None:
    assert status(flush(0.05)) == "timeout"
    landed = FakeSink("healthy")
    add_sink(landed)

    report = flush(0.05)

    assert {result.sink: result.status for result in report.results} == {
        "hanging": "in_flight",
        "healthy": "ok",
    }
    [result] = [each for each in report.results if each.sink == "hanging"]
    assert result.seconds == 0.0
    assert not report.ok
    assert len(hanging.timeouts) == 1


def test_flush_with_more_time_waits_for_the_rest_of_it(hanging: GatedSink) -> None:
    assert status(flush(0.01)) == "timeout"
    [lane] = engine._ENGINE.lanes()

    assert lane.allowance(0.05) == pytest.approx(0.04, abs=0.03)


def test_flush_after_a_timeout_waits_shortly_for_the_next_pass() -> None:
    sink = FakeSink(work=lambda: SinkOutcome(SinkStatus.TIMEOUT, "too slow"))
    add_sink(sink)
    [lane] = engine._ENGINE.lanes()

    assert status(flush(LONG)) == "timeout"
    lane.breaker.lose(LONG)
    assert lane.allowance(LONG) == 0.1
    assert status(flush(LONG)) == "timeout"
    assert sink.timeouts == [LONG, LONG], "it may take longer than anybody waits"
    assert status(flush(LONG)) == "breaker"
    assert len(sink.timeouts) == 2


def test_flush_of_a_sink_that_failed_twice_is_not_tried(caplog: pytest.LogCaptureFixture) -> None:
    sink = BrokenSink()
    add_sink(sink)

    with caplog.at_level(logging.WARNING, logger="ctxkit"):
        assert [status(flush(LONG)) for _ in range(4)] == ["error", "error", "breaker", "breaker"]

    assert len(sink.timeouts) == 2
    report = flush(LONG)
    [result] = report.results
    assert not report.ok
    assert (result.pending, result.seconds) == (1, 0.0)
    assert result.detail == "failed 2 times in a row; is tried again in 30 s"
    expected = ["ctxkit.flush.breaker_open: broken", "ctxkit.flush.error: broken"]

    def logged() -> list[str]:
        # Of this sink: the thread of one before may come late with its own.
        starts = (" ".join(message.split()[:2]) for message in caplog.messages)
        return sorted(start for start in starts if start.endswith(" broken"))

    wait_until(lambda: logged() == expected)


def test_flush_after_the_rest_probes_once_and_closes(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    sink = BrokenSink()
    add_sink(sink)
    flush(LONG)
    flush(LONG)
    clock[0] += REST + 1

    assert status(flush(LONG)) == "error"
    assert status(flush(LONG)) == "breaker"
    assert len(sink.timeouts) == 3
    clock[0] += REST + 1
    sink.mended = True
    with caplog.at_level(logging.WARNING, logger="ctxkit"):
        assert [status(flush(LONG)) for _ in range(2)] == ["ok", "ok"]
    assert len(sink.timeouts) == 5
    wait_until(lambda: "ctxkit.flush.breaker_closed: broken works again" in caplog.messages)


def test_late_pass_that_ends_well_closes_the_breaker_at_once(hanging: GatedSink) -> None:
    flush(0.01)
    [lane] = engine._ENGINE.lanes()
    lane.breaker.fail()
    assert lane.breaker.state is BreakerState.OPEN
    wait_until(lambda: lane.running)
    [late] = lane.running
    over = threading.Semaphore(0)
    lane.settle(late, _Signal(over))  # type: ignore[arg-type]

    hanging.gate.release(9)

    assert over.acquire(timeout=10)
    assert lane.breaker.state is BreakerState.CLOSED
    assert status(flush(LONG)) == "ok"


def test_late_pass_that_fails_opens_the_breaker(hanging: GatedSink) -> None:
    passes_gate = hanging.work
    hanging.work = lambda: passes_gate() and False
    flush(0.15)
    [lane] = engine._ENGINE.lanes()
    wait_until(lambda: lane.running)
    [late] = lane.running
    over = threading.Semaphore(0)
    lane.settle(late, _Signal(over))  # type: ignore[arg-type]

    hanging.gate.release()

    assert over.acquire(timeout=10)
    assert status(flush(LONG)) == "breaker"


def test_flush_of_many_at_once_counts_a_hang_as_one_failure(hanging: GatedSink) -> None:
    callers = [threading.Thread(target=flush, args=(0.05,)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    [lane] = engine._ENGINE.lanes()
    assert lane.breaker.failures == 1
    assert len(hanging.timeouts) == 1


def test_flush_without_time_is_no_failure(hanging: GatedSink) -> None:
    for _ in range(5):
        assert status(flush(0)) == "in_flight"

    [lane] = engine._ENGINE.lanes()
    assert lane.breaker.failures == 0


def test_flush_with_a_deadline_that_is_over_says_so(
    hanging: GatedSink, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ctxkit"):
        report = flush(-0.5)

    assert status(report) == "skipped_deadline"
    assert report.budget == 0.0
    assert not report.ok
    assert hanging.entered.acquire(timeout=10), "begun all the same"
    assert "ctxkit.flush.skipped_deadline: hanging" in caplog.text


def test_drain_tries_a_sink_that_rests_for_a_moment() -> None:
    sink = BrokenSink()
    add_sink(sink)
    flush(LONG)
    flush(LONG)
    sink.mended = True

    drain()

    assert len(sink.timeouts) == 3
    assert status(flush(LONG)) == "ok"


def test_counters_add_up_what_callers_were_told() -> None:
    sink = BrokenSink()
    add_sink(sink)
    add_sink(FakeSink("quiet", waiting=0))
    for _ in range(3):
        flush(LONG)

    told = counters()

    assert told["broken"].results == {SinkStatus.ERROR: 2, SinkStatus.BREAKER: 1}
    assert (told["broken"].passes, told["broken"].breaker) == (2, BreakerState.OPEN)
    assert told["broken"].seconds > 0
    assert (told["quiet"].results, told["quiet"].passes) == ({SinkStatus.EMPTY: 3}, 0)


def test_counters_of_sinks_without_end_are_bounded() -> None:
    from ctxkit.flushing import remove_sink  # noqa: PLC0415 - used here alone

    for number in range(150):
        sink = FakeSink(f"sink {number}", waiting=0)
        add_sink(sink)
        flush()
        remove_sink(sink)

    assert len(counters()) == 100
    assert "sink 149" in counters()


def test_report_names_the_request_it_belongs_to() -> None:
    import ctxkit  # noqa: PLC0415 - used here alone

    heard: list[FlushReport] = []
    on_report(heard.append)
    add_sink(FakeSink())

    with ctxkit.bind(request_id="r-1"):
        flush(LONG)
    flush(LONG, request_id="r-2")
    flush(LONG)

    assert [report.request_id for report in heard] == ["r-1", "r-2", None]
    assert "flush (explicit of r-1) took" in str(heard[0])


class _Signal:
    """A latch that tells a semaphore."""

    def __init__(self, semaphore: threading.Semaphore) -> None:
        self.arrive = semaphore.release
