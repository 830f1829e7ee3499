"""What is not asked at the end of a request has nothing pending, whatever happens meanwhile."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
sentry_sdk = pytest.importorskip("sentry_sdk")

import opentelemetry.trace  # noqa: E402 - after the skip
from helpers.land import FakeSink, wait_until  # noqa: E402
from helpers.land_opentelemetry import OTel, otel_set_up  # noqa: E402
from helpers.land_sentry import sentry_set_up  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402

from ctxkit.flushing import add_sink, engine, flush, start_spooling, stop_spooling  # noqa: E402
from ctxkit.flushing.engine import nothing_pending  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ctxkit.testing import TelemetrySink


@pytest.fixture
def otel(backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch) -> Iterator[OTel]:
    with otel_set_up(backend.otlp_endpoint, monkeypatch) as otel:
        yield otel


@pytest.fixture
def client(backend: TelemetrySink) -> Iterator[Any]:
    logs = {"enable_logs": True} if find_spec("sentry_sdk.logger") else {}
    with sentry_set_up(backend.dsn, traces_sample_rate=1.0, **logs) as client:
        yield client


def calm() -> None:
    """Have nothing pending, and the engine know that."""
    # Again where a busy machine has kept an exporter waiting for too long.
    wait_until(lambda: flush(10).ok and nothing_pending())


def capture_a_message(otel: OTel) -> None:
    sentry_sdk.capture_message("paid")


def capture_a_transaction(otel: OTel) -> None:
    with sentry_sdk.start_transaction(name="checkout"):
        pass


def end_a_session(otel: OTel) -> None:
    scope = sentry_sdk.get_isolation_scope()
    scope.start_session(session_mode="request")
    scope.end_session()


def end_a_session_of_an_application(otel: OTel) -> None:
    scope = sentry_sdk.get_isolation_scope()
    scope.start_session(session_mode="application")
    scope.end_session()


def log_with_sentry(otel: OTel) -> None:
    logger = pytest.importorskip("sentry_sdk.logger")
    logger.info("ordered")


def count_with_sentry(otel: OTel) -> None:
    metrics = pytest.importorskip("sentry_sdk.metrics")
    if not hasattr(metrics, "count"):
        pytest.skip("this version has other metrics")
    metrics.count("orders", 1)


def end_a_span(otel: OTel) -> None:
    otel.record_one("otel.span")


def log_a_record(otel: OTel) -> None:
    otel.record_one("otel.log")


def measure(otel: OTel) -> None:
    otel.counter.add(1)


RECORDINGS = (
    capture_a_message,
    capture_a_transaction,
    count_with_sentry,
    end_a_session,
    end_a_session_of_an_application,
    end_a_span,
    log_a_record,
    log_with_sentry,
    measure,
)


@pytest.mark.parametrize("record", RECORDINGS)
def test_anything_recorded_is_pending_at_once(
    otel: OTel, client: Any, backend: TelemetrySink, record: Callable[[OTel], None]
) -> None:
    backend.latency = 0.05  # so that it is on its way
    calm()

    record(otel)

    assert not nothing_pending()
    assert not nothing_pending()
    calm()


def test_recording_in_another_thread_is_pending_at_once(otel: OTel, client: Any) -> None:
    calm()

    thread = threading.Thread(target=end_a_span, args=(otel,))
    thread.start()
    thread.join()

    assert not nothing_pending()


def test_sinks_that_tell_are_not_asked_again(
    otel: OTel, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm()
    asked: list[str] = []
    for lane in engine._ENGINE._lanes:
        monkeypatch.setattr(lane, "ask", lambda name=lane.sink.name: asked.append(name) or 0)

    assert nothing_pending()

    assert asked == [lane.sink.name for lane in engine._ENGINE.evidence.calmed[1]]
    if hasattr(otel.span_processor, "_batch_processor"):  # since SDK 1.34
        assert asked == []


def test_added_sinks_are_asked_each_time(otel: OTel) -> None:
    sink = FakeSink(waiting=0)
    sink.tells = True  # type: ignore[attr-defined]
    add_sink(sink)
    calm()

    sink.waiting = 1

    assert not nothing_pending()


def test_sink_added_in_a_calm_is_asked(otel: OTel) -> None:
    calm()

    add_sink(FakeSink(waiting=1))

    assert not nothing_pending()


def test_processor_added_in_a_calm_is_asked(
    otel: OTel, backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    calm()

    provider.add_span_processor(BatchSpanProcessor(otel.exporter))
    provider.get_tracer("shop").start_span("order").end()

    assert not nothing_pending()
    provider.shutdown()


def test_provider_set_in_a_calm_is_asked(otel: OTel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", None)
    calm()

    otel.put_in_charge(monkeypatch)
    end_a_span(otel)

    assert not nothing_pending()


def test_client_made_in_a_calm_is_asked(otel: OTel, backend: TelemetrySink) -> None:
    calm()

    with sentry_set_up(backend.dsn):
        capture_a_message(otel)

        assert not nothing_pending()


def test_sinks_with_a_spool_are_asked_each_time(otel: OTel, tmp_path: Path) -> None:
    calm()
    start_spooling(tmp_path)
    try:
        calm()
        others = engine._ENGINE.evidence.calmed[1]

        assert {"otel.traces", "otel.metrics", "otel.logs"} <= {lane.sink.name for lane in others}
    finally:
        stop_spooling()
