"""What is pushed out before anybody waits for it."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import pytest
from helpers.land import FakeSink, GatedSink

from ctxkit.flushing import (
    FlushReport,
    _nudging,
    add_sink,
    engine,
    flush,
    nudge,
    on_report,
    prepare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A process that holds responses, at a time that stands still."""
    stopped = Clock()
    monkeypatch.setattr(_nudging, "monotonic", stopped)
    monkeypatch.setattr(_nudging, "_due", math.inf)
    monkeypatch.setattr(_nudging, "_push", None)
    prepare(holds=True)
    return stopped


@pytest.fixture
def sink() -> Iterator[GatedSink]:
    gated = GatedSink()
    gated.concurrency = 3  # type: ignore[attr-defined]
    add_sink(gated)
    yield gated
    gated.gate.release(99)


def nudge_twice(clock: Clock) -> None:
    """Record something, and something more when that has waited long enough."""
    nudge()
    clock.now += _nudging.INTERVAL
    nudge()


def test_nudge_pushes_when_the_first_has_waited_long_enough(clock: Clock, sink: GatedSink) -> None:
    nudge()
    clock.now += _nudging.INTERVAL - 0.001
    nudge()
    assert not sink.entered.acquire(timeout=0.05)

    clock.now += 0.002
    nudge()

    assert sink.entered.acquire(timeout=10)


def test_nudge_after_a_push_counts_anew(clock: Clock, sink: GatedSink) -> None:
    nudge_twice(clock)
    assert sink.entered.acquire(timeout=10)

    nudge()
    clock.now += _nudging.INTERVAL / 2
    nudge()
    assert not sink.entered.acquire(timeout=0.05)
    clock.now += _nudging.INTERVAL
    nudge()

    assert sink.entered.acquire(timeout=10)


def test_nudge_after_a_flush_counts_anew(clock: Clock, sink: GatedSink) -> None:
    sink.gate.release()
    nudge()
    clock.now += _nudging.INTERVAL
    assert flush(10).ok
    assert sink.entered.acquire(timeout=10)

    nudge()

    assert not sink.entered.acquire(timeout=0.05)


def test_nudge_in_a_process_that_holds_nothing_pushes_nothing(
    sink: GatedSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nudging, "_due", math.inf)
    prepare()

    for _ in range(3):
        nudge()
        _nudging.rest()

    assert _nudging._due == math.inf
    assert not sink.entered.acquire(timeout=0.05)


@pytest.mark.parametrize(("waiting", "pushed"), [(511, False), (512, True), (None, False)])
def test_push_of_a_serial_sink_needs_a_backlog(
    clock: Clock, waiting: int | None, *, pushed: bool
) -> None:
    sink = GatedSink(waiting=waiting)
    add_sink(sink)

    nudge_twice(clock)

    assert sink.entered.acquire(timeout=10 if pushed else 0.05) is pushed
    sink.gate.release(9)


@pytest.mark.parametrize("waiting", [0, None])
def test_push_of_a_sink_with_nothing_known_to_wait_begins_nothing(
    clock: Clock, sink: GatedSink, waiting: int | None
) -> None:
    sink.waiting = waiting

    nudge_twice(clock)

    assert not sink.entered.acquire(timeout=0.05)


def test_push_leaves_room_for_the_flush_at_the_end(clock: Clock, sink: GatedSink) -> None:
    for _ in range(2):
        nudge_twice(clock)
        assert sink.entered.acquire(timeout=10)
    nudge_twice(clock)
    assert not sink.entered.acquire(timeout=0.05), "the third and last is for who waits"
    ended: list[FlushReport] = []
    waiting = threading.Thread(target=lambda: ended.append(flush(15)))
    waiting.start()
    assert sink.entered.acquire(timeout=10)

    sink.gate.release(3)
    waiting.join()

    assert [report.ok for report in ended] == [True]


