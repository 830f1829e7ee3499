"""Sentry and OpenTelemetry, set up as their own documentation says.

Each is on if its address is in the environment: ``SENTRY_DSN``, ``OTEL_EXPORTER_OTLP_ENDPOINT``.
Nothing in here knows ctxkit, and ctxkit needs nothing in here.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import sentry_sdk
from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk.trace import SpanProcessor

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

WITH_OPENTELEMETRY = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))

# For settings.LOGGING: what is logged goes to the collector too.
# https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/logging/logging.html
LOG_HANDLERS = (
    {"otel": {"class": "opentelemetry.instrumentation.logging.handler.LoggingHandler"}}
    if WITH_OPENTELEMETRY
    else {}
)


class ThreadNames(SpanProcessor):
    """Tell of each span in which thread it began, by the name that OpenTelemetry has for that.

    https://opentelemetry.io/docs/specs/semconv/general/attributes/#general-thread-attributes
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        span.set_attribute("thread.name", threading.current_thread().name)

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        return True  # else some SDKs do not ask the processors behind it


def start_sentry() -> None:
    """Start Sentry, from settings.py. https://docs.sentry.io/platforms/python/integrations/django/."""
    if os.environ.get("SENTRY_DSN"):
        sentry_sdk.init(
            dsn=os.environ["SENTRY_DSN"],
            traces_sample_rate=1.0,
            enable_logs=True,
        )


def start_opentelemetry() -> None:
    """Start OpenTelemetry, from the modules that servers load; at most once in a process.

    Its exporters run threads, and threads do not survive a fork: see gunicorn.conf.py.
    https://opentelemetry.io/docs/languages/python/exporters/
    """
    if not WITH_OPENTELEMETRY or _started:
        return
    _started.append(os.getpid())
    # Late, since this is half a second of imports that management commands do without.
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "shop")})

    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(ThreadNames())
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracing)

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))

    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(logs)

    DjangoInstrumentor().instrument()


_started: list[int] = []
