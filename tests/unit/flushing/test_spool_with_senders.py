"""The spool behind the transport and the exporter that send several things at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
pytest.importorskip("sentry_sdk")

import opentelemetry.trace
import sentry_sdk
from helpers.land_sentry import sentry_set_up
from helpers.spooled import eventually, last_flush, results, spooling, status
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ctxkit.contrib.opentelemetry import ConcurrentExporter
from ctxkit.contrib.sentry import ConcurrentTransport
from ctxkit.flushing import flush, prepare
from ctxkit.flushing.sinks import discover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ctxkit.testing import TelemetrySink

NAMES = [f"dear {number}" for number in range(8)]


@pytest.fixture
def tracers(
    backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TracerProvider]:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = ConcurrentExporter(lambda: OTLPSpanExporter(f"{backend.otlp_endpoint}/v1/traces"))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=2))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    with spooling(tmp_path):
        prepare()
        yield provider
        backend.behaviour = "ok"
        provider.shutdown()
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


def landed(backend: TelemetrySink) -> list[str]:
    return sorted(item.name for item in backend.items if item.kind in ("sentry.event", "otel.span"))


def record(provider: TracerProvider) -> None:
    for name in NAMES:
        provider.get_tracer("shop").start_span(name).end()


def test_batches_that_were_handed_on_and_failed_land_once(
    tracers: TracerProvider, backend: TelemetrySink
) -> None:
    backend.behaviour = "rate-limit"
    record(tracers)
    said = results(flush(10))["otel.traces"]
    assert said == "error: kept for later: OTLPSpanExporter answered FAILURE"
    assert status().kept >= 1
    backend.behaviour = "ok"
    last_flush()
    assert landed(backend) == NAMES
    assert status().files == 0


def test_batches_that_were_handed_on_are_copied_and_the_copies_go(
    tracers: TracerProvider, backend: TelemetrySink
) -> None:
    backend.latency = 0.3
    record(tracers)
    flush(0.05)
    assert status().files >= 1
    eventually(lambda: status().files == 0)
    assert landed(backend) == NAMES
    assert status().kept == 0


def test_batches_that_wait_for_a_sender_are_copied_too(
    backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{backend.otlp_endpoint}/v1/traces"
    exporter = ConcurrentExporter(lambda: OTLPSpanExporter(url), senders=1)
    processor = BatchSpanProcessor(exporter, max_export_batch_size=2)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    with spooling(tmp_path):
        prepare()
        backend.latency = 0.3
        for name in NAMES[:6]:
            provider.get_tracer("shop").start_span(name).end()
        flush(0.1)
        [keeper] = [sink.keeper for sink in discover() if sink.name == "otel.traces"]  # type: ignore[attr-defined]
        assert sum(map(len, keeper._ahead.values())) == 6
        backend.latency = 0
        eventually(lambda: status().files == 0)
        assert (keeper._handed, keeper._flying) == ({}, {})
    assert landed(backend) == NAMES[:6]
    provider.shutdown()


@pytest.mark.parametrize("fault", ["fail", "refuse"])
def test_events_that_several_senders_could_not_send_land_once(
    fault: str, backend: TelemetrySink, tmp_path: Path
) -> None:
    with spooling(tmp_path), sentry_set_up(backend.dsn, transport=ConcurrentTransport):
        prepare()
        backend.behaviour = fault  # type: ignore[assignment]
        for name in NAMES:
            sentry_sdk.capture_message(name)
        assert results(flush(10))["sentry"].startswith("error: kept for later: ")
        assert status().kept == len(NAMES)
        backend.behaviour = "ok"
        last_flush()
        assert landed(backend) == NAMES
        assert status().files == 0


def test_events_that_several_senders_have_are_copied_and_the_copies_go(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    with spooling(tmp_path), sentry_set_up(backend.dsn, transport=ConcurrentTransport):
        prepare()
        backend.latency = 0.3
        for name in NAMES:
            sentry_sdk.capture_message(name)
        flush(0.05)
        assert status().files == len(NAMES)
        eventually(lambda: status().files == 0)
        assert landed(backend) == NAMES
