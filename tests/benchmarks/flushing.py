"""What a flush costs when nothing is pending, with Sentry and OpenTelemetry in use."""

from __future__ import annotations

import sentry_sdk
from measuring import Row, loop_turn, race, ratio_rows
from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import ctxkit

NOWHERE = "http://127.0.0.1:9"  # nothing is pending, so nothing is sent


def measure(rounds: int) -> list[Row]:
    """Race ctxkit's flush of all with the SDKs' own, one after another."""
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1")
    traces, logs = TracerProvider(), LoggerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{NOWHERE}/v1/traces")))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{NOWHERE}/v1/logs")))
    trace.set_tracer_provider(traces)
    set_logger_provider(logs)
    try:
        turns = {
            "ctxkit.flush()": loop_turn(ctxkit.flush),
            "OpenTelemetry, traces and logs": loop_turn(
                lambda: (traces.force_flush(), logs.force_flush())
            ),
            "sentry_sdk.flush()": loop_turn(sentry_sdk.flush),
        }
        return ratio_rows("Flush, nothing pending", race(turns, rounds=rounds, calls=20))
    finally:
        traces.shutdown()
        logs.shutdown()
