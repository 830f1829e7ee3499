"""Plain applications with Sentry and OpenTelemetry around them, and ctxkit outermost."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import opentelemetry._logs
import opentelemetry.metrics
import opentelemetry.trace
import sentry_sdk
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as OTelASGI
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as OTelWSGI
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Iterator

endpoint = os.environ["OTLP_ENDPOINT"]
options: dict[str, Any] = {}
if "CONCURRENT" in os.environ:
    from ctxkit.contrib.sentry import ConcurrentTransport

    options["transport"] = ConcurrentTransport
sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0, **options)

tracers = TracerProvider()
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
opentelemetry.trace.set_tracer_provider(tracers)
meters = MeterProvider(
    [PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))]
)
opentelemetry.metrics.set_meter_provider(meters)
counter = meters.get_meter("served").create_counter("served")
loggers = LoggerProvider()
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs")))
opentelemetry._logs.set_logger_provider(loggers)
logger = logging.getLogger("served")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it moves to another package, slowly
    logger.addHandler(LoggingHandler(logger_provider=loggers))


def record(where: str) -> None:
    """Record one of each kind, named after the request."""
    request_id = ctxkit.get("request_id")
    with tracers.get_tracer("served").start_as_current_span(f"{where} {request_id}"):
        logger.warning("log %s %s", where, request_id)
        counter.add(1, {"request": f"{where} {request_id}"})
        sentry_sdk.capture_message(f"{where} {request_id}")


def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
    record("begin")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    yield b"ab"
    yield b"cd"
    record("end")


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
        return
    record("begin")
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await send({"type": "http.response.body", "body": b"cd", "more_body": True})
    await send({"type": "http.response.body"})
    record("end")


wsgi = ctxkit.WSGIMiddleware(SentryWsgiMiddleware(OTelWSGI(wsgi_app)))
asgi = ctxkit.ASGIMiddleware(SentryAsgiMiddleware(OTelASGI(asgi_app)))
