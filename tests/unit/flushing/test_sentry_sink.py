from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

sentry_sdk = pytest.importorskip("sentry_sdk")
with contextlib.suppress(ImportError):  # of versions that have no logs
    import sentry_sdk.logger

from helpers.land import wait_until  # noqa: E402 - after the skip
from helpers.land_sentry import sentry_set_up  # noqa: E402 - needs the SDK
from sentry_sdk.transport import Transport  # noqa: E402 - needs the SDK

from ctxkit.contrib.sentry import ConcurrentTransport  # noqa: E402
from ctxkit.flushing import aflush, engine, flush, prepare  # noqa: E402
from ctxkit.flushing.sinks import _sentry_client, discover  # noqa: E402
from ctxkit.testing import TelemetrySink  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ctxkit.flushing import SinkResult


def sentry_result(timeout: float = 10) -> SinkResult:
    [result] = flush(timeout).results
    assert result.sink == "sentry"
    return result


def kinds(backend: TelemetrySink) -> list[str]:
    return sorted({item.kind for item in backend.items})


def wait_until_idle(client: Any) -> None:
    deadline = time.monotonic() + 10
    while client.transport._worker._queue.unfinished_tasks:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_flush_lands_whatever_the_client_holds(backend: TelemetrySink) -> None:
    backend.latency = 0.03
    logs = {"enable_logs": True} if hasattr(sentry_sdk, "logger") else {}
    with sentry_set_up(backend.dsn, traces_sample_rate=1.0, **logs):
        with sentry_sdk.start_transaction(name="checkout"):
            sentry_sdk.capture_message("paid")
        if hasattr(sentry_sdk, "logger"):
            sentry_sdk.logger.info("ordered")
        scope = sentry_sdk.get_isolation_scope()
        scope.start_session(session_mode="request")
        scope.end_session()

        result = sentry_result()
        returned = time.time()

        assert (result.status, result.detail) == ("ok", "")
        assert {"sentry.event", "sentry.transaction", "sentry.session"} <= set(kinds(backend))
        assert ("sentry.log" in kinds(backend)) == hasattr(sentry_sdk, "logger")
        assert all(item.acknowledged <= returned for item in backend.items)
        assert sentry_result().status == "empty"


def test_flush_without_a_client_finds_no_sink() -> None:
    assert flush().results == ()


def test_flush_without_a_dsn_finds_no_sink() -> None:
    sentry_sdk.init(default_integrations=False)
    try:
        assert flush().results == ()
    finally:
        sentry_sdk.get_global_scope().set_client(None)


def test_flush_with_nothing_pending_does_nothing(
    backend: TelemetrySink, flush_threads: Callable[[], list[str]]
) -> None:
    with sentry_set_up(backend.dsn) as client:
        for _ in range(10):
            assert sentry_result().status == "empty"

        assert not client.transport._worker.is_alive
    assert flush_threads() == []
    assert backend.requests == 0


def test_flush_finds_the_client_of_today(backend: TelemetrySink) -> None:
    with sentry_set_up(backend.dsn):
        assert sentry_result().status == "empty"
    assert flush().results == ()
    with sentry_set_up(backend.dsn):
        sentry_sdk.capture_message("anew")

        assert sentry_result().status == "ok"
    assert kinds(backend) == ["sentry.event"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("fail", "status_500"), ("refuse", "network"), ("rate-limit", "status_429")],
)
def test_flush_of_what_the_sink_refuses_fails(
    backend: TelemetrySink, behaviour: Any, reason: str
) -> None:
    backend.behaviour = behaviour
    with sentry_set_up(backend.dsn):
        prepare()
        sentry_sdk.capture_message("lost")

        result = sentry_result()

    assert result.status == "error"
    assert reason in result.detail


def test_flush_tells_of_losses_from_before_it_was_called(backend: TelemetrySink) -> None:
    backend.behaviour = "fail"
    with sentry_set_up(backend.dsn) as client:
        prepare()
        sentry_sdk.capture_message("lost")
        wait_until_idle(client)
        requests = backend.requests

        assert sentry_result().status == "error"
        assert sentry_result().status == "empty"
        assert backend.requests == requests, "a flush of nothing sent a report about nothing"


