from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from helpers.land import FakeSink, GatedSink, wait_until

from ctxkit import ConfigurationError
from ctxkit.flushing import (
    FlushReport,
    SinkOutcome,
    SinkStatus,
    add_sink,
    aflush,
    engine,
    flush,
    on_report,
    remove_sink,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def statuses(report: FlushReport) -> dict[str, str]:
    return {result.sink: result.status for result in report.results}


def added(sink: FakeSink) -> FakeSink:
    add_sink(sink)
    return sink


def test_flush_without_sinks_reports_none() -> None:
    report = flush(1.5, reason="why not")

    assert (report.reason, report.budget, report.results, report.ok) == ("why not", 1.5, (), True)


def test_flush_with_nothing_pending_starts_no_thread(
    flush_threads: Callable[[], list[str]],
) -> None:
    sink = added(FakeSink(waiting=0))

    assert statuses(flush()) == {"fake": "empty"}
    assert sink.timeouts == []
    assert flush_threads() == []


@pytest.mark.parametrize("waiting", [3, None])
def test_flush_with_something_pending_waits_for_the_sink(waiting: int | None) -> None:
    sink = added(FakeSink(waiting=waiting))

    [result] = flush(5).results

    assert (result.status, result.pending, result.detail) == (SinkStatus.OK, waiting, "")
    assert sink.timeouts == [5.0]
    assert sink.threads[0] != threading.get_ident()


def test_flush_runs_all_sinks_at_once() -> None:
    meeting = threading.Barrier(3)
    for name in "abc":
        added(FakeSink(name, work=lambda: meeting.wait(10) >= 0))

    assert statuses(flush(10)) == {"a": "ok", "b": "ok", "c": "ok"}


def test_flush_uses_one_thread_per_sink_for_ever(
    flush_threads: Callable[[], list[str]],
) -> None:
    sink = added(FakeSink())

    for _ in range(3):
        flush(5)

    assert len(sink.threads) == 3
    assert len(set(sink.threads)) == 1
    assert flush_threads() == ["ctxkit.flush.fake"]


def test_flush_with_a_hanging_sink_names_it_and_lands_the_other() -> None:
    hanging = GatedSink("hanging")
    add_sink(hanging)
    landed = added(FakeSink("healthy"))

    report = flush(0.1)

    assert statuses(report) == {"hanging": "timeout", "healthy": "ok"}
    assert not report.ok
    assert report.seconds < 1
    assert len(landed.timeouts) == 1
    hanging.gate.release()


def test_flush_after_a_hang_starts_no_second_one_beside_it(
    flush_threads: Callable[[], list[str]],
) -> None:
    sink = GatedSink()
    add_sink(sink)

    for expected in ("timeout", "in_flight", "in_flight"):
        assert statuses(flush(0.02)) == {"gated": expected}

    assert len(sink.timeouts) == 1
    assert flush_threads() == ["ctxkit.flush.gated"]
    [lane] = engine._ENGINE.lanes()
    assert lane._queued is not None
    assert lane._queued.latches == [], "kept for callers who left long ago"
    sink.gate.release(2)
    assert statuses(flush(10)) == {"gated": "ok"}
    assert len(sink.timeouts) == 2


def test_flush_during_a_pass_needs_the_next_one_and_shares_it() -> None:
    sink = GatedSink()
    add_sink(sink)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(flush, 15)
        assert sink.entered.acquire(timeout=10)
        others = [pool.submit(flush, 15) for _ in range(7)]
        [lane] = engine._ENGINE.lanes()
        wait_until(lambda: lane._queued is not None and len(lane._queued.latches) == 7)

        sink.gate.release()
        assert first.result().ok
        assert sink.entered.acquire(timeout=10)
        assert not any(other.done() for other in others)
        sink.gate.release()
        assert all(other.result().ok for other in others)

    assert len(sink.timeouts) == 2


def test_flush_during_a_pass_that_took_everything_waits_for_that_pass() -> None:
    sink = GatedSink()
    add_sink(sink)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flush, 15)
        assert sink.entered.acquire(timeout=10)
        sink.waiting = 0
        second = pool.submit(flush, 15)
        [lane] = engine._ENGINE.lanes()
        wait_until(lambda: bool(lane.running) and len(lane.running[0].latches) == 2)

        sink.gate.release()

        assert first.result().ok
        assert second.result().ok
    assert len(sink.timeouts) == 1


def test_flush_is_told_what_the_pass_before_its_own_lost() -> None:
    answers = iter([False, True, True])
    sink = GatedSink()
    passes_gate = sink.work
    sink.work = lambda: passes_gate() and next(answers)
    add_sink(sink)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flush, 15)
        assert sink.entered.acquire(timeout=10)
        second = pool.submit(flush, 15)
        [lane] = engine._ENGINE.lanes()
        wait_until(lambda: lane._queued is not None)
        sink.gate.release(3)

        assert statuses(first.result()) == {"gated": "error"}
        assert statuses(second.result()) == {"gated": "error"}
    assert statuses(flush(10)) == {"gated": "ok"}


@pytest.mark.parametrize("timeout", [math.inf, 1e300])
def test_flush_without_limit_gives_sinks_what_they_can_wait_for(timeout: float) -> None:
    sink = FakeSink(work=lambda: threading.Lock().acquire(timeout=sink.timeouts[-1]))
    add_sink(sink)
    assert flush(timeout).ok
    assert asyncio.run(aflush(timeout)).ok


