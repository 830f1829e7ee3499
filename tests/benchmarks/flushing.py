"""What a flush costs when nothing is pending, with Sentry and OpenTelemetry in use."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import sentry_sdk
from measuring import Row, loop_turn, race, ratio_rows
from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Iterator

NOWHERE = "http://127.0.0.1:9"  # nothing is pending, so nothing is sent


@contextmanager
def sdks() -> Iterator[tuple[TracerProvider, MeterProvider, LoggerProvider]]:
    """Have Sentry and OpenTelemetry's three signals in use, with nobody to send to."""
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1")
    traces, logs = TracerProvider(), LoggerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{NOWHERE}/v1/traces")))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{NOWHERE}/v1/logs")))
    hour = 3_600_000.0
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{NOWHERE}/v1/metrics"), hour)
    meters = MeterProvider([reader])
    trace.set_tracer_provider(traces)
    set_meter_provider(meters)
    set_logger_provider(logs)
    try:
        yield traces, meters, logs
    finally:
        traces.shutdown()
        logs.shutdown()
        with suppress(Exception):  # its last export finds nobody
            meters.shutdown(1)


def measure(rounds: int) -> list[Row]:
    """Race ctxkit's flush of all with the SDKs' own, one after another."""
    with sdks() as (traces, _, logs):
        turns = {
            "ctxkit.flush()": loop_turn(ctxkit.flush),
            "OpenTelemetry, traces and logs": loop_turn(
                lambda: (traces.force_flush(), logs.force_flush())
            ),
            "sentry_sdk.flush()": loop_turn(sentry_sdk.flush),
        }
        return ratio_rows("Flush, nothing pending", race(turns, rounds=rounds, calls=20))