def test_flush_while_rate_limited_tells_of_events_that_were_never_sent(
    backend: TelemetrySink,
) -> None:
    backend.behaviour = "rate-limit"
    with sentry_set_up(backend.dsn):
        sentry_sdk.capture_message("answered 429")
        flush(10)
        requests = backend.requests

        sentry_sdk.capture_message("held back")

        assert sentry_result().detail == "lost: ratelimit_backoff"
        assert backend.requests == requests


def test_flush_of_dropped_events_is_no_failure(backend: TelemetrySink) -> None:
    with sentry_set_up(backend.dsn, before_send=lambda *_: None):
        prepare()
        sentry_sdk.capture_message("unwanted")

        assert sentry_result().status == "empty"


def test_flush_of_a_hanging_sink_times_out_and_takes_one_place_in_the_queue(
    backend: TelemetrySink,
) -> None:
    backend.behaviour = "hang"
    with sentry_set_up(backend.dsn) as client:
        sentry_sdk.capture_message("stuck")
        results = [sentry_result(0.01) for _ in range(20)]
        assert {result.status for result in results} <= {"timeout", "in_flight", "breaker"}
        assert all(result.seconds < 1 for result in results)

        assert client.transport._worker._queue.qsize() <= 1
        backend.close()
        wait_until(lambda: client.transport._worker._queue.unfinished_tasks == 0)