def test_push_of_a_sink_that_failed_begins_nothing(clock: Clock) -> None:
    sink = FakeSink(work=lambda: False)
    sink.concurrency = 3  # type: ignore[attr-defined]
    add_sink(sink)
    flush(10)

    nudge_twice(clock)

    [lane] = engine._ENGINE.lanes()
    assert (lane.running, lane._queued) == ((), None)
    assert len(sink.timeouts) == 1


@pytest.mark.parametrize("why", ["new thread", "new thread at interpreter shutdown"])
def test_push_without_room_for_a_thread_leaves_it_to_the_flush(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError(f"can't start {why}")

    sink = FakeSink()
    sink.concurrency = 3  # type: ignore[attr-defined]
    add_sink(sink)
    heard: list[FlushReport] = []
    on_report(heard.append)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        nudge_twice(clock)

    assert (sink.timeouts, heard) == ([], [])
    assert flush(10).ok


def test_push_that_lands_is_told_to_nobody(clock: Clock, sink: GatedSink) -> None:
    heard: list[FlushReport] = []
    on_report(heard.append)
    nudge_twice(clock)
    assert sink.entered.acquire(timeout=10)
    sink.gate.release(2)

    assert flush(15).ok

    assert [report.reason for report in heard] == ["explicit"]


def test_push_that_loses_something_is_told_at_once_and_by_the_next_flush(
    clock: Clock, sink: GatedSink
) -> None:
    heard: list[FlushReport] = []
    told = threading.Event()
    on_report(lambda report: (heard.append(report), told.set()))
    passes_gate = sink.work
    sink.work = lambda: passes_gate() and False
    nudge_twice(clock)
    assert sink.entered.acquire(timeout=10)
    sink.gate.release()
    assert told.wait(10)
    [push] = heard
    assert (push.reason, push.results[0].status) == ("push", "error")
    sink.work = lambda: True
    sink.waiting = 0

    assert flush(15).results[0].status == "error"
    assert flush(15).results[0].status == "empty"


def test_push_inside_a_flush_begins_nothing(clock: Clock) -> None:
    sink = FakeSink(work=lambda: nudge_twice(clock) or True)
    sink.concurrency = 3  # type: ignore[attr-defined]
    add_sink(sink)

    assert flush(10).ok

    [lane] = engine._ENGINE.lanes()
    assert (lane.running, lane._queued) == ((), None)
    assert len(sink.timeouts) == 1


def test_push_that_breaks_is_logged_and_raises_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_it() -> None:
        raise ValueError("broken engine")

    monkeypatch.setattr(engine._ENGINE, "push", break_it)

    nudge_twice(clock)

    assert "ctxkit.flush.push_failed" in caplog.text
    assert "broken engine" in caplog.text


def test_streaming_responses_nudge_between_their_parts(clock: Clock, sink: GatedSink) -> None:
    from helpers.wsgi import Exchange  # noqa: PLC0415 - used here alone

    import ctxkit  # noqa: PLC0415 - as above

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        clock.now += _nudging.INTERVAL
        yield b"second"
        assert sink.entered.acquire(timeout=10), "not pushed while the body streams"
        sink.gate.release(9)

    exchange = Exchange()(ctxkit.WSGIMiddleware(app, mode="always"))

    assert exchange.body == b"firstsecond"


def test_asgi_events_nudge_between_them(clock: Clock, sink: GatedSink) -> None:
    import asyncio  # noqa: PLC0415 - used here alone

    from helpers.asgi import Exchange, body, start  # noqa: PLC0415 - as above

    import ctxkit  # noqa: PLC0415 - as above

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        clock.now += _nudging.INTERVAL
        await send(body(b"first", more=True))
        assert await asyncio.to_thread(sink.entered.acquire, timeout=10)
        sink.gate.release(9)
        await send(body(b"second"))

    exchange = asyncio.run(Exchange()(ctxkit.ASGIMiddleware(app, mode="always")))

    assert exchange.body == b"firstsecond"