def test_flush_with_timeout_zero_begins_and_does_not_wait() -> None:
    sink = GatedSink()
    add_sink(sink)

    [result] = flush(0).results

    assert (result.status, result.detail) == ("in_flight", "begun, and not waited for")
    assert sink.entered.acquire(timeout=10)
    assert sink.timeouts[0] > 0
    sink.gate.release()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_flush_with_a_raising_sink_reports_and_survives(error: BaseException) -> None:
    def raise_it() -> None:
        raise error

    sink = added(FakeSink(work=raise_it))

    [result] = flush(10).results
    sink.work = lambda: True

    assert result.status == "error"
    assert result.detail == f"{type(error).__name__}: {error}"
    assert flush(10).ok
    assert len(set(sink.threads)) == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (None, "unverified"),
        (True, "ok"),
        (False, "error"),
        ("yes", "error"),
        (SinkOutcome(SinkStatus.UNVERIFIED, "who knows"), "unverified"),
    ],
)
def test_flush_reports_what_the_sink_answered(answer: object, status: str) -> None:
    added(FakeSink(work=lambda: answer))

    assert statuses(flush(10)) == {"fake": status}


def test_flush_with_a_sink_that_cannot_count_flushes_it() -> None:
    class Broken(FakeSink):
        def pending(self) -> int:
            raise RuntimeError("no idea")

    sink = added(Broken())

    [result] = flush(10).results

    assert (result.status, result.pending) == ("ok", None)
    assert len(sink.timeouts) == 1


def test_flush_inside_a_flush_does_not_wait_for_itself() -> None:
    inner: list[FlushReport] = []
    added(FakeSink(work=lambda: inner.append(flush(10)) or True))
    begun = time.monotonic()

    assert flush(10).ok

    assert time.monotonic() - begun < 5
    assert statuses(inner[0]) == {"fake": "empty"}


def test_flush_runs_sinks_outside_of_the_callers_context() -> None:
    var = contextvars.ContextVar("var", default="unset")
    var.set("request")
    seen: list[str] = []
    added(FakeSink(work=lambda: seen.append(var.get()) or True))

    flush(10)

    assert seen == ["unset"]


def test_flush_at_interpreter_shutdown_runs_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    sink = added(FakeSink())
    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert flush(1).ok
    assert sink.threads == [threading.get_ident()]


def test_flush_without_room_for_a_thread_fails_and_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = added(FakeSink())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        [result] = flush(1).results

    assert (result.status, result.detail) == ("error", "no thread for it: can't start new thread")
    assert sink.timeouts == []
    assert flush(10).ok


def test_remove_sink_flushes_it_no_more(flush_threads: Callable[[], list[str]]) -> None:
    sink = added(FakeSink())
    assert flush(10).ok

    remove_sink(sink)

    assert flush().results == ()
    wait_until(lambda: flush_threads() == [])


@pytest.mark.parametrize(
    ("name", "problem"), [("", "name is ''"), ("sentry", "second sink"), ("taken", "second sink")]
)
def test_add_sink_with_an_unusable_name_is_refused(name: str, problem: str) -> None:
    added(FakeSink("taken"))

    with pytest.raises(ConfigurationError, match=problem):
        add_sink(FakeSink(name))


def test_add_sink_without_flush_is_refused() -> None:
    class Useless:
        name = "useless"

        def pending(self) -> int:
            return 0

    with pytest.raises(ConfigurationError, match=r"no method flush\(\)"):
        add_sink(Useless())  # type: ignore[arg-type]


def test_flush_takes_the_timeout_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTXKIT_FLUSH_TIMEOUT", "0.75")
    assert flush().budget == 0.75
    assert flush(0.5).budget == 0.5

    monkeypatch.setenv("CTXKIT_FLUSH_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="CTXKIT_FLUSH_TIMEOUT must be a number"):
        flush()


def test_on_report_hears_every_report_until_removed() -> None:
    heard: list[FlushReport] = []
    added(FakeSink())
    remove = on_report(heard.append)

    reports = [flush(10), flush(10)]
    remove()
    flush(10)

    assert heard == reports


def test_on_report_with_a_raising_listener_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def complain(_: FlushReport) -> None:
        raise ValueError("bad listener")

    on_report(complain)

    assert flush().ok
    assert "bad listener" in caplog.text


def test_flush_warns_once_a_minute_for_each_sink(caplog: pytest.LogCaptureFixture) -> None:
    added(FakeSink("down", work=lambda: False))
    hanging = GatedSink("hanging")
    add_sink(hanging)

    with caplog.at_level(logging.WARNING, logger="ctxkit"):
        for _ in range(3):
            flush(0.02)

    expected = [
        ["ctxkit.flush.breaker_open:", "down"],
        ["ctxkit.flush.error:", "down"],
        ["ctxkit.flush.timeout:", "hanging"],
    ]
    wait_until(lambda: sorted(line.split()[:2] for line in caplog.messages) == expected)
    hanging.gate.release()


def test_flush_imports_no_asyncio() -> None:
    script = """
import sys
import ctxkit.flushing as flushing

class Sink:
    name = "mine"
    def pending(self):
        return 1
    def flush(self, timeout):
        return True

flushing.add_sink(Sink())
assert flushing.flush().results[0].status == "ok"
print({"asyncio", "dataclasses", "inspect", "json", "logging"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        # What measures coverage imports all of them.
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert done.stderr == b""
    assert done.stdout.strip() == b"set()"