def test_flush_of_a_worker_that_cannot_start_fails_at_once(
    backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At exit, CPython 3.12 lets nobody start a thread."""
    with sentry_set_up(backend.dsn) as client:
        monkeypatch.setattr(client.transport._worker, "start", lambda: None)
        sentry_sdk.capture_message("too late")

        result = sentry_result(20)

        assert (result.status, result.detail) == ("error", "the SDK's worker is not running")
        assert result.seconds < 10
        monkeypatch.undo()
        assert sentry_result().status == "ok"


def test_flush_with_the_queue_full_waits_for_room(backend: TelemetrySink) -> None:
    backend.latency = 0.02
    with sentry_set_up(backend.dsn, transport_queue_size=2) as client:
        prepare()
        sentry_sdk.capture_message("under way")
        deadline = time.monotonic() + 10
        while client.transport._worker._queue.qsize():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        for number in range(3):
            sentry_sdk.capture_message(str(number))

        result = sentry_result()

        assert (result.status, result.detail) == ("error", "lost: queue_overflow")
        assert len(backend.items) == 3


def test_flush_of_a_custom_transport_that_takes_too_long_times_out() -> None:
    class Slow(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            pass

        def flush(self, timeout: float, callback: Any = None) -> None:
            time.sleep(timeout)

    with sentry_set_up("http://public@127.0.0.1:9/1", transport=Slow):
        sentry_sdk.capture_message("slow")

        assert sentry_result(0.05).status == "timeout"
        assert sentry_result(0.05).status in {"timeout", "in_flight"}


def test_flush_counts_an_event_that_is_just_being_sent(backend: TelemetrySink) -> None:
    backend.latency = 0.2
    with sentry_set_up(backend.dsn) as client:
        prepare()
        sentry_sdk.capture_message("under way")
        deadline = time.monotonic() + 10
        while client.transport._worker._queue.qsize():
            assert time.monotonic() < deadline
            time.sleep(0.002)

        assert sentry_result().status == "ok"
        assert kinds(backend) == ["sentry.event"]


def test_flush_heals_a_count_inherited_across_a_fork_without_hooks(
    backend: TelemetrySink,
) -> None:
    with sentry_set_up(backend.dsn) as client:
        client.transport._worker._queue.unfinished_tasks += 3
        sentry_sdk.capture_message("first of the child")

        assert sentry_result().status == "ok"
        assert sentry_result().status == "empty"


def test_flush_with_an_unknown_worker_lands_unverified(backend: TelemetrySink) -> None:
    class Opaque:
        def __init__(self, worker: Any) -> None:
            self.flush = worker.flush
            self.kill = worker.kill
            self.submit = worker.submit
            self.full = worker.full

    with sentry_set_up(backend.dsn) as client:
        client.transport._worker = Opaque(client.transport._worker)
        sentry_sdk.capture_message("somehow")

        result = sentry_result()

        assert (result.status, result.pending) == ("unverified", None)
        assert kinds(backend) == ["sentry.event"]
        assert sentry_result().status == "empty"


def test_flush_with_unknown_buffers_flushes_to_be_sure(backend: TelemetrySink) -> None:
    with sentry_set_up(backend.dsn) as client:
        flusher = client.session_flusher
        client.session_flusher = type("Other", (), {"flush": flusher.flush, "kill": flusher.kill})()

        result = sentry_result()

        assert (result.status, result.pending) == ("ok", None)


def test_flush_with_a_custom_transport_asks_it_and_cannot_tell() -> None:
    class Memory(Transport):
        envelopes: list[Any] = []  # noqa: RUF012 - the SDK makes the instance
        flushes: list[float] = []  # noqa: RUF012

        def capture_envelope(self, envelope: Any) -> None:
            self.envelopes.append(envelope)

        def flush(self, timeout: float, callback: Any = None) -> None:
            self.flushes.append(timeout)

    with sentry_set_up("http://public@127.0.0.1:9/1", transport=Memory):
        sentry_sdk.capture_message("kept")

        result = sentry_result(3)
        assert (result.status, result.detail) == (
            "unverified",
            "Memory does not tell what became of it",
        )
        assert Memory.flushes == [3.0]
        assert sentry_result().status == "empty"


def test_flush_sees_through_the_transport_that_prints(
    backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    printing = getattr(sentry_sdk.transport, "_EnvelopePrinterTransport", None)
    if printing is None:
        pytest.skip("this version of the SDK does not print")
    with sentry_set_up(backend.dsn) as client:
        monkeypatch.setattr(client, "transport", printing(client.transport))
        client.transport.envelope_logger.disabled = True
        backend.behaviour = "fail"
        prepare()
        sentry_sdk.capture_message("printed")

        assert sentry_result().detail == "lost: status_500"
        monkeypatch.undo()


def test_aflush_with_the_async_transport_lands(backend: TelemetrySink) -> None:
    pytest.importorskip("httpcore")
    pytest.importorskip("anyio")
    if not hasattr(sentry_sdk.transport, "AsyncHttpTransport"):
        pytest.skip("this version of the SDK has no async transport")
    from sentry_sdk.integrations.asyncio import AsyncioIntegration  # noqa: PLC0415 - optional

    async def main() -> None:
        options = {
            "_experiments": {"transport_async": True},
            "integrations": [AsyncioIntegration()],
            "disabled_integrations": [],
        }
        backend.latency = 0.05
        with sentry_set_up(backend.dsn, **options) as client:
            assert type(client.transport).__name__ == "AsyncHttpTransport"
            assert (await aflush(10)).ok
            sentry_sdk.capture_message("from a loop")

            report = await aflush(10)

            assert report.results[0].status == "ok", report
            assert kinds(backend) == ["sentry.event"]
            assert (await aflush(10)).results[0].status == "empty"
            backend.behaviour = "fail"
            sentry_sdk.capture_message("lost")
            assert "status_500" in (await aflush(10)).results[0].detail
            await client.close_async()

    asyncio.run(main())


@contextlib.contextmanager
def client_in_charge(dsn: str, **options: Any) -> Iterator[Any]:
    """Do what a second ``sentry_sdk.init`` does; the first client is put back afterwards."""
    scope = sentry_sdk.get_global_scope()
    before = scope.client
    with sentry_set_up(dsn, **options) as client:
        yield client
    scope.set_client(before)


@pytest.mark.parametrize("concurrent", [False, True])
def test_flush_after_a_second_init_sends_what_the_first_client_holds(
    backend: TelemetrySink, *, concurrent: bool
) -> None:
    backend.latency = 0.1
    transport = {"transport": ConcurrentTransport} if concurrent else {}
    with sentry_set_up(backend.dsn, **transport):
        prepare()
        sentry_sdk.capture_message("of the first")
        sentry_sdk.capture_message("of the first")
        with client_in_charge(backend.dsn, **transport):
            sentry_sdk.capture_message("of the second")

            result = sentry_result()

            assert (result.status, len(backend.items)) == ("ok", 3)
            assert sentry_result().status == "empty"


def test_flush_after_a_second_init_tells_what_the_first_client_lost(
    backend: TelemetrySink,
) -> None:
    backend.behaviour = "fail"
    with sentry_set_up(backend.dsn):
        prepare()
        sentry_sdk.capture_message("lost")
        with client_in_charge(backend.dsn):
            result = sentry_result()

            assert result.status == "error"
            assert result.detail == "the client before: lost: status_500"


def test_flush_waits_only_once_for_a_first_client_that_hangs(backend: TelemetrySink) -> None:
    with TelemetrySink() as other:
        other.behaviour = "hang"
        with sentry_set_up(other.dsn):
            prepare()
            sentry_sdk.capture_message("stuck")
            with client_in_charge(backend.dsn):
                [sink] = [each for each in discover() if each.name == "sentry"]
                sentry_sdk.capture_message("hello")
                outcome: Any = sink.flush(0.2)
                assert outcome == ("timeout", "the client before: the SDK is still sending")
                sentry_sdk.capture_message("hello")
                outcome = sink.flush(10)
                assert outcome == ("ok", "")
    assert len(backend.items) == 2


def test_concurrency_is_the_transports(backend: TelemetrySink) -> None:
    def concurrency() -> int:
        [sink] = [each for each in discover() if each.name == "sentry"]
        return sink.concurrency  # type: ignore[attr-defined,no-any-return]

    with sentry_set_up(backend.dsn):
        assert concurrency() == 1
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport):
        assert concurrency() == ConcurrentTransport.senders


@pytest.mark.parametrize("concurrent", [False, True])
def test_log_record_is_pushed_out_if_several_envelopes_may_be_under_way(
    backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch, *, concurrent: bool
) -> None:
    logger = pytest.importorskip("sentry_sdk.logger")
    nudges: list[int] = []
    monkeypatch.setattr(_sentry_client, "nudge", lambda: nudges.append(1))
    transport = {"transport": ConcurrentTransport} if concurrent else {}
    with sentry_set_up(backend.dsn, enable_logs=True, **transport):
        prepare()
        logger.info("ordered")

        assert len(nudges) == concurrent
        assert sentry_result().status == "ok"
    assert kinds(backend) == ["sentry.log"]


def test_flushes_at_once_are_each_told_what_was_lost_meanwhile(backend: TelemetrySink) -> None:
    backend.behaviour = "fail"
    backend.latency = 0.2
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport):
        [sink] = [each for each in discover() if each.name == "sentry"]
        sentry_sdk.capture_message("lost")
        outcomes: list[Any] = []
        flushes = [
            threading.Thread(target=lambda: outcomes.append(sink.flush(10))) for _ in range(3)
        ]
        for each in flushes:
            each.start()
        for each in flushes:
            each.join()

        assert outcomes == [("error", "lost: status_500")] * 3


def test_flush_waits_for_what_another_has_taken_out_of_the_buffers(
    backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport) as client:
        [sink] = [each for each in discover() if each.name == "sentry"]
        taken, let_go = threading.Event(), threading.Event()

        def flush_components() -> None:
            if not taken.is_set():  # whoever comes first takes it all, the second finds nothing
                taken.set()
                assert let_go.wait(10)
                sentry_sdk.capture_message("buffered")

        monkeypatch.setattr(client, "_flush_components", flush_components, raising=False)
        landed: list[int] = []

        def push() -> None:
            sink.flush(10)
            landed.append(len(backend.items))

        first, second = threading.Thread(target=push), threading.Thread(target=push)
        first.start()
        assert taken.wait(10)
        second.start()
        second.join(0.1)  # time to be over too early
        let_go.set()
        first.join()
        second.join()

    assert landed == [1, 1]


@pytest.mark.parametrize("transport", [None, ConcurrentTransport])
def test_callers_in_a_hurry_do_not_open_the_breaker_of_a_slow_backend(
    backend: TelemetrySink, transport: Any
) -> None:
    backend.latency = 0.25
    with sentry_set_up(backend.dsn, transport=transport):
        [lane] = engine._ENGINE.lanes()
        for passes in (1, 2):
            sentry_sdk.capture_message("slow")
            assert sentry_result(0.01).status == "timeout"
            wait_until(lambda passes=passes: lane.tally.passes == passes)
            wait_until(lambda: lane.breaker.failures == 0)


def test_forked_child_is_not_told_what_its_parent_lost(backend: TelemetrySink) -> None:
    with sentry_set_up(backend.dsn):
        [sink] = discover()
        sink._ledger.lose("network")  # type: ignore[attr-defined]
        assert sink.pending() == 1

        sink.after_fork()  # type: ignore[attr-defined]

        assert sink.pending() == 0
